"""A training step with and without oneDNN, each in its own process, in turns: seconds, and the ratio.

    python benchmarks/step.py [--backbone MobileNetV2] [--freeze 16] [--size 224] [--rounds 3]

TensorFlow turns oneDNN on by itself only on CPUs with instructions for neural networks; `itemrec train` always does.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

BATCH, STEPS = 64, 4


def step(given: argparse.Namespace) -> float:
    """Seconds a step of what lies above the freeze point, forward and backward."""
    import keras
    import numpy as np

    from trainer.networks.pretrained import backbone
    from trainer.networks.stem import freeze_point

    keras.utils.set_random_seed(0)
    base = backbone(given.backbone, size=given.size, weights="none").model
    for layer in base.layers:
        layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)  # as in training
    low = freeze_point(base, given.freeze)
    assert low is not None
    source = keras.Input(low.shape[1:])
    trunk = keras.Model(low, keras.layers.GlobalAveragePooling2D()(base.output))
    model = keras.Model(source, trunk(source))
    model.compile("sgd", loss=lambda labels, outputs: keras.ops.mean(outputs**2), jit_compile=False)
    inputs = np.random.default_rng(0).random((BATCH, *low.shape[1:]), np.float32)
    model.train_on_batch(inputs, np.zeros(BATCH))
    started = time.perf_counter()
    for _ in range(STEPS):
        model.train_on_batch(inputs, np.zeros(BATCH))
    return (time.perf_counter() - started) / STEPS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="MobileNetV2")
    parser.add_argument("--freeze", default="16")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(step(given))
        return
    taken: dict[str, list[float]] = {"0": [], "1": []}
    for _ in range(given.rounds):
        for enabled, seconds in taken.items():
            environment = os.environ | {"TF_ENABLE_ONEDNN_OPTS": enabled, "TF_CPP_MIN_LOG_LEVEL": "3"}
            command = [sys.executable, __file__, *sys.argv[1:], "--one"]
            done = subprocess.run(
                command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True
            )
            seconds.append(float(done.stdout.split()[-1]))
    without, with_it = (statistics.median(seconds) for seconds in taken.values())
    print(f"a step of {BATCH} pictures, {given.backbone} above stride {given.freeze} at {given.size} pixels")
    print(f"  without oneDNN {without:.3f} s, with it {with_it:.3f} s: {without / with_it:.2f} x as fast")


if __name__ == "__main__":
    main()

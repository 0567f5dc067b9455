"""The frozen part of a network in LiteRT and in TensorFlow: pictures a second on all cores, in one run.

python benchmarks/stem.py [--backbone MobileNetV2] [--freeze 16] [--size 224]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from trainer.quiet import import_keras

PICTURES = 256


def rate(job: Callable[[], object]) -> float:
    job()
    started = time.perf_counter()
    job()
    return PICTURES / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="MobileNetV2")
    parser.add_argument("--freeze", default="16")
    parser.add_argument("--size", type=int, default=224)
    given = parser.parse_args()
    import_keras()
    import keras
    import tensorflow as tf

    from trainer.networks.pretrained import backbone
    from trainer.networks.stem import Runner, freeze_point

    base = backbone(given.backbone, size=given.size, weights="none")
    stem = keras.Model(base.model.inputs, freeze_point(base.model, given.freeze))
    pixels = np.random.default_rng(0).integers(0, 256, (PICTURES, given.size, given.size, 3), dtype=np.uint8)
    tensor = base.preprocessing.tensor(pixels)
    runner = Runner(stem, base.preprocessing)
    graph = tf.function(lambda x: stem(x, training=False))
    jobs = [lambda i=i: pixels[i : i + 8] for i in range(0, PICTURES, 8)]
    rates = {
        "TensorFlow, a graph": rate(lambda: [graph(tf.constant(tensor[i : i + 64])) for i in range(0, PICTURES, 64)]),
        "Keras, predict": rate(lambda: [stem.predict_on_batch(tensor[i : i + 64]) for i in range(0, PICTURES, 64)]),
        "LiteRT, as training does": rate(lambda: list(runner.run(jobs))),
    }
    first = next(iter(rates.values()))
    for name, value in rates.items():
        print(f"{name:26s} {value:7.0f} pictures/s  {value / first:5.2f} x")


if __name__ == "__main__":
    main()

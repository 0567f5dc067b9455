"""What augmenting a picture costs, beside decoding it and beside the frozen part of a network.

    python benchmarks/augment.py [--weights FILE.weights.h5]

Milliseconds a picture on one thread: augmenting a picture in memory, its affine map alone, decoding a JPEG of
348 x 348 pixels, and MobileNetV2 at 224 pixels up to stride 16 in LiteRT.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable

import numpy as np
from PIL import Image

from retrieval.images.pictures import prepare
from trainer.data.augment import Views, make_views
from trainer.networks.pretrained import backbone
from trainer.quiet import import_keras

STILL = Views(brightness=0.0, contrast=0.0, saturation=0.0, white_balance=0.0, noise=0.0, cover=0.0, bars=0.0)


def milliseconds(job: Callable[[int], object], times: int = 100) -> float:
    job(0)
    started = time.perf_counter()
    for i in range(times):
        job(i)
    return 1000.0 * (time.perf_counter() - started) / times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="none")
    given = parser.parse_args()
    import_keras()
    import keras

    from trainer.networks.stem import Runner, freeze_point

    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (87, 87, 3), dtype=np.uint8).repeat(4, axis=0).repeat(4, axis=1)
    source = np.ascontiguousarray(picture[:256, :256])[None]
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=90)
    base = backbone("MobileNetV2", size=224, weights=given.weights)
    runner = Runner(keras.Model(base.model.inputs, freeze_point(base.model, "16")), base.preprocessing)
    pixels = np.ascontiguousarray(picture[:224, :224])[None].repeat(100, axis=0)

    def view(i: int, views: Views) -> object:
        return make_views(source, size=224, rng=np.random.default_rng(i), views=views)

    rows = {
        "an augmentation": milliseconds(lambda i: view(i, Views())),
        "  its affine map alone": milliseconds(lambda i: view(i, STILL)),
        "decoding": milliseconds(lambda i: prepare(buffer.getvalue(), base.preprocessing)),
        "the frozen part": milliseconds(lambda i: list(runner.run([lambda: pixels])), times=2) / 100,
    }
    for name, value in rows.items():
        print(f"{name:22s} {value:6.2f} ms")


if __name__ == "__main__":
    main()

"""What the feature branch is worth, by how it is projected: one training a fold, read out in several ways.

    python benchmarks/projection.py GROCERY --preset fast --folds 0,1

GROCERY is as in `recipes.py`, and so are the columns. Every training holds out a fifth of the products, so the first
columns are of the photos of ``photos/val`` whose products it learned. ``discriminant 0.15`` is what is served; the
number is the part of the spread of all pictures in what directions are divided by, beside that within products.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from recipes import PARTS, Photos, fifth, held_out_rates, known, means, print_table, without

from trainer.data.dataset import Pictures, read_pictures
from trainer.learn import RunPaths, learn
from trainer.networks.projections import Projection, discriminant, unit_rows, whitening
from trainer.presets import preset
from trainer.progress import Silent
from trainer.quiet import import_keras

WAYS: dict[str, Callable[[NDArray[np.float32], NDArray[np.int64], int], Projection]] = {
    "none": lambda features, _, __: (features.mean(axis=0), np.eye(features.shape[1], dtype=np.float32)),
    "half whitening": lambda features, _, dimension: whitening(features, dimension),
    **{
        f"discriminant {part}": lambda features, labels, dimension, part=part: discriminant(
            features, labels, dimension, of_all=part
        )
        for part in (0.05, 0.15, 0.3, 1.0)
    },
}


class Lines(Silent):
    """A training told as plain lines."""

    def stage(self, name: str, total: int | None = None, unit: str = "images", *, done: int = 0) -> None:
        print(name, file=sys.stderr)

    def epoch(self, log: Any) -> None:
        print(f"epoch {log.epoch}: loss {log.loss:.3f}", file=sys.stderr)

    def note(self, text: str) -> None:
        print(text, file=sys.stderr)


def outputs(served: Any, preprocessing: Any, pictures: Pictures) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features before the projection, and the embedding, of pictures."""
    import keras

    both = keras.Model(served.inputs, [served.get_layer("projection").input, served.output])
    parts = [
        both.predict_on_batch(
            preprocessing.tensor(pictures.pixels(preprocessing, range(i, min(i + 64, len(pictures)))))
        )
        for i in range(0, len(pictures), 64)
    ]
    features, embeddings = zip(*parts, strict=True)
    return np.concatenate(features), np.concatenate(embeddings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--folds", default="0")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "itemrec-recipes-cache")
    given = parser.parse_args()
    import_keras()
    plan = preset(given.preset)
    rows: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory(prefix="itemrec-projection-") as name:
        for fold in map(int, given.folds.split(",")):
            folder, held_out = Path(name) / str(fold), fifth(given.data, fold)
            paths = RunPaths(without(given.data, held_out, folder / "data"), None, folder / "run", given.cache)
            trained = learn(paths, plan, Lines())
            read = [read_pictures(given.data / part) for part in PARTS]
            both = [outputs(trained.keras, trained.preprocessing, pictures) for pictures in read]
            names = [np.array(pictures.products)[pictures.labels] for pictures in read]
            learned = ~np.isin(names[0], held_out)
            labels = np.unique(names[0][learned], return_inverse=True)[1]
            width = trained.keras.get_layer("projection").units
            heads = trained.dimension - width
            for way, find in WAYS.items():
                mean, matrix = find(both[0][0][learned], labels, width)
                train, val, studio = (
                    Photos(unit_rows(np.hstack([unit_rows(e[:, :heads]), unit_rows((f - mean) @ matrix)])), of)
                    for (f, e), of in zip(both, names, strict=True)
                )
                old = (photos.only(~np.isin(photos.labels, held_out)) for photos in (train, val, studio))
                rows[way].append(known(*old) | held_out_rates(train, val, held_out))
    print_table([{"projection": way} | means(results) for way, results in rows.items()])


if __name__ == "__main__":
    main()

"""What several photos of one item bring, and what they do to a threshold: the tables of docs/measurements/same-item.md.

    python benchmarks/same_item.py GROCERY --model BUNDLE --held-out FILE

GROCERY, BUNDLE and FILE as in ``benchmarks/refusals.py``: the gallery holds the train photos of all but the held-out
products, whose photos are unknown; val photos of the others, of products with at least three, are known. Photos of one
product are drawn in groups of one, two and three, twenty times over; a group stands for an item. Columns: R@1 of the
mean vector, then at thresholds that let 50, 20 and 10 % of single unknown photos through, FPIR and DIR. The rows
differ in the exponent of the length of the mean by which the threshold is lowered: 0 leaves it, 1 compares the mean of
the photos' distances.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.distance import squared_l2
from retrieval.evaluation import gather_folder
from retrieval.models.installed import resolve_model
from retrieval.recognition.same import LOWERING, one_vector

DRAWS = 20
MOST = 3
EXPONENTS = (0.0, LOWERING, 0.5, 1.0)


def groups(labels: NDArray[np.str_], size: int) -> Iterator[NDArray[np.int64]]:
    """Photos of one product, ``size`` at a time, each at most once a draw."""
    random = np.random.default_rng(0)
    for _ in range(DRAWS):
        for product in np.unique(labels):
            mine = random.permutation(np.flatnonzero(labels == product))
            for start in range(0, len(mine) - size + 1, size):
                yield mine[start : start + size]


class Items:
    """Groups of photos as one vector each: distance to the nearest picture, whether it is right, length of the mean."""

    def __init__(
        self,
        vectors: NDArray[np.float32],
        labels: NDArray[np.str_],
        gallery: NDArray[np.float32],
        products: NDArray[np.str_],
        size: int,
    ) -> None:
        chosen = list(groups(labels, size))
        means, lengths = zip(*(one_vector(vectors[group]) for group in chosen), strict=True)
        distances = squared_l2(np.stack(means), gallery)
        self.lengths = np.array(lengths)
        self.nearest = distances.min(1)
        self.right = products[distances.argmin(1)] == labels[[group[0] for group in chosen]]

    def near_enough(self, threshold: float, exponent: float) -> NDArray[np.bool_]:
        """Which of them the threshold accepts, lowered."""
        accepted: NDArray[np.bool_] = self.nearest <= 2.0 - (2.0 - threshold) / self.lengths**exponent
        return accepted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("grocery", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--held-out", type=Path, required=True)
    options = parser.parse_args()
    bundle = resolve_model(options.model, index_model=None)
    held = options.held_out.read_text().split()
    found = [gather_folder(options.grocery / "photos" / split, bundle) for split in ("train", "val")]
    parts = [(photos.vectors, photos.labels) for photos in found]
    (train, train_labels), (val, val_labels) = ((v, np.array(labels)) for v, labels in parts)
    ours, mine = ~np.isin(train_labels, held), ~np.isin(val_labels, held)
    gallery, products = train[ours], train_labels[ours]
    names, counts = np.unique(val_labels, return_counts=True)
    mine &= np.isin(val_labels, names[counts >= MOST])
    unknown = np.concatenate([train[~ours], val[np.isin(val_labels, held)]])
    unknown_labels = np.concatenate([train_labels[~ours], val_labels[np.isin(val_labels, held)]])
    tried = {
        size: (
            Items(val[mine], val_labels[mine], gallery, products, size),
            Items(unknown, unknown_labels, gallery, products, size),
        )
        for size in range(1, MOST + 1)
    }
    thresholds = {f: float(np.quantile(tried[1][1].nearest, f)) for f in (0.5, 0.2, 0.1)}
    print(f"{len(gallery)} pictures of {len(set(products))} products, {mine.sum()} known photos,")
    print(f"{len(unknown_labels)} photos of {len(held)} products that no training saw\n")
    columns = [f"FPIR {f:.0%} of single photos, {t:.3f}" for f, t in thresholds.items()]
    print(f"| photos | exponent | R@1 | {' | '.join(columns)} |\n|---|---|---|{'---|' * len(columns)}")
    for size, (known, strange) in tried.items():
        for exponent in EXPONENTS if size > 1 else (LOWERING,):
            cells = [
                f"FPIR {strange.near_enough(t, exponent).mean():.3f}, "
                f"DIR {(known.right & known.near_enough(t, exponent)).mean():.3f}"
                for t in thresholds.values()
            ]
            shipped = " (shipped)" if exponent == LOWERING else ""
            print(f"| {size} | {exponent:g}{shipped} | {known.right.mean():.3f} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()

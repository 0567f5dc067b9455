"""What photos of some products do to the others, in a catalog of studio pictures. Prints docs/measurements/taught.md.

    python benchmarks/taught.py GROCERY --cache DIR

The built-in model's recipe, trained without each of five folds of products (hours; what is in the cache is used again).
The gallery holds a studio picture of each of the 81 products, and one or five photos of half of a fold's, in turn:
these are *taught*. All other photos of the fold ask. *Factor*: what distances of photos in the gallery are multiplied
by before they vote, 1 as shipped: a photo lies nearer to any photo than to a studio picture.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from open_set import folds_of_recipe

from retrieval.distance import squared_l2
from retrieval.recognition import votes

FACTORS = (1.0, 1.2, 1.4, 1.6)


def first_of(distances: NDArray[np.float32], owners: NDArray[np.str_], products: NDArray[np.str_]) -> NDArray[np.str_]:
    """The product that each photo gets, by the rule that is served."""
    scores = np.zeros((len(distances), len(products)))
    for column, product in enumerate(products.tolist()):
        own = np.sort(distances[:, owners == product], axis=1)[:, : votes.EVIDENCE]
        voting = votes.voters(own.shape[1])
        scores[:, column] = np.exp(-own[:, :voting] / votes.TEMPERATURE).mean(axis=1) / votes.crowd(own.shape[1])
    found: NDArray[np.str_] = products[scores.argmax(axis=1)]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "itemrec-open-set-cache")
    given = parser.parse_args()
    folds = folds_of_recipe(given.data, given.cache)
    print("| photos of each taught | factor | others: right | of them called a taught one | taught: right |")
    print("|---|---|---|---|---|")
    for count in (0, 1, 5):
        rates: dict[float, list[list[float]]] = {factor: [] for factor in (FACTORS if count else (1.0,))}
        for fold in folds:
            photos, studio = fold.shop.photos, fold.shop.studio
            held_out, products = sorted(fold.held_out), np.unique(studio.labels)
            for taught in (held_out[::2], held_out[1::2]):
                rng = np.random.default_rng(0)
                mine = [rng.permutation(np.flatnonzero(photos.labels == product))[:count] for product in taught]
                shown = np.concatenate(mine).astype(int)
                asked = np.setdiff1d(np.flatnonzero(np.isin(photos.labels, held_out)), shown)
                truth = photos.labels[asked]
                is_taught = np.isin(truth, taught)
                owners = np.concatenate([studio.labels, photos.labels[shown]])
                near = squared_l2(photos.vectors[asked], np.concatenate([studio.vectors, photos.vectors[shown]]))
                for factor, found in rates.items():
                    weight = np.where(np.arange(len(owners)) < len(studio.labels), 1.0, factor).astype(np.float32)
                    first = first_of(near * weight, owners, products)
                    right, stolen = first == truth, np.isin(first, taught)
                    found.append([right[~is_taught].mean(), stolen[~is_taught].mean(), right[is_taught].mean()])
        for factor, found in rates.items():
            cells = [f"{rate:.3f}" for rate in np.mean(found, axis=0)]
            print(f"| {count or 'none'} | {factor:g}{' (shipped)' if factor == 1.0 else ''} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()

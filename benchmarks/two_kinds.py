"""Studio pictures and photos in one catalog: who finds whom? Prints docs/measurements/two-kinds.md.

    python benchmarks/two_kinds.py GROCERY --cache DIR [--networks DIR2]

The built-in model's recipe, trained without each of five folds of products (hours; what is in the cache is used again).
Photos of a fold's products ask; a gallery holds all 81 products, each in a studio picture or in photos:

    taught    studio pictures of all, and beside them one or five photos of half of the fold's products, in turn
    mixed     a studio picture alone of a part of the products, one or five photos of each other one; three draws
    covers    studio pictures, of which a part is cut so that the product fills them, as book covers do: rims like
              those of photos, but no photos; the built-in model, photos of GROCERY/photos/val

*before*: distances as they are. *served*: by `retrieval.calibration.gap`. *1.4*: its largest gap whatever it measures.
With --networks (what benchmarks/open_set.py keeps there) also the networks of the preset ``fast``, without each fold:

    new       all photos of the products that a network learned, a studio picture of each new one
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from open_set import embedded, folds_of_recipe, listed
from PIL import Image
from recipes import fifth

from retrieval.calibration.gap import MOST, measure_gap, scales, studio_part
from retrieval.evaluation.answers import first_by_votes
from retrieval.images.pictures import prepare
from retrieval.images.studio import is_studio
from retrieval.models.encoder import load_encoder
from retrieval.models.installed import read_starter
from trainer.starter.folds import Fold

Rates = dict[str, list[list[float]]]
RULES = ("before", "served", f"{MOST:g}")


class Gallery(NamedTuple):
    """Pictures of products: vectors (n, d), the product of each (n,), and which are from a studio (n,)."""

    vectors: NDArray[np.float32]
    labels: NDArray[np.str_]
    studio: NDArray[np.bool_]

    def firsts(self, probes: NDArray[np.float32]) -> Iterator[tuple[str, float, NDArray[np.str_]]]:
        """The gap that each rule goes by, and the product that it gives each photo."""
        part = studio_part(self.labels, self.studio)
        measured = measure_gap(*self) or 1.0
        for rule, gap in zip(RULES, (1.0, measured, MOST), strict=True):
            found = scales(part, gap)
            factors = None if found is None else np.where(self.studio, *found).astype(np.float32)
            yield rule, gap, first_by_votes(probes, self.vectors, self.labels, factors)


def some_photos(fold: Fold, products: list[str], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    photos = fold.shop.photos
    mine = [rng.permutation(np.flatnonzero(photos.labels == product))[:count] for product in products]
    return np.concatenate(mine).astype(np.int64)


def taught(folds: list[Fold], count: int) -> Rates:
    """The gap, which part of the others is right, which called a taught one, and which part of the taught is right."""
    rates: Rates = {rule: [] for rule in RULES}
    for fold in folds:
        photos, studio = fold.shop.photos, fold.shop.studio
        held_out = sorted(fold.held_out)
        for products in (held_out[::2], held_out[1::2]):
            shown = some_photos(fold, products, count, np.random.default_rng(0))
            gallery = Gallery(
                np.concatenate([studio.vectors, photos.vectors[shown]]),
                np.concatenate([studio.labels, photos.labels[shown]]),
                np.arange(len(studio.labels) + len(shown)) < len(studio.labels),
            )
            asked = np.setdiff1d(np.flatnonzero(np.isin(photos.labels, held_out)), shown)
            truth = photos.labels[asked]
            own = np.isin(truth, products)
            for rule, gap, first in gallery.firsts(photos.vectors[asked]):
                right = first == truth
                rates[rule].append([gap, right[~own].mean(), np.isin(first, products)[~own].mean(), right[own].mean()])
    return rates


def mixed(folds: list[Fold], part: float, count: int) -> Rates:
    """The gap, and which part is right: of all, of products with a studio picture alone, of those with photos."""
    rates: Rates = {rule: [] for rule in RULES}
    for fold in folds:
        photos, studio = fold.shop.photos, fold.shop.studio
        products = np.unique(studio.labels)
        for draw in range(3):
            rng = np.random.default_rng(draw)
            order = rng.permutation(products).tolist()
            bare, rest = order[: round(part * len(order))], order[round(part * len(order)) :]
            shown = some_photos(fold, rest, count, rng)
            rows = np.flatnonzero(np.isin(studio.labels, bare))
            gallery = Gallery(
                np.concatenate([studio.vectors[rows], photos.vectors[shown]]),
                np.concatenate([studio.labels[rows], photos.labels[shown]]),
                np.arange(len(rows) + len(shown)) < len(rows),
            )
            asked = np.setdiff1d(np.flatnonzero(np.isin(photos.labels, sorted(fold.held_out))), shown)
            truth = photos.labels[asked]
            own = np.isin(truth, bare)
            for rule, gap, first in gallery.firsts(photos.vectors[asked]):
                right = first == truth
                halves = [right[own].mean() if own.any() else np.nan, right[~own].mean() if (~own).any() else np.nan]
                rates[rule].append([gap, right.mean(), *halves])
    return rates


def covers(data: Path, part: float) -> Rates:
    """The gap, and which part is right: of all, of products whose picture they fill, of the others."""
    bundle = read_starter()
    encoder = load_encoder(bundle)

    def vector(data: bytes) -> NDArray[np.float32]:
        found: NDArray[np.float32] = encoder.encode(prepare(data, bundle.preprocessing)[np.newaxis])[0]
        return found

    files = sorted((data / "catalog").glob("*/iconic.jpg"))
    products = np.array([file.parent.name for file in files])
    whole = np.stack([vector(file.read_bytes()) for file in files])
    filled = [filling(file) for file in files]
    cut = np.stack([vector(picture) for picture in filled])
    plain = np.array([is_studio(picture) for picture in filled])
    photos = sorted((data / "photos/val").glob("*/*.jpg"))
    truth = np.array([file.parent.name for file in photos])
    probes = np.stack([vector(file.read_bytes()) for file in photos])
    rates: Rates = {rule: [] for rule in RULES}
    for draw in range(5):
        chosen = np.random.default_rng(draw).random(len(products)) < part
        gallery = Gallery(np.where(chosen[:, None], cut, whole), products, ~chosen | plain)
        own = np.isin(truth, products[chosen])
        for rule, gap, first in gallery.firsts(probes):
            right = first == truth
            rates[rule].append([gap, right.mean(), right[own].mean(), right[~own].mean()])
    return rates


def filling(file: Path) -> bytes:
    """A studio picture, cut within its product."""
    with Image.open(file) as picture:
        im = picture.convert("RGB")
    dark = np.asarray(im).min(axis=2) < 235
    rows, columns = np.flatnonzero(dark.mean(axis=1) > 0.02), np.flatnonzero(dark.mean(axis=0) > 0.02)
    height, width = 0.12 * (rows[-1] - rows[0]), 0.12 * (columns[-1] - columns[0])
    left, top = columns[0] + width, rows[0] + height
    found = io.BytesIO()
    im.crop((int(left), int(top), int(columns[-1] - width), int(rows[-1] - height))).save(found, "JPEG", quality=95)
    return found.getvalue()


def new(data: Path, cache: Path) -> Rates:
    """The gap, and which part is right: of all, of new products with a studio picture, of those that were learned."""
    world = listed(data)
    rates: Rates = {rule: [] for rule in RULES}
    for number in range(5):
        photos = world.seen_by(embedded(data, [number], half=False, cache=cache, weights="imagenet"))
        is_new, studio = np.isin(photos.labels, fifth(data, number)), world.part == "studio"
        rows = np.flatnonzero(np.where(is_new, studio, world.part == "train"))
        gallery = Gallery(photos.vectors[rows], photos.labels[rows], studio[rows])
        asked = np.flatnonzero(np.where(is_new, ~studio, world.part == "val"))
        own, truth = is_new[asked], photos.labels[asked]
        for rule, gap, first in gallery.firsts(photos.vectors[asked]):
            right = first == truth
            rates[rule].append([gap, right.mean(), right[own].mean(), right[~own].mean()])
    return rates


def print_rates(gallery: str, rates: Rates) -> None:
    for rule, found in rates.items():
        gap, *shares = np.nanmean(found, axis=0)
        print(f"| {gallery} | {rule} | {gap:.2f} | {' | '.join(f'{share:.3f}' for share in shares)} |")


def print_head(*columns: str) -> None:
    print(f"\n| gallery | rule | gap | {' | '.join(columns)} |\n|{'---|' * (3 + len(columns))}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "itemrec-open-set-cache")
    parser.add_argument("--networks", type=Path, metavar="DIR")
    given = parser.parse_args()
    folds = folds_of_recipe(given.data, given.cache)
    print_head("others: right", "of them called a taught one", "taught: right")
    for count in (1, 5):
        print_rates(f"taught, {count} of each", taught(folds, count))
    print_head("all: right", "studio picture alone", "photos")
    for part in (0.25, 0.5, 0.75):
        for count in (1, 5):
            print_rates(f"mixed, {100 * part:.0f} % studio, {count} of each other", mixed(folds, part, count))
    print_head("all: right", "filled pictures", "others")
    for part in (0.1, 0.3, 0.5, 0.7):
        print_rates(f"covers, {100 * part:.0f} % filled", covers(given.data, part))
    if given.networks is not None:
        print_head("all: right", "new, a studio picture each", "learned, all photos")
        print_rates("new", new(given.data, given.networks))


if __name__ == "__main__":
    main()

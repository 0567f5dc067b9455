"""Where a shop's own training should begin: at ImageNet's weights, at the built-in model's, or not at all.

    python benchmarks/train_start.py GROCERY --folds 2,3,4 --photos 2,5,20

Each fold of the products of GROCERY plays a shop: three quarters of its products have a few photos of ``photos/train``
to learn from, the others come after training ("new"). Beside training stands the model as it is, and `itemrec train
--model`, which learns on top of it. "The built-in model" is its recipe trained without that fold (`make
starter-model`; what is in the cache is used again): the shipped one has seen all of these products.

The other photos of the shop's products are looked for, in galleries of all its products: the few photos of each, or
the studio picture of each. A cell is the share whose nearest picture shows their product, mean of the folds.
"""

from __future__ import annotations

import argparse
import glob
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from retrieval.errors import UsageError
from retrieval.evaluation import Photos, gather_folder
from retrieval.metrics import identification
from retrieval.models.bundle import Bundle
from trainer.cache import cache_home
from trainer.progress import Silent
from trainer.starter.first_day import fold

NEW = 4
"""Every fourth product of a shop comes after its training."""


def shop(grocery: Path, products: list[str], photos: int, folder: Path) -> tuple[list[str], list[str]]:
    """Lay out a shop: ``gallery`` and ``probes`` of all its products, ``data`` of those that are trained on."""
    new = products[::NEW]
    rng = np.random.default_rng(0)
    for product in products:
        files = sorted((grocery / "photos/train" / product).iterdir())
        chosen = {files[i] for i in rng.permutation(len(files))[:photos]}
        val = sorted((grocery / "photos/val").glob(f"{glob.escape(product)}/*"))
        places = [("gallery" if file in chosen else "probes", file) for file in files] + [("probes", f) for f in val]
        if product not in new:
            places += [("data/train", file) for file in chosen]
        for place, file in places:
            copy = folder / place / product / f"{file.parent.parent.name}-{file.name}"
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)
        shutil.copytree(grocery / "catalog" / product, folder / "studio" / product)
        if product not in new:
            shutil.copytree(grocery / "catalog" / product, folder / "data-studio" / product)
    return [product for product in products if product not in new], new


def ways(folder: Path, built_in: Bundle, chosen: list[str]) -> Iterator[tuple[str, Bundle]]:
    """Every way to a model of this shop."""
    from trainer.train import train

    common = {"catalog": folder / "data-studio", "hold_out": 0.0}
    for name in chosen:
        out = folder / name.replace(" ", "-")
        if name == "as it is":
            yield name, built_in
        elif name == "on top":
            try:
                yield name, train(folder / "data", out, model=built_in.path, **common).model.bundle  # type: ignore[arg-type]
            except UsageError as error:  # too few photos to learn on top of
                print(f"on top: {error}", file=sys.stderr)
        elif name == "from imagenet":
            yield name, train(folder / "data", out, preset="fast", weights="imagenet", **common).model.bundle  # type: ignore[arg-type]
        else:
            yield name, train(folder / "data", out, preset="fast", weights=built_in.path, **common).model.bundle  # type: ignore[arg-type]


def score(bundle: Bundle, folder: Path, known: list[str], new: list[str]) -> list[float]:
    probes = gather_folder(folder / "probes", bundle)
    found = []
    for gallery in ("gallery", "studio"):
        pictures = gather_folder(folder / gallery, bundle)
        found += [first(probes, pictures, known), first(probes, pictures, new)]
    return found


def first(probes: Photos, gallery: Photos, products: list[str]) -> float:
    asked = np.isin(probes.labels, products)
    return float(identification(probes.vectors[asked], probes.labels[asked], gallery.vectors, gallery.labels).top1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--folds", default="2,3,4")
    parser.add_argument("--photos", default="2,5,20")
    parser.add_argument("--ways", default="as it is,on top,from imagenet,from the built-in")
    parser.add_argument("--cache", type=Path, default=cache_home("starter"), help="of the recipe's trainings")
    given = parser.parse_args()
    from trainer.quiet import import_keras

    import_keras()
    from trainer.starter.make import Maker

    maker = Maker.open(given.data, given.cache, Silent())
    rows: dict[tuple[int, str], list[list[float]]] = {}
    with tempfile.TemporaryDirectory(prefix="itemrec-start-") as name:
        for number in map(int, given.folds.split(",")):
            products = list(fold(maker.real.photos.products, number))
            built_in = maker.fold_bundle(number)
            for photos in map(int, given.photos.split(",")):
                folder = Path(name) / f"{number}-{photos}"
                known, new = shop(given.data.absolute(), products, photos, folder)
                for way, bundle in ways(folder, built_in, given.ways.split(",")):
                    rows.setdefault((photos, way), []).append(score(bundle, folder, known, new))
                    print(number, photos, way, rows[photos, way][-1], file=sys.stderr, flush=True)
    print("| photos a product | way | few photos each: known | new | studio picture each: known | new |")
    print("|---|---|---|---|---|---|")
    for (photos, way), found in rows.items():
        cells = " | ".join(f"{value:.3f}".lstrip("0") for value in np.mean(found, axis=0))
        print(f"| {photos} | {way} | {cells} |")


if __name__ == "__main__":
    main()

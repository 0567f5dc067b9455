"""What models answer on a user's first day: photos of products that no training saw, against studio pictures or photos.

    python benchmarks/first_day.py GROCERY --models recipe,frozen

GROCERY holds ``photos/train``, ``photos/val`` and ``catalog``, folders of product folders. The products are dealt into
five folds. Photos of ``photos/val`` are looked for; each cell is the share whose product is that of the nearest picture
/ the share whose product is among the five nearest, mean of the folds. The galleries: the studio picture of every
product, or of the fold's alone, and five photos of ``photos/train`` of each, drawn five times.

With --served the products are in the order in which queries rank them, by votes: the first, and the five first.

A model is ``recipe``, how the built-in model is made, trained anew without each fold (an hour and more; what is in the
cache is used again): the built-in one itself has seen all of these products. Or ``frozen``, EfficientNet-Lite0 with
ImageNet's weights at 256 pixels, its pooled features. Or the name of an installed model, or a bundle, which must not
have learned from these photos.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from retrieval.evaluation import gather_folder
from retrieval.models.installed import STARTER, find_model
from trainer.cache import cache_home
from trainer.data.dataset import read_pictures
from trainer.progress import Silent
from trainer.starter.first_day import Embedded, Shop, first_day, fold, mean_of, table

PARTS = ("photos/train", "photos/val", "catalog")
SIZE = 256


def by_bundle(data: Path, model: str) -> Shop:
    bundle = find_model(model)
    found = [gather_folder(data / part, bundle) for part in PARTS]
    return Shop(*(Embedded(photos.vectors, np.asarray(photos.labels)) for photos in found))


def by_frozen(data: Path) -> Shop:
    from trainer.networks.assemble import NetworkSpec, assemble
    from trainer.networks.projections import unit_rows

    network = assemble(NetworkSpec(size=SIZE, freeze="all"))
    parts = []
    for part in PARTS:
        pictures = read_pictures(data / part)
        vectors = [
            network.stem.predict_on_batch(network.preprocessing.tensor(pictures.pixels(network.preprocessing, rows)))
            for rows in (range(i, min(i + 32, len(pictures))) for i in range(0, len(pictures), 32))
        ]
        parts.append(Embedded(unit_rows(np.concatenate(vectors)), np.array(pictures.products)[pictures.labels]))
    return Shop(*parts)


def by_recipe(data: Path, cache: Path, folds: list[int], *, served: bool) -> dict[str, str]:
    from trainer.quiet import import_keras

    import_keras()
    from trainer.starter.make import Maker

    maker = Maker.open(data, cache, Silent())
    tried = [maker.fold(number) for number in folds]
    return mean_of([first_day(one.shop, one.held_out, served=served) for one in tried])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", default="recipe,frozen", help="recipe, frozen, installed models, bundles")
    parser.add_argument("--folds", default="0,1,2,3,4")
    parser.add_argument("--served", action="store_true", help="rank products by votes, as queries do")
    parser.add_argument("--cache", type=Path, default=cache_home("starter"), help="of the recipe's trainings")
    given = parser.parse_args()
    folds = [int(number) for number in given.folds.split(",")]
    if STARTER in given.models.split(","):
        parser.error("the built-in model has seen all of these products: --models recipe")
    rows = []
    for model in given.models.split(","):
        print(model, file=sys.stderr, flush=True)
        if model == "recipe":
            rows.append((model, by_recipe(given.data, given.cache, folds, served=given.served)))
            continue
        shop = by_frozen(given.data) if model == "frozen" else by_bundle(given.data, model)
        products = np.unique(shop.photos.labels).tolist()
        rows.append(
            (model, mean_of([first_day(shop, fold(products, number), served=given.served) for number in folds]))
        )
    print(table(rows))


if __name__ == "__main__":
    main()

"""What the built-in model learns from: a shop's photos and studio pictures, and drawn products beside them."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainer.data.dataset import Pictures, read_pictures
from trainer.material import Mixture, TrainingData
from trainer.progress import TrainingProgress
from trainer.starter import recipe
from trainer.starter.drawings import draw

PARTS = ("photos/train", "photos/val", "catalog")
"""Folders of product folders in a folder of real photos: to learn from, to look for, and studio pictures."""


@dataclass(frozen=True, slots=True, eq=False)
class RealPhotos:
    """Real pictures of a shop's products.

    Attributes:
        photos: what galleries of photos are drawn from.
        asked: other photos, which are looked for.
        studio: catalog pictures.
        categories: of each product that the catalog's table names: near twins share one.
    """

    photos: Pictures
    asked: Pictures
    studio: Pictures
    categories: Mapping[str, str]


def read_real(grocery: Path, progress: TrainingProgress) -> RealPhotos:
    """Read the folders of `PARTS`.

    Raises:
        CatalogError: one of them is not there.
    """
    photos, asked, studio = (
        read_pictures(grocery / part, progress=progress, stage=f"Reading {part}") for part in PARTS
    )
    table = grocery / "catalog" / "products.csv"
    categories: dict[str, str] = {}
    if table.is_file():
        with table.open(encoding="utf-8", newline="") as stream:
            categories = {row["product_id"]: row.get("category") or "" for row in csv.DictReader(stream)}
    return RealPhotos(photos, asked, studio, categories)


def mix(real: RealPhotos, cache: Path, progress: TrainingProgress) -> TrainingData:
    """Everything that the shipped model learns from; drawings are drawn where they are not in the cache yet."""
    drawn = read_pictures(draw(recipe.DRAWN, cache, progress=progress), progress=progress, stage="Reading drawings")
    photos, asked, studio = real.photos, real.asked, real.studio
    pictures = photos.joined(asked).joined(studio).joined(drawn)
    repeats = np.ones(len(pictures), np.int64)
    first = len(photos) + len(asked)
    repeats[first : first + len(studio)] = recipe.PLAN.studio_repeats
    return TrainingData(
        pictures,
        repeats,
        validation=None,
        held_out=(),
        refused=pictures.refused,
        mixture=Mixture(
            reserved=frozenset(photos.products) | frozenset(asked.products) | frozenset(studio.products),
            share=recipe.SHARE,
            families={**recipe.DRAWN.families(), **real.categories},
            twin_share=recipe.TWIN_SHARE,
            views=recipe.DRAWN_VIEWS,
        ),
    )

"""What a user meets on the first day: which product a photo shows, of products that no training saw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.evaluation.answers import ranks_by_votes

FOLDS = 5
"""Products are dealt into so many folds, each held out once."""

SHOTS = 5
_DRAWS = 5
_SHOWN = 5

GALLERIES = (
    "one studio picture each, all products",
    "one studio picture each, the fold alone",
    f"{SHOTS} photos each, all products",
    f"{SHOTS} photos each, the fold alone",
)
"""What photos of a fold's products are compared with."""


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """Embeddings of labeled pictures.

    Attributes:
        vectors: unit vectors, shape (n, d).
        labels: the product of each, shape (n,).
    """

    vectors: NDArray[np.float32]
    labels: NDArray[np.str_]

    def only(self, which: NDArray[np.bool_]) -> Embedded:
        """Some of them, by a mask, shape (n,)."""
        return Embedded(self.vectors[which], self.labels[which])

    def joined(self, other: Embedded) -> Embedded:
        """These and then the others."""
        return Embedded(np.concatenate([self.vectors, other.vectors]), np.concatenate([self.labels, other.labels]))

    def of(self, products: Sequence[str]) -> Embedded:
        """Those of some products."""
        return self.only(np.isin(self.labels, list(products)))


@dataclass(frozen=True, slots=True, eq=False)
class Shop:
    """Pictures of a shop's products.

    Attributes:
        photos: what galleries of photos are drawn from.
        asked: other photos, which are looked for.
        studio: catalog pictures.
    """

    photos: Embedded
    asked: Embedded
    studio: Embedded


@dataclass(frozen=True, slots=True)
class Hits:
    """How many photos found their product.

    Attributes:
        first: their product is that of the nearest picture.
        shown: it is among the five nearest products.
        asked: photos; a photo counts once for each gallery that it was tried with.
    """

    first: int
    shown: int
    asked: int

    def __add__(self, other: Hits) -> Hits:
        return Hits(self.first + other.first, self.shown + other.shown, self.asked + other.asked)

    def __str__(self) -> str:
        return f"{_share(self.first / self.asked)} / {_share(self.shown / self.asked)}"


def fold(products: Sequence[str], number: int) -> tuple[str, ...]:
    """The products of a fold, 0 to `FOLDS` - 1: a fifth of them, dealt at random and always the same."""
    names = sorted(products)
    order = np.random.default_rng(0).permutation(len(names))
    return tuple(names[i] for i in order[number::FOLDS])


def first_day(shop: Shop, held_out: Sequence[str], *, served: bool = False) -> dict[str, Hits]:
    """The photos of held-out products against each of `GALLERIES`.

    Galleries of photos are drawn several times, and all of them count.

    Args:
        shop: embedded by a model that has not seen the held-out products.
        held_out: products of a fold.
        served: rank products as queries do, by votes, instead of by the nearest picture, which compares networks.
    """
    asked = shop.asked.of(held_out)
    drawn = [few_photos(shop.photos, draw) for draw in range(_DRAWS)]
    galleries = (
        [shop.studio],
        [shop.studio.of(held_out)],
        drawn,
        [some.of(held_out) for some in drawn],
    )
    return {
        name: sum((_find(asked, gallery, served) for gallery in several), Hits(0, 0, 0))
        for name, several in zip(GALLERIES, galleries, strict=True)
    }


def mean_of(folds: Sequence[dict[str, Hits]]) -> dict[str, str]:
    """Means of the folds' rates, as the tables have them: found first / among five shown."""

    def mean(name: str) -> str:
        first = float(np.mean([hits[name].first / hits[name].asked for hits in folds]))
        shown = float(np.mean([hits[name].shown / hits[name].asked for hits in folds]))
        return f"{_share(first)} / {_share(shown)}"

    return {name: mean(name) for name in GALLERIES}


def table(rows: Sequence[tuple[str, dict[str, str]]]) -> str:
    """Rows of `mean_of` as a Markdown table, a name before each."""
    lines = ["| model | " + " | ".join(GALLERIES) + " |", "|---" * (1 + len(GALLERIES)) + "|"]
    lines += [f"| {name} | " + " | ".join(row[gallery] for gallery in GALLERIES) + " |" for name, row in rows]
    return "\n".join(lines)


def few_photos(photos: Embedded, draw: int) -> Embedded:
    """`SHOTS` photos of each product; others for another draw, from 0."""
    rng = np.random.default_rng(draw)
    chosen = np.zeros(len(photos.labels), bool)
    for product in np.unique(photos.labels):
        chosen[rng.permutation(np.flatnonzero(photos.labels == product))[:SHOTS]] = True
    return photos.only(chosen)


def _find(asked: Embedded, gallery: Embedded, served: bool) -> Hits:
    if served:
        ranks = ranks_by_votes(asked, gallery)
        return Hits(int((ranks == 1).sum()), int(((ranks >= 1) & (ranks <= _SHOWN)).sum()), len(ranks))
    names, owner = np.unique(gallery.labels, return_inverse=True)
    similar = asked.vectors @ gallery.vectors.T
    best = np.stack([similar[:, owner == i].max(axis=1) for i in range(len(names))], axis=1)  # (n, products)
    shown = names[np.argsort(-best, axis=1)[:, :_SHOWN]] == asked.labels[:, None]
    return Hits(int(shown[:, 0].sum()), int(shown.any(axis=1).sum()), len(asked.labels))


def _share(rate: float) -> str:
    return f"{rate:.2f}".lstrip("0") if rate < 1 else f"{rate:.2f}"

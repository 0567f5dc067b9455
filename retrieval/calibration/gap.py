"""Pure: how much nearer photos lie to photos than to studio pictures, and what distances are multiplied by for it.

Where some products of a catalog have photos and others studio pictures alone, the photos win each other's queries: a
photo of anything lies nearer to a photo than to a studio picture of the very product. So distances of photos count for
more there, those of studio pictures for less::

    photo:   d * gap^s            s   the part of the catalog that studio pictures are, see `studio_part`
    studio:  d * gap^(s - 1)      gap what `measure_gap` says, 1 to `MOST`

A catalog of one kind is left as it is, and the rarer kind is brought to the scale of the other one, which thresholds
and probabilities were fitted to.

What kind a picture is, is guessed from its rim, and book covers have rims like photos. So the gap is measured in the
catalog itself, by its own model: how much farther pictures of two kinds lie apart than pictures of one do. Where the
guess says nothing, they do not, and where training closed the gap, neither. Chosen by measurement:
docs/decisions/0029-two-kinds-of-pictures.md, printed by ``python benchmarks/two_kinds.py``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.distance import squared_l2
from retrieval.types import PictureKind

MOST = 1.4
"""Largest gap: more takes more from products with photos than it gives the others."""
POWER = 1.5
"""The gap is measured by pictures of other products; a product's own lie nearer, where it is wider."""
LEAST_PRODUCTS = 20
"""Products of one kind that a gap can be measured among."""
_NEAR = 0.02
"""Only pictures that are about as near as a wrong answer tell: this quantile of distances to other products."""
_UNSURE = 2
"""Products of the rarer kind of which the gap is half believed: one picture alone may lie anywhere."""
_ASKED, _GALLERY = 100, 400


class Scales(NamedTuple):
    """What distances (squared L2) to pictures are multiplied by.

    Attributes:
        studio: of studio pictures, 1 at most.
        photo: of photos, 1 at least.
    """

    studio: float
    photo: float

    def of(self, kind: PictureKind | None) -> float:
        """What holds for a picture; 1 where nobody looked at it."""
        return 1.0 if kind is None else self.studio if kind == "studio" else self.photo


def scales(studio: float | None, gap: float | None) -> Scales | None:
    """What holds in a gallery; None where distances are left as they are.

    Args:
        studio: the part of it that studio pictures are, in [0, 1]; None where nobody looked.
        gap: see `measure_gap`; None likewise.

    >>> scales(0.5, 1.21)
    Scales(studio=0.9090909090909091, photo=1.1)
    """
    if studio is None or gap is None or gap <= 1.0:
        return None
    most = min(gap, MOST)
    return Scales(most ** (studio - 1.0), most**studio)


def studio_part(products: NDArray[np.str_], studio: NDArray[np.bool_]) -> float | None:
    """The part of a gallery that studio pictures are, the mean over its products, in [0, 1]; None of no pictures.

    Args:
        products: of each of its pictures, shape (n,).
        studio: which are from a studio, shape (n,).
    """
    if not len(products):
        return None
    _, of = np.unique(products, return_inverse=True)
    return float((np.bincount(of, weights=studio) / np.bincount(of)).mean())


def measure_gap(vectors: NDArray[np.float32], products: NDArray[np.str_], studio: NDArray[np.bool_]) -> float | None:
    """How much nearer photos lie to photos than to studio pictures in a gallery, 1 to `MOST`; None where too few tell.

    The rarer kind may be a single picture. Where there are enough of it, the smaller of both directions counts: what
    lies in a cloud of its own, and is not nearer to other pictures than those are to each other, is another kind of
    product and no other kind of picture.

    Args:
        vectors: unit vectors of some pictures, evenly drawn, shape (n, d).
        products: of each, shape (n,).
        studio: which are from a studio, shape (n,).
    """
    one, other = np.flatnonzero(studio), np.flatnonzero(~studio)
    counts = [len(np.unique(products[rows])) for rows in (one, other)]
    if min(counts) == 0 or max(counts) < LEAST_PRODUCTS:
        return None
    rng = np.random.default_rng(0)
    rare, usual = (
        rng.permutation(rows)[:_GALLERY] for rows in ((one, other) if counts[0] < counts[1] else (other, one))
    )

    def near(asked: NDArray[np.int64], gallery: NDArray[np.int64]) -> float:
        asked = asked[:_ASKED]
        distances = squared_l2(vectors[asked], vectors[gallery]).astype(np.float64)
        distances[products[asked][:, None] == products[gallery][None, :]] = np.nan
        return float(np.nanmedian(np.nanquantile(distances, _NEAR, axis=1)))

    found = [near(rare, usual) / near(usual, usual)]
    if min(counts) >= LEAST_PRODUCTS:
        both = min(len(rare), len(usual))
        found.append(near(usual[:both], rare[:both]) / near(rare[:both], rare[:both]))
    ratio = min(found)
    sure = min(counts) / (min(counts) + _UNSURE)
    return float(np.clip(ratio ** (POWER * sure), 1.0, MOST)) if np.isfinite(ratio) else None

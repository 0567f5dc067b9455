"""Strangers that no training saw: which products a training without some of them leaves out.

A product that was trained on, left out of the gallery, is refused far more often than one that training never saw:
the network has been told how it differs from all others (docs/decisions/0016-held-out-products.md). What users
photograph that is not in the catalog was not in training either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.calibration.support import LEAST_PRODUCTS

FEWEST_PRODUCTS = 2 * LEAST_PRODUCTS
"""With fewer, leaving out as many as an interval needs would leave too little to learn."""


@dataclass(frozen=True, slots=True, eq=False)
class Unseen:
    """What a training without some products makes of pictures.

    Attributes:
        products: that it did not see.
        known: its embeddings (d,) of the training pictures, those products' too, by their SHA-256. They can be
            compared with each other alone.
    """

    products: frozenset[str]
    known: Mapping[str, NDArray[np.float32]]


def left_out(products: Sequence[str], share: float, seed: int) -> tuple[str, ...]:
    """Which products act as strangers: at random, since those in the field are near twins as often as chance has it.

    Args:
        products: that have photos.
        share: of them that are left out, in (0, 0.5]; `LEAST_PRODUCTS` at least.
        seed: of the run.

    Returns:
        Their names, sorted; none where there are fewer than `FEWEST_PRODUCTS`.
    """
    if len(products) < FEWEST_PRODUCTS:
        return ()
    count = max(LEAST_PRODUCTS, round(share * len(products)))
    chosen = np.random.default_rng([seed, len(products)]).permutation(len(products))[:count]
    return tuple(sorted(sorted(products)[i] for i in chosen))

"""Held-out products: which ones a training does without, to find out what unknown products are taken for.

A product that was trained on and left out of the gallery, a leave-one-out unknown, is rejected far more often than one
that training never saw: the network has been told how it differs from all others
(docs/decisions/0016-held-out-products.md). What users photograph that is not in the catalog was not in training either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from retrieval.calibration.support import LEAST_PRODUCTS
from retrieval.evaluation import Photos

FEWEST_PRODUCTS = 2 * LEAST_PRODUCTS
"""With fewer, leaving out as many as an interval needs would leave too little to learn."""


@dataclass(frozen=True, slots=True, eq=False)
class HeldOutEmbeddings:
    """What a training without the held-out products makes of pictures.

    Attributes:
        products: that it did not see.
        embeddings: (d,) of the training pictures and of val's photos, the held-out products' too, by their SHA-256.
            They can be compared with each other alone.
    """

    products: frozenset[str]
    embeddings: Mapping[str, NDArray[np.float32]]

    def of(self, photos: Photos) -> tuple[Photos, NDArray[np.int64]]:
        """The photos that it has, as it embeds them, and which rows those were."""
        rows = np.array([i for i, name in enumerate(photos.content_hashes) if name in self.embeddings], np.int64)
        kept = photos.only(rows)
        vectors = [self.embeddings[name] for name in kept.content_hashes]
        return replace(kept, vectors=np.stack(vectors)) if vectors else kept, rows


def choose_held_out(products: Sequence[str], share: float, times: int, seed: int) -> tuple[tuple[str, ...], ...]:
    """Which products are held out: at random, since unknown ones resemble known ones as often as chance has it.

    Args:
        products: that have photos.
        share: of them that are held out each time, in (0, 0.5]; `LEAST_PRODUCTS` at least.
        times: how often, as far as there are products that were not held out before.
        seed: of the run.

    Returns:
        Their names for each time, sorted; none where there are fewer than `FEWEST_PRODUCTS`.
    """
    if len(products) < FEWEST_PRODUCTS:
        return ()
    count = max(LEAST_PRODUCTS, round(share * len(products)))
    order = np.random.default_rng([seed, len(products)]).permutation(len(products)).tolist()
    names = sorted(products)
    times = min(times, len(products) // count)
    return tuple(tuple(sorted(names[i] for i in order[t * count : (t + 1) * count])) for t in range(times))

"""What a network in training does on photos that it does not learn from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from retrieval.distance import squared_l2
from retrieval.errors import ItemrecError
from retrieval.metrics import pair_rates
from trainer.data.dataset import Pictures
from trainer.networks.assemble import Network, in_batches
from trainer.progress import TrainingProgress
from trainer.sources import Source

_MOST = 2_000
"""Photos to validate on: all their pairs are compared after each epoch."""


def can_validate(pictures: Pictures) -> bool:
    """Whether they hold two photos of one product, and two products."""
    return int(np.bincount(pictures.labels).max()) >= 2 and len(pictures.products) >= 2


def validator(
    source: Source, network: Network, pictures: Pictures | None, progress: TrainingProgress
) -> Callable[[Any], tuple[float, float]] | None:
    """A function that measures the network: (VAL at FAR 1 %, share of photos whose nearest other is of their product).

    None without photos, or where `can_validate` says no.
    """
    if pictures is None:
        return None
    pictures = pictures.only(pictures.spread(_MOST))
    if not can_validate(pictures):
        return None
    labels = pictures.labels
    inputs = source.inputs(pictures, progress)
    paired = np.bincount(labels)[labels] >= 2

    def measure(network: Any) -> tuple[float, float]:
        vectors = in_batches(network, (inputs[i : i + 64] for i in range(0, len(inputs), 64)))
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not (np.isfinite(norms).all() and norms.min() > 0.0):
            raise ItemrecError(
                "expected embeddings that point somewhere, received some of length 0 or not finite",
                hint="The backbone's weights may not be what they say; or lower the learning rate.",
            )
        vectors /= norms
        rates = pair_rates(vectors, labels, thresholds=(), far_targets=(0.01,))
        at = rates.at_far[0]
        distances = squared_l2(vectors, vectors)
        np.fill_diagonal(distances, np.inf)
        right = labels[distances.argmin(axis=1)] == labels
        return at.accepted_same / at.same, float(right[paired].mean())

    return measure

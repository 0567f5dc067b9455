"""Triplet losses: an anchor shall be nearer to its own product than to another, by a margin.

``max(0, d(anchor, positive) - d(anchor, negative) + margin)`` with squared L2 distances
(Schroff et al. 2015); what differs is which triplets of a batch are taken.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from trainer.losses.pairs import FAR_AWAY, LossFunction, Tensor, same_product, squared_distances


def triplet_random(margin: float = 0.2, seed: int | None = None) -> LossFunction:
    """For each anchor one positive and one negative of the batch, drawn at random."""
    draws: Any = keras.random.SeedGenerator(seed)

    def loss(labels: Tensor, embeddings: Tensor) -> Tensor:
        positive, negative = same_product(labels)  # (n, n) each
        distances = squared_distances(embeddings)  # (n, n)
        lots = keras.random.uniform(ops.shape(distances), 0.5, 1.0, seed=draws)  # (n, n)
        drawn_positive = ops.argmax(lots * positive, axis=1)[:, None]  # (n, 1)
        drawn_negative = ops.argmax(lots * negative, axis=1)[:, None]  # (n, 1)
        to_positive = ops.take_along_axis(distances, drawn_positive, axis=1)[:, 0]  # (n,)
        to_negative = ops.take_along_axis(distances, drawn_negative, axis=1)[:, 0]  # (n,)
        hinge = ops.relu(to_positive - to_negative + margin)
        return hinge * ops.max(positive, axis=1) * ops.max(negative, axis=1)

    return loss


def triplet_batch_hard(margin: float = 0.2, soft: bool = False) -> LossFunction:
    """For each anchor its farthest positive and its nearest negative (Hermans et al. 2017).

    Args:
        margin: of the hinge; ignored by the soft margin.
        soft: ``log(1 + exp(x))`` in place of the hinge, which goes on pulling past the margin.
    """

    def loss(labels: Tensor, embeddings: Tensor) -> Tensor:
        positive, negative = same_product(labels)  # (n, n) each
        distances = squared_distances(embeddings)  # (n, n)
        hardest_positive = ops.max(distances * positive, axis=1)  # (n,)
        hardest_negative = ops.min(distances + (1.0 - negative) * FAR_AWAY, axis=1)  # (n,)
        gap = hardest_positive - hardest_negative
        violation = ops.softplus(gap) if soft else ops.relu(gap + margin)
        usable = ops.max(positive, axis=1) * ops.max(negative, axis=1)
        return ops.where(usable > 0.0, violation, 0.0)

    return loss


def triplet_semi_hard(margin: float = 0.2) -> LossFunction:
    """For each anchor and positive the nearest negative that is farther than the positive.

    Where no negative is farther, the farthest one there is. An anchor's loss is the mean
    over its positives. Memory: (n, n, n) floats.
    """

    def loss(labels: Tensor, embeddings: Tensor) -> Tensor:
        positive, negative = same_product(labels)  # (n, n) each
        distances = squared_distances(embeddings)  # (n, n)
        to_positive = distances[:, :, None]  # (anchor, positive, 1)
        to_negative = distances[:, None, :]  # (anchor, 1, negative)
        farther = ops.cast(to_negative > to_positive, "float32") * negative[:, None, :]  # (n, n, n)
        nearest_farther = ops.min(to_negative + (1.0 - farther) * FAR_AWAY, axis=2)  # (n, n)
        farthest = ops.max(distances * negative, axis=1)[:, None]  # (n, 1)
        chosen = ops.where(ops.max(farther, axis=2) > 0.0, nearest_farther, farthest)  # (n, n)
        hinge = ops.relu(distances - chosen + margin) * positive  # (n, n)
        mean = ops.sum(hinge, axis=1) / ops.maximum(ops.sum(positive, axis=1), 1.0)
        return mean * ops.max(negative, axis=1)

    return loss

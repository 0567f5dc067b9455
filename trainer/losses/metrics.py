"""What is logged beside every loss: how far products are from themselves and from others, and how spread out."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from trainer.losses.batch_pairs import (
    LossFunction,
    Tensor,
    anchor_negative,
    anchor_positive,
    embedding_spread,
    same_product,
)
from trainer.losses.triplet import active_triplets


def pair_metrics(margin: float = 0.2) -> list[Any]:
    """Metrics for ``compile(metrics={"embeddings": pair_metrics()})``: what `CollapseMonitor` reads.

    Their names are ``anchor_positive``, ``anchor_negative``, ``active_triplets`` and
    ``embedding_spread``; each is the mean over the anchors that have what it compares, so in
    random batches, where few have a positive, it is not diluted by those that have none.

    Args:
        margin: that active triplets break; the loss's own, if it has one.
    """
    return [
        AnchorMean(anchor_positive, "anchor_positive", positive=True),
        AnchorMean(anchor_negative, "anchor_negative", negative=True),
        AnchorMean(active_triplets(margin), "active_triplets", positive=True, negative=True),
        AnchorMean(embedding_spread, "embedding_spread"),
    ]


class AnchorMean(keras.metrics.Mean):  # type: ignore[misc]  # Keras has no types
    """The mean of a statistic over anchors that have a positive, a negative, both, or over all."""

    def __init__(self, statistic: LossFunction, name: str, *, positive: bool = False, negative: bool = False) -> None:
        super().__init__(name=name)
        self._statistic = statistic
        self._needs = (positive, negative)

    def update_state(self, labels: Tensor, embeddings: Tensor, sample_weight: Tensor | None = None) -> Any:
        """Add a batch: labels (n,) or (n, 1), embeddings (n, d), optional weights (n,)."""
        weights = ops.ones_like(embeddings[:, 0]) if sample_weight is None else sample_weight
        for needed, mask in zip(self._needs, same_product(labels), strict=True):
            if needed:
                weights = weights * ops.max(mask, axis=1)
        return super().update_state(self._statistic(labels, embeddings), sample_weight=weights)

"""What every loss starts from: the distances in a batch, and which pairs are of one product."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

Tensor = Any
"""A tensor of the running Keras backend; shapes are given where it is used."""

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""``loss(labels, outputs)`` -> one value per row, shape (n,)."""

FAR_AWAY = 1e9
"""Stands for "not a candidate" in a minimum; large enough for any squared distance, finite for gradients."""


def squared_distances(embeddings: Tensor) -> Tensor:
    """Squared L2 between all rows: ``|a|² + |b|² - 2ab``, never below 0.

    There is no square root in it, so its gradient is finite where two rows coincide. Rows are
    measured from their mean: distances and gradients stay what they are, and rows far from
    the origin (embeddings that are not normalized) lose no digits to what they have in common.

    Args:
        embeddings: shape (n, d); unit vectors or not.

    Returns:
        shape (n, n); for unit vectors in [0, 4].
    """
    rows = embeddings - ops.stop_gradient(ops.mean(embeddings, axis=0, keepdims=True))  # (n, d)
    squares = ops.sum(ops.square(rows), axis=1)  # (n,)
    products = ops.matmul(rows, ops.transpose(rows))  # (n, n)
    return ops.maximum(squares[:, None] + squares[None, :] - 2.0 * products, 0.0)


def same_product(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Masks of positive pairs (same product, not the picture itself) and of negative pairs.

    Args:
        labels: integer products, shape (n,) or (n, 1).

    Returns:
        Two float32 masks, shape (n, n).
    """
    flat = ops.reshape(labels, (-1,))
    same = ops.cast(ops.equal(flat[:, None], flat[None, :]), "float32")
    itself = ops.eye(ops.shape(flat)[0], dtype="float32")
    return same - itself, 1.0 - same


def over_usable(losses: Tensor, usable: Tensor) -> Tensor:
    """Rows whose plain mean, which Keras takes, is the mean over the usable anchors alone.

    So a loss means the same in batches of any make: where a third of the anchors have a
    positive, a collapsed hinge still is its margin and not a third of it.

    Args:
        losses: one per anchor, shape (n,).
        usable: above 0 where the anchor has what the loss compares, shape (n,).

    Returns:
        shape (n,): 0 where not usable, else the loss times n / number of usable anchors.
    """
    mask = ops.cast(usable > 0.0, losses.dtype)  # (n,)
    return ops.where(usable > 0.0, losses, 0.0) / ops.maximum(ops.mean(mask), 1e-9)


def _mean_per_anchor(distances: Tensor, mask: Tensor) -> Tensor:
    return ops.sum(distances * mask, axis=1) / ops.maximum(ops.sum(mask, axis=1), 1.0)


def anchor_positive(labels: Tensor, embeddings: Tensor) -> Tensor:
    """Mean squared L2 from each anchor to the other pictures of its product, shape (n,)."""
    positive, _ = same_product(labels)
    return _mean_per_anchor(squared_distances(embeddings), positive)


def anchor_negative(labels: Tensor, embeddings: Tensor) -> Tensor:
    """Mean squared L2 from each anchor to the pictures of other products, shape (n,)."""
    _, negative = same_product(labels)
    return _mean_per_anchor(squared_distances(embeddings), negative)


def embedding_spread(labels: Tensor, embeddings: Tensor) -> Tensor:
    """Total variance of the batch: mean squared L2 to the batch's mean, repeated to shape (n,).

    1 for unit vectors in all directions, 0 when every picture has one embedding (collapse).
    """
    center = ops.mean(embeddings, axis=0, keepdims=True)
    return ops.sum(ops.square(embeddings - center), axis=1)

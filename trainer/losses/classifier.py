"""Normalized softmax (Zhai & Wu 2019): one learned unit vector per product, softmax over cosines."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from trainer.losses.batch_pairs import LossFunction, Tensor


def cosine_classifier(products: int, name: str = "cosines") -> Any:
    """A layer from unit embeddings, shape (n, d), to the cosine with each product, shape (n, products).

    Its columns are put back to unit length after every step, so a product cannot win by a long vector.
    """
    unit_columns = keras.constraints.UnitNorm(axis=0)
    return keras.layers.Dense(products, use_bias=False, kernel_constraint=unit_columns, name=name)


def normalized_softmax(temperature: float = 0.05) -> LossFunction:
    """Cross-entropy over ``cosines / temperature``.

    The returned loss takes labels, shape (n,) or (n, 1), and the cosines of
    `cosine_classifier`, shape (n, products).
    """

    def loss(labels: Tensor, cosines: Tensor) -> Tensor:
        flat = ops.cast(ops.reshape(labels, (-1, 1)), "int32")  # (n, 1)
        logits = cosines / temperature  # (n, products)
        own = ops.take_along_axis(logits, flat, axis=1)[:, 0]  # (n,)
        return ops.logsumexp(logits, axis=1) - own

    return loss

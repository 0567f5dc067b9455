"""ArcFace (Deng et al. 2019): normalized softmax that asks for an angle to spare."""

from __future__ import annotations

import math

from keras import ops

from trainer.losses.batch_pairs import LossFunction, Tensor

_LEAST_SQUARED_SINE = 1e-6
"""Below it the slope of the sine, infinite where picture and product coincide, is cut to 0."""


def arcface(margin: float = 0.5, scale: float = 64.0) -> LossFunction:
    """Cross-entropy over ``scale * cosines``, where the own product's is ``cos(angle + margin)``.

    Beyond an angle of ``pi - margin`` that would rise again; from there on, as in the authors'
    code, it is ``cosine - margin * sin(margin)``, which keeps falling.

    The returned loss takes labels, shape (n,) or (n, 1), and the cosines of
    `cosine_classifier`, shape (n, products).

    Args:
        margin: radians, in [0, pi/2).
        scale: above 0; the inverse of `normalized_softmax`'s temperature.
    """

    def loss(labels: Tensor, cosines: Tensor) -> Tensor:
        flat = ops.cast(ops.reshape(labels, (-1,)), "int32")  # (n,)
        own = ops.one_hot(flat, cosines.shape[1])  # (n, products)
        cosine = ops.clip(ops.sum(cosines * own, axis=1), -1.0, 1.0)  # (n,)
        squared_sine = (1.0 - cosine) * (1.0 + cosine)
        sine = ops.sqrt(ops.maximum(squared_sine, _LEAST_SQUARED_SINE))  # (n,)
        turned = cosine * math.cos(margin) - sine * math.sin(margin)  # cos(angle + margin)
        beyond = cosine - margin * math.sin(margin)
        harder = ops.where(cosine > -math.cos(margin), turned, beyond)  # (n,)
        logits = scale * ops.where(own > 0.0, harder[:, None], cosines)  # (n, products)
        return ops.logsumexp(logits, axis=1) - scale * harder

    return loss

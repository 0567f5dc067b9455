"""Supervised contrastive loss (Khosla et al. 2020, the "out" form)."""

from __future__ import annotations

from keras import ops

from trainer.losses.batch_pairs import FAR_AWAY, LossFunction, Tensor, over_usable, same_product, squared_distances


def supcon(temperature: float = 0.1) -> LossFunction:
    """The loss at a temperature.

    With squared L2 distances d of unit vectors, cosine is ``1 - d/2``, so

        loss_i = mean over positives p of  log sum_{a != i} exp(-d_ia / 2T) + d_ip / 2T

    Args:
        temperature: T, above 0; the published 0.1 is in units of cosine.
    """

    def loss(labels: Tensor, embeddings: Tensor) -> Tensor:
        positive, negative = same_product(labels)  # (n, n) each
        logits = squared_distances(embeddings) / (-2.0 * temperature)  # (n, n)
        others = logits - (1.0 - positive - negative) * FAR_AWAY  # an anchor is not its own candidate
        log_share = logits - ops.logsumexp(others, axis=1, keepdims=True)  # (n, n)
        positives = ops.sum(positive, axis=1)  # (n,)
        mean = -ops.sum(positive * log_share, axis=1) / ops.maximum(positives, 1.0)  # (n,)
        return over_usable(mean, positives)

    return loss

"""Multi-similarity loss (Wang et al. 2019): hard pairs of each anchor, weighted by how hard they are."""

from __future__ import annotations

from keras import ops

from trainer.losses.batch_pairs import FAR_AWAY, LossFunction, Tensor, over_usable, same_product, squared_distances


def multi_similarity(
    alpha: float = 2.0, beta: float = 50.0, base: float = 0.5, mining_margin: float = 0.1
) -> LossFunction:
    """The loss with its mining, on the similarity ``s = 1 - d/2``: the cosine, for unit vectors.

    A positive counts if it is less similar than the most similar negative plus the mining
    margin, a negative if it is more similar than the least similar positive minus it. Then

        loss_i = log(1 + sum_p exp(-alpha (s_ip - base))) / alpha
               + log(1 + sum_n exp(beta (s_in - base))) / beta

    over the pairs that count. The mean is over anchors that have a positive and a negative.

    Args:
        alpha: weight of a positive by its distance; above 0.
        beta: weight of a negative by its nearness; above 0.
        base: the similarity pushed from; 0.5 as in the authors' code (their text has 1).
        mining_margin: how much easier than the hardest pair of the other kind still counts.
    """

    def loss(labels: Tensor, embeddings: Tensor) -> Tensor:
        positive, negative = same_product(labels)  # (n, n) each
        similarity = 1.0 - squared_distances(embeddings) / 2.0  # (n, n)
        least_positive = ops.min(similarity + (1.0 - positive) * FAR_AWAY, axis=1, keepdims=True)  # (n, 1)
        most_negative = ops.max(similarity - (1.0 - negative) * FAR_AWAY, axis=1, keepdims=True)  # (n, 1)
        hard_positive = positive * ops.cast(similarity < most_negative + mining_margin, "float32")  # (n, n)
        hard_negative = negative * ops.cast(similarity > least_positive - mining_margin, "float32")  # (n, n)
        pull = _log_one_plus_sum_exp(-alpha * (similarity - base), hard_positive) / alpha  # (n,)
        push = _log_one_plus_sum_exp(beta * (similarity - base), hard_negative) / beta  # (n,)
        return over_usable(pull + push, ops.max(positive, axis=1) * ops.max(negative, axis=1))

    return loss


def _log_one_plus_sum_exp(exponents: Tensor, mask: Tensor) -> Tensor:
    """``log(1 + sum exp)`` over the masked of each row, (n, n) -> (n,); 0 where none is."""
    return ops.softplus(ops.logsumexp(ops.where(mask > 0.0, exponents, -FAR_AWAY), axis=1))

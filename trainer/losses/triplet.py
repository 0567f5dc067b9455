"""Triplet losses: an anchor shall be nearer to its own product than to another, by a margin.

``max(0, d(anchor, positive) - d(anchor, negative) + margin)`` with squared L2 distances
(Schroff et al. 2015), of unit vectors or of any others; what differs is which triplets of a
batch are taken.
"""

from __future__ import annotations

import keras
from keras import ops

from trainer.losses.batch_pairs import FAR_AWAY, LossFunction, Tensor, over_usable, same_product, squared_distances


def triplet_random(margin: float = 0.2, seed: int = 0) -> LossFunction:
    """For each anchor one positive and one negative of the batch, drawn at random.

    The lots belong to places in the batch. As batches are shuffled, other pictures meet each
    time; and the loss keeps no state, so a run that resumes draws what an uninterrupted one would.
    """

    def loss(labels: Tensor, embeddings: Tensor) -> Tensor:
        positive, negative = same_product(labels)  # (n, n) each
        distances = squared_distances(embeddings)  # (n, n)
        lots = keras.random.uniform(ops.shape(distances), 0.5, 1.0, seed=seed)  # (n, n)
        drawn_positive = ops.argmax(lots * positive, axis=1)[:, None]  # (n, 1)
        drawn_negative = ops.argmax(lots * negative, axis=1)[:, None]  # (n, 1)
        to_positive = ops.take_along_axis(distances, drawn_positive, axis=1)[:, 0]  # (n,)
        to_negative = ops.take_along_axis(distances, drawn_negative, axis=1)[:, 0]  # (n,)
        return over_usable(ops.relu(to_positive - to_negative + margin), _has_both(positive, negative))

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
        return over_usable(violation, _has_both(positive, negative))

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
        return over_usable(mean, _has_both(positive, negative))

    return loss


def triplet_batch_all(margin: float = 0.2, soft: bool = False) -> LossFunction:
    """Every triplet of the batch; the mean over the active ones (Hermans et al. 2017, "batch all, != 0").

    With the hinge, triplets that are settled cost 0 and would wash the others out of a mean
    over all, so the mean of the rows is the sum over all triplets divided by the number that
    cost something. With the soft margin each triplet costs something, and all are counted.
    Memory: (n, n, n) floats.

    Args:
        margin: of the hinge; ignored by the soft margin.
        soft: ``log(1 + exp(x))`` in place of the hinge.
    """

    def loss(labels: Tensor, embeddings: Tensor) -> Tensor:
        gap, valid = _all_triplets(labels, embeddings)  # (n, n, n) each
        violation = valid * (ops.softplus(gap) if soft else ops.relu(gap + margin))
        active = valid if soft else ops.cast(violation > 0.0, "float32")  # (n, n, n)
        active_per_anchor = ops.mean(ops.sum(active, axis=(1, 2)))
        return ops.sum(violation, axis=(1, 2)) / ops.maximum(active_per_anchor, 1e-9)

    return loss


def active_triplets(margin: float = 0.2) -> LossFunction:
    """A statistic: the share of an anchor's triplets that break the margin, shape (n,); 0 where it has none.

    1 in a collapse, since all distances are equal; toward 0 when products stand apart.
    """

    def share(labels: Tensor, embeddings: Tensor) -> Tensor:
        gap, valid = _all_triplets(labels, embeddings)  # (n, n, n) each
        active = valid * ops.cast(gap + margin > 0.0, "float32")
        return ops.sum(active, axis=(1, 2)) / ops.maximum(ops.sum(valid, axis=(1, 2)), 1.0)

    return share


def _all_triplets(labels: Tensor, embeddings: Tensor) -> tuple[Tensor, Tensor]:
    """d(a, p) - d(a, n), and 1 where p and n are positive and negative of a; both (n, n, n) as [a, p, n]."""
    positive, negative = same_product(labels)  # (n, n) each
    distances = squared_distances(embeddings)  # (n, n)
    gap = distances[:, :, None] - distances[:, None, :]
    return gap, positive[:, :, None] * negative[:, None, :]


def _has_both(positive: Tensor, negative: Tensor) -> Tensor:
    """1 for anchors with a positive and a negative, else 0, shape (n,)."""
    return ops.max(positive, axis=1) * ops.max(negative, axis=1)

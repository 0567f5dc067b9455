"""Losses of metric learning on squared L2 distances, one concept a file, in `keras.ops` only.

Every loss is a function ``loss(labels, outputs)`` as Keras calls it, so it serves
``model.compile`` on any backend:

    supcon            every other view of the product against the rest of the batch
    multi_similarity  mined pairs, weighted by how hard they are
    triplet           anchor, positive, negative: random, semi-hard, batch-hard or batch-all
    classifier        one learned direction per product, softmax over cosines
    arcface           the same with an angular margin
    proxy_anchor      one learned direction per product, as an anchor for the batch
    registry          all of them by name, with parameters
    metrics           what is logged beside any of them

All take labels of shape (n,) or (n, 1), and embeddings of shape (n, d); those with a
learned direction per product take the cosines of `cosine_classifier`, shape (n, products).
All return one value per row, shape (n,). An anchor that has no positive (or no negative,
where one is needed) costs 0, and the mean of the rows, which Keras takes, is the mean over
the others.
"""

from trainer.losses.arcface import arcface
from trainer.losses.batch_pairs import (
    anchor_negative,
    anchor_positive,
    embedding_spread,
    same_product,
    squared_distances,
)
from trainer.losses.classifier import cosine_classifier, normalized_softmax
from trainer.losses.metrics import pair_metrics
from trainer.losses.multi_similarity import multi_similarity
from trainer.losses.proxy_anchor import proxy_anchor
from trainer.losses.registry import DEFAULT_LOSS, LOSSES, BuiltLosses, LossSpec, build_losses
from trainer.losses.supcon import supcon
from trainer.losses.triplet import (
    active_triplets,
    triplet_batch_all,
    triplet_batch_hard,
    triplet_random,
    triplet_semi_hard,
)

__all__ = [
    "DEFAULT_LOSS",
    "LOSSES",
    "BuiltLosses",
    "LossSpec",
    "active_triplets",
    "anchor_negative",
    "anchor_positive",
    "arcface",
    "build_losses",
    "cosine_classifier",
    "embedding_spread",
    "multi_similarity",
    "normalized_softmax",
    "pair_metrics",
    "proxy_anchor",
    "same_product",
    "squared_distances",
    "supcon",
    "triplet_batch_all",
    "triplet_batch_hard",
    "triplet_random",
    "triplet_semi_hard",
]

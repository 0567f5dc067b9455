"""Losses of metric learning on squared L2 distances, one concept a file, in `keras.ops` only.

Every loss is a function ``loss(labels, outputs)`` as Keras calls it, so it serves
``model.compile`` on any backend:

    supcon        every other view of the product against the rest of the batch
    classifier    one learned direction per product, softmax over cosines
    triplet       anchor, positive, negative: random, semi-hard or batch-hard

Embedding losses take labels of shape (n,) or (n, 1) and embeddings of shape (n, d),
and return one loss per anchor, shape (n,). An anchor that has no positive (or no
negative, where one is needed) costs 0.
"""

from trainer.losses.classifier import cosine_classifier, normalized_softmax
from trainer.losses.pairs import (
    anchor_negative,
    anchor_positive,
    embedding_spread,
    same_product,
    squared_distances,
)
from trainer.losses.supcon import supcon
from trainer.losses.triplet import triplet_batch_hard, triplet_random, triplet_semi_hard

__all__ = [
    "anchor_negative",
    "anchor_positive",
    "cosine_classifier",
    "embedding_spread",
    "normalized_softmax",
    "same_product",
    "squared_distances",
    "supcon",
    "triplet_batch_hard",
    "triplet_random",
    "triplet_semi_hard",
]

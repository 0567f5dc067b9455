"""Our losses beside those of pytorch-metric-learning, on the same batches: their values must agree.

    pip install pytorch-metric-learning torch
    python benchmarks/losses.py

Its semi-hard mining picks other triplets than FaceNet's, so that one has no peer there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from keras import ops

from trainer import losses

try:
    import torch
    from pytorch_metric_learning import distances, miners, reducers
    from pytorch_metric_learning import losses as theirs
except ImportError:
    sys.exit("pip install pytorch-metric-learning torch, to have something to compare with")

PRODUCTS, VIEWS, DIMENSION, BATCHES = 16, 4, 32, 20
LABELS = np.repeat(np.arange(PRODUCTS), VIEWS)


def peers() -> Iterator[tuple[str, Callable[..., Any], Callable[..., Any], str]]:
    """Name, ours, theirs, and where theirs keeps its proxies ("" for losses on embeddings)."""
    squared = distances.LpDistance(normalize_embeddings=False, p=2, power=2)
    mean = reducers.MeanReducer()
    hardest = miners.BatchHardMiner(distance=squared)
    triplet = theirs.TripletMarginLoss(margin=0.2, distance=squared)
    soft = theirs.TripletMarginLoss(margin=0.0, distance=squared, smooth_loss=True, reducer=mean)
    hard = theirs.TripletMarginLoss(margin=0.2, distance=squared, reducer=mean)
    similar = theirs.MultiSimilarityLoss(alpha=2, beta=50, base=0.5)
    mined = miners.MultiSimilarityMiner(epsilon=0.1)
    yield "supcon", losses.supcon(0.1), theirs.SupConLoss(temperature=0.1), ""
    yield "triplet-batch-all", losses.triplet_batch_all(0.2), triplet, ""
    yield "triplet-batch-all, soft", losses.triplet_batch_all(soft=True), soft, ""
    yield "triplet-batch-hard", losses.triplet_batch_hard(0.2), lambda x, y: hard(x, y, hardest(x, y)), ""
    yield "multi-similarity", losses.multi_similarity(), lambda x, y: similar(x, y, mined(x, y)), ""
    proxies = (PRODUCTS, DIMENSION)
    softmax = theirs.NormalizedSoftmaxLoss(*proxies, temperature=0.05)
    yield "normalized-softmax", losses.normalized_softmax(0.05), softmax, "W"
    yield "arcface", losses.arcface(), theirs.ArcFaceLoss(*proxies, margin=float(np.degrees(0.5)), scale=64), "W"
    yield "proxy-anchor", losses.proxy_anchor(), theirs.ProxyAnchorLoss(*proxies, margin=0.1, alpha=32), "proxies"


def main() -> None:
    print(f"means over {BATCHES} batches of {PRODUCTS} products x {VIEWS} unit vectors, {DIMENSION}-d\n")
    print(f"| {'loss':24} | ours | pytorch-metric-learning | largest difference |")
    print(f"|{'-' * 26}|---|---|---|")
    for name, ours, other, proxies in peers():
        values = []
        for seed in range(BATCHES):
            rng = np.random.default_rng(seed)
            x = rng.normal(size=(PRODUCTS, DIMENSION))[LABELS] + rng.normal(size=(len(LABELS), DIMENSION))
            x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype("float32")
            outputs = x
            if proxies:
                vectors = getattr(other, proxies).detach().numpy()
                vectors = vectors if vectors.shape[1] == DIMENSION else vectors.T
                outputs = x @ (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).T
            one = float(ops.mean(ours(LABELS, ops.convert_to_tensor(outputs))))
            values.append((one, other(torch.from_numpy(x), torch.from_numpy(LABELS)).item()))
        (mean_ours, mean_other), difference = np.mean(values, axis=0), np.abs(np.diff(values)).max()
        print(f"| {name:24} | {mean_ours:.4f} | {mean_other:.4f} | {difference:.1e} |")


if __name__ == "__main__":
    main()

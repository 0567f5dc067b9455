"""Each loss as its paper writes it, in plain loops and float64; and batches to try them on."""

import math

import numpy as np


def batch(seed, n=12, d=5, products=4, unit=True):
    """Labels (n,), vectors (n, d) and cosines (n, products), all float32 at most."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    if unit:
        x /= np.linalg.norm(x, axis=1, keepdims=True)
    return rng.integers(0, products, n), x.astype(np.float32), rng.uniform(-1, 1, (n, products)).astype(np.float32)


def distance(x, i, j):
    return float(((x[i].astype(float) - x[j].astype(float)) ** 2).sum())


def positives(labels, i):
    return [j for j in range(len(labels)) if j != i and labels[j] == labels[i]]


def negatives(labels, i):
    return [j for j in range(len(labels)) if labels[j] != labels[i]]


def triplets(labels):
    """All (anchor, positive, negative)."""
    n = len(labels)
    return [(a, p, m) for a in range(n) for p in positives(labels, a) for m in negatives(labels, a)]


def mean_over_usable(losses):
    """None where an anchor cannot be used; the rest so that the plain mean is the mean over them."""
    usable = sum(loss is not None for loss in losses)
    return [0.0 if loss is None else loss * len(losses) / usable for loss in losses]


def supcon(labels, x, temperature=0.1):
    losses = []
    for i in range(len(x)):
        own = positives(labels, i)
        cosine = [1.0 - distance(x, i, j) / 2.0 for j in range(len(x))]
        total = sum(math.exp(cosine[a] / temperature) for a in range(len(x)) if a != i)
        terms = [-math.log(math.exp(cosine[p] / temperature) / total) for p in own]
        losses.append(float(np.mean(terms)) if own else None)
    return mean_over_usable(losses)


def _violation(gap, margin, soft):
    return math.log1p(math.exp(gap)) if soft else max(0.0, gap + margin)


def batch_hard(labels, x, margin=0.2, soft=False):
    losses = []
    for i in range(len(x)):
        own = [distance(x, i, j) for j in positives(labels, i)]
        others = [distance(x, i, j) for j in negatives(labels, i)]
        losses.append(_violation(max(own) - min(others), margin, soft) if own and others else None)
    return mean_over_usable(losses)


def semi_hard(labels, x, margin=0.2):
    losses = []
    for i in range(len(x)):
        others = [distance(x, i, j) for j in negatives(labels, i)]
        terms = []
        for p in positives(labels, i):
            farther = [d for d in others if d > distance(x, i, p)]
            if others:
                terms.append(max(0.0, distance(x, i, p) - (min(farther) if farther else max(others)) + margin))
        losses.append(float(np.mean(terms)) if terms else None)
    return mean_over_usable(losses)


def batch_all(labels, x, margin=0.2, soft=False):
    costs = [(a, _violation(distance(x, a, p) - distance(x, a, m), margin, soft)) for a, p, m in triplets(labels)]
    active = sum(cost > 0 for _, cost in costs)
    per_anchor = [sum(cost for a, cost in costs if a == i) for i in range(len(x))]
    return [total * len(x) / active if active else 0.0 for total in per_anchor]


def active_triplets(labels, x, margin=0.2):
    shares = []
    for i in range(len(x)):
        own = [distance(x, a, p) - distance(x, a, m) + margin > 0 for a, p, m in triplets(labels) if a == i]
        shares.append(float(np.mean(own)) if own else 0.0)
    return shares


def multi_similarity(labels, x, alpha=2.0, beta=50.0, base=0.5, mining_margin=0.1):
    losses = []
    for i in range(len(x)):
        own = [1.0 - distance(x, i, j) / 2.0 for j in positives(labels, i)]
        others = [1.0 - distance(x, i, j) / 2.0 for j in negatives(labels, i)]
        if not own or not others:
            losses.append(None)
            continue
        hard_own = [s for s in own if s < max(others) + mining_margin]
        hard_others = [s for s in others if s > min(own) - mining_margin]
        pull = math.log(1 + sum(math.exp(-alpha * (s - base)) for s in hard_own)) / alpha
        push = math.log(1 + sum(math.exp(beta * (s - base)) for s in hard_others)) / beta
        losses.append(pull + push)
    return mean_over_usable(losses)


def normalized_softmax(labels, cosines, temperature=0.05):
    logits = cosines.astype(float) / temperature
    return [-math.log(math.exp(row[y]) / sum(map(math.exp, row))) for row, y in zip(logits, labels, strict=True)]


def arcface(labels, cosines, margin=0.5, scale=64.0):
    losses = []
    for row, y in zip(cosines.astype(float), labels, strict=True):
        angle = math.acos(row[y])
        turned = math.cos(angle + margin) if angle + margin < math.pi else row[y] - margin * math.sin(margin)
        logits = [scale * (turned if j == y else c) for j, c in enumerate(row)]
        losses.append(math.log(sum(math.exp(v - logits[y]) for v in logits)))
    return losses


def proxy_anchor(labels, cosines, margin=0.1, scale=32.0):
    n, products = cosines.shape
    pull = push = 0.0
    present = set(map(int, labels))
    for p in range(products):
        if p in present:
            pull += math.log(
                1 + sum(math.exp(-scale * (float(cosines[i, p]) - margin)) for i in range(n) if labels[i] == p)
            )
        push += math.log(1 + sum(math.exp(scale * (float(cosines[i, p]) + margin)) for i in range(n) if labels[i] != p))
    return [pull / len(present) + push / products] * n

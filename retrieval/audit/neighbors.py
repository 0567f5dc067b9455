"""Who is near whom in a labeled set of embeddings: blockwise, exact, numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.distance import squared_l2

VOTERS = 3
"""Support is the mean distance to so many nearest pictures: one look-alike is chance, three are not."""

_NEAREST = 64
_GROUP = 16
_BLOCK_VALUES = 1 << 22
_CONFIDENCE_Z = 3.09


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """For each of n pictures, how near its own and the other products are. Distances are squared L2.

    Attributes:
        nearest_own: to the nearest other picture of its product; inf when it is alone, shape (n,).
        own: mean over the `VOTERS` nearest of its product (fewer when it has fewer), shape (n,).
        other: the same for the other product that is nearest by that mean, among those with two
            pictures or more; inf without any, shape (n,).
        other_code: which product that is; -1 without any, shape (n,).
        crossings: rows (a, b, count), a < b: how many pictures of products a and b are nearer to a
            picture of the other than to any other of their own, where any is; shape (k, 3).
            Pictures that are alone in their product do not count.
    """

    nearest_own: NDArray[np.float32]
    own: NDArray[np.float32]
    other: NDArray[np.float32]
    other_code: NDArray[np.int64]
    crossings: NDArray[np.int64]


def surroundings(vectors: NDArray[np.float32], codes: NDArray[np.int64]) -> Surroundings:
    """Look around every picture.

    All distances are computed, a block of rows at a time: memory beside the input is a few arrays of
    2^22 values whatever n is. The own product is looked at whole; other products are read off the 64
    nearest pictures of all of them, so `other` passes over products that do not lead there.

    Args:
        vectors: unit vectors, shape (n, d).
        codes: product number of each, 0..c-1, shape (n,).
    """
    n = len(vectors)
    order = np.argsort(codes, kind="stable")
    rows, labels = np.ascontiguousarray(vectors[order]), codes[order]
    sizes = np.bincount(labels) if n else np.zeros(0, np.int64)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    nearest_own = np.full(n, np.inf, np.float32)
    own, other = nearest_own.copy(), nearest_own.copy()
    other_code = np.full(n, -1, np.int64)
    crossings: list[NDArray[np.int64]] = [np.zeros((0, 2), np.int64)]
    step = max(1, _BLOCK_VALUES // max(n, 1))
    for top in range(0, n, step):
        block = np.arange(top, min(top + step, n))
        distances = squared_l2(rows[block], rows)
        distances[block - top, block] = np.inf
        for code in np.unique(labels[block]):
            inside = block[labels[block] == code]
            left, right = starts[code], starts[code + 1]
            mine = distances[inside - top, left:right]
            k = min(VOTERS, right - left - 1)
            if k:
                nearest = np.partition(mine, k - 1, axis=1)[:, :k]
                nearest_own[inside], own[inside] = nearest.min(axis=1), nearest.mean(axis=1)
            distances[inside - top, left:right] = np.inf
        crossings.append(_others(distances, labels, sizes, block, nearest_own, other, other_code))
    back = np.empty(n, np.int64)
    back[order] = np.arange(n)
    return Surroundings(nearest_own[back], own[back], other[back], other_code[back], _merged(crossings, len(sizes)))


def _others(
    distances: NDArray[np.float32],
    labels: NDArray[np.int64],
    sizes: NDArray[np.int64],
    block: NDArray[np.int64],
    nearest_own: NDArray[np.float32],
    other: NDArray[np.float32],
    other_code: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Fill in what one block of rows sees of other products; own columns of ``distances`` are inf.

    Returns:
        Crossings of this block: rows (pair of products as one number, count), shape (k, 2).
    """
    row, column = _nearest(distances)
    near = distances[row, column]
    seen = labels[column]
    # Each row's neighbors grouped by product, ascending in distance within a group.
    grouped = np.lexsort((near, seen, row))
    near, seen, row = near[grouped], seen[grouped], row[grouped]
    if not len(near):
        return np.zeros((0, 2), np.int64)
    first = np.flatnonzero(np.r_[True, (seen[1:] != seen[:-1]) | (row[1:] != row[:-1])])
    length = np.diff(np.r_[first, len(near)])
    need = np.minimum(VOTERS, sizes[seen[first]])
    total = np.concatenate([[0.0], np.cumsum(near, dtype=np.float64)])
    full = (length >= need) & (sizes[seen[first]] >= 2)
    support = np.full(len(first), np.inf)
    support[full] = (total[first[full] + need[full]] - total[first[full]]) / need[full]
    best = np.lexsort((support, row[first]))
    leads = best[np.r_[True, row[first][best][1:] != row[first][best][:-1]]]
    reached = leads[np.isfinite(support[leads])]
    other[block[row[first][reached]]] = support[reached]
    other_code[block[row[first][reached]]] = seen[first][reached]
    closest, where = near[first], block[row[first]]
    crossed = np.isfinite(nearest_own[where]) & (closest < nearest_own[where])
    a, b = labels[where[crossed]], seen[first][crossed]
    pairs, counts = np.unique(np.minimum(a, b) * len(sizes) + np.maximum(a, b), return_counts=True)
    return np.stack([pairs, counts.astype(np.int64)], axis=1)


def _merged(parts: list[NDArray[np.int64]], products: int) -> NDArray[np.int64]:
    every = np.concatenate(parts)
    pairs, where = np.unique(every[:, 0], return_inverse=True)
    counts = np.bincount(where, weights=every[:, 1], minlength=len(pairs)).astype(np.int64)
    return np.stack([*np.divmod(pairs, max(products, 1)), counts], axis=1)


def _nearest(distances: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the `_NEAREST` smallest finite values of each row are, and a few more; unordered.

    Columns are dealt into groups. The 64th smallest of the groups' minima is at least the 64th smallest
    value, so whatever lies above it can be left out: several times faster than a partition of whole rows.
    """
    rows, columns = distances.shape
    groups = columns // _GROUP
    values = distances
    if groups > _NEAREST:
        values = distances[:, : groups * _GROUP].reshape(rows, _GROUP, groups).min(axis=1)
    bound = np.full(rows, np.finfo(np.float32).max)
    if values.shape[1] > _NEAREST:
        bound = np.minimum(bound, np.partition(values, _NEAREST - 1, axis=1)[:, _NEAREST - 1])
    row, column = np.nonzero(distances <= bound[:, np.newaxis])
    return row, column


def nearest_others(
    vectors: NDArray[np.float32], subjects: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The nearest other picture of some pictures, blockwise: (which, its squared L2), each of shape (k,).

    Args:
        vectors: unit vectors, shape (n, d), n >= 2.
        subjects: numbers of the pictures asked about, shape (k,).
    """
    which = np.empty(len(subjects), np.int64)
    distance = np.empty(len(subjects), np.float32)
    step = max(1, _BLOCK_VALUES // len(vectors))
    for top in range(0, len(subjects), step):
        block = subjects[top : top + step]
        distances = squared_l2(vectors[block], vectors)
        distances[np.arange(len(block)), block] = np.inf
        best = distances.argmin(axis=1)
        which[top : top + step], distance[top : top + step] = best, distances[np.arange(len(block)), best]
    return which, distance


def mixing(crossed: NDArray[np.int64], a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float64]:
    """How mixed two products are: 0 when they are apart, about 1 when they are one split at random.

    A picture *crosses* when its nearest picture of the two products belongs to the other one. In one
    product of a + b pictures split at random it does so with probability
    ``e = 2ab / ((a + b)(a + b - 1))``. The value is the lower end of Wilson's (1927) one-sided 99.9 %
    interval of the crossing rate, over e, so that a few pictures must speak clearly.

    Args:
        crossed: pictures of both products that cross, shape (k,).
        a: pictures of one product, at least 1, shape (k,).
        b: pictures of the other, at least 1, shape (k,).
    """
    n = (a + b).astype(np.float64)
    rate, z2 = crossed / n, _CONFIDENCE_Z**2
    spread = _CONFIDENCE_Z * np.sqrt(rate * (1.0 - rate) / n + z2 / (4.0 * n * n))
    low = (rate + z2 / (2.0 * n) - spread) / (1.0 + z2 / n)
    mixed: NDArray[np.float64] = np.maximum(0.0, low) / (2.0 * a * b / (n * (n - 1.0)))
    return mixed


def outlier_ratio(ratios: NDArray[np.float64], deviations: float) -> float:
    """The ratio so many robust deviations above the usual one.

    ``exp(median(log r) + deviations * 1.4826 * MAD(log r))``; 0 without ratios. Planted errors move
    neither median nor MAD much, so the bound follows the model and the catalog, not the errors.

    Args:
        ratios: positive, finite, shape (n,).
        deviations: how many.
    """
    if not len(ratios):
        return 0.0
    logs = np.log(ratios)
    middle = float(np.median(logs))
    return float(np.exp(middle + deviations * 1.4826 * float(np.median(np.abs(logs - middle)))))

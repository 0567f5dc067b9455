"""Which points of two pictures look alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from retrieval.verification.keypoints import Keypoints

RATIO = 0.85
"""How near the most similar point must be, as a part of the distance of the second: a pattern that repeats has none."""

_BLOCK = 2**22
"""Similarities that are held at once: 16 MB."""


def match(one: Keypoints, other: Keypoints, *, ratio: float = RATIO, mutual: bool = True) -> NDArray[np.intp]:
    """Pairs of points that look alike and have no near rival.

    Args:
        one: of a catalog picture.
        other: of a photo.
        ratio: distance to the most similar point over that to the second most similar, at most.
        mutual: a pair must be the most similar one seen from either side.

    Returns:
        Rows of (point of ``one``, point of ``other``), shape (k, 2).
    """
    if len(one) < 2 or len(other) < 2:
        return np.zeros((0, 2), np.intp)
    a, b = unit(one.descriptors), unit(other.descriptors)
    best = np.empty(len(a), np.intp)
    clear = np.empty(len(a), bool)
    back = np.full(len(b), -1.0, np.float32)
    from_other = np.zeros(len(b), np.intp)
    rows = max(1, _BLOCK // len(b))
    for start in range(0, len(a), rows):
        similar = a[start : start + rows] @ b.T
        nearest = similar.argmax(axis=1)
        best[start : start + rows] = nearest
        numbers = np.arange(len(similar))
        # Unit vectors: the squared distance is 2 - 2 s.
        first = 1.0 - similar[numbers, nearest]
        if mutual:
            columns = similar.argmax(axis=0)
            values = similar[columns, np.arange(len(b))]
            better = values > back
            back[better], from_other[better] = values[better], columns[better] + start
        similar[numbers, nearest] = -1.0
        clear[start : start + rows] = first <= ratio**2 * (1.0 - similar.max(axis=1))
    if mutual:
        clear &= from_other[best] == np.arange(len(a))
    kept = np.flatnonzero(clear)
    return np.stack([kept, best[kept]], axis=1)


def nearest_in(
    one: NDArray[np.float32], other: NDArray[np.float32], *, ratio: float, least: float
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Of each point of one picture its like in another, where it has one and no near rival there.

    Args:
        one: descriptors of one picture, as `unit` makes them, shape (n, 128).
        other: of the other, shape (m, 128).
        ratio: see `match`.
        least: scalar product of two at least.

    Returns:
        Rows of (point of ``one``, point of ``other``), shape (k, 2), and how alike these are, shape (k,).
    """
    if len(one) < 2 or len(other) < 2:
        return np.zeros((0, 2), np.intp), np.zeros(0, np.float32)
    pairs, alike = [], []
    rows = max(1, _BLOCK // len(other))
    for start in range(0, len(one), rows):
        similar = one[start : start + rows] @ other.T
        nearest = similar.argmax(axis=1)
        values = similar[np.arange(len(similar)), nearest]
        # Few are alike at all: only these have their second looked for, which takes as long as the first.
        kept = np.flatnonzero(values >= least)
        rest = similar[kept]
        rest[np.arange(len(kept)), nearest[kept]] = -1.0
        kept = kept[1.0 - values[kept] <= ratio**2 * (1.0 - rest.max(axis=1))] if len(kept) else kept
        pairs.append(np.stack([kept + start, nearest[kept]], axis=1))
        alike.append(values[kept])
    return np.concatenate(pairs), np.concatenate(alike)


def unit(descriptors: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Descriptors of length 1, float32, shape (n, 128)."""
    vectors = descriptors.astype(np.float32)
    vectors /= np.maximum(np.sqrt(np.square(vectors).sum(axis=1, keepdims=True)), 1e-6)
    return vectors

"""The one distance: squared L2 between unit vectors.

``d(a, b) = ||a - b||²`` lies in [0, 4]; lower is closer. With cosine similarity c,
``d = 2 - 2c``. A pair is accepted when ``d <= threshold``. FaceNet's thresholds
(Schroff et al. 2015) are in this unit.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

MAX_DISTANCE = 4.0
UNIT_TOLERANCE = 1e-3
"""How far from 1 the norm of a unit vector may be."""


def squared_l2(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """All distances between the rows of two sets of unit vectors.

    Args:
        a: unit vectors, shape (n, d).
        b: unit vectors, shape (m, d).

    Returns:
        Squared L2 distances, shape (n, m), clipped to [0, 4].
    """
    distances: NDArray[np.float32] = np.clip(2.0 - 2.0 * (a @ b.T), 0.0, MAX_DISTANCE).astype(np.float32, copy=False)
    return distances


def normalize(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Scale rows to unit L2 norm.

    Args:
        vectors: shape (n, d).

    Raises:
        ValueError: a row is not finite or has no direction (norm 0).
    """
    rows = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(norms).all() or (norms == 0.0).any():
        raise ValueError("a vector is not finite or has norm 0, so it has no direction")
    unit: NDArray[np.float32] = (rows / norms).astype(np.float32)
    return unit


def is_unit(vectors: NDArray[np.float32]) -> bool:
    """True when every row is finite and has L2 norm 1 within 1e-3."""
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.linalg.norm(vectors, axis=-1)
    return bool(np.isfinite(norms).all() and (np.abs(norms - 1.0) <= UNIT_TOLERANCE).all())


def from_euclid(distance: float) -> float:
    """Squared L2 from Qdrant's Euclid score, which is the plain L2 distance."""
    return min(distance * distance, MAX_DISTANCE)


def to_euclid_bound(threshold: float) -> float:
    """The Euclid score threshold that accepts exactly ``d <= threshold``.

    Qdrant keeps scores strictly below its threshold, in float32: the bound is the
    next float32 above the root, so that a neighbor at the threshold itself stays in.
    """
    root = np.float32(math.sqrt(max(threshold, 0.0)))
    return float(np.nextafter(root, np.float32(np.inf)))

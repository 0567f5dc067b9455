"""Pure: several photos of one item become one vector, and whether they can be of one item.

**One vector.** The mean of the photos' unit vectors, brought back to length 1: what one photo has and the others have
not, glare or a hand, averages out.

**The threshold.** Such a vector lies nearer to everything, the more so the more the photos differ, so that a threshold
that was chosen for single photos would let more unknown products through. With m, the length of the mean (1 for equal
photos), it is lowered to ``2 - (2 - t) / m ** 0.25``, which keeps the FPIR that was claimed for one photo. Chosen by
measurement, printed by ``python benchmarks/same_item.py``.

**One item?** Two photos that are farther apart than nearly all pairs of photos of one product are said so.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from retrieval.calibration.points import Calibration
from retrieval.types import Apart

LOWERING = 0.25
NEARLY_ALL = 0.99
"""The part of the pairs of photos of one product that must lie within a distance for it to be a limit."""


def one_vector(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """The mean direction of some unit vectors, and the length of their mean, in [0, 1].

    Args:
        vectors: of the photos, shape (n, d).
    """
    if len(vectors) == 1:
        return vectors[0], 1.0
    mean = vectors.mean(axis=0, dtype=np.float64)
    length = float(np.linalg.norm(mean))
    if length < 1e-6:  # opposite photos have no mean direction
        return vectors[0], 0.0
    return (mean / length).astype(np.float32), min(length, 1.0)


def together(names: Sequence[str]) -> str:
    """What several photos are called in one answer: a line must hold it."""
    return ", ".join(names) if len(names) <= 2 else f"{names[0]} and {len(names) - 1} more"


def lowered(threshold: float, length: float) -> float:
    """The threshold for a mean of photos.

    Args:
        threshold: for single photos, squared L2, in [0, 4].
        length: as `one_vector` gives it.
    """
    return threshold if length >= 1.0 else max(0.0, 2.0 - (2.0 - threshold) / max(length, 1e-6) ** LOWERING)


def as_single(distance: float, length: float) -> float:
    """A distance of the mean of photos as single photos would have it: what `lowered` says of thresholds, undone.

    Args:
        distance: squared L2, in [0, 4].
        length: as `one_vector` gives it.
    """
    return distance if length >= 1.0 else 2.0 - (2.0 - distance) * max(length, 1e-6) ** LOWERING


def farthest(calibration: Calibration | None) -> float | None:
    """How far apart two photos of one product are in nearly all cases, squared L2; None where nobody measured it."""
    points = calibration.points if calibration is not None else ()
    return min((p.threshold for p in points if p.val is not None and p.val >= NEARLY_ALL), default=None)


def apart(vectors: NDArray[np.float32], names: Sequence[str], limit: float | None) -> tuple[Apart, ...]:
    """The pairs of photos that are too far apart to show one item, farthest first.

    Args:
        vectors: of the photos, shape (n, d).
        names: what they are called, n of them.
        limit: as `farthest` gives it; None finds none.
    """
    if limit is None:
        return ()
    found = [
        Apart((names[i], names[j]), float(np.square(vectors[i] - vectors[j]).sum()), limit)
        for i, j in combinations(range(len(names)), 2)
    ]
    return tuple(sorted((pair for pair in found if pair.distance > limit), key=lambda pair: -pair.distance))

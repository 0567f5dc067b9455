"""VAL and FAR over all pairs: rates at thresholds, thresholds at rates, the ROC with its AUC and EER.

With S same-product pairs and D different-product pairs of a set, and squared L2 distance d,

    VAL(t) = |{same pairs: d <= t}| / S        FAR(t) = |{different pairs: d <= t}| / D

(Schroff, Kalenichenko, Philbin 2015, FaceNet, section 4), here over *all* pairs instead of a
sample of them. A pair (i, j), i < j, counts once and an image never pairs with itself. Rates without a
denominator (no same pair, one product only) are nan; their counts say why.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.metrics._grid import (
    BINS,
    LEVELS_PER_BIN,
    Counts,
    PairSet,
    all_levels,
    count_pairs,
    level_of,
)
from retrieval.metrics.curve import AtFar, Curve, PairRate, allowed_errors

SWEEP = (0.1, 0.15, 0.2, 0.25, 0.28, 0.3, 0.35, 0.4, 0.45, 0.5)
FAR_TARGETS = (0.1, 0.01, 0.001)
EXPERIMENT_FAR = 0.20

_HOLD_ALL_PAIRS = 2**21
_PILOT_ROWS = 1500
_MOST_PILOT_BINS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class PairRates:
    """All-pairs verification of one split.

    Attributes:
        same: same-product pairs.
        different: different-product pairs.
        sweep: rates at the thresholds asked for, in their order.
        at_far: thresholds at the FAR targets asked for, in their order.
        experiment: the largest threshold with FAR < 0.20, which has the highest VAL among those.
        curve: the whole curve, with AUC and EER.
    """

    same: int
    different: int
    sweep: tuple[PairRate, ...]
    at_far: tuple[AtFar, ...]
    experiment: AtFar
    curve: Curve


def pair_rates(
    embeddings: NDArray[np.float32],
    labels: Sequence[str] | Sequence[int] | NDArray[np.generic],
    thresholds: Sequence[float] = SWEEP,
    far_targets: Sequence[float] = FAR_TARGETS,
    *,
    gallery: NDArray[np.float32] | None = None,
    gallery_labels: Sequence[str] | Sequence[int] | NDArray[np.generic] | None = None,
) -> PairRates:
    """VAL and FAR over all pairs of a labeled set, or of every probe with every gallery image.

    Exact: counts are those of comparing every float32 distance with the threshold as real numbers.
    Blockwise: memory does not grow with the number of pairs.

    Args:
        embeddings: unit vectors, float32, shape (n, d).
        labels: product of each, shape (n,).
        thresholds: squared L2, for ``sweep``.
        far_targets: in [0, 1], for ``at_far``.
        gallery: unit vectors, float32, shape (m, d); None pairs the embeddings among themselves.
        gallery_labels: product of each gallery image, shape (m,).

    Raises:
        ValueError: shapes, types, norms or targets are not as described.
    """
    if gallery is None:
        pairs = PairSet.within(embeddings, np.asarray(labels))
    elif gallery_labels is None:
        raise ValueError("expected gallery_labels with a gallery, received none")
    else:
        pairs = PairSet.across(embeddings, np.asarray(labels), gallery, np.asarray(gallery_labels))
    targets = [(EXPERIMENT_FAR, True), *((far, False) for far in far_targets)]
    curve = _curve(pairs, [level_of(t) for t in thresholds], targets)
    experiment, *at_far = (curve.at_far(far, strict=strict) for far, strict in targets)
    sweep = tuple(curve.at(t) for t in thresholds)
    return PairRates(curve.same, curve.different, sweep, tuple(at_far), experiment, curve)


def threshold_at_far(
    embeddings: NDArray[np.float32],
    labels: Sequence[str] | Sequence[int] | NDArray[np.generic],
    far: float,
    *,
    strict: bool = False,
) -> AtFar:
    """The largest threshold with ``FAR <= far`` (``<`` if strict) over all pairs, exact.

    Args:
        embeddings: unit vectors, float32, shape (n, d).
        labels: product of each, shape (n,).
        far: the target, in [0, 1].
        strict: keep FAR below the target.

    Raises:
        ValueError: shapes, types, norms or the target are not as described.
    """
    pairs = PairSet.within(embeddings, np.asarray(labels))
    return _curve(pairs, [], [(far, strict)]).at_far(far, strict=strict)


def _curve(pairs: PairSet, levels: Sequence[int], targets: Sequence[tuple[float, bool]]) -> Curve:
    """Count once, with the bins that the answers will fall into resolved; count again if one was missed."""
    same, different = pairs.totals()
    allowed = [allowed_errors(far, different, strict) for far, strict in targets]
    if same + different <= _HOLD_ALL_PAIRS:
        return _curve_of_levels(*all_levels(pairs))
    asked = {level // LEVELS_PER_BIN for level in levels if level >= 0}
    ranks = [rank for rank in allowed if 0 <= rank < different]
    pilot = count_pairs(pairs.thinned(_PILOT_ROWS))
    guessed = set().union(*(_pilot_bins(pilot, rank / different) for rank in ranks))
    counts = count_pairs(pairs, asked | guessed, pilot=pilot)
    reached = np.cumsum(counts.different)
    answers = {int(np.searchsorted(reached, rank, side="right")) for rank in ranks}
    missed = answers - asked - guessed
    parts = [counts, count_pairs(pairs, missed)] if missed else [counts]
    return _curve_of_counts(parts, asked | answers)


def _pilot_bins(pilot: Counts, far: float) -> set[int]:
    """Bins that hold the FAR quantile of the whole, estimated from a sample, or none if that is too vague."""
    total = int(pilot.different.sum())
    if not total:
        return set()
    spread = 6.0 * math.sqrt(far * (1.0 - far) / total) + 0.02 * far
    reached = np.cumsum(pilot.different) / total
    first = int(np.searchsorted(reached, max(far - spread, 0.0), side="right"))
    last = min(int(np.searchsorted(reached, far + spread, side="right")), BINS - 1)
    return set(range(first, last + 1)) if last - first < _MOST_PILOT_BINS else set()


def _curve_of_levels(same: NDArray[np.int32], different: NDArray[np.int32]) -> Curve:
    levels = np.unique(np.concatenate([same, different]))
    return Curve(
        levels.astype(np.int64),
        np.searchsorted(np.sort(same), levels, side="right"),
        np.searchsorted(np.sort(different), levels, side="right"),
        np.ones(len(levels), bool),
        len(same),
        len(different),
    )


def _curve_of_counts(parts: Sequence[Counts], resolve: set[int]) -> Curve:
    """Steps of single levels within the bins to resolve, and of whole bins elsewhere."""
    coarse = np.ones(BINS, bool)
    coarse[list(resolve)] = False
    bins = np.flatnonzero(coarse)
    levels = [bins * LEVELS_PER_BIN + LEVELS_PER_BIN - 1]
    same, different, resolved = [parts[0].same[bins]], [parts[0].different[bins]], [np.zeros(len(bins), bool)]
    for part in parts:
        kept = np.isin(part.fine_bins, list(resolve))
        fine = part.fine_bins[kept, None] * LEVELS_PER_BIN + np.arange(LEVELS_PER_BIN)
        levels.append(fine.reshape(-1))
        same.append(part.fine_same[kept].reshape(-1))
        different.append(part.fine_different[kept].reshape(-1))
        resolved.append(np.ones(fine.size, bool))
    steps, s, d, r = map(np.concatenate, (levels, same, different, resolved))
    order = np.argsort(steps, kind="stable")
    order = order[(s + d)[order] > 0]
    return Curve(
        steps[order],
        np.cumsum(s[order]),
        np.cumsum(d[order]),
        r[order],
        int(s.sum()),
        int(d.sum()),
    )

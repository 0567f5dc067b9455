"""VAL and FAR over all pairs: rates at thresholds, thresholds at rates, the ROC with its AUC and EER.

With S same-product pairs and D different-product pairs of a set, and squared L2 distance d,

    VAL(t) = |{same pairs: d <= t}| / S        FAR(t) = |{different pairs: d <= t}| / D

(Schroff, Kalenichenko, Philbin 2015, FaceNet, section 4), here over *all* pairs instead of a
sample of them. A pair (i, j), i < j, counts once and an image never pairs with itself. Rates without a
denominator (no same pair, one product only) are nan; their counts say why.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.metrics._grid import (
    BINS,
    LEVELS_PER_BIN,
    LEVELS_PER_UNIT,
    Counts,
    PairSet,
    all_levels,
    count_pairs,
    distance_below,
    level_of,
)

SWEEP = (0.1, 0.15, 0.2, 0.25, 0.28, 0.3, 0.35, 0.4, 0.45, 0.5)
FAR_TARGETS = (0.1, 0.01, 0.001)
EXPERIMENT_FAR = 0.20

_HOLD_ALL_PAIRS = 2**22
_PILOT_ROWS = 1500
_MOST_PILOT_BINS = 1024


def _rate(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


@dataclass(frozen=True, slots=True)
class PairRate:
    """What one threshold does to all pairs.

    Attributes:
        threshold: squared L2; a pair is accepted when ``d <= threshold``.
        accepted_same: accepted same-product pairs.
        same: same-product pairs.
        accepted_different: accepted different-product pairs.
        different: different-product pairs.
    """

    threshold: float
    accepted_same: int
    same: int
    accepted_different: int
    different: int

    @property
    def val(self) -> float:
        """``accepted_same / same``; nan without a same-product pair."""
        return _rate(self.accepted_same, self.same)

    @property
    def far(self) -> float:
        """``accepted_different / different``; nan without a different-product pair."""
        return _rate(self.accepted_different, self.different)


@dataclass(frozen=True, slots=True)
class AtFar:
    """The most permissive threshold that keeps FAR at a target, and what it does.

    Attributes:
        target: the FAR asked for.
        strict: True when FAR has to stay *below* the target, False when it may reach it.
        threshold: the largest float32 distance with ``FAR(threshold) <= target`` (``<`` if strict). None
            when even distance 0 accepts too many (then nothing is accepted), or when there is no
            different-product pair to measure on.
        accepted_same: accepted same-product pairs.
        same: same-product pairs.
        accepted_different: accepted different-product pairs.
        different: different-product pairs.
    """

    target: float
    strict: bool
    threshold: float | None
    accepted_same: int
    same: int
    accepted_different: int
    different: int

    @property
    def val(self) -> float:
        """``accepted_same / same``; nan without a same-product pair."""
        return _rate(self.accepted_same, self.same)

    @property
    def far(self) -> float:
        """``accepted_different / different``; nan without a different-product pair."""
        return _rate(self.accepted_different, self.different)


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Accepted pairs as a function of the threshold, as ascending steps.

    Attributes:
        levels: highest distance of each step in units of 2^-23, shape (k,).
        accepted_same: same-product pairs up to there, shape (k,).
        accepted_different: different-product pairs up to there, shape (k,).
        resolved: steps that hold a single distance value, shape (k,). Small sets are resolved
            everywhere; large ones near the thresholds asked for, with steps of 2^-13 elsewhere.
        same: same-product pairs.
        different: different-product pairs.
    """

    levels: NDArray[np.int64]
    accepted_same: NDArray[np.int64]
    accepted_different: NDArray[np.int64]
    resolved: NDArray[np.bool_]
    same: int
    different: int

    @property
    def thresholds(self) -> NDArray[np.float64]:
        """Squared L2 of each step, ascending, shape (k,)."""
        return self.levels / LEVELS_PER_UNIT

    @property
    def val(self) -> NDArray[np.float64]:
        """VAL at each step (the ROC's true positive rate), shape (k,); nan without a same pair."""
        return _rates(self.accepted_same, self.same)

    @property
    def far(self) -> NDArray[np.float64]:
        """FAR at each step (the ROC's false positive rate), shape (k,); nan without a different pair."""
        return _rates(self.accepted_different, self.different)

    def at(self, threshold: float) -> PairRate:
        """The rates at a threshold: exact where the curve is resolved, else at the step just below."""
        step = int(np.searchsorted(self.levels, level_of(threshold), side="right")) - 1
        if step < 0:
            return PairRate(threshold, 0, self.same, 0, self.different)
        return PairRate(
            threshold,
            int(self.accepted_same[step]),
            self.same,
            int(self.accepted_different[step]),
            self.different,
        )

    def at_far(self, target: float, *, strict: bool = False) -> AtFar:
        """The largest threshold that keeps FAR at ``target``.

        With v the (k+1)-th smallest different-product distance, where k is the number of different-product
        pairs that the target allows, it is the largest float32 below v; ties at v are all refused.

        Raises:
            ValueError: the target is not in [0, 1], or the curve is not resolved at the answer.
        """
        allowed = _allowed(target, self.different, strict)
        if not self.different:
            return AtFar(target, strict, None, 0, self.same, 0, 0)
        if allowed >= self.different:
            return AtFar(target, strict, 4.0, self.same, self.same, self.different, self.different)
        step = int(np.searchsorted(self.accepted_different, allowed, side="right"))
        if not self.resolved[step]:
            raise ValueError(f"expected a curve resolved at FAR {target}, received steps of 2^-13")
        threshold = distance_below(int(self.levels[step]))
        if threshold is None:
            return AtFar(target, strict, None, 0, self.same, 0, self.different)
        rate = self.at(threshold)
        return AtFar(target, strict, threshold, rate.accepted_same, rate.same, rate.accepted_different, rate.different)

    @property
    def auc(self) -> float:
        """Area under the ROC: P(d_same < d_different) + P(d_same = d_different) / 2.

        That is the Mann-Whitney statistic (Hanley and McNeil 1982); distances within one unresolved step
        count as ties, an error of at most `auc_tolerance`. 0.5 for constant vectors; nan when either kind
        of pair is missing.
        """
        if not self.same or not self.different:
            return math.nan
        same, different = self._steps()
        before = self.accepted_same - same
        return float(np.dot(different / self.different, (before + 0.5 * same) / self.same))

    @property
    def auc_tolerance(self) -> float:
        """How far `auc` can be off because of unresolved steps; 0 when all are resolved."""
        if not self.same or not self.different:
            return 0.0
        same, different = self._steps()
        loose = ~self.resolved
        return float(0.5 * np.dot(different[loose] / self.different, same[loose] / self.same))

    @property
    def eer(self) -> float:
        """Equal error rate: where FAR = 1 - VAL, on the ROC joined by straight lines.

        0 when a threshold separates all pairs, 0.5 for constant vectors; nan when either kind of pair is
        missing.
        """
        return self._crossing()[0]

    @property
    def eer_tolerance(self) -> float:
        """How far `eer` can be off because its step is unresolved; 0 when it is resolved."""
        return self._crossing()[1]

    def _steps(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return np.diff(self.accepted_same, prepend=0), np.diff(self.accepted_different, prepend=0)

    def _crossing(self) -> tuple[float, float]:
        if not self.same or not self.different:
            return math.nan, 0.0
        far = np.concatenate([[0.0], self.far])
        frr = np.concatenate([[1.0], 1.0 - self.val])
        after = int(np.argmax(far >= frr))
        gap_before, gap_after = frr[after - 1] - far[after - 1], frr[after] - far[after]
        weight = gap_before / (gap_before - gap_after)
        eer = far[after - 1] + weight * (far[after] - far[after - 1])
        if self.resolved[after - 1]:
            return float(eer), 0.0
        return float(eer), float(max(far[after] - far[after - 1], frr[after - 1] - frr[after]))


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


def _rates(counts: NDArray[np.int64], total: int) -> NDArray[np.float64]:
    return counts / total if total else np.full(len(counts), np.nan)


def _allowed(target: float, different: int, strict: bool) -> int:
    """How many accepted different-product pairs keep FAR at the target."""
    if not 0.0 <= target <= 1.0:
        raise ValueError(f"expected a FAR in [0, 1], received {target}")
    allowed = math.floor(target * different)
    # The product is rounded, so step to the integer for which the rate itself, as reported, obeys.
    while allowed < different and _obeys(allowed + 1, different, target, strict):
        allowed += 1
    while allowed >= 0 and not _obeys(allowed, different, target, strict):
        allowed -= 1
    return allowed


def _obeys(accepted: int, different: int, target: float, strict: bool) -> bool:
    far = _rate(accepted, different)
    return far < target if strict else far <= target


def _curve(pairs: PairSet, levels: Sequence[int], targets: Sequence[tuple[float, bool]]) -> Curve:
    """Count once, with the bins that the answers will fall into resolved; count again if one was missed."""
    same, different = pairs.totals()
    allowed = [_allowed(far, different, strict) for far, strict in targets]
    if same + different <= _HOLD_ALL_PAIRS:
        return _curve_of_levels(*all_levels(pairs))
    wanted = {level // LEVELS_PER_BIN for level in levels if level >= 0}
    pilot = count_pairs(pairs.thinned(_PILOT_ROWS))
    for rank in allowed:
        wanted |= _pilot_bins(pilot, rank / different if different else 0.0)
    counts = count_pairs(pairs, wanted)
    reached = np.cumsum(counts.different)
    answers = {int(np.searchsorted(reached, rank, side="right")) for rank in allowed if rank < different}
    missed = answers - set(counts.fine_bins.tolist())
    parts = [counts, count_pairs(pairs, missed)] if missed else [counts]
    return _curve_of_counts(parts)


def _pilot_bins(pilot: Counts, far: float) -> set[int]:
    """Bins that hold the FAR quantile of the whole, judged by a sample, or none if that is too vague."""
    total = int(pilot.different.sum())
    if not total:
        return set()
    spread = 6.0 * math.sqrt(far * (1.0 - far) / total) + 0.05 * far
    reached = np.cumsum(pilot.different) / total
    first = int(np.searchsorted(reached, far - spread, side="left"))
    last = min(int(np.searchsorted(reached, far + spread, side="right")), BINS - 1)
    return set(range(first, last + 1)) if last - first < _MOST_PILOT_BINS else set()


def _curve_of_levels(same: NDArray[np.int64], different: NDArray[np.int64]) -> Curve:
    levels = np.unique(np.concatenate([same, different]))
    return Curve(
        levels,
        np.searchsorted(np.sort(same), levels, side="right"),
        np.searchsorted(np.sort(different), levels, side="right"),
        np.ones(len(levels), bool),
        len(same),
        len(different),
    )


def _curve_of_counts(parts: Iterable[Counts]) -> Curve:
    """Steps of whole bins, and of single levels within the resolved ones."""
    parts = list(parts)
    coarse = np.ones(BINS, bool)
    for part in parts:
        coarse[part.fine_bins] = False
    bins = np.flatnonzero(coarse)
    levels, same, different, resolved = (
        [bins * LEVELS_PER_BIN + LEVELS_PER_BIN - 1],
        [parts[0].same[bins]],
        [parts[0].different[bins]],
        [np.zeros(len(bins), bool)],
    )
    for part in parts:
        levels.append((part.fine_bins[:, None] * LEVELS_PER_BIN + np.arange(LEVELS_PER_BIN)).reshape(-1))
        same.append(part.fine_same.reshape(-1))
        different.append(part.fine_different.reshape(-1))
        resolved.append(np.ones(part.fine_same.size, bool))
    all_steps, s, d, r = map(np.concatenate, (levels, same, different, resolved))
    order = np.argsort(all_steps)
    order = order[(s + d)[order] > 0]
    return Curve(
        all_steps[order],
        np.cumsum(s[order]),
        np.cumsum(d[order]),
        r[order],
        int(s.sum()),
        int(d.sum()),
    )

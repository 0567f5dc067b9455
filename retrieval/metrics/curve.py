"""The curve of VAL and FAR over thresholds, as counts: rates, thresholds at a FAR, AUC, EER."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.metrics._grid import LEVELS_PER_BIN, LEVELS_PER_UNIT, distance_below, level_of


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
        """The exact rates at a threshold.

        Raises:
            ValueError: it is nan, or lies inside an unresolved step (ask `pair_rates` for it instead).
        """
        level = level_of(threshold)
        step = int(np.searchsorted(self.levels, level, side="right")) - 1
        after = step + 1
        if after < len(self.levels) and not self.resolved[after]:
            begins = self.levels[after] - self.levels[after] % LEVELS_PER_BIN
            if begins <= level < self.levels[after]:
                raise ValueError(f"expected a threshold that the curve was resolved at, received {threshold}")
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
        allowed = allowed_errors(target, self.different, strict)
        if allowed < 0:
            return AtFar(target, strict, None, 0, self.same, 0, self.different)
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

    def near_far(self, target: float) -> float:
        """About the threshold at which FAR reaches ``target``, to the width of a step; 4 if it never does."""
        step = int(np.searchsorted(self.accepted_different, target * self.different, side="left"))
        return float(self.levels[step] / LEVELS_PER_UNIT) if step < len(self.levels) else 4.0

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

    def crossing(self) -> tuple[float, float] | None:
        """Where FAR and FRR = 1 - VAL cross: the threshold, and the part of ``d(FAR + VAL)/dt`` that is FAR's.

        The slopes are taken between half and one and a half times the EER. None when either kind of pair is missing.
        """
        if not self.same or not self.different:
            return None
        far, val, last = self.far, self.val, len(self.levels) - 1
        at = int(np.argmax(far >= 1.0 - val))
        low = max(int(np.searchsorted(far, 0.5 * self.eer)) - 1, 0)
        high = min(int(np.searchsorted(far, 1.5 * self.eer)), last)
        rise, total = float(far[high] - far[low]), float(far[high] - far[low] + val[high] - val[low])
        return float(self.levels[at] / LEVELS_PER_UNIT), rise / total if total > 0.0 else 0.5

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


def _rates(counts: NDArray[np.int64], total: int) -> NDArray[np.float64]:
    return counts / total if total else np.full(len(counts), np.nan)


def allowed_errors(target: float, different: int, strict: bool) -> int:
    """How many accepted different-product pairs keep FAR at the target; -1 when none can, not even 0."""
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

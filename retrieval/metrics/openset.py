"""Open set: what becomes of photos of products that the gallery does not hold.

With N_u photos of unknown products, N_k of known ones, and an answer given when its distance is within
the threshold t (ISO/IEC 19795-1; Grother, Ngan, Hanaoka, NIST IR 8271),

    FPIR(t)   = unknown photos that get any answer / N_u
    DIR(t, R) = known photos whose product is among the first R and within t / N_k
    FNIR      = 1 - DIR

FPIR is what users meet: with a gallery of N products it is near ``1 - (1 - FAR)^N`` for independent
comparisons, so it has to be printed with the gallery's size and not be confused with FAR.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from retrieval.metrics.identify import Identification
from retrieval.metrics.rates import Rate

FPIR_TARGETS = (0.1, 0.01)


@dataclass(frozen=True, slots=True)
class OpenSetRate:
    """What one threshold does to known and unknown photos.

    Attributes:
        threshold: squared L2, inclusive; None when no threshold in [0, 4] meets the target (nothing is
            answered then) or when there is no unknown photo to measure on.
        false_matches: unknown photos that get an answer, of all unknown photos: FPIR.
        found: known photos whose product is found, of all known photos: DIR.
        target: the FPIR asked for; None when the threshold was given.
    """

    threshold: float | None
    false_matches: Rate
    found: Rate
    target: float | None = None

    @property
    def fpir(self) -> float:
        """Unknown photos that get an answer / unknown photos; nan without one."""
        return self.false_matches.value

    @property
    def dir(self) -> float:
        """Known photos found / known photos; nan without one."""
        return self.found.value

    @property
    def fnir(self) -> float:
        """Known photos not found / known photos; nan without one."""
        return 1.0 - self.found.value


def open_set_at(
    known: NDArray[np.floating], unknown: NDArray[np.floating], threshold: float, *, target: float | None = None
) -> OpenSetRate:
    """FPIR, DIR and FNIR at a threshold.

    Args:
        known: for each photo of a known product the smallest threshold at which it is found, inf for
            never, shape (n,); see `finding_distances`.
        unknown: for each photo of an unknown product the distance of its best answer, inf for none,
            shape (m,).
        threshold: squared L2; inclusive.
        target: recorded in the result.

    Raises:
        ValueError: a distance is nan.
    """
    k, u = _distances(known), _distances(unknown)
    return OpenSetRate(
        threshold,
        Rate(int((u <= threshold).sum()), len(u)),
        Rate(int((k <= threshold).sum()), len(k)),
        target,
    )


def open_set(
    known: NDArray[np.floating], unknown: NDArray[np.floating], fpir_targets: Sequence[float] = FPIR_TARGETS
) -> tuple[OpenSetRate, ...]:
    """The largest threshold with ``FPIR <= target`` for each target, and DIR there.

    With k the false matches that a target allows, the threshold is the largest float32 below the
    (k+1)-th smallest distance of the unknown photos, at most 4; photos tied there are all refused.

    Args:
        known: as in `open_set_at`.
        unknown: as in `open_set_at`.
        fpir_targets: each in [0, 1].

    Raises:
        ValueError: a target is not in [0, 1] or a distance is nan.
    """
    sorted_unknown = np.sort(_distances(unknown))
    rates = []
    for target in fpir_targets:
        if not 0.0 <= target <= 1.0:
            raise ValueError(f"expected an FPIR in [0, 1], received {target}")
        threshold = _threshold(sorted_unknown, target)
        if threshold is None:
            nothing = Rate(0, len(sorted_unknown)), Rate(0, len(known))
            rates.append(OpenSetRate(None, *nothing, target))
        else:
            rates.append(open_set_at(known, unknown, threshold, target=target))
    return tuple(rates)


@overload
def grown(rate: float, growth: float) -> float: ...


@overload
def grown(rate: NDArray[np.float64], growth: float) -> NDArray[np.float64]: ...


def grown(rate: float | NDArray[np.float64], growth: float) -> float | NDArray[np.float64]:
    """An FPIR in a gallery of so many times as many products, by the approximation above.

    Args:
        rate: in a gallery, in [0, 1].
        growth: how many times as many products the other one has, over 0.
    """
    return 1.0 - (1.0 - rate) ** growth if growth != 1.0 else rate


def finding_distances(result: Identification, *, rank: int = 1) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What `open_set` needs, from an identification by the nearest picture.

    Args:
        result: probes against a gallery that lacks some of their products.
        rank: how many products count as an answer.

    Returns:
        ``known``: the distance of the right product where it is among the first ``rank``, else inf;
        ``unknown``: the best distance of the other probes.
    """
    ranks, is_known = result.outcomes.ranks, result.outcomes.known
    reached = np.where((ranks >= 1) & (ranks <= rank), result.genuine, np.inf)
    return reached[is_known].astype(np.float64), result.best_distance[~is_known].astype(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class CoverageCurve:
    """Accuracy against coverage of a recognizer that may abstain below a confidence.

    Attributes:
        confidence: the distinct confidences, descending, shape (k,).
        answered: photos with at least that confidence, shape (k,).
        right: those of them that were right, shape (k,).
        photos: all photos.
    """

    confidence: NDArray[np.float64]
    answered: NDArray[np.int64]
    right: NDArray[np.int64]
    photos: int

    @property
    def coverage(self) -> NDArray[np.float64]:
        """``answered / photos``, shape (k,)."""
        return self.answered / self.photos

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """``right / answered``, shape (k,)."""
        return self.right / self.answered

    def at_accuracy(self, target: float) -> Rate:
        """The most photos that can be answered with at least that accuracy, of all photos."""
        good = np.flatnonzero(self.accuracy >= target)
        return Rate(int(self.answered[good[-1]]) if len(good) else 0, self.photos)

    def at_confidence(self, least: float) -> tuple[Rate, Rate]:
        """Coverage and accuracy when photos below ``least`` get no answer."""
        kept = int((self.confidence >= least).sum())
        answered, right = (int(self.answered[kept - 1]), int(self.right[kept - 1])) if kept else (0, 0)
        return Rate(answered, self.photos), Rate(right, answered)


def coverage_curve(confidence: NDArray[np.floating], correct: NDArray[np.bool_]) -> CoverageCurve:
    """The risk-coverage curve (El-Yaniv and Wiener 2010), as accuracy.

    Photos of equal confidence are answered together or not at all.

    Args:
        confidence: higher is surer, shape (n,); -inf for photos that got no answer.
        correct: whether the answer was right, shape (n,).

    Raises:
        ValueError: the shapes differ or a confidence is nan.
    """
    c, hit = np.asarray(confidence, np.float64), np.asarray(correct, bool)
    if c.ndim != 1 or c.shape != hit.shape or np.isnan(c).any():
        raise ValueError(f"expected confidences and outcomes of one shape (n,), received {c.shape}, {hit.shape}")
    order = np.argsort(-c, kind="stable")
    descending = c[order]
    last = np.flatnonzero(np.append(descending[1:] != descending[:-1], len(c) > 0))
    return CoverageCurve(descending[last], last + 1, np.cumsum(hit[order])[last], len(c))


def _distances(values: NDArray[np.floating]) -> NDArray[np.float64]:
    distances = np.asarray(values, np.float64)
    if distances.ndim != 1 or np.isnan(distances).any():
        raise ValueError(f"expected distances of shape (n,) without nan, received shape {distances.shape}")
    return distances


def _threshold(ascending: NDArray[np.float64], target: float) -> float | None:
    if not len(ascending):
        return None
    counts = np.arange(len(ascending) + 1)
    allowed = int(np.flatnonzero(counts / len(ascending) <= target)[-1])
    if allowed == len(ascending) or ascending[allowed] > 4.0:
        return 4.0
    refused = float(ascending[allowed])
    below = np.float32(refused)
    if float(below) >= refused:
        below = np.nextafter(below, np.float32(-1.0))
    return None if math.copysign(1.0, below) < 0 else float(below)

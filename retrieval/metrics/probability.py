"""From a score to the probability that the match is right, and how well such probabilities hold.

Two maps, fitted on one split and measured on another: isotonic regression (any increasing step function;
wants hundreds of outcomes) and logistic regression (two numbers; stands few). Both are small and
serialize to JSON, since serving must apply them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.metrics.rates import Rate

_NEWTON_STEPS = 100


@dataclass(frozen=True, slots=True)
class IsotonicMap:
    """An increasing map, linear between its knots and constant beyond them.

    Attributes:
        scores: the knots, strictly ascending.
        probabilities: the probability at each, not descending, in [0, 1].
    """

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __post_init__(self) -> None:
        s, p = np.array(self.scores), np.array(self.probabilities)
        if not len(s) or len(s) != len(p) or not (np.diff(s) > 0).all() or not (np.diff(p) >= 0).all():
            raise ValueError("expected ascending scores with as many probabilities that do not descend")
        if not (np.isfinite(s).all() and p[0] >= 0.0 and p[-1] <= 1.0):
            raise ValueError("expected finite scores and probabilities in [0, 1]")

    def __call__(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        """The probability of each score, same shape."""
        return np.interp(np.asarray(scores, np.float64), self.scores, self.probabilities)

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `map_from_json` reads back."""
        return {"kind": "isotonic", "scores": list(self.scores), "probabilities": list(self.probabilities)}


@dataclass(frozen=True, slots=True)
class LogisticMap:
    """``p = 1 / (1 + exp(-(slope * score + intercept)))``."""

    slope: float
    intercept: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.slope) and math.isfinite(self.intercept)):
            raise ValueError(f"expected finite numbers, received {self.slope}, {self.intercept}")

    def __call__(self, scores: NDArray[np.floating]) -> NDArray[np.float64]:
        """The probability of each score, same shape."""
        return _sigmoid(self.slope * np.asarray(scores, np.float64) + self.intercept)

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `map_from_json` reads back."""
        return {"kind": "logistic", "slope": self.slope, "intercept": self.intercept}


ConfidenceMap = IsotonicMap | LogisticMap


def map_from_json(data: Mapping[str, Any]) -> ConfidenceMap:
    """Read what `IsotonicMap.to_json` or `LogisticMap.to_json` wrote.

    Raises:
        ValueError, TypeError, KeyError: it is something else.
    """
    if data["kind"] == "isotonic":
        return IsotonicMap(tuple(float(v) for v in data["scores"]), tuple(float(v) for v in data["probabilities"]))
    if data["kind"] == "logistic":
        return LogisticMap(float(data["slope"]), float(data["intercept"]))
    raise ValueError(f"expected a confidence map of kind isotonic or logistic, received {data['kind']!r}")


def fit_isotonic(scores: NDArray[np.floating], correct: NDArray[np.bool_]) -> IsotonicMap:
    """Least-squares increasing fit by pool adjacent violators (Ayer et al. 1955; Zadrozny and Elkan 2002).

    Equal scores are averaged first. All outcomes alike give a constant.

    Args:
        scores: higher is surer, shape (n,), n >= 1.
        correct: whether the answer was right, shape (n,).

    Raises:
        ValueError: empty, shapes differ, or a score is not finite.
    """
    s, y = _outcomes(scores, correct)
    values, owner = np.unique(s, return_inverse=True)
    weights = np.bincount(owner).astype(np.float64)
    hits = np.bincount(owner, weights=y)
    pools: list[tuple[float, float, int]] = []
    for weight, hit in zip(weights.tolist(), hits.tolist(), strict=True):
        pool = (weight, hit, 1)
        # Compared as products, so that equal rates of different counts pool without rounding.
        while pools and pools[-1][1] * pool[0] >= pool[1] * pools[-1][0]:
            before = pools.pop()
            pool = (before[0] + pool[0], before[1] + pool[1], before[2] + pool[2])
        pools.append(pool)
    knots: list[float] = []
    heights: list[float] = []
    start = 0
    for weight, hit, length in pools:
        for end in {start, start + length - 1}:
            knots.append(float(values[end]))
            heights.append(hit / weight)
        start += length
    order = np.argsort(knots)
    return IsotonicMap(tuple(knots[i] for i in order), tuple(heights[i] for i in order))


def fit_logistic(scores: NDArray[np.floating], correct: NDArray[np.bool_]) -> LogisticMap:
    """Platt scaling: maximum likelihood by Newton's method, with his smoothed targets.

    The targets are ``(n_right + 1) / (n_right + 2)`` and ``1 / (n_wrong + 2)`` instead of 1 and 0, so that
    separable outcomes stay finite (Platt 1999; Lin, Lin, Weng 2007).

    Args:
        scores: higher is surer, shape (n,), n >= 1.
        correct: whether the answer was right, shape (n,).

    Raises:
        ValueError: empty, shapes differ, or a score is not finite.
    """
    s, y = _outcomes(scores, correct)
    right = y.sum()
    wrong = len(y) - right
    target = np.where(y > 0, (right + 1.0) / (right + 2.0), 1.0 / (wrong + 2.0))
    center, scale = s.mean(), s.std() or 1.0
    x = (s - center) / scale
    a, b = 0.0, math.log((target.sum() + 1e-12) / ((1.0 - target).sum() + 1e-12))
    loss = _log_loss(a * x + b, target)
    for _ in range(_NEWTON_STEPS):
        p = _sigmoid(a * x + b)
        g = np.array([np.dot(p - target, x), (p - target).sum()])
        w = p * (1.0 - p)
        h = np.array([[np.dot(w, x * x), np.dot(w, x)], [np.dot(w, x), w.sum()]]) + 1e-12 * np.eye(2)
        step_a, step_b = np.linalg.solve(h, g)
        size = 1.0
        while size > 1e-10 and _log_loss((a - size * step_a) * x + b - size * step_b, target) > loss:
            size /= 2.0
        a, b = a - size * step_a, b - size * step_b
        loss = _log_loss(a * x + b, target)
        if np.abs(g).max() < 1e-10 * len(y):
            break
    return LogisticMap(float(a / scale), float(b - a * center / scale))


def fit_logistic_weights(
    numbers: NDArray[np.floating],
    outcomes: NDArray[np.bool_] | NDArray[np.floating],
    counts: NDArray[np.floating],
    *,
    ridge: float = 1.0,
) -> NDArray[np.float64]:
    """Logistic regression on several numbers, by Newton's method with step halving.

    Args:
        numbers: of each trial, shape (n, k), n >= 1.
        outcomes: of each, or its probability, shape (n,).
        counts: how many trials each stands for, shape (n,).
        ridge: penalty on the squared weights of the standardized numbers, so that separable outcomes stay finite.

    Returns:
        The intercept, and a weight for each number, shape (1 + k,).

    Raises:
        ValueError: empty, shapes differ, or a number is not finite.
    """
    x, y, c = np.asarray(numbers, np.float64), np.asarray(outcomes, np.float64), np.asarray(counts, np.float64)
    if x.ndim != 2 or not len(x) or y.shape != c.shape or y.shape != x.shape[:1] or not np.isfinite(x).all():
        raise ValueError(
            f"expected finite numbers (n, k) with n outcomes and counts, received {x.shape}, {y.shape}, {c.shape}"
        )
    center, scale = x.mean(axis=0), x.std(axis=0)
    scale = np.where(scale > 0.0, scale, 1.0)
    z = np.column_stack([np.ones(len(x)), (x - center) / scale])
    # The intercept is hardly held back: it states how often the outcome is true at all.
    penalty = np.array([1e-3 * ridge, *np.full(x.shape[1], ridge)])
    w = np.zeros(z.shape[1])

    def loss(weights: NDArray[np.float64]) -> float:
        s = z @ weights
        return float((c * (np.logaddexp(0.0, s) - y * s)).sum() + 0.5 * (penalty * weights**2).sum())

    now = loss(w)
    for _ in range(_NEWTON_STEPS):
        p = _sigmoid(z @ w)
        g = z.T @ (c * (p - y)) + penalty * w
        h = (z * (c * p * (1.0 - p))[:, None]).T @ z + np.diag(penalty)
        step = np.linalg.solve(h, g)
        size = 1.0
        while size > 1e-10 and loss(w - size * step) > now:
            size /= 2.0
        w = w - size * step
        now = loss(w)
        if np.abs(g).max() < 1e-9 * max(c.sum(), 1.0):
            break
    each = w[1:] / scale
    return np.array([w[0] - float(each @ center), *each])


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Answers of like confidence.

    Attributes:
        low: lower edge; belongs to the bin.
        high: upper edge; belongs to the bin only where it is 1.
        mean_confidence: mean probability claimed; nan when empty.
        right: answers that were right, of all in the bin.
        rate: the part that was right, each answer as much as it weighs; nan when empty.
    """

    low: float
    high: float
    mean_confidence: float
    right: Rate
    rate: float

    def holds(self, probabilities: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Which of some probabilities are of this bin, shape (n,)."""
        below = probabilities <= self.high if self.high == 1.0 else probabilities < self.high
        return (probabilities >= self.low) & below


@dataclass(frozen=True, slots=True)
class Reliability:
    """How far claimed probabilities hold.

    Attributes:
        bins: of equal width over [0, 1].
        ece: expected calibration error: mean over answers of ``|accuracy - mean confidence|`` of their bin
            (Naeini, Cooper, Hauskrecht 2015; Guo et al. 2017); nan without answers. It depends on the
            bins and is biased upward on few answers.
        brier: mean of ``(probability - outcome)^2`` (Brier 1950); nan without answers.
        answers: how many.
    """

    bins: tuple[ReliabilityBin, ...]
    ece: float
    brier: float
    answers: int


def reliability(
    probabilities: NDArray[np.floating],
    correct: NDArray[np.bool_],
    *,
    bins: int = 10,
    weights: NDArray[np.floating] | None = None,
) -> Reliability:
    """Reliability diagram, expected calibration error and Brier score.

    Args:
        probabilities: claimed, in [0, 1], shape (n,).
        correct: whether the answer was right, shape (n,).
        bins: how many, of equal width.
        weights: what each answer counts, above 0, shape (n,); by default all the same.

    Raises:
        ValueError: shapes differ, a probability is not in [0, 1], or there is no bin.
    """
    p, hit = np.asarray(probabilities, np.float64), np.asarray(correct, bool)
    w = np.ones(len(p)) if weights is None else np.asarray(weights, np.float64)
    if p.ndim != 1 or p.shape != hit.shape or p.shape != w.shape or not ((p >= 0.0) & (p <= 1.0)).all() or bins < 1:
        raise ValueError(
            f"expected probabilities in [0, 1], outcomes and weights of one shape (n,) and at least one bin, "
            f"received {p.shape}, {hit.shape}, {w.shape} and {bins} bins"
        )
    edges = np.arange(bins + 1) / bins
    place = np.clip(np.searchsorted(edges, p, side="right") - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    hits = np.bincount(place, weights=hit, minlength=bins)
    weight = np.bincount(place, weights=w, minlength=bins)
    claimed = np.bincount(place, weights=w * p, minlength=bins)
    right = np.bincount(place, weights=w * hit, minlength=bins)
    result = tuple(
        ReliabilityBin(
            float(edges[i]),
            float(edges[i + 1]),
            float(claimed[i] / weight[i]) if counts[i] else math.nan,
            Rate(int(hits[i]), int(counts[i])),
            float(right[i] / weight[i]) if counts[i] else math.nan,
        )
        for i in range(bins)
    )
    if not len(p):
        return Reliability(result, math.nan, math.nan, 0)
    ece = float(np.abs(right - claimed).sum() / w.sum())
    return Reliability(result, ece, float(np.average((p - hit) ** 2, weights=w)), len(p))


def ece_by_chance(
    probabilities: NDArray[np.floating],
    *,
    bins: int = 10,
    draws: int = 200,
    seed: int = 0,
    weights: NDArray[np.floating] | None = None,
) -> float:
    """The expected calibration error of claims that hold exactly, from so few answers alone.

    The mean over outcomes drawn from the claimed probabilities themselves (consistency resampling: Bröcker and
    Smith 2007). A measured error not far above it says nothing against the claims. nan without answers.

    Args:
        probabilities: claimed, in [0, 1], shape (n,).
        bins: as in `reliability`.
        draws: how many.
        seed: of the random numbers.
        weights: as in `reliability`.
    """
    p = np.asarray(probabilities, np.float64)
    rng = np.random.default_rng(seed)
    drawn = (rng.random(len(p)) < p for _ in range(draws))
    return float(np.mean([reliability(p, right, bins=bins, weights=weights).ece for right in drawn]))


def _outcomes(
    scores: NDArray[np.floating], correct: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    s, y = np.asarray(scores, np.float64), np.asarray(correct, bool)
    if s.ndim != 1 or s.shape != y.shape or not len(s) or not np.isfinite(s).all():
        raise ValueError(
            f"expected finite scores and outcomes of one shape (n,), n >= 1, received {s.shape}, {y.shape}"
        )
    return s, y.astype(np.float64)


def _sigmoid(z: NDArray[np.float64]) -> NDArray[np.float64]:
    e = np.exp(-np.abs(z))
    return np.asarray(np.where(z >= 0, 1.0 / (1.0 + e), e / (1.0 + e)), np.float64)


def _log_loss(z: NDArray[np.float64], target: NDArray[np.float64]) -> float:
    return float((np.logaddexp(0.0, z) - target * z).sum())

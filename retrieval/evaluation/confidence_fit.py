"""Fit the confidence of answers, and choose the map that predicts best."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from retrieval.calibration.confidence import Confidence, Feature, feature_value
from retrieval.evaluation.answers import Answers
from retrieval.metrics import ConfidenceMap, IsotonicMap, fit_isotonic, fit_logistic

UNKNOWN_SHARE = 0.2
"""Of all photos tried, the part that shows products not in the gallery. No data say how many a shop will
meet; a fifth keeps a false positive from passing for certain without drowning everything else."""

LEAST_ANSWERS = 100
_FOLDS = 5
_Fit = Callable[[NDArray[np.float64], NDArray[np.bool_]], ConfidenceMap]
_KINDS: tuple[_Fit, ...] = (fit_logistic, fit_isotonic)


@dataclass(frozen=True, slots=True, eq=False)
class TrialSet:
    """Answers and whether their first match was right, n of them.

    Attributes:
        features: each feature of every answer, shape (n,).
        right: whether the first match was right, shape (n,).
        products: the photo's product, shape (n,).
        unknown: whether its product was out of the gallery, shape (n,).
    """

    features: dict[Feature, NDArray[np.float64]]
    right: NDArray[np.bool_]
    products: NDArray[np.str_]
    unknown: NDArray[np.bool_]


def trials(answers: Answers) -> TrialSet:
    """Every known probe, and so many leave-one-out unknowns that they are `UNKNOWN_SHARE` of all tried.

    Which products act as unknown follows from their names alone, so that it is the same in every run.
    Only probes with a match are kept: without one nothing is claimed.
    """
    known = np.flatnonzero(answers.known)
    wanted = round(len(known) * UNKNOWN_SHARE / (1.0 - UNKNOWN_SHARE))
    shuffled = sorted(np.flatnonzero(answers.tried).tolist(), key=lambda i: (_shuffle(str(answers.truth[i])), i))
    rows = [(str(answers.truth[i]), False, answers.answers[i]) for i in known.tolist()]
    rows += [(str(answers.truth[i]), True, answers.left_one_out[i]) for i in sorted(shuffled[:wanted])]
    rows = [row for row in rows if row[2].matches]
    return TrialSet(
        {f: np.array([feature_value(f, a.matches) for _, _, a in rows], np.float64) for f in get_args(Feature)},
        np.array([not u and a.matches[0].product_id == product for product, u, a in rows], bool),
        np.array([product for product, _, _ in rows]),
        np.array([u for _, u, _ in rows], bool),
    )


def fit_confidence(answers: Answers, threshold: float, *, fitted_on: str) -> Confidence | None:
    """The feature and the kind of map that predict best on products that a fit did not see.

    Chosen by Brier score over five folds of products, then fitted to everything. None with fewer than
    `LEAST_ANSWERS` answers or answers that are all right or all wrong: too little to learn from.

    Args:
        answers: to the calibration split, at ``threshold``.
        threshold: squared L2.
        fitted_on: which photos, for the record.
    """
    data = trials(answers)
    if len(data.right) < LEAST_ANSWERS or data.right.all() or not data.right.any():
        return None
    fold = np.array([int(_shuffle(p)[:8], 16) % _FOLDS for p in data.products.tolist()])
    best: tuple[float, Feature, ConfidenceMap] | None = None
    for feature, values in data.features.items():
        for fit in _KINDS:
            loss = _held_out_loss(values, data.right, fold, fit)
            if best is None or loss < best[0]:
                best = loss, feature, fit(values, data.right)
    if best is None:
        return None
    _, feature, fitted = best
    if isinstance(fitted, IsotonicMap):
        fitted = tempered(fitted, data.features[feature])
    return Confidence(feature, fitted, threshold, fitted_on, len(data.right), UNKNOWN_SHARE)


def tempered(fitted: IsotonicMap, values: NDArray[np.float64]) -> IsotonicMap:
    """The same map without certainty: m outcomes that all went one way claim ``(m + 1) / (m + 2)`` (Laplace).

    Args:
        fitted: the map.
        values: what it was fitted on, shape (n,).
    """
    claimed = fitted(values)
    low, high = 1.0 / ((claimed == 0.0).sum() + 2.0), 1.0 - 1.0 / ((claimed == 1.0).sum() + 2.0)
    inner = [p for p in fitted.probabilities if 0.0 < p < 1.0]
    low, high = min([low, *inner]), max([high, *inner])
    return IsotonicMap(fitted.scores, tuple(float(min(max(p, low), high)) for p in fitted.probabilities))


def _held_out_loss(values: NDArray[np.float64], right: NDArray[np.bool_], fold: NDArray[np.int64], fit: _Fit) -> float:
    errors = np.empty(len(values))
    for number in np.unique(fold).tolist():
        out = fold == number
        if out.all():
            return np.inf
        errors[out] = (fit(values[~out], right[~out])(values[out]) - right[out]) ** 2
    return float(errors.mean())


def _shuffle(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()

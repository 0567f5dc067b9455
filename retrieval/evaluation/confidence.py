"""The section ``confidence``: how far claimed probabilities hold."""

from __future__ import annotations

import numpy as np

from retrieval.calibration.confidence import Confidence
from retrieval.evaluation.answers import Answers
from retrieval.evaluation.confidence_fit import UNKNOWN_SHARE, trials
from retrieval.evaluation.document import ConfidenceDoc, ReliabilityBinDoc
from retrieval.evaluation.rate_docs import number, rate_of
from retrieval.metrics import ece_by_chance, reliability
from retrieval.metrics.intervals import rate_interval


def confidence_section(answers: Answers, confidence: Confidence | None, *, same_photos: bool) -> ConfidenceDoc | None:
    """Reliability diagram, expected calibration error and Brier score; None without a fitted confidence.

    Args:
        answers: at the threshold that the confidence was fitted at.
        confidence: fitted on other photos.
        same_photos: they are these photos after all.
    """
    if confidence is None:
        return None
    data = trials(answers)
    claimed = confidence.map(data.features[confidence.feature])
    measured = reliability(claimed, data.right)
    products, owner = np.unique(data.products, return_inverse=True)
    bins = []
    for bin_ in measured.bins:
        inside = bin_.holds(claimed)
        bins.append(
            ReliabilityBinDoc(
                low=bin_.low,
                high=bin_.high,
                mean_confidence=number(bin_.mean_confidence),
                right=rate_of(data.right[inside], data.products[inside]),
            )
        )
    answered = np.bincount(owner, minlength=len(products))
    errors = np.bincount(owner, (claimed - data.right) ** 2, len(products))
    return ConfidenceDoc(
        feature=confidence.feature,
        kind=str(confidence.map.to_json()["kind"]),
        fitted_on=confidence.fitted_on,
        same_photos=same_photos,
        strangers=UNKNOWN_SHARE,
        answers=int(np.size(data.right)),
        ece=number(measured.ece),
        ece_by_chance=number(ece_by_chance(claimed)),
        brier=number(measured.brier),
        brier_ci=rate_interval(errors, answered).to_json(),
        bins=bins,
    )

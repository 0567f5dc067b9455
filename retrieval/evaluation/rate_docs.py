"""Rates as JSON: with their counts and an interval, null where nothing was counted."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from retrieval.evaluation.document import RateDoc
from retrieval.metrics.intervals import by_product, rate_interval


def number(value: float) -> float | None:
    """The value as JSON has it: null for nan and infinities."""
    value = float(value)
    return value if math.isfinite(value) else None


def rate_of(hits: NDArray[np.bool_], labels: NDArray[np.generic]) -> RateDoc:
    """``hits / all`` with a 95 % interval bootstrapped by product.

    Args:
        hits: one outcome a photo, shape (n,).
        labels: the photo's product, shape (n,).
    """
    hits = np.asarray(hits, bool)
    part, whole = int(hits.sum()), len(hits)
    ends = rate_interval(*by_product(hits, labels)).to_json() if whole else None
    return RateDoc(rate=part / whole if whole else None, part=part, whole=whole, ci=ends)


def plain_rate(part: int, whole: int) -> RateDoc:
    """``part / whole`` of photos of one product: nothing to resample, so no interval."""
    return RateDoc(rate=part / whole if whole else None, part=part, whole=whole, ci=None)

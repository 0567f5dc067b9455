"""Pure metrics: arrays in, rates with their counts out. Numpy and the standard library only."""

from retrieval.metrics.identification import (
    Confusion,
    Identification,
    Outcomes,
    identification,
    matching_test,
    medoids,
    rank_outcomes,
)
from retrieval.metrics.pairs import (
    FAR_TARGETS,
    SWEEP,
    AtFar,
    Curve,
    PairRate,
    PairRates,
    pair_rates,
    threshold_at_far,
)
from retrieval.metrics.rates import Rate

__all__ = [
    "FAR_TARGETS",
    "SWEEP",
    "AtFar",
    "Confusion",
    "Curve",
    "Identification",
    "Outcomes",
    "PairRate",
    "PairRates",
    "Rate",
    "identification",
    "matching_test",
    "medoids",
    "pair_rates",
    "rank_outcomes",
    "threshold_at_far",
]

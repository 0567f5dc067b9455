"""Pure metrics: arrays in, rates with their counts out. Numpy and the standard library only."""

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

__all__ = [
    "FAR_TARGETS",
    "SWEEP",
    "AtFar",
    "Curve",
    "PairRate",
    "PairRates",
    "pair_rates",
    "threshold_at_far",
]

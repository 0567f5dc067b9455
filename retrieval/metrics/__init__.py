"""Pure metrics: arrays in, rates with their counts out. Numpy and the standard library only.

* `pairs`, `curve`: VAL and FAR over all pairs, thresholds at a FAR, ROC, AUC, EER
* `by_product`: accepted pairs by product, for the bootstrap of `retrieval.metrics.intervals`
* `identify`: CMC over distinct products, MAP@R, the matching test, groups, confusions
* `openset`: FPIR, FNIR, DIR; accuracy against coverage
* `probability`: score to probability, reliability, expected calibration error, Brier score
"""

from retrieval.metrics.by_product import ProductPairCounts, accepted_by_product, accepted_by_product_at
from retrieval.metrics.curve import AtFar, Curve, PairRate
from retrieval.metrics.identify import (
    Confusion,
    Identification,
    Outcomes,
    identification,
    matching_test,
    medoids,
    rank_outcomes,
)
from retrieval.metrics.openset import (
    FPIR_TARGETS,
    CoverageCurve,
    OpenSetRate,
    coverage_curve,
    finding_distances,
    open_set,
    open_set_at,
)
from retrieval.metrics.pairs import (
    EXPERIMENT_FAR,
    FAR_TARGETS,
    SWEEP,
    PairRates,
    pair_rates,
    threshold_at_far,
)
from retrieval.metrics.probability import (
    ConfidenceMap,
    IsotonicMap,
    LogisticMap,
    Reliability,
    ReliabilityBin,
    ece_by_chance,
    fit_isotonic,
    fit_logistic,
    map_from_json,
    reliability,
)
from retrieval.metrics.rates import Rate

__all__ = [
    "EXPERIMENT_FAR",
    "FAR_TARGETS",
    "FPIR_TARGETS",
    "SWEEP",
    "AtFar",
    "ConfidenceMap",
    "Confusion",
    "CoverageCurve",
    "Curve",
    "Identification",
    "IsotonicMap",
    "LogisticMap",
    "OpenSetRate",
    "Outcomes",
    "PairRate",
    "PairRates",
    "ProductPairCounts",
    "Rate",
    "Reliability",
    "ReliabilityBin",
    "accepted_by_product",
    "accepted_by_product_at",
    "coverage_curve",
    "ece_by_chance",
    "finding_distances",
    "fit_isotonic",
    "fit_logistic",
    "identification",
    "map_from_json",
    "matching_test",
    "medoids",
    "open_set",
    "open_set_at",
    "pair_rates",
    "rank_outcomes",
    "reliability",
    "threshold_at_far",
]

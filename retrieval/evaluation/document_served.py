"""The shape of two sections of ``itemrec.evaluate/1``: the verdicts by probability, and how far probabilities hold."""

from __future__ import annotations

from typing import Any, TypedDict

from retrieval.evaluation.document_pairs import Ends, RateDoc


class WeightedBinDoc(TypedDict):
    """Photos whose claimed probability lies in [low, high): the mean claim, and for what part of them it was true."""

    low: float
    high: float
    claimed: float | None
    true: float | None
    ci: Ends
    photos: int


class ReliabilityDoc(TypedDict):
    """How far a probability holds; unknown photos weigh as much of all as it was fitted for.

    ``ece_by_chance``: see `ConfidenceDoc`. Intervals are bootstrapped by product.
    """

    photos: int
    ece: float | None
    ece_by_chance: float | None
    brier: float | None
    brier_ci: Ends
    bins: list[WeightedBinDoc]


class ClaimedDoc(TypedDict):
    """What is claimed of one group of photos in the mean, beside what is true.

    ``group``: ``known``, ``look_alikes`` or ``others``, as in ``verdicts``. ``first``: P(right); ``right`` of them are.
    ``in_catalog``: P(in catalog), of photos that all are (``is_in_catalog``) or all are not. Brier scores of both.
    """

    group: str
    products: int
    photos: int
    first: float
    right: RateDoc
    first_brier: float
    in_catalog: float
    is_in_catalog: bool
    in_catalog_brier: float


class ServedProbeDoc(TypedDict):
    """What one photo gets by probability: its verdict, the first product, P(right) and P(in catalog).

    ``left_out``: the same four with its product taken out of the gallery; null where it cannot be.
    """

    verdict: str
    product: str
    first: float
    in_catalog: float
    left_out: dict[str, Any] | None


class ServedRatesDoc(TypedDict):
    """Rates of verdicts by probability. ``match_right``: known photos with a *match* that is right; ``unknown_match``:
    leave-one-out unknowns with a *match*; ``outsiders_match``: photos of products that the gallery lacks, likewise."""

    match_right: RateDoc
    unknown_match: RateDoc
    outsiders_match: RateDoc | None


class ServedDoc(TypedDict):
    """The rule that queries of this gallery go by: by probability; the section is null where they go by the threshold.

    ``verdicts``: a `retrieval.calibration.verdict_table.VerdictTable` of the photos measured here; unknown are
    leave-one-out unknowns and photos of products that the gallery lacks. ``share``: of all photos, what unknown ones
    weigh in ``reliability``, which has ``first`` for P(right) and ``in_catalog``. ``match``, ``coverage_of_match``,
    ``candidates``: as in `AmbiguousDoc`, of known photos. ``unknown_match``: unknown photos with the verdict *match*.
    """

    sure: float
    in_catalog: float
    share: float
    photos: int
    verdicts: dict[str, Any]
    match: RateDoc
    coverage_of_match: RateDoc
    candidates: RateDoc
    unknown_match: RateDoc
    reliability: dict[str, ReliabilityDoc]
    claimed: list[ClaimedDoc]


class ProbabilitiesDoc(TypedDict):
    """What verdicts by probability do. ``verdicts`` is a `retrieval.calibration.verdict_table.VerdictTable`: known
    photos are those measured here, the others those of the calibration, of products that no training saw."""

    gallery: str | None
    fits: bool | None
    why_not: str
    fitted_on: str
    verdicts: dict[str, Any] | None

"""The shape of ``itemrec.evaluate/1``: what `retrieval.evaluation.evaluate` returns and ``--json`` prints.

Every value is JSON: a rate without a denominator and an interval without anything to estimate from
are null, never NaN. Distances and thresholds are squared L2 of unit vectors, in [0, 4]. Paths of photos
are relative to ``data.folder``, paths of gallery pictures to ``gallery.folder``.
"""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

from retrieval.evaluation.document_pairs import (
    AtFarDoc,
    ByProductDoc,
    Ends,
    HistogramDoc,
    PairsDoc,
    RateDoc,
    SweepDoc,
)
from retrieval.evaluation.document_served import (
    ClaimedDoc,
    ProbabilitiesDoc,
    ReliabilityDoc,
    ServedDoc,
    ServedProbeDoc,
    ServedRatesDoc,
    WeightedBinDoc,
)

__all__ = [
    "SCHEMA",
    "AmbiguousDoc",
    "AtFarDoc",
    "ByProductDoc",
    "ClaimedDoc",
    "ConfidenceDoc",
    "ConfusionDoc",
    "ConfusionExampleDoc",
    "CoverageDoc",
    "DataDoc",
    "Ends",
    "EvaluationDoc",
    "ExcludedDoc",
    "GalleryDoc",
    "GroupDoc",
    "HistogramDoc",
    "IdentificationDoc",
    "MatchDoc",
    "ModelDoc",
    "OpenSetDoc",
    "OpenSetPointDoc",
    "PairsDoc",
    "ProbabilitiesDoc",
    "ProbeDoc",
    "RateDoc",
    "RefusedDoc",
    "ReliabilityBinDoc",
    "ReliabilityDoc",
    "ServedDoc",
    "ServedProbeDoc",
    "ServedRatesDoc",
    "SweepDoc",
    "ThresholdDoc",
    "TwinDoc",
    "VerdictsDoc",
    "WeightedBinDoc",
]

SCHEMA = "itemrec.evaluate/1"


class RefusedDoc(TypedDict):
    """A file that could not be read, and why."""

    path: str
    reason: str


class DataDoc(TypedDict):
    """The photos of the split.

    ``digest`` is equal for equal sets of photos. ``found`` counts readable photos before any exclusion.
    """

    root: str
    folder: str
    found: int
    refused: list[RefusedDoc]
    digest: str


class ModelDoc(TypedDict):
    """The model that made the vectors."""

    name: str
    path: str
    fingerprint: str
    dimension: int


class GalleryDoc(TypedDict):
    """What probes were compared with.

    ``source`` is ``index``, ``train``, ``catalog`` or ``folder``; ``location`` the index or folder as given.
    """

    source: str
    location: str
    folder: str
    images: int
    products: int
    refused: int
    digest: str


class ThresholdDoc(TypedDict):
    """The threshold in use and where it comes from.

    ``source``: ``given`` (by hand), ``model`` (the bundle's calibration) or ``split`` (chosen for this
    run on another split). ``name``: its operating point, such as ``far=0.01``. ``chosen_on``: the photos
    it was chosen on. ``same_photos``: true when those are the photos measured here, so that everything
    at the threshold is optimistic.
    """

    value: float
    source: str
    name: str
    chosen_on: str
    same_photos: bool
    note: str


class GroupDoc(RateDoc):
    """CMC@1 of the votes for one product or category, over its photos that could be identified."""

    name: str


class ConfusionExampleDoc(TypedDict):
    """A photo, and the gallery picture of the wrong product that was nearest to it."""

    photo: str
    image: str
    distance: float


class ConfusionDoc(TypedDict):
    """A product whose photos were taken for another; the commonest first."""

    product: str
    taken_for: str
    count: int
    probes: int
    examples: list[ConfusionExampleDoc]


class IdentificationDoc(TypedDict):
    """Which product is it, over photos whose product is in the gallery.

    ``gallery``: its number of products. ``top1``, ``top5``: by votes over the whole gallery, every photo
    answered, whatever its distance. ``at_threshold``: the same for a query's answers, within the threshold.
    ``knn_top1``, ``map_at_r``, ``cmc``: by the nearest picture. ``matching_test_top5``: the original
    experiment's test, one representative picture a product of the split, right among the first five and
    within the threshold. ``rates`` has the counts and intervals of all of them by their key. ``by_votes``:
    CMC@1 to @20 by votes. ``per_category`` is null when the products' table has no such column.
    ``confused_pairs``: how many products were taken for how many others, of which ``confusions`` lists the
    commonest hundred.
    """

    gallery: int
    probes: int
    top1: float | None
    top5: float | None
    knn_top1: float | None
    map_at_r: float | None
    matching_test_top5: float | None
    at_threshold: dict[str, RateDoc]
    rates: dict[str, RateDoc]
    cmc: list[float | None]
    by_votes: list[float | None]
    per_product: list[GroupDoc]
    per_category: list[GroupDoc] | None
    category_column: str
    confused_pairs: int
    confusions: list[ConfusionDoc]


class OpenSetPointDoc(TypedDict):
    """What one threshold does to photos of known and of unknown products.

    ``dir``: ``found`` of ``probes`` known photos have their product first; ``dir_top5``: ``found_top5`` among the
    first five. ``fpir``: ``named`` of ``strangers`` (photos of unknown products) get a match. Threshold null
    accepts nothing.
    """

    target: float | None
    threshold: float | None
    dir: float | None
    dir_ci: Ends
    dir_top5: float | None
    dir_top5_ci: Ends
    fpir: float | None
    fpir_ci: Ends
    found: int
    found_top5: int
    probes: int
    named: int
    strangers: int
    chosen_on: str
    same_photos: bool
    refusal: str


class VerdictsDoc(TypedDict):
    """Photos by verdict and truth at the threshold in use. ``strangers``: out-of-gallery probes, which
    ``wrong`` never counts.
    """

    known: dict[str, int]
    strangers: dict[str, int]


class CoverageDoc(TypedDict):
    """One point: answer only photos whose margin is at least ``margin``; ``right`` of those ``answered``."""

    margin: float
    coverage: float
    accuracy: float
    answered: int
    right: int


class AmbiguousDoc(TypedDict):
    """Accuracy and coverage of the verdicts, over known photos.

    ``coverage`` is the curve over the margin ``1 - runner-up's score / winner's``. ``all``: accuracy of all
    answers with a match. ``match``: of the verdict *match* alone. ``coverage_of_match``: how many photos that
    leaves. ``candidates``: ambiguous photos with the right product among the first five. ``limit``: the margin
    below which a verdict is ambiguous.
    """

    limit: float
    all: RateDoc
    match: RateDoc
    coverage_of_match: RateDoc
    candidates: RateDoc
    coverage: list[CoverageDoc]


class OpenSetDoc(TypedDict):
    """Unknown products.

    ``method``: which probes are out of the gallery (``strangers``): ``leave-one-product-out`` tries every
    photo once with its own product taken out of the gallery. ``fpir``, ``fnir``, ``rates``: at the threshold
    in use; ``rates`` has ``fpir``, ``fnir``, ``dir``, ``fpir_match`` (of unknown products with the verdict *match*).
    ``outsiders``: photos whose product the gallery lacks anyway; null without any. ``dir_at_far`` and
    ``at_fpir`` have a key for each target. ``curve``: FPIR and DIR of the nearest picture against the threshold,
    with ``named`` photos of unknown products and ``found`` known ones.
    """

    method: str
    held_out_products: int
    gallery: int
    strangers: int
    fpir: float | None
    fnir: float | None
    rates: dict[str, RateDoc]
    outsiders: dict[str, Any] | None
    dir_at_far: dict[str, OpenSetPointDoc]
    at_fpir: dict[str, OpenSetPointDoc]
    curve: list[dict[str, float | None]]
    verdicts: VerdictsDoc
    ambiguous: AmbiguousDoc


class ReliabilityBinDoc(TypedDict):
    """Answers whose claimed probability lies in [low, high)."""

    low: float
    high: float
    mean_confidence: float | None
    right: RateDoc


class ConfidenceDoc(TypedDict):
    """How far the claimed probability that the first match is right holds on this split.

    Over photos that got an answer: every known photo, and so many out-of-gallery probes that they make up
    ``strangers`` of all photos tried. ``ece_by_chance``: the error that claims which hold exactly would show on so few
    answers, see `retrieval.metrics.ece_by_chance`. ``brier_ci`` is bootstrapped by product.
    """

    feature: str
    kind: str
    fitted_on: str
    same_photos: bool
    strangers: float
    answers: int
    ece: float | None
    ece_by_chance: float | None
    brier: float | None
    brier_ci: Ends
    bins: list[ReliabilityBinDoc]


class TwinDoc(TypedDict):
    """A probe that is excluded because its picture is also in the gallery, or twice in the split.

    ``reason``: ``same-hash``, ``near-duplicate`` or ``repeated``; ``bits``: how many bits of the perceptual
    hashes differ; ``image``: the picture it repeats (a gallery picture, or for ``repeated`` a photo).
    """

    source: str
    product: str
    image: str
    image_product: str
    reason: str
    bits: int


class ExcludedDoc(TypedDict):
    """Probes that would have made the rates optimistic.

    ``look_alikes``: probes nearly the same as a picture of *another* product; they stay in, because excluding
    hard photos would be optimistic too. ``unchecked``: gallery pictures whose files are gone or changed, so
    that near duplicates of them could not be looked for.
    """

    same_hash: int
    near_duplicate: int
    repeated: int
    max_bits: int
    unchecked: int
    list: list[TwinDoc]
    look_alikes: list[TwinDoc]


class MatchDoc(TypedDict):
    """A product that was answered; see `retrieval.types.Match`.

    ``confidence`` only on the first, if calibrated.
    """

    product_id: str
    score: float
    votes: int
    share: float
    best_distance: float
    confidence: float | None
    evidence: list[dict[str, Any]]


class ProbeDoc(TypedDict):
    """What became of one photo.

    ``known``: its product is in the gallery. ``rank``: of the right product by votes over the whole gallery,
    0 when unknown. ``knn_rank``: by nearest picture. ``verdict``, ``matches``: at the threshold in use.
    ``right``: the first match is its product. ``own_distance``: genuine, to its own product; ``rival_distance``:
    impostor, to the nearest other one. ``as_stranger``: the answer with its product taken out of the gallery,
    null where it holds no other one. Distances are null where there is nothing to measure to. ``served``: by the rule
    that queries go by; null where that is the threshold.
    """

    source: str
    product: str
    category: str | None
    known: bool
    rank: int
    knn_rank: int
    average_precision: float | None
    own_distance: float | None
    own_image: str | None
    rival_distance: float | None
    verdict: str
    right: bool
    matches: list[MatchDoc]
    as_stranger: dict[str, Any] | None
    served: NotRequired[ServedProbeDoc | None]


class RefusalsDoc(TypedDict):
    """What the index's pictures of what is not ours change at the threshold in use; other sections leave them out.

    ``known``: photos of products in the gallery whose product is named first; ``unknown``: leave-one-out unknowns that
    get a name; ``outsiders``: photos of products that the gallery lacks and that get one; null without any. Each has
    the rate ``before``, without refusals, and ``after``, with them. ``same_photos``: photos of the split that are
    refused themselves, and not counted. ``each``: for every refusal, the photos that it turned into *unknown*.
    ``served``: verdicts by probability ``before`` and ``after``, and ``each`` goes by those, where queries do.
    """

    pictures: int
    same_photos: int
    known: dict[str, RateDoc]
    unknown: dict[str, RateDoc]
    outsiders: dict[str, RateDoc] | None
    each: list[dict[str, Any]]
    served: NotRequired[dict[str, ServedRatesDoc] | None]


class LookedDoc(TypedDict):
    """What a closer look at close calls changes, with the index's keypoints; other sections leave it out.

    Of the ``photos`` of products in the gallery: ``close``, the part that was looked at; ``top1``, the right product
    first ``before`` and ``after``; ``mended`` and ``spoiled``, photos that are right and wrong for it.
    """

    photos: int
    close: RateDoc
    top1: dict[str, RateDoc]
    mended: int
    spoiled: int


class ViewsRowDoc(TypedDict):
    """So many ``photos`` of an item together, over ``items``.

    ``top1``: the right product first, by votes; ``dir``: first and near enough; ``fpir``: leave-one-out unknowns that
    get a name; ``apart``: items whose photos are said to be too far apart to show one; null for one photo. ``served``:
    by probability, where queries go by it.
    """

    photos: int
    items: int
    top1: RateDoc
    dir: RateDoc
    fpir: RateDoc
    apart: RateDoc | None
    served: NotRequired[ServedRatesDoc | None]


class ViewsDoc(TypedDict):
    """What several photos of one item bring; ``limit``: how far apart photos of one product are, null if unknown."""

    products: int
    limit: float | None
    rows: list[ViewsRowDoc]


class EvaluationDoc(TypedDict):
    """The whole document. ``verdict`` is the sentence on top, ``tone`` is good, warn or bad."""

    schema: str
    itemrec: str
    created: str
    seconds: float
    split: str
    photos: int
    products: int
    verdict: str
    tone: str
    warnings: list[str]
    data: DataDoc
    model: ModelDoc
    gallery: GalleryDoc
    threshold: ThresholdDoc
    pairs: PairsDoc
    identification: IdentificationDoc
    open_set: OpenSetDoc
    confidence: ConfidenceDoc | None
    refusals: RefusalsDoc | None
    closer_look: LookedDoc | None
    views: ViewsDoc | None

    probabilities: NotRequired[ProbabilitiesDoc | None]
    served: NotRequired[ServedDoc | None]
    excluded: ExcludedDoc
    probes: list[ProbeDoc]

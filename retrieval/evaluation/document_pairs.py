"""The shape of the section ``pairs`` of ``itemrec.evaluate/1``; see `retrieval.evaluation.document`."""

from __future__ import annotations

from typing import TypedDict

Ends = list[float] | None
"""A 95 % interval ``[low, high]``; null when there is none."""


class RateDoc(TypedDict):
    """``part`` of ``whole``; ``ci`` is bootstrapped by product (exact where the rate is 0 or 1)."""

    rate: float | None
    part: int
    whole: int
    ci: Ends


class SweepDoc(TypedDict):
    """VAL and FAR of all pairs at one threshold."""

    threshold: float
    val: float | None
    far: float | None
    accepted_same: int
    accepted_different: int


class AtFarDoc(TypedDict):
    """A FAR target, or with the target null the threshold in use.

    ``threshold`` was chosen on ``chosen_on``; null when no threshold keeps the target (then nothing is
    accepted). ``val`` and ``far`` are measured on this split. ``same_photos``: chosen on the photos measured
    here, as points of an ROC usually are. ``refusal``: why the data do not support the claim; empty when they do.
    """

    target: float | None
    threshold: float | None
    val: float | None
    far: float | None
    val_ci: Ends
    far_ci: Ends
    accepted_same: int
    accepted_different: int
    chosen_on: str
    same_photos: bool
    refusal: str


class HistogramDoc(TypedDict):
    """Pairs by distance: those of number i lie in ``(edges[i], edges[i + 1]]``, the first also at 0."""

    edges: list[float]
    same: list[int]
    different: list[int]


class ByProductDoc(TypedDict):
    """Same-product pairs of each product, and those accepted at each FAR target: what `compare` resamples."""

    products: list[str]
    same: list[int]
    accepted_same: dict[str, list[int]]


class PairsDoc(TypedDict):
    """All pairs of the split's photos.

    ``roc`` is thinned to some 300 points of the exact curve. ``at_far`` has a key for each target, such
    as ``"0.01"``. ``experiment``: highest VAL with FAR < 0.20. ``at_threshold``: the threshold in use. ``eer_ci``
    is that of `retrieval.metrics.intervals.eer_interval`.
    """

    same: int
    different: int
    sweep: list[SweepDoc]
    at_far: dict[str, AtFarDoc]
    experiment: AtFarDoc
    at_threshold: AtFarDoc
    eer: float | None
    eer_ci: Ends
    auc: float | None
    roc: list[SweepDoc]
    histogram: HistogramDoc
    by_product: ByProductDoc

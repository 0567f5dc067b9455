"""The section ``pairs``: VAL and FAR over all pairs of the split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from retrieval.calibration.choose import measure_counts
from retrieval.calibration.support import support
from retrieval.evaluation.document import AtFarDoc, ByProductDoc, HistogramDoc, PairsDoc, SweepDoc
from retrieval.evaluation.photos import Photos
from retrieval.evaluation.rate_docs import number
from retrieval.evaluation.thresholds import Chosen, Thresholds
from retrieval.metrics import (
    AtFar,
    Curve,
    PairRate,
    ProductPairCounts,
    accepted_by_product,
    accepted_by_product_at,
    pair_rates,
)
from retrieval.metrics.intervals import eer_interval

_ROC_POINTS = 300
_LEAST_FAR = 1e-6
_BINS = 80
_HELD_PRODUCT_PAIRS = 2**22


def pairs_section(photos: Photos, thresholds: Thresholds, far_targets: Sequence[float]) -> PairsDoc:
    """Measure all pairs.

    Args:
        photos: the split, without exclusions.
        thresholds: where a calibration has a target, its threshold is measured; else one is chosen on these photos.
        far_targets: which FARs to report at.
    """
    rates = pair_rates(photos.vectors, photos.labels, far_targets=far_targets)
    use, crossing = thresholds.use, rates.curve.crossing()
    chosen = [(at, thresholds.far.get(at.target)) for at in rates.at_far]
    experiment = rates.experiment, thresholds.experiment
    counted = _counted(photos, [use["value"], *(_threshold(*pair) for pair in (*chosen, experiment))])
    at_far = {f"{at.target:g}": _at(counted, photos, at, on, thresholds.same_photos) for at, on in chosen}
    in_use = _measured(counted[use["value"]])
    in_use["chosen_on"], in_use["same_photos"], in_use["refusal"] = use["chosen_on"], use["same_photos"], use["note"]
    return PairsDoc(
        same=rates.same,
        different=rates.different,
        sweep=[_sweep(rate) for rate in rates.sweep],
        at_far=at_far,
        experiment=_at(counted, photos, *experiment, thresholds.same_photos),
        at_threshold=in_use,
        eer=number(rates.curve.eer),
        eer_ci=None if crossing is None else _eer_ci(photos, rates.curve.eer, *crossing),
        auc=number(rates.curve.auc),
        roc=_roc(rates.curve),
        histogram=_histogram(rates.curve),
        by_product=_by_product(counted, photos, at_far),
    )


def _threshold(own: AtFar, chosen: Chosen | None) -> float | None:
    """The threshold that a calibration names for a target, else this split's own."""
    return own.threshold if chosen is None else chosen.threshold


def _counted(photos: Photos, thresholds: Sequence[float | None]) -> dict[float, ProductPairCounts]:
    """The accepted pairs at each threshold, in as few passes as the memory for pairs of products allows."""
    wanted = sorted({t for t in thresholds if t is not None})
    products = len(photos.products)
    together = max(1, _HELD_PRODUCT_PAIRS // max(products * (products - 1) // 2, 1))
    found: dict[float, ProductPairCounts] = {}
    for start in range(0, len(wanted), together):
        part = wanted[start : start + together]
        found |= zip(part, accepted_by_product_at(photos.vectors, photos.labels, part), strict=True)
    return found


def _eer_ci(photos: Photos, eer: float, threshold: float, slope: float) -> list[float] | None:
    counts = accepted_by_product(photos.vectors, photos.labels, threshold)
    return eer_interval(eer, counts, slope).to_json()


def _at(
    counted: dict[float, ProductPairCounts], photos: Photos, own: AtFar, chosen: Chosen | None, same_photos: bool
) -> AtFarDoc:
    """A target measured at its threshold."""
    threshold = _threshold(own, chosen)
    doc = (
        AtFarDoc(
            target=own.target,
            threshold=None,
            val=0.0 if own.same else None,
            far=0.0 if own.different else None,
            val_ci=None,
            far_ci=None,
            accepted_same=0,
            accepted_different=0,
            chosen_on="",
            same_photos=True,
            refusal="",
        )
        if threshold is None
        else _measured(counted[threshold])
    )
    doc["target"] = own.target
    doc["chosen_on"] = chosen.chosen_on if chosen else "the photos measured here"
    doc["same_photos"] = same_photos if chosen else True
    doc["refusal"] = support("FAR", own.target, own.different, "impostor pairs", len(photos.products))
    return doc


def _measured(counts: ProductPairCounts) -> AtFarDoc:
    measured = measure_counts(counts)
    rate = measured.rate
    return AtFarDoc(
        target=None,
        threshold=counts.threshold,
        val=number(rate.val),
        far=number(rate.far),
        val_ci=measured.val_ci.to_json(),
        far_ci=measured.far_ci.to_json(),
        accepted_same=rate.accepted_same,
        accepted_different=rate.accepted_different,
        chosen_on="",
        same_photos=False,
        refusal="",
    )


def _sweep(rate: PairRate) -> SweepDoc:
    return SweepDoc(
        threshold=rate.threshold,
        val=number(rate.val),
        far=number(rate.far),
        accepted_same=rate.accepted_same,
        accepted_different=rate.accepted_different,
    )


def _roc(curve: Curve) -> list[SweepDoc]:
    """Points of the curve, dense where FAR is small (a logarithmic grid) and evenly along VAL and threshold."""
    if not len(curve.levels):
        return []
    far, last = curve.far, len(curve.levels) - 1
    each = _ROC_POINTS // 3
    steps = [
        np.searchsorted(far, np.geomspace(_LEAST_FAR, 1.0, each)) if curve.different else np.empty(0, np.int64),
        np.searchsorted(curve.val, np.linspace(0.0, 1.0, each)) if curve.same else np.empty(0, np.int64),
        np.searchsorted(curve.thresholds, np.linspace(curve.thresholds[0], curve.thresholds[-1], each)),
        np.array([0, last]),
    ]
    chosen = np.unique(np.clip(np.concatenate(steps), 0, last))
    return [_sweep(curve.at(float(t))) for t in curve.thresholds[chosen].tolist()]


def _histogram(curve: Curve) -> HistogramDoc:
    """Bins of equal width over the distances that occur."""
    top = float(curve.thresholds[-1]) if len(curve.levels) else 4.0
    edges = np.linspace(0.0, max(np.ceil(top * 20.0) / 20.0, 0.05), _BINS + 1)

    def counts(cumulative: NDArray[np.int64]) -> list[int]:
        reached = np.concatenate([[0], cumulative])[np.searchsorted(curve.thresholds, edges, side="right")]
        reached[0] = 0
        return [int(n) for n in np.diff(reached)]

    return HistogramDoc(
        edges=edges.tolist(), same=counts(curve.accepted_same), different=counts(curve.accepted_different)
    )


def _by_product(counted: dict[float, ProductPairCounts], photos: Photos, at_far: dict[str, AtFarDoc]) -> ByProductDoc:
    products, images = np.unique(photos.labels, return_counts=True)
    return ByProductDoc(
        products=products.tolist(),
        same=(images * (images - 1) // 2).tolist(),
        accepted_same={
            key: [0] * len(products) if doc["threshold"] is None else counted[doc["threshold"]].accepted_same.tolist()
            for key, doc in at_far.items()
        },
    )

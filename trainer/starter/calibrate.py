"""The starter's thresholds, chosen on drawings of products that it was not trained on."""

from __future__ import annotations

from collections.abc import Callable

from retrieval.calibration import Calibration, OperatingPoint
from retrieval.metrics import AtFar, pair_rates
from retrieval.metrics.openset import OpenSetRate, finding_distances, open_set
from trainer.photos import PhotoSet
from trainer.starter.baselines import Embed
from trainer.starter.measure import drawn_trials, identify

CHOSEN_FPIR = 0.05
FAR_TARGETS = (0.001, 0.01, 0.05)
FPIR_TARGETS = (CHOSEN_FPIR, 0.1)


def calibrate(embed: Embed, photos: PhotoSet, *, say: Callable[[str], None]) -> Calibration:
    """Operating points for pairs of photos and for identification; the default answers "none of ours?".

    Args:
        embed: the encoder that will be served.
        photos: drawings of products that it never saw.
        say: told each point.
    """
    trial = drawn_trials(photos, "validation drawings")[0]
    found = identify(trial, embed)
    points = [
        _identification_point(rate, products=found.gallery_products)
        for rate in open_set(*finding_distances(found), fpir_targets=FPIR_TARGETS)
    ]
    shots = ~photos.studio
    pairs = pair_rates(embed(photos.pixels[shots]), photos.labels[shots], thresholds=(), far_targets=FAR_TARGETS)
    points += [_pair_point(f"far={at.target:g}", at) for at in pairs.at_far]
    points.append(_pair_point("experiment", pairs.experiment))
    for point in points:
        say(f"threshold {point.threshold:.4f} for {point.name}")
    chosen = points[0]
    return Calibration(
        chosen.threshold,
        chosen.name,
        tuple(points),
        measured_on=f"{len(photos.products)} drawn products of seed 2, none of them trained on",
    )


def _identification_point(rate: OpenSetRate, *, products: int) -> OperatingPoint:
    return OperatingPoint(
        f"fpir={rate.target:g}",
        _given(rate.threshold),
        fpir=rate.fpir,
        fnir=rate.fnir,
        probes=rate.found.whole,
        strangers=rate.false_matches.whole,
        gallery=products,
        note="found means ranked first and within the threshold; strangers are whole families not enrolled",
    )


def _pair_point(name: str, at: AtFar) -> OperatingPoint:
    return OperatingPoint(
        name,
        _given(at.threshold),
        far=at.far,
        val=at.val,
        accepted_same=at.accepted_same,
        same_pairs=at.same,
        accepted_different=at.accepted_different,
        different_pairs=at.different,
        note="highest VAL with FAR below 0.20" if name == "experiment" else "",
    )


def _given(threshold: float | None) -> float:
    return 0.0 if threshold is None else threshold

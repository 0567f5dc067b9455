"""Choose a threshold, measure it with intervals, and refuse a claim that the data do not support (`support`).

A choice that is not supported still carries what was measured; its ``refusal`` is the sentence for the
user, and whoever applies the threshold has to look at it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from retrieval.calibration.points import OperatingPoint
from retrieval.calibration.support import percent, support
from retrieval.distance import MAX_DISTANCE
from retrieval.metrics.by_product import ProductPairCounts, accepted_by_product, accepted_by_product_at
from retrieval.metrics.curve import AtFar, PairRate
from retrieval.metrics.identify import Labels
from retrieval.metrics.intervals import LEVEL, Interval, by_product, far_interval, rate_interval, val_interval
from retrieval.metrics.openset import OpenSetRate, grown, open_set, open_set_at
from retrieval.metrics.pairs import EXPERIMENT_FAR, PairRates, pair_rates


@dataclass(frozen=True, slots=True)
class PairMeasurement:
    """What a threshold does to all pairs of a split, with 95 % intervals.

    Attributes:
        rate: VAL and FAR with their counts.
        val_ci: interval of VAL, by product.
        far_ci: interval of FAR, by pairs of products.
        products: distinct products of the split.
    """

    rate: PairRate
    val_ci: Interval
    far_ci: Interval
    products: int


@dataclass(frozen=True, slots=True, eq=False)
class OpenSetDistances:
    """How far photos of known and of unknown products are from what they are answered with.

    Attributes:
        known: the smallest threshold that finds each known photo, inf for never, shape (n,);
            `retrieval.metrics.finding_distances` gives it.
        known_labels: product of each known photo, shape (n,).
        unknown: the best distance of each unknown photo, inf for none, shape (m,).
        unknown_labels: product of each unknown photo, shape (m,).
        gallery: products in the gallery that rates are stated for; an FPIR means nothing without it.
        growth: how many times as many products that has as the one that unknown photos were compared with; see `grown`.
        others: where rates are claimed of other unknown products than these, of those that a shop will meet: in how
            many lots these were held out. The rate of one further lot scatters more than the mean of these does, and
            the interval says so. 0 where the rates are of these.

    Raises:
        ValueError: there is not one label a photo.
    """

    known: NDArray[np.floating]
    known_labels: Labels
    unknown: NDArray[np.floating]
    unknown_labels: Labels
    gallery: int
    growth: float = 1.0
    others: int = 0

    def __post_init__(self) -> None:
        distances = np.shape(self.known), np.shape(self.unknown)
        labels = np.shape(self.known_labels), np.shape(self.unknown_labels)
        if distances != labels:
            raise ValueError(
                f"expected one label a photo, received {distances[0]} and {distances[1]} distances, "
                f"{labels[0]} and {labels[1]} labels"
            )

    def support(self, rate: str, target: float, *, seen: float | None = None) -> str:
        """Why these photos do not support a claim about ``FPIR`` or ``FNIR``, see `support`; empty when they do."""
        labels, who = (self.known_labels, "known") if rate == "FNIR" else (self.unknown_labels, "unknown")
        return support(rate, target, len(labels), f"photos of {who} products", len(np.unique(labels)), seen=seen)


@dataclass(frozen=True, slots=True)
class OpenSetMeasurement:
    """What a threshold does to known and unknown photos, with 95 % intervals.

    Attributes:
        rate: FPIR and DIR with their counts, in the gallery that unknown photos were compared with.
        fpir_ci: interval of FPIR there, by product.
        dir_ci: interval of DIR, by product.
        known_products: distinct products of the known photos.
        unknown_products: distinct products of the unknown photos.
        gallery: products in the gallery that rates are stated for.
        growth: how many times as many that has; see `grown`.
    """

    rate: OpenSetRate
    fpir_ci: Interval
    dir_ci: Interval
    known_products: int
    unknown_products: int
    gallery: int
    growth: float


@dataclass(frozen=True, slots=True)
class FarChoice:
    """A threshold chosen for a FAR.

    Attributes:
        name: ``far=0.01``, or ``experiment``.
        target: the FAR to keep.
        threshold: squared L2; None when no threshold keeps it.
        threshold_ci: interval of the threshold: where FAR crosses the ends of its own interval
            (Woodruff 1952).
        measured: on the photos it was chosen on, hence optimistic elsewhere; None without a threshold.
        refusal: why the data do not support this claim, one sentence; empty when they do.
    """

    name: str
    target: float
    threshold: float | None
    threshold_ci: Interval
    measured: PairMeasurement | None
    refusal: str

    def operating_point(self) -> OperatingPoint:
        """What a bundle stores; a refusal goes into its note.

        Raises:
            ValueError: there is no threshold.
        """
        if self.threshold is None or self.measured is None:
            raise ValueError(f"expected a threshold to store, received none: {self.refusal}")
        return with_pairs(OperatingPoint(self.name, self.threshold, note=self.refusal), self.measured)


@dataclass(frozen=True, slots=True)
class FpirChoice:
    """A threshold chosen by what it does to photos of known and unknown products.

    Attributes:
        name: ``fpir=0.05``, or ``strangers=0.2`` for the fewest errors with so many unknown ones.
        target: the FPIR to keep, or the share of photos that show unknown products.
        threshold: squared L2; None when no threshold keeps it.
        measured: on the photos it was chosen on, hence optimistic elsewhere; None without a threshold.
        refusal: why the data do not support this claim, one sentence; empty when they do.
    """

    name: str
    target: float
    threshold: float | None
    measured: OpenSetMeasurement | None
    refusal: str

    def operating_point(self) -> OperatingPoint:
        """What a bundle stores; a refusal goes into its note.

        Raises:
            ValueError: there is no threshold.
        """
        if self.threshold is None or self.measured is None:
            raise ValueError(f"expected a threshold to store, received none: {self.refusal}")
        return with_open_set(OperatingPoint(self.name, self.threshold, note=self.refusal), self.measured)


def with_pairs(point: OperatingPoint, measured: PairMeasurement) -> OperatingPoint:
    """The operating point with what its threshold does to pairs."""
    rate = measured.rate
    return replace(
        point,
        far=_number(rate.far),
        val=_number(rate.val),
        far_ci=_ends(measured.far_ci, rate.far),
        val_ci=_ends(measured.val_ci, rate.val),
        accepted_same=rate.accepted_same,
        same_pairs=rate.same,
        accepted_different=rate.accepted_different,
        different_pairs=rate.different,
    )


def with_open_set(point: OperatingPoint, measured: OpenSetMeasurement) -> OperatingPoint:
    """The operating point with what its threshold, which was measured, does to known and unknown photos."""
    rate, fpir, found = measured.rate, measured.fpir_ci, measured.dir_ci

    def stated(seen: float) -> float:
        return grown(seen, measured.growth)

    return replace(
        point,
        fpir=_number(stated(rate.fpir)),
        fnir=_number(rate.fnir),
        fpir_ci=_ends(replace(fpir, low=stated(fpir.low), high=stated(fpir.high)), rate.fpir),
        fnir_ci=_ends(Interval(1.0 - found.high, 1.0 - found.low, found.level, found.method), rate.fnir),
        probes=rate.found.whole,
        strangers=rate.false_matches.whole,
        gallery=measured.gallery,
    )


def measure_pairs(embeddings: NDArray[np.float32], labels: Labels, threshold: float) -> PairMeasurement:
    """VAL and FAR at a threshold over all pairs of a split, with intervals.

    Args:
        embeddings: unit vectors, float32, shape (n, d).
        labels: product of each, shape (n,).
        threshold: squared L2; inclusive.

    Raises:
        ValueError: shapes, types or norms are not as described, or the threshold is nan.
    """
    return measure_counts(accepted_by_product(embeddings, labels, threshold))


def choose_by_far(
    embeddings: NDArray[np.float32], labels: Labels, targets: Sequence[float], *, experiment: bool = True
) -> tuple[PairRates, tuple[FarChoice, ...]]:
    """The most permissive threshold for each FAR target.

    Choose on one split and report with `measure_pairs` on another.

    Args:
        embeddings: unit vectors, float32, shape (n, d).
        labels: product of each, shape (n,).
        targets: FARs to keep, each in [0, 1].
        experiment: first the original experiment's rule: highest VAL with FAR < 0.20.

    Returns:
        All pair rates, and the choices in the order of the targets.

    Raises:
        ValueError: shapes, types, norms or targets are not as described.
    """
    rates = pair_rates(embeddings, labels, far_targets=targets)
    wanted = [("experiment", rates.experiment)] if experiment else []
    wanted += [(f"far={at.target:g}", at) for at in rates.at_far]
    found = [at.threshold for _, at in wanted if at.threshold is not None]
    counted = iter(accepted_by_product_at(embeddings, labels, found))
    products = len(np.unique(np.asarray(labels)))
    choices = []
    for name, at in wanted:
        measured = None if at.threshold is None else measure_counts(next(counted))
        choices.append(_choice(name, at, rates, measured, products))
    return rates, tuple(choices)


def choose_by_fpir(distances: OpenSetDistances, targets: Sequence[float]) -> tuple[FpirChoice, ...]:
    """The most permissive threshold for each FPIR target.

    Args:
        distances: of known and unknown photos.
        targets: FPIRs to keep, each in [0, 1].

    Raises:
        ValueError: a target is not as described.
    """
    choices = []
    smaller = [grown(target, 1.0 / distances.growth) for target in targets]
    rates = open_set(distances.known, distances.unknown, smaller)
    for target, seen, rate in zip(targets, smaller, rates, strict=True):
        measured = None
        if rate.threshold is not None:
            measured = measure_open_set(distances, rate.threshold, target=target)
        refusal = distances.support("FPIR", target, seen=seen)
        if not refusal and rate.threshold is None:
            refusal = f"No threshold keeps FPIR at {percent(target)}: too many unknown photos lie at distance 0."
        choices.append(FpirChoice(f"fpir={target:g}", target, rate.threshold, measured, refusal))
    return tuple(choices)


def choose_by_errors(distances: OpenSetDistances, share: float) -> FpirChoice:
    """The threshold at which the fewest photos are answered wrong, where a share of them shows unknown products.

    A known photo is answered wrong when its product is not found, an unknown one when it gets a match. The threshold
    lies halfway between the two photos that bound it; of several equally good ones it is the middle one.

    Args:
        distances: of known and unknown photos.
        share: of photos that show unknown products, in (0, 1).

    Raises:
        ValueError: the share is not as described.
    """
    if not 0.0 < share < 1.0:
        raise ValueError(f"expected a share of unknown products in (0, 1), received {share}")
    name = f"strangers={share:g}"
    k, u = np.asarray(distances.known, np.float64), np.asarray(distances.unknown, np.float64)
    refusal = distances.support("FNIR", share) or distances.support("FPIR", share)
    reached = np.unique(np.concatenate([k, u]))
    reached = reached[reached <= MAX_DISTANCE]
    if not len(reached) or not len(k) or not len(u):
        return FpirChoice(name, share, None, None, refusal or "No threshold finds a photo.")
    missed = 1.0 - np.searchsorted(np.sort(k), reached, side="right") / len(k)
    matched = np.searchsorted(np.sort(u), reached, side="right") / len(u)
    wrong = (1.0 - share) * missed + share * grown(matched, distances.growth)
    best = np.flatnonzero(wrong <= wrong.min() + 1e-12)
    place = int(best[len(best) // 2])
    threshold = float(reached[place : place + 2].mean())
    return FpirChoice(name, share, threshold, measure_open_set(distances, threshold), refusal)


def measure_open_set(
    distances: OpenSetDistances, threshold: float, *, target: float | None = None
) -> OpenSetMeasurement:
    """FPIR and DIR at a threshold, with intervals; threshold and target as in `open_set_at`."""
    known, unknown = np.asarray(distances.known_labels), np.asarray(distances.unknown_labels)
    rate = open_set_at(distances.known, distances.unknown, threshold, target=target)
    fpir = rate_interval(*by_product(np.asarray(distances.unknown) <= threshold, unknown))
    return OpenSetMeasurement(
        rate,
        _of_others(fpir, rate.fpir, distances.others) if distances.others else fpir,
        rate_interval(*by_product(np.asarray(distances.known) <= threshold, known)),
        len(np.unique(known)),
        len(np.unique(unknown)),
        distances.gallery,
        distances.growth,
    )


def _of_others(interval: Interval, rate: float, lots: int) -> Interval:
    """Where the rate of one further lot lies: of the variance of a lot, that of the mean of so many is their part."""
    wider = math.sqrt(1.0 + lots)
    low, high = rate - wider * (rate - interval.low), rate + wider * (interval.high - rate)
    return replace(interval, low=max(0.0, low), high=min(1.0, high), method=f"{interval.method}, of one more lot")


def _choice(name: str, at: AtFar, rates: PairRates, measured: PairMeasurement | None, products: int) -> FarChoice:
    refusal = support("FAR", at.target, at.different, "impostor pairs", products)
    if at.threshold is None or measured is None:
        nothing = Interval(math.nan, math.nan, LEVEL, "none")
        why = f"No threshold keeps FAR at {percent(at.target)}: too many impostor pairs lie at distance 0."
        return FarChoice(name, at.target, None, nothing, None, refusal or why)
    if not refusal and not at.same:
        refusal = "Not enough data for VAL: no product has two photos, so there are no genuine pairs."
    far = measured.far_ci
    low, high = far.low, far.high
    if not math.isnan(low):
        low = min(at.threshold, rates.curve.near_far(far.low))
        high = min(MAX_DISTANCE, max(at.threshold, rates.curve.near_far(far.high)))
    ends = Interval(low, high, far.level, far.method)
    return FarChoice(name, at.target, at.threshold, ends, measured, refusal)


def measure_counts(counts: ProductPairCounts) -> PairMeasurement:
    """`measure_pairs`, from pairs that are counted already."""
    images = int(counts.images.sum())
    same = int(counts.same.sum())
    rate = PairRate(
        counts.threshold,
        int(counts.accepted_same.sum()),
        same,
        int(counts.accepted.sum()),
        images * (images - 1) // 2 - same,
    )
    return PairMeasurement(rate, val_interval(counts), far_interval(counts), len(counts.products))


def _number(rate: float) -> float | None:
    return None if math.isnan(rate) else rate


def _ends(interval: Interval, rate: float) -> tuple[float, float] | None:
    """The interval as a bundle stores it, or None."""
    if math.isnan(interval.low) or math.isnan(rate):
        return None
    return max(0.0, interval.low), min(1.0, interval.high)


__all__ = [
    "EXPERIMENT_FAR",
    "FarChoice",
    "FpirChoice",
    "OpenSetDistances",
    "OpenSetMeasurement",
    "PairMeasurement",
    "choose_by_errors",
    "choose_by_far",
    "choose_by_fpir",
    "measure_counts",
    "measure_open_set",
    "measure_pairs",
    "with_open_set",
    "with_pairs",
]

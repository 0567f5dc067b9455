"""Calibrate for each kind of gallery that the data can show: studio pictures, few photos of each product, many, mixed.

Probes are the same for all kinds, and so is the rule that ranks; only what they are compared with differs.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.calibration.choose import OpenSetDistances, choose_by_errors, choose_by_fpir
from retrieval.calibration.galleries import FEW, Expectation, ForGallery, GalleryShape, Kind
from retrieval.calibration.points import Calibration, OperatingPoint
from retrieval.calibration.support import LEAST_PRODUCTS
from retrieval.evaluation.answers import nearest_distances
from retrieval.evaluation.calibrate import Target, open_set_distances
from retrieval.evaluation.confidence_fit import UNKNOWN_SHARE
from retrieval.evaluation.photos import Photos
from retrieval.evaluation.sureness_fit import Trial, cross_checked, fit_sureness, try_all
from retrieval.metrics import FPIR_TARGETS

EACH = 5
"""Photos of each product in a gallery of few."""

_SIZES = (1.0, 0.5, 0.25)
"""Parts of a gallery's products: how many there are decides how far the nearest of them is."""

_MOST = 2_000
"""Photos that are tried, at most: more say little new and cost as much again for each kind and size."""


@dataclass(frozen=True, slots=True, eq=False)
class Enrolled:
    """Pictures that galleries are made of.

    Attributes:
        photos: all of them.
        studio: which are studio pictures, shape (n,).
    """

    photos: Photos
    studio: NDArray[np.bool_]

    def of_kind(self, kind: Kind) -> Photos | None:
        """The gallery of a kind; None where these pictures cannot show it."""
        photos = ~self.studio
        counts = np.unique(self.photos.labels[photos], return_counts=True)[1]
        few = bool(len(counts) >= LEAST_PRODUCTS)
        many = few and float(np.median(counts)) > FEW
        studio = len(np.unique(self.photos.labels[self.studio])) >= LEAST_PRODUCTS
        if kind == "studio" and studio:
            return self._only(self.studio)
        if kind == "few" and few:
            return self._only(photos & self._first(EACH))
        if kind == "many" and many:
            return self._only(photos)
        if kind == "mixed" and studio and few:
            both = set(self.photos.labels[self.studio].tolist()) & set(self.photos.labels[photos].tolist())
            bare = np.isin(self.photos.labels, [p for p in both if _number(p) % 2])
            return self._only(np.where(bare, self.studio, photos))
        return None

    def of(self, products: Sequence[str]) -> Enrolled:
        """The pictures of some products."""
        rows = np.flatnonzero(np.isin(self.photos.labels, list(products)))
        return Enrolled(self.photos.only(rows), self.studio[rows])

    def joined(self, other: Enrolled) -> Enrolled:
        """These and others by the same network."""
        return Enrolled(_joined(self.photos, other.photos), np.concatenate([self.studio, other.studio]))

    def _only(self, which: NDArray[np.bool_]) -> Photos:
        return self.photos.only(np.flatnonzero(which))

    def _first(self, each: int) -> NDArray[np.bool_]:
        """The first photos of each product by name, shape (n,): those of one visit stay together."""
        kept = np.zeros(len(self.photos), bool)
        order = sorted(np.flatnonzero(~self.studio).tolist(), key=lambda i: self.photos.sources[i])
        seen: dict[str, int] = {}
        for i in order:
            product = str(self.photos.labels[i])
            seen[product] = seen.get(product, 0) + 1
            kept[i] = seen[product] <= each
        return kept


@dataclass(frozen=True, slots=True, eq=False)
class HeldOutProducts:
    """What a network that did not see some products makes of pictures.

    Attributes:
        photos: of the held-out products.
        studio: which of them are studio pictures, shape (n,).
        enrolled: pictures of the products that it learned.
    """

    photos: Photos
    studio: NDArray[np.bool_]
    enrolled: Enrolled

    @property
    def probes(self) -> Photos:
        """The photos that people take of them."""
        return self.photos.only(np.flatnonzero(~self.studio))


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Photos against galleries of one kind: all that a calibration for it needs.

    Attributes:
        kind: which.
        shape: of the whole gallery.
        known: photos of products in it, against the whole gallery first, then against parts of it.
        unknown: photos of products that no training saw, likewise.
        whole: trials of ``known`` and ``unknown`` that are against the whole gallery.
        distances: of the same photos, by the nearest picture.
        expect: what to expect of photos.
    """

    kind: Kind
    shape: GalleryShape
    known: Sequence[Trial]
    unknown: Sequence[Trial]
    whole: tuple[int, int]
    distances: OpenSetDistances
    expect: tuple[Expectation, ...]


def measure_kinds(probes: Photos, enrolled: Enrolled, held_out: Sequence[HeldOutProducts]) -> list[Measured]:
    """Try photos against a gallery of each kind that the pictures can show.

    Args:
        probes: photos of enrolled products that the network did not learn from.
        enrolled: what the network learned from.
        held_out: one for each network that did not see some of the products.
    """
    found = []
    for kind in ("studio", "few", "many", "mixed"):
        gallery = enrolled.of_kind(kind)
        others = [(one, g) for one in held_out if (g := one.enrolled.of_kind(kind)) is not None]
        if gallery is None or not others:
            continue
        found.append(_measure(kind, probes, enrolled, gallery, others))
    return found


def _measure(
    kind: Kind,
    probes: Photos,
    enrolled: Enrolled,
    gallery: Photos,
    others: Sequence[tuple[HeldOutProducts, Photos]],
) -> Measured:
    studio = enrolled.of(gallery.products.tolist()).studio if kind == "mixed" else np.full(1, kind == "studio")
    known: list[Trial] = []
    unknown: list[Trial] = []
    whole = 0, 0
    asked = _sampled(probes.only(np.flatnonzero(np.isin(probes.labels, gallery.labels))))
    for part in _SIZES:
        known += _against_part(asked, gallery, part, known_only=True)
        for one, shown in others:
            unknown += _against_part(_sampled(one.probes), shown, part, known_only=False)
        if part == 1.0:
            whole = len(known), len(unknown)
    genuine, impostor = nearest_distances(asked, gallery)
    found, _ = open_set_distances(genuine, impostor)
    products = len(gallery.products)
    nearest = [nearest_distances(one.probes, shown)[1].astype(np.float64) for one, shown in others]
    growth = float(np.mean([products / len(shown.products) for _, shown in others]))
    distances = OpenSetDistances(
        found,
        asked.labels,
        np.concatenate(nearest),
        np.concatenate([one.probes.labels for one, _ in others]),
        products,
        growth,
    )
    counts = np.unique(gallery.labels, return_counts=True)[1].tolist()
    shape = GalleryShape.of(counts, 0.5 if kind == "mixed" else float(studio.mean()))
    expect = [_expectation("trained", known[: whole[0]])]
    new = [trial for one, shown in others for trial in _new(kind, one, shown)]
    if new:
        expect.append(_expectation("new", new))
    return Measured(kind, shape, known, unknown, whole, distances, tuple(e for e in expect if e.photos))


def calibrate_kind(
    measured: Measured,
    target: Target | None,
    *,
    pairs: Sequence[OperatingPoint] = (),
    measured_on: str,
    photos_digest: str = "",
    fpir_targets: Sequence[float] = FPIR_TARGETS,
) -> ForGallery | None:
    """The calibration for one kind of gallery; None where its photos are too few for any threshold.

    Args:
        measured: see `measure_kinds`.
        target: that the threshold keeps; None for the fewest wrong answers where `UNKNOWN_SHARE` of the photos shows
            unknown products.
        pairs: operating points for a FAR, which is of pairs and the same for every kind; a FAR target is one of them.
        measured_on: which photos, for the record.
        photos_digest: of the probes.
        fpir_targets: FPIRs to keep.
    """
    goal = target or Target("strangers", UNKNOWN_SHARE)
    fpirs = sorted({*fpir_targets, *([goal.value] if goal.rate == "fpir" else [])}, reverse=True)
    choices = list(choose_by_fpir(measured.distances, fpirs))
    if goal.rate == "strangers":
        choices.append(choose_by_errors(measured.distances, goal.value))
    points = [
        choice.operating_point()
        for choice in choices
        if choice.threshold is not None and (not choice.refusal or choice.name == goal.name)
    ]
    points = [*pairs, *points]
    names = [point.name for point in points]
    if goal.name not in names or any(choice.refusal for choice in choices if choice.name == goal.name):
        return None
    chosen = points[names.index(goal.name)]
    sureness = fit_sureness(measured.known, measured.unknown, fitted_on=measured_on)
    table = None
    if sureness is not None:
        table = cross_checked(measured.known, measured.unknown, whole=measured.whole)
    calibration = Calibration(
        chosen.threshold,
        chosen.name,
        tuple(points),
        measured_on,
        photos_digest,
        sureness=sureness,
        verdicts=table,
    )
    return ForGallery(measured.kind, measured.shape, calibration, measured.expect)


def _against_part(probes: Photos, gallery: Photos, part: float, *, known_only: bool) -> list[Trial]:
    """Trials against a part of a gallery's products, which follows from their names."""
    if part < 1.0:
        order = sorted(gallery.products.tolist(), key=_number)
        kept = order[: round(part * len(order))]
        gallery = gallery.only(np.flatnonzero(np.isin(gallery.labels, kept)))
        if known_only:
            probes = probes.only(np.flatnonzero(np.isin(probes.labels, kept)))
    return try_all(probes, gallery)


def _new(kind: Kind, one: HeldOutProducts, shown: Photos) -> list[Trial]:
    """Photos of held-out products once those are enrolled as the kind has it: as products that came after training."""
    if kind == "mixed":
        return []
    if kind == "studio":
        added, asked = one.photos.only(np.flatnonzero(one.studio)), one.probes
    else:
        mine = Enrolled(one.probes, np.zeros(len(one.probes), bool))
        counts = {str(p): int((one.probes.labels == p).sum()) for p in one.probes.products}
        first = np.zeros(len(one.probes), bool)
        for product, count in counts.items():
            # The later half of the names asks: photos of one visit follow each other.
            each = min(EACH, count // 2) if kind == "few" else count // 2
            first |= mine._first(each) & (one.probes.labels == product)
        added, asked = one.probes.only(np.flatnonzero(first)), one.probes.only(np.flatnonzero(~first))
    if not len(added):
        return []
    asked = asked.only(np.flatnonzero(np.isin(asked.labels, added.labels)))
    return try_all(_sampled(asked), _joined(shown, added))


def _expectation(who: str, trials: Sequence[Trial]) -> Expectation:
    return Expectation(
        "new" if who == "new" else "trained",
        sum(t.rank == 1 for t in trials),
        sum(1 <= t.rank <= 5 for t in trials),
        len(trials),
        len({t.product for t in trials}),
    )


def _sampled(photos: Photos) -> Photos:
    """At most `_MOST` of them, which follows from their content."""
    if len(photos) <= _MOST:
        return photos
    return photos.only(sorted(sorted(range(len(photos)), key=lambda i: photos.content_hashes[i])[:_MOST]))


def _joined(one: Photos, two: Photos) -> Photos:
    return dataclasses.replace(
        one,
        sources=one.sources + two.sources,
        labels=np.concatenate([one.labels, two.labels]),
        vectors=np.concatenate([one.vectors, two.vectors]),
        content_hashes=one.content_hashes + two.content_hashes,
        picture_hashes=np.concatenate([one.picture_hashes, two.picture_hashes]),
        hashed=np.concatenate([one.hashed, two.hashed]),
    )


def _number(product: str) -> int:
    return int(hashlib.sha256(product.encode()).hexdigest()[:12], 16)

"""Calibrate for each kind of gallery that the data can show: studio pictures, few photos of each product, many, mixed.

Probes are the same for all kinds, and so is the rule that ranks; only what they are compared with differs.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.calibration.choose import OpenSetDistances, choose_by_errors, choose_by_fpir
from retrieval.calibration.galleries import FEW, Expectation, GalleryShape, Kind
from retrieval.calibration.points import Calibration, ForGallery, OperatingPoint
from retrieval.calibration.support import LEAST_PRODUCTS
from retrieval.calibration.sureness import whole_lead
from retrieval.distance import MAX_DISTANCE
from retrieval.evaluation.answers import answer_all
from retrieval.evaluation.calibrate import HeldOut, Target, open_set_of
from retrieval.evaluation.photos import Photos
from retrieval.evaluation.sureness_fit import ALIKE, Scale, Trial, cross_checked, fit_sureness, try_all
from retrieval.images.studio import SAMPLE, studio_share
from retrieval.metrics import FPIR_TARGETS

EACH = 5
"""Photos of each product in a gallery of few."""

_SIZES = (1.0, 0.5, 0.25)
"""Parts of a gallery's products: how many there are decides how far the nearest of them is."""

_PAIRED = 20
"""Photos that tell how the distances of two networks compare, at least."""

_FEW_OTHERS = 0.05
"""Of a sample, that look like the other kind in a folder of one kind."""

_MOST = 1_000
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

    @classmethod
    def of_sources(cls, photos: Photos, catalog: Photos | None) -> Enrolled:
        """Photos as people take them, and a catalog's pictures, by the same network.

        Whether a picture of the catalog is from a studio is seen from it. Where nearly all of a sample are of one kind,
        all are taken for that.
        """
        whole = cls(photos, np.zeros(len(photos), bool))
        return whole if catalog is None else whole.joined(cls(catalog, _from_studio(catalog)))

    def of_kind(self, kind: Kind) -> Photos | None:
        """The gallery of a kind; None where these pictures cannot show it."""
        photos = ~self.studio
        counts = np.unique(self.photos.labels[photos], return_counts=True)[1]
        few = bool(len(counts) >= LEAST_PRODUCTS)
        many = few and float(counts.mean()) > FEW
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
            shown = np.flatnonzero(np.where(bare, self.studio, photos))
            return self.photos.only(shown).as_gallery(self.studio[shown])
        return None

    def of(self, products: Sequence[str]) -> Enrolled:
        """The pictures of some products."""
        rows = np.flatnonzero(np.isin(self.photos.labels, list(products)))
        return Enrolled(self.photos.only(rows), self.studio[rows])

    def joined(self, other: Enrolled) -> Enrolled:
        """These and others by the same network."""
        return Enrolled(self.photos.joined(other.photos), np.concatenate([self.studio, other.studio]))

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
        known: photos of products that neither network learned from; what the served network makes of the same
            photos says how its distances compare.
    """

    photos: Photos
    studio: NDArray[np.bool_]
    enrolled: Enrolled
    known: Photos

    @property
    def probes(self) -> Photos:
        """The photos that people take of them."""
        return self.photos.only(np.flatnonzero(~self.studio))

    def against(self, gallery: Photos, photos: Photos) -> HeldOut:
        """Their photos, and of the pictures that the network learned from those of a gallery.

        Args:
            gallery: by the served network.
            photos: the same as ``known``, and others, by the served network.
        """
        names = set(gallery.content_hashes)
        pictures = self.enrolled.photos
        shown = pictures.only([i for i, name in enumerate(pictures.content_hashes) if name in names])
        return HeldOut(self.probes, shown, _scale(photos, gallery, self.known, shown).distance)


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
        found.append(_measure(kind, probes, gallery, others))
    return found


def _measure(
    kind: Kind,
    probes: Photos,
    gallery: Photos,
    others: Sequence[tuple[HeldOutProducts, Photos]],
) -> Measured:
    known: list[Trial] = []
    unknown: list[Trial] = []
    whole = 0, 0
    asked = _sampled(probes.only(np.flatnonzero(np.isin(probes.labels, gallery.labels))))
    scales = [_scale(asked, gallery, one.known, shown) for one, shown in others]
    for part in _SIZES:
        known += _against_part(asked, gallery, part, known_only=True)
        for (one, shown), scale in zip(others, scales, strict=True):
            unknown += _against_part(_sampled(one.probes), shown, part, known_only=False, scale=scale)
        if part == 1.0:
            whole = len(known), len(unknown)
    held_out = [HeldOut(one.probes, shown, scale.distance) for (one, shown), scale in zip(others, scales, strict=True)]
    distances = open_set_of(asked, gallery, held_out)
    products = len(gallery.products)
    shape = GalleryShape(products, len(gallery), {"studio": 1.0, "mixed": 0.5}.get(kind, 0.0))
    expect = [_expectation("trained", known[: whole[0]])]
    new = [trial for one, shown in others for trial in _new(kind, one, shown)]
    if new:
        expect.append(_expectation("new", new))
    return Measured(kind, shape, known, unknown, whole, distances, tuple(e for e in expect if e.photos))


def with_galleries(
    calibration: Calibration,
    photos: Photos,
    enrolled: Enrolled,
    held_out: Sequence[HeldOutProducts],
    target: Target,
) -> Calibration:
    """A calibration with what fits each kind of gallery that the pictures can show.

    Args:
        calibration: the default, for where nothing is known of the gallery.
        photos: of enrolled products, that the network did not learn from.
        enrolled: what it learned from.
        held_out: one for each network that did not see some of the products.
        target: what the thresholds keep.
    """
    pairs = [
        OperatingPoint(
            point.name,
            point.threshold,
            far=point.far,
            val=point.val,
            far_ci=point.far_ci,
            val_ci=point.val_ci,
            note=point.note,
        )
        for point in calibration.points
        if point.name.startswith("far=")
    ]
    fpirs = [float(point.name.partition("=")[2]) for point in calibration.points if point.name.startswith("fpir=")]
    found = [
        calibrate_kind(
            measured,
            target,
            pairs=pairs,
            measured_on=calibration.measured_on,
            photos_digest=calibration.photos_digest,
            fpir_targets=fpirs,
        )
        for measured in measure_kinds(photos, enrolled, held_out)
    ]
    return dataclasses.replace(calibration, galleries=tuple(one for one in found if one is not None))


def calibrate_kind(
    measured: Measured,
    target: Target,
    *,
    pairs: Sequence[OperatingPoint] = (),
    measured_on: str,
    photos_digest: str = "",
    fpir_targets: Sequence[float] = FPIR_TARGETS,
) -> ForGallery | None:
    """The calibration for one kind of gallery; None where its photos are too few for any threshold.

    Args:
        measured: see `measure_kinds`.
        target: that the threshold keeps.
        pairs: operating points for a FAR, which is of pairs and the same for every kind; a FAR target is one of them.
        measured_on: which photos, for the record.
        photos_digest: of the probes.
        fpir_targets: FPIRs to keep.
    """
    fpirs = sorted({*fpir_targets, *([target.value] if target.rate == "fpir" else [])}, reverse=True)
    choices = list(choose_by_fpir(measured.distances, fpirs))
    if target.rate == "strangers":
        choices.append(choose_by_errors(measured.distances, target.value))
    points = [
        choice.operating_point()
        for choice in choices
        if choice.threshold is not None and (not choice.refusal or choice.name == target.name)
    ]
    points = [*pairs, *points]
    names = [point.name for point in points]
    if target.name not in names or any(choice.refusal for choice in choices if choice.name == target.name):
        return None
    chosen = points[names.index(target.name)]
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


def _scale(probes: Photos, gallery: Photos, same: Photos, shown: Photos) -> Scale:
    """The served network to another, by the same photos against galleries of the same products.

    A network that saw fewer products, or was trained for fewer epochs, draws what is alike less near, and its first
    product leads by less. The served one's numbers of unknown products differ by about as much as those of known ones.
    """
    both = gallery.only(np.flatnonzero(np.isin(gallery.labels, shown.products)))
    mine, theirs = _paired(probes, both), _paired(same, shown)
    pairs = np.array([(*mine[name], *theirs[name]) for name in mine if name in theirs]).reshape(-1, 4)
    pairs = pairs[np.isfinite(pairs).all(axis=1) & (pairs[:, 2] > 0.0)]
    if len(pairs) < _PAIRED:
        return ALIKE
    lead, other = np.median(pairs[:, [1, 3]], axis=0).tolist()
    return Scale(float(np.median(pairs[:, 0] / pairs[:, 2])), lead / other if lead > 0.0 and other > 0.0 else 1.0)


def _paired(photos: Photos, gallery: Photos) -> dict[str, tuple[float, float]]:
    """Of photos, by their content: the distance of the nearest picture of their product, and the lead of the first."""
    answers = answer_all(photos, gallery, MAX_DISTANCE, ())
    leads = (whole_lead(answer.matches) for answer in answers.answers)
    return dict(zip(photos.content_hashes, zip(answers.genuine.tolist(), leads, strict=True), strict=True))


def _against_part(
    probes: Photos, gallery: Photos, part: float, *, known_only: bool, scale: Scale = ALIKE
) -> list[Trial]:
    """Trials against a part of a gallery's products, which follows from their names."""
    if part < 1.0:
        order = sorted(gallery.products.tolist(), key=_number)
        kept = order[: round(part * len(order))]
        gallery = gallery.only(np.flatnonzero(np.isin(gallery.labels, kept)))
        if known_only:
            probes = probes.only(np.flatnonzero(np.isin(probes.labels, kept)))
    return try_all(probes, gallery, scale=scale)


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
    return try_all(_sampled(asked), shown.joined(added))


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


def _from_studio(photos: Photos) -> NDArray[np.bool_]:
    """Which of a folder's pictures are from a studio, shape (n,); none where they cannot be read any more."""
    rows = range(len(photos))
    share = studio_share(_files(photos, rows[:: max(1, len(rows) // SAMPLE)]))
    if share is None or share <= _FEW_OTHERS or share >= 1.0 - _FEW_OTHERS:
        return np.full(len(photos), share is not None and share > 0.5)
    return np.array([bool(studio_share([file])) for file in _files(photos, rows)], bool)


def _files(photos: Photos, rows: Sequence[int]) -> list[tuple[Path, Path]]:
    return [(photos.root / photos.sources[i], photos.root) for i in rows]


def _number(product: str) -> int:
    return int(hashlib.sha256(product.encode()).hexdigest()[:12], 16)

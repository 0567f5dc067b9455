"""The built-in model's calibration: from photos of products that the trainings of the folds did not see."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from retrieval.calibration.choose import OpenSetDistances
from retrieval.calibration.galleries import Expectation, GalleryShape, Kind
from retrieval.calibration.points import Calibration
from retrieval.errors import EncoderError
from retrieval.evaluation import UNKNOWN_SHARE, Photos, Target
from retrieval.evaluation.answers import nearest_distances
from retrieval.evaluation.by_gallery import Measured, calibrate_kind
from retrieval.evaluation.calibrate import open_set_distances
from retrieval.evaluation.sureness_fit import Trial, try_all, try_known_and_left_out
from trainer.starter.first_day import Embedded, few_photos
from trainer.starter.folds import Fold

_TARGET = Target("strangers", UNKNOWN_SHARE)


def calibrate(folds: Sequence[Fold]) -> Calibration:
    """Thresholds and probabilities for galleries of studio pictures, of few photos of each product, and of both kinds.

    Every photo is of a product that its fold's training did not see. It is looked for in a gallery of all products and
    of the fold's alone, with its own product and without.

    Args:
        folds: trainings of the recipe; the model that ships learned the same way, from all products.

    Raises:
        EncoderError: the photos bear no threshold.
    """
    products = len({name for fold in folds for name in fold.held_out})
    photos = sum(len(_asked("studio", fold).labels) for fold in folds)
    measured_on = (
        f"{photos:,} shop photos of {products} products, none of them seen by the training that embedded it "
        f"({len(folds)} folds)"
    )
    kinds: tuple[Kind, ...] = ("studio", "few", "mixed")
    found = [calibrate_kind(measure_kind(kind, folds), _TARGET, measured_on=measured_on) for kind in kinds]
    kept = tuple(one for one in found if one is not None)
    if not kept:
        raise EncoderError(
            f"expected photos that bear a threshold, received {photos:,} of {products} products that do not",
            hint="Train more folds, or on more photos.",
        )
    return dataclasses.replace(kept[-1].calibration, galleries=kept)


def measure_kind(kind: Kind, folds: Sequence[Fold]) -> Measured:
    """Photos of held-out products against galleries of a kind: what a calibration for it needs."""
    known: list[Trial] = []
    promised: list[Trial] = []
    unknown: list[Trial] = []
    alone: tuple[list[Trial], list[Trial]] = [], []
    near, mine, others, theirs = [], [], [], []
    shape = GalleryShape(0, 0, 0.0)
    for fold in folds:
        asked, gallery = asked_and_gallery(kind, fold)
        found_here, left_out = try_known_and_left_out(asked, gallery)
        known += found_here
        unknown += left_out
        # Photos of the visit that a gallery's are of are found too easily for a promise.
        promised += (
            try_all(_photos(fold.shop.asked.of(fold.held_out), "apart"), gallery) if kind != "studio" else found_here
        )
        few = gallery.only(np.flatnonzero(np.isin(gallery.labels, fold.held_out)))
        for trials, more in zip(alone, try_known_and_left_out(asked, few), strict=True):
            trials.extend(more)
        genuine, impostor = nearest_distances(asked, gallery)
        found, taken = open_set_distances(genuine, impostor)
        near.append(found)
        others.append(taken)
        mine.append(asked.labels[np.isfinite(genuine)])
        theirs.append(asked.labels[np.isfinite(genuine) & np.isfinite(impostor)])
        shape = GalleryShape(len(gallery.products), len(gallery), {"studio": 1.0, "mixed": 0.5}.get(kind, 0.0))
    distances = OpenSetDistances(
        np.concatenate(near),
        np.concatenate(mine),
        np.concatenate(others),
        np.concatenate(theirs),
        shape.products - 1,
        others=len(folds),
    )
    expect = Expectation(
        "new",
        sum(trial.rank == 1 for trial in promised),
        sum(1 <= trial.rank <= 5 for trial in promised),
        len(promised),
        len({trial.product for trial in promised}),
    )
    whole = len(known), len(unknown)
    return Measured(kind, shape, known + alone[0], unknown + alone[1], whole, distances, (expect,))


def asked_and_gallery(kind: Kind, fold: Fold) -> tuple[Photos, Photos]:
    """Photos of products that a fold did not see, and a gallery of a kind, of all products."""
    return _photos(_asked(kind, fold), "asked"), _gallery(kind, fold)


def _gallery(kind: Kind, fold: Fold) -> Photos:
    """All products: a studio picture or few photos of each, or the one of every second and the other of the rest."""
    studio, few = fold.shop.studio, few_photos(fold.shop.photos, 0)
    if kind != "mixed":
        return _photos(studio if kind == "studio" else few, kind)
    bare = np.unique(studio.labels)[::2]
    shown = studio.of(bare.tolist())
    both = _photos(shown.joined(few.only(~np.isin(few.labels, bare))), kind)
    return both.as_gallery(np.arange(len(both)) < len(shown.labels))


def _asked(kind: Kind, fold: Fold) -> Embedded:
    """Photos of the products that the fold left out: all that are in no gallery of the kind."""
    photos = fold.shop.photos
    if kind != "studio":
        taken = {row.tobytes() for row in few_photos(photos, 0).vectors}
        photos = photos.only(np.array([row.tobytes() not in taken for row in photos.vectors]))
    return photos.joined(fold.shop.asked).of(fold.held_out)


def _photos(embedded: Embedded, kind: str) -> Photos:
    n = len(embedded.labels)
    names = tuple(f"{kind}/{i}" for i in range(n))
    return Photos(
        Path(), names, embedded.labels, embedded.vectors, names, np.zeros(n, np.uint64), np.zeros(n, np.bool_)
    )

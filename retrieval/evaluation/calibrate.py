"""Choose the thresholds of a model on one split: a bundle's calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.calibration.choose import (
    FarChoice,
    FpirChoice,
    OpenSetDistances,
    choose_by_errors,
    choose_by_far,
    choose_by_fpir,
    measure_open_set,
    measure_pairs,
    with_open_set,
    with_pairs,
)
from retrieval.calibration.points import OperatingPoint
from retrieval.errors import UsageError
from retrieval.evaluation.answers import answer_all, nearest_distances
from retrieval.evaluation.confidence_fit import LEAST_ANSWERS, fit_confidence
from retrieval.evaluation.leakage import find_twins
from retrieval.evaluation.photos import Photos
from retrieval.metrics import FAR_TARGETS, FPIR_TARGETS
from retrieval.models.bundle import Calibration

DEFAULT_FAR = 0.01


@dataclass(frozen=True, slots=True)
class Target:
    """What the default threshold has to keep.

    Attributes:
        rate: ``far``, ``fpir``, or ``strangers`` for the fewest wrong answers where that share of photos shows
            unknown products.
        value: in (0, 1).
    """

    rate: str
    value: float

    @property
    def name(self) -> str:
        """The name of its operating point, such as ``far=0.01``."""
        return f"{self.rate}={self.value:g}"


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """Photos of held-out products: a training of the same recipe was not shown them, and its network embeds them.

    Attributes:
        photos: theirs.
        gallery: what they are compared with, by the same network: the pictures that it was shown. It has fewer
            products than the catalog, and FPIR is extrapolated to as many as that has.
        scale: of the served network's distances to this one's.
    """

    photos: Photos
    gallery: Photos
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What a calibration found.

    Attributes:
        calibration: what a bundle stores.
        refusal: why the data do not support the chosen target; empty when they do.
        left_out: what could not be measured or had to be excluded and why, one sentence each.
    """

    calibration: Calibration
    refusal: str
    left_out: tuple[str, ...]


def calibrate(
    photos: Photos,
    gallery: Photos | None,
    target: Target,
    *,
    measured_on: str,
    far_targets: Sequence[float] = FAR_TARGETS,
    fpir_targets: Sequence[float] = FPIR_TARGETS,
    held_out: Sequence[HeldOut] = (),
) -> Calibrated:
    """Choose a threshold for each target, measure it, and fit the confidence at the chosen one.

    FAR targets and the original experiment's rule are over all pairs of the photos. FPIR targets and the
    confidence need a gallery: unknown products are leave-one-out unknowns (each photo once more, its product taken out
    of the gallery), unless held-out products are given. Targets that the data do not support get no operating point,
    except the chosen one, with a note. Photos that the gallery holds too are excluded.
    With a gallery every point has both what it does to pairs (VAL, FAR) and to photos of known and unknown products
    (FNIR, FPIR): users meet the second.

    Args:
        photos: of the calibration split.
        gallery: what a query would search; None omits what needs one.
        target: which operating point is chosen.
        measured_on: which photos, for the record.
        far_targets: further FARs to keep.
        fpir_targets: further FPIRs to keep.
        held_out: products that no training saw, whose FPIR is higher than that of leave-one-out unknowns; one for each
            network that did not see some. With them no confidence is fitted: `retrieval.evaluation.by_gallery` fits
            the probabilities for each kind of gallery.

    Raises:
        UsageError: no threshold keeps the target on these photos, an FPIR target has no gallery, or the
            gallery holds all of the photos.
    """
    if target.rate != "far" and gallery is None:
        raise UsageError(
            "expected a gallery to calibrate for an FPIR, received none",
            hint="Name it with --gallery index, --gallery train or --gallery FOLDER",
        )
    digest = photos.digest()
    left_out: list[str] = []
    if gallery is not None:
        kept = find_twins(photos, gallery).kept
        if not kept:
            raise UsageError(
                f"expected photos that the gallery does not hold, received {len(photos)} that it all has",
                hint="Calibrate on a split that was not indexed, or name another --gallery.",
            )
        if len(kept) < len(photos):
            left_out.append(f"{len(photos) - len(kept):,} photos are also in the gallery and were excluded.")
        photos = photos.only(kept)
    fars = sorted({*far_targets, *([target.value] if target.rate == "far" else [])}, reverse=True)
    choices: list[FarChoice | FpirChoice] = list(choose_by_far(photos.vectors, photos.labels, fars)[1])
    distances: OpenSetDistances | None = None
    if gallery is not None:
        fpirs = sorted({*fpir_targets, *([target.value] if target.rate == "fpir" else [])}, reverse=True)
        distances = open_set_of(photos, gallery, held_out)
        choices += choose_by_fpir(distances, fpirs)
        if target.rate == "strangers":
            choices.append(choose_by_errors(distances, target.value))
    points: list[OperatingPoint] = []
    for choice in choices:
        if choice.threshold is not None and (not choice.refusal or choice.name == target.name):
            points.append(_point(choice, photos, distances))
        elif choice.name != target.name:
            left_out.append(choice.refusal)
    chosen = next(choice for choice in choices if choice.name == target.name)
    if chosen.threshold is None:
        raise UsageError(chosen.refusal, hint="Use more photos, another model, or a higher target.")
    fitted = None
    if gallery is None:
        left_out.append("FPIR and the confidence of answers need a gallery: --gallery index, train or FOLDER.")
    elif not held_out:
        answers = answer_all(photos, gallery, chosen.threshold, ())
        fitted = fit_confidence(answers, chosen.threshold, fitted_on=measured_on)
        if fitted is None:
            left_out.append(f"Not enough answers to fit a confidence: {LEAST_ANSWERS} needed, right and wrong ones.")
    calibration = Calibration(chosen.threshold, target.name, tuple(points), measured_on, digest, fitted)
    return Calibrated(calibration, chosen.refusal, tuple(left_out))


def _point(choice: FarChoice | FpirChoice, photos: Photos, distances: OpenSetDistances | None) -> OperatingPoint:
    """What a bundle stores of a choice: whatever it was chosen for, VAL and FAR of pairs, FNIR and FPIR of photos."""
    point = choice.operating_point()
    if isinstance(choice, FpirChoice):
        return with_pairs(point, measure_pairs(photos.vectors, photos.labels, point.threshold))
    if distances is None or not len(distances.unknown):
        return point
    return with_open_set(point, measure_open_set(distances, point.threshold))


def open_set_distances(
    genuine: NDArray[np.float32], impostor: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distances by the nearest picture, of photos as they are and as if the gallery lacked their product.

    Args:
        genuine: distance of the right product, inf for unknown ones; see `nearest_distances`, shape (n,).
        impostor: distance of the nearest other product, inf where there is none, shape (n,).

    Returns:
        For known photos, in their order, the smallest threshold that finds their product first (inf where another is
        as near); for those of them that another product can be taken for, the distance of its nearest picture.
    """
    known = np.isfinite(genuine)
    mine, others = genuine[known].astype(np.float64), impostor[known].astype(np.float64)
    return np.where(mine < others, mine, np.inf), others[np.isfinite(others)]


def open_set_of(photos: Photos, gallery: Photos, held_out: Sequence[HeldOut]) -> OpenSetDistances:
    """The photos as probes of known products, and held-out products or else themselves as probes of unknown ones."""
    genuine, impostor = nearest_distances(photos, gallery)
    known = np.isfinite(genuine)
    tried = known & np.isfinite(impostor)
    found, others = open_set_distances(genuine, impostor)
    products = len(gallery.products)
    if not held_out:
        return OpenSetDistances(found, photos.labels[known], others, photos.labels[tried], products - 1)
    nearest = [nearest_distances(one.photos, one.gallery)[1].astype(np.float64) * one.scale for one in held_out]
    growth = float(np.mean([products / len(one.gallery.products) for one in held_out]))
    labels = np.concatenate([one.photos.labels for one in held_out])
    unknown = np.concatenate(nearest)
    return OpenSetDistances(found, photos.labels[known], unknown, labels, products, growth, others=len(held_out))

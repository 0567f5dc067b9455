"""Whole jobs in one call: evaluate a dataset, calibrate a model.

    report = evaluate_dataset("data", gallery="train", calibrate_on="val")
    print(report.verdict)

The commands `itemrec evaluate` and `itemrec calibrate` are these functions with words around them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from retrieval.calibration.galleries import GalleryShape
from retrieval.calibration.in_force import InForce, in_force
from retrieval.calibration.points import Calibration
from retrieval.errors import IndexBusyError, StoreError, UsageError
from retrieval.evaluation.calibrate import DEFAULT_FAR, Target, calibrate
from retrieval.evaluation.compare import compare_documents, read_document
from retrieval.evaluation.evaluate import Setting, evaluate
from retrieval.evaluation.gallery import Gallery, gather_gallery, products_in_training, require_column, without_shared
from retrieval.evaluation.gather import gather_folder, split_folder
from retrieval.evaluation.photos import Photos
from retrieval.evaluation.requirements import check, parse_requirement
from retrieval.evaluation.results import CalibrationReport, EvaluationReport
from retrieval.evaluation.same_item import MOST
from retrieval.evaluation.sureness_fit import cross_checked, fit_sureness, try_known_and_left_out
from retrieval.evaluation.thresholds import require_threshold
from retrieval.images.studio import SAMPLE, studio_share
from retrieval.index.manifest import Manifest
from retrieval.index.open import open_index
from retrieval.index.protocols import Index
from retrieval.metrics import FAR_TARGETS
from retrieval.models import installed
from retrieval.models.bundle import DESCRIPTION, Bundle, check_place, peek, set_calibration, write_bundle
from retrieval.recognition.looker import Looker
from retrieval.recognition.recognizer import calibration_in_force
from retrieval.refusals import KnownRefusals
from retrieval.system.progress import Progress, Silent
from retrieval.system.text import printable

Location = str | Path


def evaluate_dataset(
    data: Location,
    *,
    split: str = "test",
    gallery: Location | None = None,
    index: Location | None = None,
    model: Location | None = None,
    threshold: float | None = None,
    calibrate_on: str | None = None,
    far: Sequence[float] = (),
    category: str | None = None,
    views: int = 1,
    require: Sequence[str] = (),
    compare: Location | None = None,
    verify: bool | None = None,
    progress: Progress = Silent(),
) -> EvaluationReport:
    """Measure a model on a split of a dataset that it was not trained on.

    Args:
        data: a folder with train/, val/ and test/.
        split: which photos to measure.
        gallery: what they are compared with: ``index``, ``train``, ``catalog`` (both in ``data``) or a folder; by
            default the index where there is one, else ``train``.
        index: a directory, or the URL of a collection on a Qdrant server.
        model: an installed model's name, or a bundle; by default the index's own, else the built-in starter.
        threshold: squared L2, in [0, 4]; by default the model's calibration.
        calibrate_on: choose the thresholds on this split instead.
        far: further FARs to report at, each in (0, 1); with ``calibrate_on`` the first is the threshold in use.
        category: the metadata column that groups products; by default ``category``, where there is such a column.
        views: also measure up to so many photos of one item together, at most 10.
        require: what must hold, as `retrieval.evaluation.requirements` reads it: ``"top5>=0.95"``.
        compare: a document that an earlier evaluation of the same photos wrote.
        verify: also measure what a closer look changes, see `retrieval.recognition.api.Recognizer`.
        progress: told how far it is.

    Raises:
        UsageError: an argument, the dataset or the gallery is not as described, or there is no threshold.
        EncoderError: the model failed.
    """
    requirements = [parse_requirement(text) for text in require]
    earlier = None if compare is None else read_document(Path(compare))
    dataset = Path(data)
    folder = split_folder(dataset, split)
    if calibrate_on == split:
        raise UsageError(
            f"expected another split to choose the threshold on, received {split!r} for both",
            hint="A threshold measured on the photos it was chosen on looks too good: --split test --calibrate-on val",
        )
    if not 1 <= views <= MOST:
        raise UsageError(f"expected 1 to {MOST} photos of an item, received {views}", hint="For example: --views 3")
    calibration_folder = None if calibrate_on is None else split_folder(dataset, calibrate_on)
    for rate in far:
        _check_rate("far", rate)
    opened = _open(gallery, index, model)
    bundle = opened.bundle
    if calibrate_on is None:
        require_threshold(threshold, bundle.calibration, model=bundle.name)

    notes = products_in_training(bundle)
    against = gather_gallery(gallery, dataset, opened.index, bundle, indexed=opened.indexed, progress=progress)
    if category is not None:
        require_column(category, against.photos, folder)
    photos = gather_folder(folder, bundle, progress=progress, stage=f"Embedding {split}")
    notes += (*against.photos.notes, *photos.notes)
    calibration, origin = bundle.calibration, "model"
    if calibrate_on is not None and calibration_folder is not None:
        others = gather_folder(calibration_folder, bundle, progress=progress, stage=f"Embedding {calibrate_on}")
        others, note = without_shared(others, photos, calibrate_on, split)
        notes += note
        progress.stage("Choosing thresholds", len(others), "photos")
        chosen = calibrate(
            others,
            against.photos,
            Target("far", far[0] if far else DEFAULT_FAR),
            measured_on=_counted(calibrate_on, others),
            far_targets=(*FAR_TARGETS, *far),
        )
        progress.advance(len(others))
        calibration, origin = chosen.calibration, "split"
    standing = _in_force(calibration, against, opened) if origin == "model" else None
    if standing is not None:
        calibration = standing.calibration
        notes += [standing.why_not] if standing.why_not else []
    progress.stage("Measuring", len(photos), "photos")
    document = evaluate(
        photos,
        against.photos,
        Setting(
            split=split,
            data=str(dataset),
            gallery_source=against.source,
            gallery_location=against.location,
            model=bundle.identity,
            calibration=calibration,
            calibration_source=origin,
            threshold=threshold,
            in_force=standing,
            far_targets=tuple(sorted({*FAR_TARGETS, *far}, reverse=True)),
            category_column=category or "category",
            views=views,
            studio=opened.manifest.studio if against.source == "index" and opened.manifest is not None else None,
        ),
        notes=notes,
        refusals=KnownRefusals.load(opened.index.refusals, bundle)
        if against.source == "index" and opened.index is not None
        else None,
        looker=_looker(against, verify),
    )
    progress.advance(len(photos))
    return EvaluationReport(
        document,
        check(requirements, document),
        None if earlier is None else compare_documents(earlier, document),
    )


def _looker(against: Gallery, verify: bool | None) -> Looker | None:
    """Looks closer where the gallery is an index and has keypoints, or is to have them."""
    if against.source != "index" or verify is False:
        return None
    if verify:
        from retrieval.verification.opencv import opencv

        opencv()
    looker = Looker(against.location, on_demand=bool(verify))
    return looker if looker.ready() else None


def calibrate_model(
    data: Location,
    *,
    split: str = "val",
    far: float | None = None,
    fpir: float | None = None,
    gallery: Location | None = None,
    index: Location | None = None,
    model: Location | None = None,
    out: Location | None = None,
    force: bool = False,
    progress: Progress = Silent(),
) -> CalibrationReport:
    """Choose the threshold of a model on photos of one's own, fit the confidence of its answers, and store both.

    The model's vectors do not change, so an index that it built stays valid, and goes by this calibration from its next
    query on. The model's own is replaced, too, except where it holds for several kinds of gallery; the built-in model
    is never changed: a calibrated copy is installed under a name of its own.

    Args:
        data: a folder with train/, val/ and test/.
        split: the photos to choose on; never those that are reported on.
        far: the FAR to keep, in (0, 1); by default 1 %.
        fpir: the FPIR to keep instead, in (0, 1).
        gallery: as in `evaluate_dataset`; without any, what needs one is omitted.
        index: a directory, or the URL of a collection on a Qdrant server.
        model: an installed model's name, or a bundle; by default the index's own, else the built-in starter.
        out: write a calibrated copy here and leave the model as it is.
        force: store the threshold even if the photos are too few to support the claim.
        progress: told how far it is.

    Raises:
        UsageError: an argument, the dataset or the gallery is not as described, no threshold keeps the target, or
            the photos are too few to support it.
        EncoderError: the model failed.
    """
    if far is not None and fpir is not None:
        raise UsageError("expected a FAR or an FPIR to keep, received both", hint="One threshold keeps one of them.")
    target = Target("far", DEFAULT_FAR if far is None else far) if fpir is None else Target("fpir", fpir)
    _check_rate(target.rate, target.value)
    dataset = Path(data)
    folder = split_folder(dataset, split)
    opened = _open(gallery, index, model)
    bundle = opened.bundle
    place = _place(bundle, None if out is None else Path(out))

    against = None
    # FAR needs pairs alone; without any gallery only what needs one is omitted, with a warning.
    if gallery is not None or opened.indexed or (dataset / "train").is_dir():
        against = gather_gallery(gallery, dataset, opened.index, bundle, indexed=opened.indexed, progress=progress)
    photos = gather_folder(folder, bundle, progress=progress, stage=f"Embedding {split}")
    progress.stage("Choosing thresholds", len(photos), "photos")
    found = calibrate(photos, against.photos if against else None, target, measured_on=_counted(split, photos))
    progress.advance(len(photos))
    if found.refusal and not force:
        raise UsageError(
            found.refusal,
            hint="Use more photos, ask for a higher rate, or store the threshold all the same with --force.",
        )
    chosen = found.calibration
    if against is not None and far is None and fpir is None:
        chosen = _with_probabilities(chosen, photos, against.photos, opened)
    warnings = [sentence for sentence in (found.refusal, *found.left_out) if sentence]
    if chosen.sureness is not None and chosen.sureness.fitted_on != chosen.measured_on:
        warnings.append(
            f"Verdicts go on by the model's probabilities, fitted on {chosen.sureness.fitted_on}: these tell more of "
            "unknown products than products of the gallery do that are tried without their own pictures."
        )
    if against is not None:
        warnings += products_in_training(bundle)
    before = calibration_in_force(bundle, opened.manifest)
    stored = ""
    if out is None and opened.serves(bundle) and opened.index is not None:
        try:
            opened.index.set_calibration(chosen.to_json())
            stored = opened.index.location
        except (IndexBusyError, StoreError) as error:
            warnings.append(f"The index keeps the calibration that it had: {error.message}")
    several = bundle.calibration is not None and bool(bundle.calibration.galleries)
    written = bundle if stored and several else _store(bundle, place, chosen)
    return CalibrationReport(
        written,
        chosen,
        found.refusal,
        tuple(warnings),
        against.source if against else "",
        bundle.path,
        index=stored,
        replaced=before.calibration if before is not None else None,
        written=not (stored and several),
    )


def _with_probabilities(chosen: Calibration, photos: Photos, gallery: Photos, opened: _Opened) -> Calibration:
    """With the probabilities that verdicts follow, where photos of unknown products tell them.

    Where the model has measured them on held-out products, for such a gallery, they stay: leave-one-out unknowns of a
    user's few products tell less, of a model that learned these very products and of one that did not.
    """
    bundle = opened.bundle
    if bundle.calibration is not None and bundle.calibration.galleries and opened.manifest is not None:
        shape = GalleryShape(opened.manifest.products, opened.manifest.images, opened.manifest.studio)
        fitting = in_force(bundle.calibration, shape)
        if fitting.fits:
            fitted = fitting.calibration
            return replace(chosen, sureness=fitted.sureness, verdicts=fitted.verdicts, confidence=None)
    if bundle.training.get("products"):
        return chosen
    shown = photos.only(np.flatnonzero(np.isin(photos.labels, gallery.labels)))
    known, unknown = try_known_and_left_out(shown, gallery)
    fitted_sureness = fit_sureness(known, unknown, fitted_on=chosen.measured_on)
    if fitted_sureness is None:
        return chosen
    table = cross_checked(known, unknown)
    return replace(chosen, sureness=fitted_sureness, verdicts=table)


def _in_force(calibration: Calibration | None, against: Gallery, opened: _Opened) -> InForce | None:
    """What the model's calibration, or the index's own, says of a gallery like the one measured against."""
    if against.source == "index" and opened.serves(opened.bundle):
        return calibration_in_force(opened.bundle, opened.manifest)
    if calibration is None or not calibration.galleries:
        return None
    photos = against.photos
    first = np.unique(photos.labels, return_index=True)[1].tolist()
    sample = first[:: max(1, len(first) // SAMPLE)]
    studio = studio_share((photos.root / photos.sources[i], photos.root) for i in sample)
    return in_force(calibration, GalleryShape(len(first), len(photos), studio))


@dataclass(frozen=True, slots=True)
class _Opened:
    index: Index | None
    manifest: Manifest | None
    bundle: Bundle

    @property
    def indexed(self) -> bool:
        return self.manifest is not None

    def serves(self, bundle: Bundle) -> bool:
        """Whether the index answers with this model."""
        return self.manifest is not None and self.manifest.model.fingerprint == bundle.fingerprint


def _open(gallery: Location | None, index: Location | None, model: Location | None) -> _Opened:
    """The index, whether anything was committed to it, and the model; nothing is asked of an index in vain."""
    place = None if index is None else open_index(str(index))
    asked = place is not None and (gallery in (None, "index") or model is None)
    manifest = place.manifest() if place is not None and asked else None
    bundle = installed.resolve_model(
        None if model is None else str(model), index_model=manifest.model if manifest else None
    )
    return _Opened(place, manifest, bundle)


def _check_rate(name: str, value: float) -> None:
    if not 0.0 < value < 1.0:
        raise UsageError(f"expected {name} between 0 and 1, received {value}", hint="1 % is 0.01.")


def _counted(split: str, photos: Photos) -> str:
    return f"{split}: {len(photos):,} photos of {len(photos.products):,} products"


def _place(bundle: Bundle, out: Path | None) -> Path:
    """Where the calibrated bundle goes: ``out``, else the bundle itself, else a copy among the models.

    Raises:
        UsageError: something else is already there.
    """
    if out is not None:
        if out.absolute() != bundle.path:
            check_place(out.absolute(), replace=False)
        return out.absolute()
    builtin = bundle.path == installed.starter_path().absolute()
    if not builtin and os.access(bundle.path, os.W_OK) and os.access(bundle.path / DESCRIPTION, os.W_OK):
        return bundle.path
    copy = installed.place_for(f"{bundle.name}-calibrated")
    # The copy of an earlier run is ours to replace, as long as it is the same model.
    if copy.exists() and peek(copy).get("fingerprint") != bundle.fingerprint:
        raise UsageError(
            f"expected a free place for the calibrated copy, received {printable(copy)}, which is another model",
            hint="Name a place with --out BUNDLE",
        )
    return copy


def _store(bundle: Bundle, place: Path, calibration: Calibration) -> Bundle:
    if place == bundle.path:
        return set_calibration(place, calibration)
    return write_bundle(
        place,
        name=place.name if place.parent == installed.models_directory() else bundle.name,
        encoder=bundle.encoder_file,
        runtime=bundle.runtime,
        preprocessing=bundle.preprocessing,
        dimension=bundle.dimension,
        calibration=calibration,
        training=bundle.training,
        card=bundle.card(),
        readout=bundle.readout,
        source=bundle.source,
        license=bundle.license,
        created=bundle.created or None,
        replace=place.exists(),
        projection=bundle.projection(),
    )

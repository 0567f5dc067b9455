"""What comes after the learning: calibrate, write the bundle, measure what 8 bits cost, project."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from retrieval.calibration.points import Calibration, OperatingPoint
from retrieval.calibration.support import support
from retrieval.errors import UsageError
from retrieval.evaluation import UNKNOWN_SHARE, Photos, Target, calibrate, gather_folder
from retrieval.evaluation.answers import nearest_distances
from retrieval.evaluation.by_gallery import Enrolled, HeldOutProducts, with_galleries
from retrieval.metrics import pair_rates
from retrieval.models.bundle import Bundle, write_bundle
from retrieval.models.measurement import seconds_each
from trainer.beside import compare
from trainer.card import card
from trainer.held_out import HeldOutEmbeddings
from trainer.networks.export import quantize_int8
from trainer.places import RunPaths
from trainer.progress import Silent, TrainingProgress
from trainer.projector.write import project_bundle
from trainer.report import TrainedModel, TrainReport

if TYPE_CHECKING:  # it imports Keras, which what is learned on top of a frozen model does without
    from trainer.learn import Trained

FAR_TARGETS = (0.05, 0.01, 0.001)
FPIR_TARGETS = (0.2, 0.1, 0.05, 0.01)

SEEN = (
    "measured on leave-one-out unknowns, which training saw; products that no training saw are matched more often "
    "(--hold-out)"
)

NO_THRESHOLD = (
    "So few photos bear no threshold, and the model has none: add photos to val/, or name one to queries with "
    "--threshold; itemrec calibrate --force stores one all the same."
)

_TYPICAL = 200
"""Pictures that decide the ranges of 8-bit values."""


def finish(
    trained: Trained,
    paths: RunPaths,
    out: Path,
    *,
    target: Target | None = None,
    preset: str,
    int8: bool = False,
    project: bool = False,
    replace: bool = False,
    progress: TrainingProgress = Silent(),
) -> TrainReport:
    """Turn what was trained into a bundle, and measure what it is worth.

    Args:
        trained: what `trainer.learn.learn` returned.
        paths: where it was trained.
        out: where the bundle goes; ``OUT-int8`` beside it.
        target: what its threshold keeps; None for `calibrate_on_val`'s choice.
        preset: the recipe's name, for the record.
        int8: also write the bundle in 8-bit integers.
        project: also write the embedding projector's files into the run directory.
        replace: bundles that are there already.
        progress: told how far it is.

    Raises:
        BundleError, UsageError: a bundle cannot be written there.
        EncoderError: the network does not convert to 8 bits.
        DiskFullError: there is no room.
    """
    from trainer.learn import forget_checkpoints

    started = time.perf_counter()
    versions: list[tuple[Path, bytes]] = [(out, trained.export.model)]
    if int8:
        progress.stage("Converting to 8 bits")
        typical = trained.pictures.pixels(trained.preprocessing, trained.pictures.spread(_TYPICAL))
        model = quantize_int8(trained.keras, trained.preprocessing, typical)
        versions.append((out.with_name(f"{out.name}-int8"), model))
    written: list[TrainedModel] = []
    for place, encoder in versions:
        record = trained.record | {"preset": preset, "int8": place != out}
        known = trained.embeddings if place == out else {}
        with tempfile.TemporaryDirectory(prefix="itemrec-train-") as folder:
            # A draft first: what is calibrated and measured is the bundle itself, read back from disk.
            draft = _write(Path(folder) / "draft", place.name, encoder, trained, record, None, "", replace=False)
            measured = measure(draft, paths, target, known, trained.held_out, progress)
        seconds = round(record["seconds"] + time.perf_counter() - started, 1)
        record["seconds_with_calibration"] = seconds
        text = card(place.name, record, measured.calibration, measured.warnings)
        bundle = _write(place, place.name, encoder, trained, record, measured.calibration, text, replace=replace)
        written.append(dataclasses.replace(measured, bundle=bundle))
    forget_checkpoints(paths.run)
    if project:
        _project(written[0].bundle, paths, progress)
    return TrainReport(
        model=written[0],
        int8=written[1] if int8 else None,
        pictures=trained.record["pictures"],
        products=trained.record["products"],
        held_out=trained.record["strangers"],
        epochs=len(trained.record["epochs"]),
        refused=trained.refused,
        seconds=written[0].bundle.training["seconds_with_calibration"],
        run=paths.run,
    )


def _write(
    place: Path,
    name: str,
    encoder: bytes,
    trained: Trained,
    record: dict[str, Any],
    calibration: Calibration | None,
    text: str,
    *,
    replace: bool,
) -> Bundle:
    return write_bundle(
        place,
        name=name,
        encoder=encoder,
        runtime="litert",
        preprocessing=trained.preprocessing,
        dimension=trained.dimension,
        calibration=calibration,
        training=record,
        card=text,
        source="itemrec train",
        replace=replace,
    )


def measure(
    bundle: Bundle,
    paths: RunPaths,
    target: Target | None,
    known: Mapping[str, NDArray[np.float32]],
    held_out: Sequence[HeldOutEmbeddings],
    progress: TrainingProgress,
) -> TrainedModel:
    """Calibrate a bundle on val, and say what it does there.

    Args:
        bundle: without a calibration yet.
        paths: where it was trained.
        target: what its threshold keeps; None for `calibrate_on_val`'s choice.
        known: embeddings (d,) of pictures by their SHA-256; the rest is embedded.
        held_out: what trainings without some of the products make of pictures.
        progress: told how far it is.
    """
    val = paths.dataset / "val"
    if not val.is_dir():
        reason = "There is no val/ to choose a threshold on: calibrate later, with itemrec calibrate --data DIR."
        return TrainedModel(bundle, None, None, None, None, (reason,), seconds_each(bundle))
    photos = gather_folder(val, bundle, known=known, progress=progress, stage="Embedding val")
    gallery = gather_folder(paths.dataset / "train", bundle, known=known, progress=progress, stage="Embedding train")
    genuine, impostor = nearest_distances(photos, gallery)
    rates = pair_rates(photos.vectors, photos.labels, thresholds=(), far_targets=(0.01, 0.001))
    studio = None
    if paths.catalog is not None and held_out:
        stage = "Embedding the catalog"
        studio = gather_folder(paths.catalog, bundle, known=known, progress=progress, stage=stage)
    progress.stage("Calibrating")
    calibration, warnings = calibrate_on_val(photos, Enrolled.of_sources(gallery, studio), target, held_out)
    products = len(photos.products)
    same = [
        at.accepted_same / at.same
        if at.same
        and at.threshold is not None
        and not support("FAR", at.target, at.different, "impostor pairs", products)
        else None
        for at in rates.at_far
    ]
    in_gallery = genuine < float("inf")
    found, probes = int((genuine[in_gallery] < impostor[in_gallery]).sum()), int(in_gallery.sum())
    top1 = found / probes if probes else None
    return TrainedModel(
        bundle,
        calibration,
        top1,
        same[0],
        same[1],
        tuple(warnings),
        seconds_each(bundle),
        found,
        probes,
        compare(photos, gallery, paths.dataset, held_out, progress),
    )


def calibrate_on_val(
    photos: Photos,
    enrolled: Enrolled,
    target: Target | None = None,
    held_out: Sequence[HeldOutEmbeddings] = (),
) -> tuple[Calibration | None, list[str]]:
    """The thresholds that val can bear, and one sentence for each that it cannot.

    Without a target: the one with the fewest wrong answers where one photo in five shows an unknown product, since
    users ask "is it none of ours?"; where val cannot bear that, FAR 1 %. Where it cannot bear that either there is no
    calibration, as `retrieval.evaluation.run.calibrate_model` stores none.

    Args:
        photos: val's.
        enrolled: the pictures that were trained on.
        target: what the threshold keeps.
        held_out: what networks that did not see some of the products make of all those.
    """
    gallery = enrolled.photos.only(np.flatnonzero(~enrolled.studio))
    unknown = [_held_out_products(one, photos, enrolled) for one in held_out]
    measured = f"val: {len(photos):,} photos of {len(photos.products):,} products"
    if unknown:
        probes = sum(len(one.probes) for one in unknown)
        measured += (
            f"; unknown products: {probes:,} photos of {sum(len(one.products) for one in held_out):,} products held "
            "out of trainings like it"
        )
    goals = [target] if target else [Target("strangers", UNKNOWN_SHARE), Target("far", 0.01)]
    reasons: list[str] = []
    for goal in goals:
        try:
            found = calibrate(
                photos,
                gallery,
                goal,
                measured_on=measured,
                far_targets=FAR_TARGETS,
                fpir_targets=FPIR_TARGETS,
                held_out=[one.against(gallery, photos) for one in unknown],
            )
        except UsageError as error:
            reasons.append(error.message)
            continue
        if found.refusal:
            reasons.append(found.refusal)
            continue
        calibration = found.calibration
        if not unknown:
            points = (_noted(point, SEEN) if point.fpir is not None else point for point in calibration.points)
            return dataclasses.replace(calibration, points=tuple(points)), list(found.left_out)
        return with_galleries(calibration, photos, enrolled, unknown, goal), list(found.left_out)
    return None, [*dict.fromkeys(reasons), NO_THRESHOLD]


def _held_out_products(one: HeldOutEmbeddings, photos: Photos, enrolled: Enrolled) -> HeldOutProducts:
    """The same pictures as networks see them that were not shown some of the products."""

    pictures, rows = one.of(enrolled.photos)
    studio = enrolled.studio[rows]
    unknown = np.isin(pictures.labels, sorted(one.products))
    known, _ = one.of(photos)
    return HeldOutProducts(
        pictures.only(np.flatnonzero(unknown)),
        studio[unknown],
        Enrolled(pictures.only(np.flatnonzero(~unknown)), studio[~unknown]),
        known.only(np.flatnonzero(~np.isin(known.labels, sorted(one.products)))),
    )


def _noted(point: OperatingPoint, note: str) -> OperatingPoint:
    return dataclasses.replace(point, note=f"{point.note} {note}".strip() if point.note else note)


def _project(bundle: Bundle, paths: RunPaths, progress: TrainingProgress) -> None:
    folder = next((f for name in ("val", "train") if (f := paths.dataset / name).is_dir()), paths.dataset)
    project_bundle(bundle, folder, paths.run, progress=progress)

"""What comes after the learning: calibrate, write the bundle, measure what 8 bits cost, project, report."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli import progress, render
from retrieval.errors import UsageError
from retrieval.models.bundle import Bundle, write_bundle
from retrieval.system.text import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from retrieval.calibration.points import Calibration, OperatingPoint
    from retrieval.evaluation import Photos, Strangers, Target
    from trainer.held_out import Unseen
    from trainer.train import Places, Trained

FAR_TARGETS = (0.05, 0.01, 0.001)
FPIR_TARGETS = (0.2, 0.1, 0.05, 0.01)

SEEN = "training saw the products that act as strangers in it; what it never saw gets a name more often (--strangers)"


@dataclass(frozen=True, slots=True)
class Judged:
    """What a bundle does on val, with the pictures of train as the gallery.

    Attributes:
        calibration: its thresholds; None where val cannot bear any.
        top1: photos whose nearest picture is of their product / photos.
        val: VAL at FAR 1 %.
        val_strict: VAL at FAR 0.1 %.
        warnings: what cannot be said and why, one sentence each.
        seconds_each: to embed a picture, decoding not counted, on one core.
    """

    calibration: Calibration | None
    top1: float | None
    val: float | None
    val_strict: float | None
    warnings: tuple[str, ...]
    seconds_each: float


def finish(
    trained: Trained,
    places: Places,
    out: Path,
    *,
    target: Target | None,
    preset: str,
    int8: bool,
    project: bool,
    overwrite: bool,
    as_json: bool,
) -> int:
    """Turn what was trained into a bundle at ``out``, and say what it is worth; returns the exit code."""
    from trainer.card import card
    from trainer.train import forget_checkpoints

    started = time.perf_counter()
    versions: list[tuple[Path, bytes]] = [(out, trained.export.model)]
    if int8:
        from trainer.networks.export import quantize_int8

        render.say("Converting to 8 bits …")
        typical = trained.pictures.pixels(trained.preprocessing, trained.pictures.spread(200))
        model = quantize_int8(trained.keras, trained.preprocessing, typical)
        versions.append((out.with_name(f"{out.name}-int8"), model))
    written: list[tuple[Bundle, Judged]] = []
    for place, encoder in versions:
        record = trained.record | {"preset": preset, "int8": place != out}
        with tempfile.TemporaryDirectory(prefix="itemrec-train-") as folder:
            draft = _write(Path(folder) / "draft", place.name, encoder, trained, record, None, "", overwrite=False)
            judged = _judge(draft, places, target, trained.known if place == out else {}, trained.unseen)
        seconds = round(record["seconds"] + time.perf_counter() - started, 1)
        record["seconds_with_calibration"] = seconds
        text = card(place.name, record, judged.calibration, judged.warnings)
        bundle = _write(place, place.name, encoder, trained, record, judged.calibration, text, overwrite=overwrite)
        written.append((bundle, judged))
    # The logs stay.
    forget_checkpoints(places.run)
    if project:
        _project(written[0][0], places)
    _report(written, trained, places, as_json=as_json)
    return 0


def _write(
    place: Path,
    name: str,
    encoder: bytes,
    trained: Trained,
    record: dict[str, Any],
    calibration: Calibration | None,
    text: str,
    *,
    overwrite: bool,
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
        replace=overwrite,
    )


def _judge(
    bundle: Bundle,
    places: Places,
    target: Target | None,
    known: Mapping[str, NDArray[np.float32]],
    unseen: Unseen | None,
) -> Judged:
    from retrieval.evaluation import gather_folder
    from retrieval.evaluation.answers import nearest_distances
    from retrieval.metrics import pair_rates

    val = places.dataset / "val"
    if not val.is_dir():
        reason = "There is no val/ to choose a threshold on: calibrate later, with itemrec calibrate --data DIR."
        return Judged(None, None, None, None, (reason,), _speed(bundle))

    def gather(folder: Path, name: str, known: Mapping[str, NDArray[np.float32]] | None = None) -> Photos:
        with progress.shown() as view:
            return gather_folder(folder, bundle, known=known, progress=view, stage=f"Embedding {name}")

    photos, gallery = gather(val, "val"), gather(places.dataset / "train", "train", known)
    own, rival = nearest_distances(photos, gallery)
    rates = pair_rates(photos.vectors, photos.labels, thresholds=(), far_targets=(0.01, 0.001))
    calibration, warnings = _calibrate(photos, gallery, target, _strangers(gallery, unseen) if unseen else None)
    same = [at.accepted_same / at.same if at.same and at.threshold is not None else None for at in rates.at_far]
    in_gallery = own < float("inf")
    top1 = float((own[in_gallery] < rival[in_gallery]).mean()) if in_gallery.any() else None
    return Judged(calibration, top1, same[0], same[1], tuple(warnings), _speed(bundle))


def _strangers(gallery: Photos, unseen: Unseen) -> Strangers:
    """Train's photos by the networks that did not see all products: those that they saw are the gallery."""
    import numpy as np

    from retrieval.evaluation import Strangers

    seen = [i for i, name in enumerate(gallery.content_hashes) if name in unseen.known]
    photos = gallery.only(seen)
    photos = replace(photos, vectors=np.stack([unseen.known[name] for name in photos.content_hashes]))
    strange = np.isin(photos.labels, sorted(unseen.products))
    return Strangers(photos.only(np.flatnonzero(strange)), photos.only(np.flatnonzero(~strange)))


def _calibrate(
    photos: Photos, gallery: Photos, target: Target | None, strangers: Strangers | None
) -> tuple[Calibration | None, list[str]]:
    """The thresholds that val can bear, and one sentence for each that it cannot.

    Without a target: the one with the fewest wrong answers, where one photo in five shows a stranger, since users ask
    "is it none of ours?"; where val cannot bear that, FAR 1 %.
    """
    from retrieval.evaluation import STRANGERS, calibrate
    from retrieval.evaluation import Target as Goal

    measured = f"val: {len(photos):,} photos of {len(photos.products):,} products"
    if strangers is not None:
        measured += (
            f"; strangers: {len(strangers.photos):,} photos of {len(strangers.photos.products):,} products that a "
            "training like it did not see"
        )
    goals = [target] if target else [Goal("strangers", STRANGERS), Goal("far", 0.01)]
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
                strangers=strangers,
            )
        except UsageError as error:
            reasons.append(error.message)
            continue
        if found.refusal and goal is not goals[-1]:
            continue
        calibration = found.calibration
        if strangers is None:
            points = (_noted(point, SEEN) if point.fpir is not None else point for point in calibration.points)
            calibration = replace(calibration, points=tuple(points))
        return calibration, [*([found.refusal] if found.refusal else []), *found.left_out]
    return None, reasons[-1:]


def _noted(point: OperatingPoint, note: str) -> OperatingPoint:
    return replace(point, note=f"{point.note} {note}".strip() if point.note else note)


def _speed(bundle: Bundle) -> float:
    import numpy as np

    from retrieval.models.encoder import load_encoder

    encoder = load_encoder(bundle, threads=1)
    blank = np.full((1, bundle.preprocessing.height, bundle.preprocessing.width, 3), 127, np.uint8)
    times = []
    for _ in range(25):
        started = time.perf_counter()
        encoder.encode(blank)
        times.append(time.perf_counter() - started)
    return sorted(times)[len(times) // 2]


def _project(bundle: Bundle, places: Places) -> None:
    from trainer.projector.write import project_bundle

    folder = next((f for name in ("val", "train") if (f := places.dataset / name).is_dir()), places.dataset)
    with progress.shown() as view:
        view.stage("Writing the projection")

        def update(done: int, total: int) -> None:
            view.known(total)
            view.reached(done)

        project_bundle(bundle, folder, places.run, notify=update, say=render.say)


def _report(written: list[tuple[Bundle, Judged]], trained: Trained, places: Places, *, as_json: bool) -> None:
    if as_json:
        render.emit_json(_document(written, trained, places))
    else:
        _print(written, trained, places)
    judged = written[0][1]
    note = judged.calibration.point(judged.calibration.chosen).note if judged.calibration else None
    pressing = [sentence for sentence in judged.warnings if note is None or sentence in note]
    for sentence in pressing:
        render.warn(printable(sentence))
    if rest := len(judged.warnings) - len(pressing):
        render.say(
            f"The model's card says what {'else ' if pressing else ''}so few photos cannot tell ({rest} points)."
        )


def _document(written: list[tuple[Bundle, Judged]], trained: Trained, places: Places) -> dict[str, Any]:
    bundle, judged = written[0]

    def of(bundle: Bundle, judged: Judged) -> dict[str, Any]:
        points = judged.calibration.to_json() if judged.calibration else None
        return {
            "path": str(bundle.path),
            "name": bundle.name,
            "fingerprint": bundle.fingerprint,
            "dimension": bundle.dimension,
            "bytes": bundle.encoder_bytes,
            "ms_a_picture": round(1000 * judged.seconds_each, 2),
            "calibration": points,
            "val": {"top1": judged.top1, "val@far=0.01": judged.val, "val@far=0.001": judged.val_strict},
            "warnings": list(judged.warnings),
        }

    document = {
        "schema": "itemrec.train/1",
        "model": of(bundle, judged),
        "pictures": trained.record["pictures"],
        "products": trained.record["products"],
        "refused": [{"path": refusal.path, "reason": refusal.reason} for refusal in trained.refused],
        "epochs": len(trained.record["epochs"]),
        "seconds": bundle.training["seconds_with_calibration"],
        "run": str(places.run),
    }
    if len(written) > 1:
        document["int8"] = of(*written[1])
    return document


def _print(written: list[tuple[Bundle, Judged]], trained: Trained, places: Places) -> None:
    bundle, judged = written[0]
    seconds = bundle.training["seconds_with_calibration"]
    render.emit(
        f"Trained {printable(bundle.path)} on {trained.record['pictures']:,} pictures of "
        f"{trained.record['products']:,} products in {render.clock(seconds)}: {bundle.dimension}-d, "
        f"{1000 * judged.seconds_each:.1f} ms a picture, {bundle.encoder_bytes / 1e6:.1f} MB."
    )
    rows = [
        [b.name, _share(j.top1), _share(j.val), _share(j.val_strict), f"{1000 * j.seconds_each:.1f} ms"]
        for b, j in written
    ]
    if judged.top1 is not None:
        render.table(["on val", "R@1", "VAL at FAR 1 %", "VAL at FAR 0.1 %", "a picture"], rows, right=[1, 2, 3, 4])
    if judged.calibration is not None:
        for line in _threshold(judged.calibration, trained.unseen is not None):
            render.emit(line)
    render.emit(f"Next: itemrec index CATALOG --model {printable(bundle.path)}")
    render.say(f"Logs: tensorboard --logdir {printable(places.run)}")


def _threshold(calibration: Calibration, unseen: bool) -> list[str]:
    """What queries will use, and what it does to photos of catalog products and of others."""
    from retrieval.calibration.points import spoken

    point = calibration.point(calibration.chosen)
    lines = [f"Threshold {point.threshold:.3f} (squared L2): {spoken(point.name)}, chosen on val."]
    if point.fnir is not None and point.fpir is not None:
        kind = "products that no training saw" if unseen else "products that training saw, left out of the gallery"
        lines.append(
            f"It finds {100 * (1 - point.fnir):.0f} of 100 photos; of 100 photos of {kind}, {100 * point.fpir:.0f} "
            "get a name."
        )
    if not unseen:
        lines.append("Products that no training saw get a name more often; --strangers 0.2 measures how often.")
    return lines


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"

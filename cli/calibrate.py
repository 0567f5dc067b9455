"""`itemrec calibrate`: choose a model's threshold on your own photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import render
from cli.options import (
    DataOption,
    GalleryOption,
    IndexOption,
    JsonOption,
    ModelOption,
    QuietOption,
    dataset_folder,
    index_location,
    rate,
    setting,
)
from cli.rate_text import percent
from retrieval.errors import UsageError
from retrieval.system.text import printable

if TYPE_CHECKING:
    from retrieval.evaluation.results import CalibrationReport


def calibrate_command(
    split: Annotated[
        str, typer.Option("--split", help="The split to choose the threshold on; never the one you report on.")
    ] = "val",
    data: DataOption = None,
    far: Annotated[
        str | None,
        typer.Option(
            "--far", metavar="RATE", help="Target false acceptance rate (FAR) over impostor pairs. Default: 1%"
        ),
    ] = None,
    fpir: Annotated[
        str | None,
        typer.Option(
            "--fpir", metavar="RATE", help="Target false-positive identification rate (FPIR) instead of a FAR."
        ),
    ] = None,
    gallery: GalleryOption = None,
    inbox: Annotated[
        Path | None,
        typer.Option("--inbox", metavar="DIR", help="Fit the probabilities to its confirmed photos, never taught."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --inbox: only say what they would do.")] = False,
    index: IndexOption = None,
    model: ModelOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="BUNDLE", help="Write a calibrated copy here and leave the model as it is."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Store the threshold even where there is not enough data for its target.")
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Choose the threshold of a model on your photos, and fit the confidence of its answers.

    The model's vectors do not change, so an index that it built stays valid. The built-in model is
    never changed: a calibrated copy is installed under a name of its own.

    \b
    Examples:
      itemrec calibrate --data ./data --far 1%
      itemrec calibrate --data ./data --fpir 5% --gallery index
      itemrec calibrate --inbox ./inbox --dry-run
      itemrec calibrate --data ./data --model ./bundle --out ./bundle-calibrated
    """
    render.configure(json=as_json, quiet=quiet)
    if inbox is not None:
        if data is not None or gallery is not None or out is not None or far is not None or fpir is not None:
            raise UsageError(
                "expected --inbox alone, received an option of --data with it",
                hint="itemrec calibrate --inbox DIR keeps the threshold and fits the probabilities.",
            )
        return _calibrate_confirmed(inbox, index_location(index), setting("model", model), dry_run, as_json=as_json)
    from cli import progress
    from retrieval.evaluation.run import calibrate_model

    if far is not None and fpir is not None:
        raise UsageError("expected --far or --fpir, received both", hint="One threshold keeps one of them.")
    with progress.shown() as view:
        report = calibrate_model(
            dataset_folder(data),
            split=split,
            far=None if far is None else rate("--far", far),
            fpir=None if fpir is None else rate("--fpir", fpir),
            gallery=gallery,
            index=index_location(index),
            model=setting("model", model),
            out=out,
            force=force,
            progress=view,
        )
    if as_json:
        render.emit_json(report.to_json())
    else:
        _print(report)
    for sentence in report.warnings:
        render.warn(printable(sentence))
    return 0


def _calibrate_confirmed(inbox: Path, index: str, model: str | None, dry: bool, *, as_json: bool) -> int:
    from cli import progress
    from cli.verdict_text import print_table
    from retrieval.inbox.confirmed import calibrate_confirmed
    from retrieval.inbox.inbox import Inbox

    with Inbox(inbox, make=False) as opened, progress.shown() as view:
        found = calibrate_confirmed(opened, index, model=model, dry=dry, progress=view)
    if as_json:
        render.emit_json(found.to_json())
        return 0
    if found.before is not None:
        print_table(found.before, "Before")
    else:
        render.emit("Before: no probabilities were in force, a threshold decided.")
    print_table(found.after, "After, each photo by a fit without its product")
    if found.index:
        render.emit(f"The index {printable(found.index)} goes by it from now on.")
    else:
        render.emit("Nothing was stored; without --dry-run the index goes by it.")
    return 0


def _with_ends(rate: float | None, ends: tuple[float, float] | None) -> str:
    return percent(rate) + (f" [{percent(ends[0])}, {percent(ends[1])}]" if ends else "")


def _print(report: CalibrationReport) -> None:
    from cli.verdict_text import print_verdicts
    from retrieval.calibration.points import spoken

    calibration = report.calibration
    render.emit(f"Threshold {calibration.threshold:.4f} (squared L2) for {spoken(calibration.chosen)}.")
    render.emit(f"Chosen on {calibration.measured_on}.")
    render.table(
        ("", "operating point", "threshold", "VAL", "FAR", "FNIR", "FPIR"),
        [
            (
                "*" if point.name == calibration.chosen else "",
                spoken(point.name),
                f"{point.threshold:.4f}",
                _with_ends(point.val, point.val_ci),
                _with_ends(point.far, point.far_ci),
                _with_ends(point.fnir, point.fnir_ci),
                _with_ends(point.fpir, point.fpir_ci),
            )
            for point in calibration.points
        ],
        right=(2,),
    )
    chosen = calibration.point(calibration.chosen)
    counted = [
        f"{count:,} {what}"
        for count, what in (
            (chosen.same_pairs, "genuine pairs"),
            (chosen.different_pairs, "impostor pairs"),
            (chosen.probes, "photos of known products"),
            (chosen.strangers, f"photos of unknown products (gallery of {chosen.gallery or 0:,} products)"),
        )
        if count is not None
    ]
    render.emit(f"Counted over {', '.join(counted)}. Brackets are 95 % intervals.")
    print_verdicts(calibration)
    fitted = calibration.confidence
    if fitted:
        render.emit(
            f"Confidence fitted on {fitted.answers:,} answers; {percent(fitted.strangers)} of the photos show unknown "
            "products."
        )
    if report.replaced is not None:
        old = report.replaced
        on = f", chosen on {printable(old.measured_on)}" if old.measured_on else ""
        render.emit(f"Replaces threshold {old.threshold:.4f} for {spoken(old.chosen)}{on}.")
    if report.index:
        render.emit(f"The index {printable(report.index)} goes by it from now on.")
    if report.written:
        render.emit(
            f"Wrote {printable(report.bundle.path)}; its vectors are the same, so indexes of the model stay valid."
        )
    if report.bundle.path != report.model:
        render.emit(f"Use it with --model {printable(report.reference)}")

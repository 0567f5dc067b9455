"""`itemrec calibrate`: choose a model's threshold on your own photos."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import progress, render
from cli.evaluate import DataOption, GalleryOption, dataset_folder
from cli.evaluate_text import percent
from cli.options import IndexOption, JsonOption, ModelOption, QuietOption, index_location, rate, setting
from retrieval.errors import UsageError
from retrieval.system.text import printable

if TYPE_CHECKING:
    from retrieval.evaluation import CalibrationReport


def calibrate_command(
    split: Annotated[str, typer.Option("--split", help="Photos to choose on; never those you report on.")] = "val",
    data: DataOption = None,
    far: Annotated[
        str | None,
        typer.Option("--far", metavar="RATE", help="Pairs of different products to accept at most. Default: 1%"),
    ] = None,
    fpir: Annotated[
        str | None,
        typer.Option(
            "--fpir", metavar="RATE", help="Photos of strangers that may get a name at most, instead of --far."
        ),
    ] = None,
    gallery: GalleryOption = None,
    index: IndexOption = None,
    model: ModelOption = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="BUNDLE", help="Write a calibrated copy here and leave the model as it is."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Store the threshold even if the photos are too few to bear the claim.")
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Choose the threshold of a model on photos of yours, and fit how sure its answers are.

    The model's vectors do not change, so an index that it built stays valid. The built-in model is
    never changed: a calibrated copy is installed under a name of its own.

    \b
    Examples:
      itemrec calibrate --data ./data --far 1%
      itemrec calibrate --data ./data --fpir 5% --gallery index
      itemrec calibrate --data ./data --model ./bundle --out ./bundle-calibrated
    """
    render.configure(json=as_json, quiet=quiet)
    from retrieval.evaluation import calibrate_model

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


def _with_ends(rate: float | None, ends: tuple[float, float] | None) -> str:
    return percent(rate) + (f" [{percent(ends[0])}, {percent(ends[1])}]" if ends else "")


def _print(report: CalibrationReport) -> None:
    from retrieval.calibration.points import spoken

    calibration = report.calibration
    render.emit(f"Threshold {calibration.threshold:.4f} (squared L2) for {spoken(calibration.chosen)}.")
    render.emit(f"Chosen on {calibration.measured_on}.")
    render.table(
        ("", "operating point", "threshold", "VAL", "FAR", "not found (FNIR)", "strangers named (FPIR)"),
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
            (chosen.same_pairs, "pairs of the same product"),
            (chosen.different_pairs, "of different ones"),
            (chosen.probes, "photos of known products"),
            (chosen.strangers, f"of strangers to the other {chosen.gallery or 0:,} products"),
        )
        if count is not None
    ]
    render.emit(f"Counted over {', '.join(counted)}. Brackets are 95 % intervals.")
    fitted = calibration.confidence
    if fitted:
        render.emit(
            f"Confidence fitted on {fitted.answers:,} answers, {percent(fitted.strangers)} of the photos strangers."
        )
    render.emit(f"Wrote {printable(report.bundle.path)}; its vectors are the same, so indexes of the model stay valid.")
    if report.bundle.path != report.model:
        render.emit(f"Use it with --model {printable(report.reference)}")

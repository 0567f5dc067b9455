"""What `itemrec train` prints: what the model is worth on val, what its threshold does, what to do next."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from cli import render
from retrieval.system.text import printable

if TYPE_CHECKING:
    from trainer.report import Found, TrainReport


def print_report(report: TrainReport, dataset: Path, catalog: Path | None) -> None:
    """Write the summary to stdout.

    Args:
        report: of the training.
        dataset: that was trained on.
        catalog: whose pictures joined it, if any.
    """
    model = report.model
    bundle = model.bundle
    render.emit(
        f"Trained {printable(bundle.path)} on {report.pictures:,} pictures of {report.products:,} products in "
        f"{render.clock(report.seconds)}: {bundle.dimension}-d, {1000 * model.seconds_each:.1f} ms a picture, "
        f"{bundle.encoder_bytes / 1e6:.1f} MB."
    )
    models = [model, report.int8] if report.int8 is not None else [model]
    if model.top1 is not None:
        rows = [
            [
                m.bundle.name,
                _share(m.top1),
                f"{m.found:,} / {m.probes:,}",
                _share(m.val),
                _share(m.val_strict),
                f"{1000 * m.seconds_each:.1f} ms",
            ]
            for m in models
        ]
        headings = ["on val", "R@1", "photos", "VAL at FAR 1 %", "VAL at FAR 0.1 %", "a picture"]
        render.table(headings, rows, right=[1, 2, 3, 4, 5])
    for line in [*_beside(report), *_threshold(report)]:
        render.emit(line)
    if model.calibration is not None:
        from cli.verdict_text import print_verdicts
        from retrieval.calibration.galleries import spoken_kind
        from retrieval.recognition.expectations import shares

        for one in model.calibration.galleries:
            if one.expect:
                render.emit(f"A catalog of {spoken_kind(one.kind)}: of 100 photos expect {shares(one.expect)}.")
        print_verdicts(model.calibration)
    pictures = catalog or (dataset / "train" if (dataset / "train").is_dir() else dataset)
    command = shlex.join(["itemrec", "index", str(pictures), "--model", str(bundle.path)])
    render.emit(f"Next: {printable(command)}")
    if report.run is not None:
        render.say(f"Logs: tensorboard --logdir {printable(report.run)}")


def _beside(report: TrainReport) -> list[str]:
    """Whether the training paid: beside the built-in model, on the same photos."""
    both = report.model.beside
    if both is None or not both.known.asked:
        return []

    def counted(found: Found) -> str:
        return f"{found.first:,} of {found.asked:,}"

    lines = [f"Found first on val: {counted(both.known)} photos; by the built-in model {both.built_in_known.first:,}."]
    if both.new.asked:
        lines.append(
            f"Of products held out of training: {counted(both.new)}; by the built-in model {both.built_in_new.first:,}."
        )
    if not both.better:
        lines.append("It is no better than the built-in model: keep that one, or train on more photos.")
    return lines


def warn_of(report: TrainReport) -> None:
    """Say on stderr what val could not tell: of the threshold in use every sentence, of the rest how many."""
    pressing = report.model.pressing
    for sentence in pressing:
        render.warn(printable(sentence))
    if rest := len(report.model.warnings) - len(pressing):
        render.say(
            f"The model's card says what {'else ' if pressing else ''}so few photos cannot tell ({rest} points)."
        )


def _threshold(report: TrainReport) -> list[str]:
    """What queries will use, and what it does to photos of catalog products and of others."""
    from retrieval.calibration.points import spoken

    point = report.model.operating_point
    if point is None:
        return []
    lines = [f"Threshold {point.threshold:.3f} (squared L2): {spoken(point.name)}, chosen on val."]
    if point.fnir is not None and point.fpir is not None:
        kind = (
            "held-out products, which no training saw,"
            if report.held_out
            else "leave-one-out unknowns, which training saw,"
        )
        lines.append(
            f"Against the pictures of train it identifies {_counted(1 - point.fnir, point.probes)} photos of products "
            "in the gallery, and matches "
            f"{_counted(point.fpir, point.strangers)} photos of {kind} with a product."
        )
    if not report.held_out:
        lines.append("Products that no training saw are matched more often; --hold-out 0.2 measures how often.")
    return lines


def _counted(rate: float, photos: int | None) -> str:
    """``5 of 6``, or of a hundred where there are as many; of a hundred, too, where nobody recorded how many."""
    from retrieval.evaluation.summary import of_hundred

    whole = photos if photos is not None else 100
    return of_hundred({"rate": rate, "part": round(rate * whole), "whole": whole, "ci": None})


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"

"""`itemrec evaluate`: how well photos are recognized, with intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli import render
from cli.options import (
    DataOption,
    GalleryOption,
    IndexOption,
    JsonOption,
    ModelOption,
    QuietOption,
    VerifyOption,
    dataset_folder,
    index_location,
    rate,
    setting,
)
from retrieval.errors import UsageError
from retrieval.system.text import printable


def evaluate_command(
    split: Annotated[str, typer.Option("--split", help="The split to measure: train, val or test.")] = "test",
    data: DataOption = None,
    gallery: GalleryOption = None,
    index: IndexOption = None,
    model: ModelOption = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            metavar="D",
            min=0.0,
            max=4.0,
            help="Squared L2 distance up to which products match. Default: the model's calibration.",
        ),
    ] = None,
    calibrate_on: Annotated[
        str | None,
        typer.Option(
            "--calibrate-on", metavar="SPLIT", help="Choose the thresholds on this split instead of taking the model's."
        ),
    ] = None,
    far: Annotated[
        list[str] | None,
        typer.Option(
            "--far",
            metavar="RATE",
            help="FAR to report at, such as 1%; may be repeated. With --calibrate-on the first is the"
            " threshold in use. Default: 1%, 10%, 0.1%",
        ),
    ] = None,
    category: Annotated[
        str | None,
        typer.Option(
            "--category", metavar="COLUMN", help="Metadata column to report accuracy by. Default: category, if any"
        ),
    ] = None,
    views: Annotated[
        int,
        typer.Option(
            "--views", metavar="N", min=1, max=10, help="Also measure up to N photos of one item together. Default: 1"
        ),
    ] = 1,
    require: Annotated[
        list[str] | None,
        typer.Option(
            "--require", metavar="EXPR", help="Exit 1 unless this holds, such as 'val@far=0.01>=0.8'; may be repeated."
        ),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(
            "--compare",
            metavar="FILE",
            help="Compare with an earlier evaluation of the same photos, its --out or --json file.",
        ),
    ] = None,
    verify: VerifyOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Also write the JSON document here.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write an HTML report with plots and pictures.")
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Measure a model on photos it was not trained on: verification, identification, rejection, confidence.

    Verification is the validation rate (VAL) and the false acceptance rate (FAR) over all pairs of
    photos; identification the right product first or among the first five; rejection the false-positive
    identification rate (FPIR), the share of photos of unknown products that get a match. Photos that the
    gallery also holds are excluded. Thresholds come from the model's calibration or another split; one
    chosen on the very photos measured is marked. Every rate has its counts and a 95 % interval. Exit
    code 1 when a --require does not hold.

    \b
    Examples:
      itemrec evaluate --data ./data                       the test split against the index
      itemrec evaluate --data ./data --gallery train --calibrate-on val
      itemrec evaluate --data ./data --html report.html
      itemrec evaluate --data ./inbox                      the labeled photos that were held out
      itemrec evaluate --data ./data --views 3
      itemrec evaluate --data ./data --require "top5>=0.95" --require "fpir<=0.05"
      itemrec evaluate --data ./data --out new.json --compare old.json
    """
    render.configure(json=as_json, quiet=quiet)
    from cli import progress
    from cli.evaluate_text import print_comparison, print_document, say_checked
    from retrieval.evaluation.run import evaluate_dataset
    from retrieval.inbox.labeled_photos import as_dataset

    for file in (out, html):
        if file is not None and not file.absolute().parent.is_dir():
            # Refused before the work, not after it.
            raise UsageError(
                f"There is no directory {printable(file.absolute().parent)} to write {printable(file.name)} in",
                hint="Make it first, or name a file elsewhere.",
            )
    given = dataset_folder(data)
    with as_dataset(given, split) as folder:
        with progress.shown() as view:
            report = evaluate_dataset(
                folder,
                split=split,
                gallery=gallery,
                index=index_location(index),
                model=setting("model", model),
                threshold=threshold if calibrate_on else setting("threshold", threshold),
                calibrate_on=calibrate_on,
                far=[rate("--far", text) for text in far or []],
                category=category,
                views=views,
                verify=setting("verify", verify),
                require=require or [],
                compare=compare,
                progress=view,
            )
        if html:
            from retrieval.report.evaluation import write_report

            write_report(html, report.document)
            render.say(f"Wrote {printable(str(html))}")
    if folder != given:
        report.document["data"] |= {"root": str(given), "folder": str(given)}  # what it was written into is gone
    if out:
        report.save(out)
        render.say(f"Wrote {printable(str(out))}")
    if as_json:
        render.emit_json(report.to_json())
    else:
        print_document(report.document)
        if report.comparison:
            print_comparison(report.comparison, str(compare))
    for requirement in report.checked:
        say_checked(requirement)
    return 0 if report.passed else 1

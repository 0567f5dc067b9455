"""`itemrec audit`: problems of a catalog, before users find them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import render
from cli.options import (
    AllowPrivateOption,
    IdColumnOption,
    ImageColumnOption,
    IndexOption,
    JsonOption,
    ModelOption,
    NameColumnOption,
    ProductLevelOption,
    QuietOption,
    SplitNamesOption,
    index_location,
    setting,
)
from retrieval.errors import UsageError
from retrieval.system.text import plural, printable

if TYPE_CHECKING:
    from retrieval.audit import AuditReport

_SHOWN = 10


def audit_command(
    catalog: Annotated[
        Path,
        typer.Argument(help="Folder of product folders, a table of products and their pictures, or a folder with one."),
    ],
    index: IndexOption = None,
    model: ModelOption = None,
    product_level: ProductLevelOption = None,
    id_column: IdColumnOption = None,
    image_column: ImageColumnOption = None,
    name_column: NameColumnOption = None,
    split_names: SplitNamesOption = None,
    allow_private: AllowPrivateOption = False,
    min_views: Annotated[
        int, typer.Option("--min-views", metavar="N", min=1, help="Report products with fewer readable pictures.")
    ] = 2,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            metavar="D",
            min=0.0,
            max=4.0,
            help="Squared L2 distance up to which pictures match. Default: the model's calibration,"
            " else FAR 1 % on this catalog.",
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write an HTML report with the pictures side by side.")
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            "--top", metavar="N", min=1, help="Findings of each kind to show. Default: 10; in the HTML report 24."
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option("--threads", metavar="N", min=1, max=256, help="Worker threads. Default: one per core."),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Check a catalog: broken, blank, tiny, duplicate and mislabeled pictures, and products
    with too few pictures or that cannot be told apart.

    Nothing is changed. Every kind of finding is ranked, the clearest case first. Exit code 1
    when there is an error or a warning, 0 when there are notes at most.

    \b
    Examples:
      itemrec audit ./catalog
      itemrec audit ./catalog --html audit.html      with the pictures side by side
      itemrec audit ./catalog --min-views 5 --json
    """
    render.configure(json=as_json, quiet=quiet)
    from cli import progress
    from retrieval.audit import audit_catalog
    from retrieval.catalog.columns import Reading

    reading = Reading(id_column, image_column, name_column, split_names, allow_private)
    if html is not None and not html.absolute().parent.is_dir():
        # Refused before the work, not after it.
        raise UsageError(
            f"There is no directory {printable(html.absolute().parent)} to write {printable(html.name)} in",
            hint="Make it first, or name a file elsewhere.",
        )
    with progress.shown() as view:
        report = audit_catalog(
            catalog,
            setting("model", model),
            index=index_location(index),
            threshold=setting("threshold", threshold),
            min_views=min_views,
            product_level=product_level,
            reading=reading,
            threads=threads,
            progress=view,
        )
    if html is not None:
        from retrieval.report.audit_page import SHOWN_FINDINGS, write_audit

        write_audit(html, report, shown=top or SHOWN_FINDINGS)
        render.say(f"Wrote {printable(str(html))}")
    if as_json:
        render.emit_json(report.to_json())
    else:
        _print(report, top or _SHOWN)
    return 0 if report.clean else 1


_SAID = {"error": "error", "warning": "warning", "info": "note"}


def _print(report: AuditReport, shown: int) -> None:
    from retrieval.audit import KINDS, advice

    for kind, found in report.by_kind().items():
        render.emit(f"{KINDS[kind].title}: {len(found):,}")
        render.table(["", "finding"], [[_SAID[f.severity], f.message] for f in found[:shown]])
        if len(found) > shown:
            render.emit(f"… and {len(found) - shown:,} more; --top N shows more, --json all")
        render.emit(f"-> {advice(kind, found)}")
        render.emit()
    for note in report.notes:
        render.say(printable(note))
    counts = report.counts()
    words = (
        plural(counts["error"], "error"),
        plural(counts["warning"], "warning"),
        plural(counts["info"], "note"),
    )
    held = f"{plural(report.pictures, 'picture')} of {plural(report.products, 'product')}"
    render.emit(f"{held} in {report.seconds:.1f} s: {', '.join(words)}.")
    if report.clean:
        render.emit("No errors, no warnings.")

"""`itemrec index`: make a catalog findable."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import render
from cli.layout import (
    BulkOption,
    ExpectOption,
    NodesOption,
    OnDiskOption,
    QuantizedOption,
    ReplicasOption,
    ShardsOption,
    WriteConsistencyOption,
    print_layout,
)
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
from retrieval.system.text import plural, printable

if TYPE_CHECKING:
    from retrieval.indexing.report import IndexReport

_SHOWN_REFUSALS = 20


def index_command(
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
    prune: Annotated[bool, typer.Option("--prune", help="Remove pictures that left the catalog.")] = False,
    keep_moved: Annotated[
        bool,
        typer.Option("--keep-moved", help="Leave pictures whose file the catalog has under another product or path."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan; embed and write nothing.")] = False,
    rebuild: Annotated[
        bool,
        typer.Option("--rebuild", help="Start from the catalog alone: for another model, or a damaged index."),
    ] = False,
    require: Annotated[
        list[str] | None,
        typer.Option(
            "--require", metavar="EXPR", help="Go live only if this holds: 'top1>=0.8'; may be repeated; needs --data."
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="The dataset whose photos --require measures.")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Which of its photos: train, val or test.")] = "val",
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            metavar="N/COUNT",
            help="Be the N-th of COUNT workers that fill one index on a server.",
        ),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", help="Print the layout of the collection on a server, with estimates; index nothing."
        ),
    ] = False,
    expect: ExpectOption = None,
    nodes: NodesOption = None,
    shards: ShardsOption = None,
    replicas: ReplicasOption = None,
    write_consistency: WriteConsistencyOption = None,
    on_disk: OnDiskOption = None,
    quantized: QuantizedOption = None,
    bulk: BulkOption = None,
    verify: Annotated[
        bool | None,
        typer.Option(
            "--verify/--no-verify",
            help="Also make keypoints, with which close calls are looked at closer (extra: verify)."
            " Default: where the index has some.",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option("--threads", metavar="N", min=1, max=256, help="Worker threads. Default: one per core."),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Index a catalog: one point per picture, with the product's metadata.

    Run it again whenever the catalog changed: only new and changed pictures are embedded,
    changed metadata are updated in place. Interrupted at any moment, the same command
    continues where it stopped, and queries keep seeing the last complete state meanwhile.
    Before the new state goes live its count is compared with the catalog's and sampled pictures
    must find themselves; with --require it must also hold what you ask of it on photos of your
    own (exit 1 if not). What was live before is kept for itemrec rollback.

    \b
    Examples:
      itemrec index ./catalog                      catalog/<product_id>/*.jpg, optional products.csv
      itemrec index ./products.csv                 a table, or an export of Shopify, WooCommerce, Google Merchant
      itemrec index ./catalog --prune              also remove what left the catalog
      itemrec index ./catalog --dry-run            what would happen
      itemrec index ./catalog --verify             close calls are looked at closer from now on
      itemrec index ./catalog --model ./bundle --rebuild
      itemrec index ./catalog --rebuild --data ./data --require "top1>=0.8"
      itemrec index ./catalog --index http://qdrant:6333/shop --shard 3/8
      itemrec index ./catalog --explain --expect 100000000 --nodes 6
    """
    render.configure(json=as_json, quiet=quiet)
    from cli import progress
    from cli.evaluate_text import say_checked
    from retrieval.catalog.columns import Reading
    from retrieval.index.sharding import Shard
    from retrieval.indexing.run import index as index_catalog
    from retrieval.indexing.run import plan_layout

    gate = None
    reading = Reading(id_column, image_column, name_column, split_names, allow_private)
    if require:
        # Evaluation costs a plain run nothing.
        from retrieval.evaluation.gate import Gate

        gate = Gate.of(require, setting("data", data), split, threshold=setting("threshold", None))
    part = Shard.parse(shard) if shard else None
    place, chosen = index_location(index), setting("model", model)
    layout = {
        "shards": shards,
        "replicas": replicas,
        "write_consistency": write_consistency,
        "on_disk": on_disk,
        "quantized": quantized,
        "bulk": bulk,
    }
    if explain:
        plan = plan_layout(
            catalog,
            place,
            model=chosen,
            expect=expect,
            nodes=nodes,
            layout=layout,
            product_level=product_level,
            reading=reading,
        )
        return print_layout(plan, place, layout, as_json=as_json)
    try:
        with progress.shown() as view:
            report = index_catalog(
                catalog,
                place,
                model=chosen,
                prune=prune,
                keep_moved=keep_moved,
                rebuild=rebuild,
                dry_run=dry_run,
                check=(lambda bundle: gate.check(bundle, found=say_checked, progress=view)) if gate else None,
                shard=part,
                expect=expect,
                nodes=nodes,
                layout=layout,
                threads=threads,
                product_level=product_level,
                reading=reading,
                progress=view,
                notify=render.say,
                verify=setting("verify", verify),
            )
    except KeyboardInterrupt:
        render.say("Interrupted. What was indexed is safe: run the same command to continue.")
        return 130
    if as_json:
        render.emit_json(report.to_json())
        return 0
    _print(report, catalog)
    if not report.dry_run and not report.waiting:
        _expect(place, chosen)
    return 0


def _expect(place: str, model: str | None) -> None:
    """What the catalog that was indexed can be expected to do with this model."""
    from retrieval.index.open import open_index
    from retrieval.models.installed import resolve_model
    from retrieval.recognition.expectations import expectations, operating_point
    from retrieval.recognition.recognizer import calibration_in_force

    manifest = open_index(place).manifest()
    if manifest is None:
        return
    bundle = resolve_model(model, index_model=manifest.model)
    found = calibration_in_force(bundle, manifest)
    for line in expectations(bundle, manifest, found):
        render.say(printable(line))
    if found is not None:
        render.say(f"In force: {printable(operating_point(found.calibration, own=manifest.calibration is not None))}.")


def _print(report: IndexReport, catalog: Path) -> None:
    from retrieval.catalog.objects import shown_source

    if report.dry_run:
        for action, image in report.planned:
            render.emit(f"{action:9} {printable(image)}")
    verb = "Would index" if report.dry_run else "Indexed"
    counts = [
        f"{report.added:,} added",
        f"{report.updated:,} updated",
        f"{report.unchanged:,} unchanged",
        f"{report.removed:,} removed",
        f"{len(report.refused):,} refused",
    ]
    # The summary of a dry run is talk: its data are the lines of the plan.
    out = render.say if report.dry_run else render.emit
    made = f"{shown_source(catalog)} into {printable(report.index)} with model {report.model}"
    out(f"{verb} {made}: {', '.join(counts)}.")
    if not report.dry_run:
        done = report.added + report.replaced
        rate = f" ({done / report.seconds:,.0f} images/s)" if done and report.seconds > 0 else ""
        held = f"{plural(report.images, 'image')} of {plural(report.products, 'product')}"
        out(f"{held} in {report.seconds:.1f} s{rate}.")
    if report.keypoints is not None:
        looked, unread, forgotten = report.keypoints
        lost = f", {unread:,} not readable" if unread else ""
        gone = f", {forgotten:,} forgotten" if forgotten else ""
        render.say(f"Keypoints of {plural(looked, 'picture')} made{lost}{gone}.")
    for note in report.notes:
        render.say(printable(note))
    join = report.join
    if join.rows or join.folders:
        sides = f"{plural(len(join.rows), 'row')} without a folder, {plural(len(join.folders), 'folder')} without a row"
        render.say(f"Table and folders: {sides}.")
    for row, folder in join.pairs[:_SHOWN_REFUSALS]:
        render.say(f"  probably one product: row {row!a}, folder {folder!a}")
    if report.waiting:
        render.say(f"Shard {report.shard} is done; the index goes live when {report.waiting} more are.")
    if report.resumed:
        render.say("Continued an interrupted run.")
    if report.moved:
        old, new = (printable(path) for path in sorted(report.moved.values())[0])
        moved = f"{plural(len(report.moved), 'picture')} moved ({old} is now {new})"
        where = "removed where they were" if report.removed else "kept where they were, too"
        render.say(f"{moved}; {where}.")
    if report.departed:
        render.say(f"Indexed, but no longer in the catalog: {report.departed:,}; --prune removes what left.")
    if report.products_without_pictures:
        names = ", ".join(printable(p) for p in report.products_without_pictures[:5])
        more = len(report.products_without_pictures) - 5
        render.say(
            f"Products without a picture: {len(report.products_without_pictures):,} ({names}"
            + (f" and {more:,} more)" if more > 0 else ")")
        )
    if report.refused:
        render.say("Refused:")
        for refusal in report.refused[:_SHOWN_REFUSALS]:
            render.say(f"  {printable(refusal.path)}: {printable(refusal.reason)}")
        if len(report.refused) > _SHOWN_REFUSALS:
            render.say(f"  and {len(report.refused) - _SHOWN_REFUSALS:,} more; --json lists them all")

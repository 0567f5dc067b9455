"""`itemrec prepare`: raw product pictures to a dataset for training and evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import render
from cli.options import (
    AllowPrivateOption,
    IdColumnOption,
    ImageColumnOption,
    JsonOption,
    NameColumnOption,
    ProductLevelOption,
    QuietOption,
    SplitNamesOption,
)
from retrieval.errors import UsageError
from retrieval.system.text import printable

if TYPE_CHECKING:
    from trainer.prepare import PrepareReport

_SHOWN = 10


def prepare_command(
    raw: Annotated[
        Path,
        typer.Argument(
            metavar="RAW",
            help="Folder of product folders, a table of products and their pictures, or a folder with one.",
        ),
    ],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder of the dataset; created if missing, else brought up to date.")
    ],
    product_level: ProductLevelOption = None,
    id_column: IdColumnOption = None,
    image_column: ImageColumnOption = None,
    name_column: NameColumnOption = None,
    split_names: SplitNamesOption = None,
    allow_private: AllowPrivateOption = False,
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            metavar="image|product",
            help="image splits the pictures of every product; product splits the products, so that val and test hold "
            "products that training never sees. Default: image",
        ),
    ] = None,
    ratios: Annotated[
        str | None,
        typer.Option("--ratios", metavar="TRAIN:VAL:TEST", help="Relative sizes of the splits. Default: 8:1:1"),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Random seed of the split.")] = 0,
    max_side: Annotated[
        int, typer.Option("--max-side", min=32, max=65_500, help="Shrink pictures to this longer side in pixels.")
    ] = 1024,
    near_bits: Annotated[
        int,
        typer.Option(
            "--near-bits",
            min=0,
            max=16,
            help="Treat pictures as near-duplicates whose 64-bit hashes differ in at most N bits.",
        ),
    ] = 6,
    keep_conflicts: Annotated[
        bool, typer.Option("--keep-conflicts", help="Keep pictures that several products have.")
    ] = False,
    keep_splits: Annotated[
        bool,
        typer.Option(
            "--keep-splits", help="RAW is split into train/, val/ and test/ already: keep that, and find leaks."
        ),
    ] = False,
    min_views: Annotated[
        int, typer.Option("--min-views", min=1, help="Report products with fewer pictures; a batch has 4 of each.")
    ] = 4,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan; write nothing.")] = False,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, max=256, help="Worker threads. Default: one per core.")
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Make a dataset of raw product pictures: OUT/train|val|test/<product_id>/*.jpg and a manifest.

    Unreadable files are dropped with a reason. Pictures become upright RGB JPEGs without
    metadata. Of pictures that repeat each other within a product the best is kept; a picture
    under several products is dropped and reported. What repeats never lies in two splits.
    Run it again after RAW changed: only what changed is written, and pictures stay in their
    splits. Interrupted at any moment, the same command continues.

    \b
    Examples:
      itemrec prepare ./raw ./data
      itemrec prepare ./raw ./data --by product           test on products never trained on
      itemrec prepare ./raw ./data --ratios 7:1:2 --seed 3
      itemrec prepare ./divided ./data --keep-splits      has train/, val/ and test/ already
      itemrec prepare ./raw ./data --dry-run              what would happen
    """
    render.configure(json=as_json, quiet=quiet)
    from cli import progress
    from retrieval.catalog.columns import Reading
    from trainer.prepare import Options, Ratios, prepare

    if keep_splits and (by or ratios):
        raise UsageError(
            f"expected either --keep-splits or {'--by' if by else '--ratios'}, received both",
            hint="A source that is divided already is not divided again.",
        )
    reading = Reading(id_column, image_column, name_column, split_names, allow_private)
    options = Options(
        by=_by(by or "image"),
        ratios=Ratios.parse(ratios or "8:1:1"),
        seed=seed,
        max_side=max_side,
        near_bits=near_bits,
        keep_conflicts=keep_conflicts,
        keep_splits=keep_splits,
        min_views=min_views,
    )
    try:
        with progress.shown() as view:
            report = prepare(
                raw,
                out,
                options,
                product_level=product_level,
                reading=reading,
                dry_run=dry_run,
                threads=threads,
                progress=view,
            )
    except KeyboardInterrupt:
        render.say("Interrupted. What was done is kept: run the same command to continue.")
        return 130
    if as_json:
        render.emit_json(report.to_json())
    else:
        _print(report, raw)
    return 0


def _by(text: str) -> Any:
    if text not in ("image", "product"):
        raise UsageError(
            f"expected --by image or --by product, received {text!r}",
            hint="image divides every product's pictures, product divides the products.",
        )
    return text


def _print(report: PrepareReport, raw: Path) -> None:
    from retrieval.catalog.objects import shown_source

    source, out, counts = shown_source(raw), printable(report.dataset), report.manifest["counts"]
    if report.dry_run:
        for action, path in report.planned():
            render.emit(f"{action:8} {printable(path)}")
    if report.resumed:
        render.say("Continued an interrupted run.")
    for note in report.notes:
        render.say(printable(note))
    _left_alone(report.changes.left)
    if report.up_to_date:
        _left_out_before(counts, out)
        render.emit(f"{out} is up to date with {source}: nothing to do.")
    else:
        _findings(report.manifest)
    if not report.dry_run:
        _splits(counts)
    if report.up_to_date:
        return
    changes = report.changes
    done = (
        (len(changes.added), "added"),
        (len(changes.moved), "moved"),
        (len(changes.replaced), "replaced"),
        (len(changes.removed), "removed"),
        (len(changes.kept), "unchanged"),
    )
    what = ", ".join(f"{number:,} {word}" for number, word in done if number)
    if report.dry_run:
        # Talk: the data of a dry run are the lines of the plan.
        sizes = ", ".join(f"{counts['splits'][split]['images']:,} {split}" for split in counts["splits"])
        render.say(f"Would prepare {source} into {out}: {sizes}; files: {what or 'none'}.")
        return
    rate = f" ({report.read / report.seconds:,.0f} images/s)" if report.seconds > 0 else ""
    render.emit(f"Prepared {source} into {out} in {report.seconds:.1f} s{rate}. Files: {what or 'none'}.")


def _splits(counts: dict[str, Any]) -> None:
    rows = [
        (split, f"{n['images']:,}", f"{n['products']:,}", f"{n['images'] / max(1, counts['images']):.1%}")
        for split, n in counts["splits"].items()
    ]
    total = ("total", f"{counts['images']:,}", f"{counts['products']:,}", "")
    render.table(("split", "pictures", "products", "share"), [*rows, total], right=(1, 2, 3))


def _findings(manifest: dict[str, Any]) -> None:
    """What a person may want to look at, on stderr."""
    options = manifest["options"]
    if dropped := manifest["dropped"]:
        render.say(f"Dropped {_count(len(dropped), 'file')} that cannot be used:")
        _listed(f"{d['path']}: {d['reason']}" for d in dropped)
    leaks = [d for d in manifest["duplicates"] if d["leak"]]
    if leaks:
        render.say(f"Leaks: {_count(len(leaks), 'picture')} repeated in another split; only the held-out one is kept:")
        _listed(map(_repeats, leaks))
    if others := [d for d in manifest["duplicates"] if not d["leak"]]:
        render.say(f"Left out {_count(len(others), 'duplicate')}; the best of each is kept:")
        _listed(map(_repeats, others))
    if conflicts := manifest["conflicts"]:
        kept = options["keep_conflicts"]
        verb = "kept under each" if kept else "left out, since at most one label is right (--keep-conflicts keeps them)"
        render.say(f"Conflicts: {_count(len(conflicts), 'picture')} under several products, {verb}:")
        _listed(f"{' = '.join(p['source'] for p in c['pictures'])} ({_how(c)})" for c in conflicts)
    if alike := manifest["look_alikes"]:
        render.say(f"Look-alikes: {_count(len(alike), 'pair')} under two products, nearly the same, no copies; kept:")
        _listed(f"{' ~ '.join(p['source'] for p in a['pictures'])} ({_count(a['bits'], 'bit')})" for a in alike)
    if lost := manifest["lost_products"]:
        render.say(f"Without a picture in the dataset: {_count(len(lost), 'product')}:")
        _listed(lost)
    if few := manifest["few_views"]:
        render.say(f"Too few views: {_count(len(few), 'product')} with fewer than {options['min_views']} pictures:")
        _listed(f"{f['product']}: {f['images']}" for f in few)
    if single := manifest["single_view"]:
        render.say(f"With a single picture, which is in train: {_count(len(single), 'product')}.")
    empty = [s for s, n in manifest["counts"]["splits"].items() if not n["images"] and _wanted(s, options)]
    if empty:
        held_out = "" if options["by"] == "product" else "; --by product holds whole products out"
        render.warn(f"{' and '.join(empty)} got no picture: too few for ratios {options['ratios']}{held_out}")


def _left_out_before(counts: dict[str, Any], out: str) -> None:
    kinds = [("dropped", "unusable file"), ("duplicates", "duplicate"), ("conflicts", "conflict")]
    if left_out := ", ".join(_count(counts[key], word) for key, word in kinds if counts[key]):
        render.say(f"Left out as before: {left_out}; {out}/manifest.json lists them.")


def _left_alone(paths: Sequence[str]) -> None:
    if paths:
        render.say(f"Not removed, since changed by somebody: {_count(len(paths), 'file')} that no longer belong:")
        _listed(paths)


def _wanted(split: str, options: dict[str, Any]) -> bool:
    from trainer.prepare import Ratios

    return not options["keep_splits"] and bool(Ratios.parse(options["ratios"]).shares[split])


def _repeats(duplicate: dict[str, Any]) -> str:
    kept = duplicate["kept"].removeprefix(f"{duplicate['product']}/")
    return f"{duplicate['source']} = {kept} ({_how(duplicate)})"


def _how(found: dict[str, Any]) -> str:
    if found["kind"] == "near":
        return f"nearly, {_count(found['bits'], 'bit')}"
    return "the same file" if found["kind"] == "same-file" else "the same pixels"


def _listed(lines: Iterable[str]) -> None:
    every = list(lines)
    for line in every[:_SHOWN]:
        render.say(f"  {printable(line)}")
    if len(every) > _SHOWN:
        render.say(f"  and {len(every) - _SHOWN:,} more; --json lists them all")


def _count(n: int, word: str) -> str:
    return f"{n:,} {word}{'' if n == 1 else 's'}"

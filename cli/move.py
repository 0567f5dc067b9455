"""`itemrec copy`, `snapshot` and `restore`: an index from place to place, into a file, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import render
from cli.options import IndexOption, JsonOption, QuietOption, index_location
from retrieval.errors import UsageError
from retrieval.system.text import printable

if TYPE_CHECKING:
    from retrieval.index.transfer import Source, Transferred


def copy_command(
    source: Annotated[
        str | None, typer.Option("--from", metavar="PATH_OR_URL", help="The index to copy. Default: the one in use.")
    ] = None,
    target: Annotated[str, typer.Option("--to", metavar="PATH_OR_URL", help="Where to.")] = "",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Copy an index: vectors and metadata, nothing is embedded again.

    The copy becomes a new generation of the target and goes live when it holds the same number of
    pictures with the same checksum. Interrupted, the same command continues.

    \b
    Examples:
      itemrec copy --from .itemrec --to http://qdrant:6333/shop
      itemrec copy --from http://qdrant:6333/shop --to ./shop-index
    """
    render.configure(json=as_json, quiet=quiet)
    from retrieval.index.open import open_index
    from retrieval.index.transfer import FromIndex

    if not target:
        raise UsageError("expected --to, received none", hint="itemrec copy --from .itemrec --to http://HOST:6333/NAME")
    origin = index_location(source)
    if _same(origin, target):
        raise UsageError(f"expected two different indexes, received {origin} twice")
    return _into(FromIndex(open_index(origin, notify=render.say)), origin, target, "copy", as_json=as_json)


def snapshot_command(
    file: Annotated[Path, typer.Argument(help="The file to write, such as shop.itemrec.")],
    index: IndexOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Save an index in one file, of any engine for any engine; queries are answered meanwhile.

    \b
    Examples:
      itemrec snapshot shop.itemrec
      itemrec snapshot shop.itemrec --index http://qdrant:6333/shop
    """
    render.configure(json=as_json, quiet=quiet)
    from cli import progress
    from retrieval.index.open import open_index
    from retrieval.index.transfer import FromIndex, snapshot

    location = index_location(index)
    if not file.absolute().parent.is_dir() or file.is_dir():
        raise UsageError(f"expected a file in a directory that exists, received {file}", hint="Make it first.")
    target = open_index(location, notify=render.say)
    with progress.shown() as view:
        done = snapshot(FromIndex(target), file, progress=view)
    return _tell(done, "snapshot", location, str(file), as_json=as_json)


def restore_command(
    file: Annotated[Path, typer.Argument(help="What itemrec snapshot wrote.")],
    index: IndexOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Make a saved index live, as a new generation; what was live is kept for itemrec rollback.

    \b
    Examples:
      itemrec restore shop.itemrec
      itemrec restore shop.itemrec --index http://qdrant:6333/shop
    """
    render.configure(json=as_json, quiet=quiet)
    from retrieval.index.snapshot import FromSnapshot

    return _into(FromSnapshot(file), str(file), index_location(index), "restore", as_json=as_json)


def _into(source: Source, origin: str, location: str, name: str, *, as_json: bool) -> int:
    from retrieval.index.open import open_index
    from retrieval.index.transfer import copy

    with source.open() as (manifest, _):
        expected = manifest.images
    target = open_index(location, notify=render.say, expected=expected)
    from cli import progress

    with progress.shown() as view:
        done = copy(source, target, progress=view)
    return _tell(done, name, origin, location, as_json=as_json)


def _tell(done: Transferred, name: str, origin: str, target: str, *, as_json: bool) -> int:
    if as_json:
        render.emit_json(done.to_json(f"itemrec.{name}/1", origin, target))
        return 0
    verb = {"copy": "Copied", "snapshot": "Saved", "restore": "Restored"}[name]
    live = f" as generation {done.generation}" if done.generation else ""
    render.emit(
        printable(
            f"{verb} {origin} to {target}{live}: {done.images:,} images, model {done.model}, "
            f"checksum {done.checksum[:12]}, read back and equal."
        )
    )
    if done.written < done.images:
        render.say(f"{done.images - done.written:,} of them were there from an interrupted run.")
    return 0


def _same(origin: str, target: str) -> bool:
    if "://" in origin or "://" in target:
        # Of several addresses of a cluster each is the same index.
        places = [{url.strip().rstrip("/") for url in place.split(",")} for place in (origin, target)]
        return not places[0].isdisjoint(places[1])
    return Path(origin).resolve() == Path(target).resolve()

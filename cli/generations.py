"""`itemrec generations`, `rollback` and `gc`: what went live, going back, and letting go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cli import render
from cli.options import IndexOption, JsonOption, QuietOption, index_location

if TYPE_CHECKING:
    from retrieval.index.manifest import Generation, Manifest


def generations_command(index: IndexOption = None, as_json: JsonOption = False, quiet: QuietOption = False) -> int:
    """List the generations of an index: the live one, those kept to go back to, and builds under way.

    \b
    Examples:
      itemrec generations
      itemrec generations --index ./shop --json
    """
    render.configure(json=as_json, quiet=quiet)
    from retrieval.index.open import open_index

    target = open_index(index_location(index))
    found = target.generations()
    if not found:
        with target.reader():
            pass
    if as_json:
        render.emit_json(_document(target.location, found))
        return 0
    render.table(
        ("generation", "state", "model", "images", "products", "committed", "size"),
        [
            (
                str(g.number),
                g.state,
                f"{g.model.name} ({g.model.fingerprint[:12]})",
                "" if g.images is None else f"{g.images:,}",
                "" if g.products is None else f"{g.products:,}",
                (g.created or "")[:19].replace("T", " "),
                "" if g.size is None else f"{g.size / 1e6:,.1f} MB",
            )
            for g in found
        ],
        right=(0, 3, 4, 6),
    )
    return 0


def rollback_command(
    to: Annotated[
        int | None, typer.Option("--to", metavar="N", help="The generation. Default: the newest before the live one.")
    ] = None,
    index: IndexOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Make a kept generation live again, in one switch; what is live now is kept.

    The generation is checked first: its count, and that sampled pictures find themselves. Queries
    are answered throughout. Without --model they use the model that built the live generation.

    \b
    Examples:
      itemrec rollback
      itemrec rollback --to 7
    """
    render.configure(json=as_json, quiet=quiet)
    from retrieval.index.open import open_index

    target = open_index(index_location(index), notify=render.say)
    manifest = target.rollback(to)
    _warn_without_model(manifest)
    if as_json:
        render.emit_json(_document(target.location, target.generations()))
    else:
        render.emit(
            f"Generation {manifest.generation} is live: {manifest.images:,} images of {manifest.products:,} products, "
            f"model {manifest.model.name} ({manifest.model.fingerprint[:12]})."
        )
    return 0


def gc_command(
    keep: Annotated[
        int, typer.Option("--keep", metavar="N", min=0, help="How many kept generations to spare, newest first.")
    ] = 0,
    index: IndexOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Remove generations that are kept to go back to, and builds that were not finished.

    \b
    Examples:
      itemrec gc
      itemrec gc --keep 1
    """
    render.configure(json=as_json, quiet=quiet)
    from retrieval.index.open import open_index

    target = open_index(index_location(index), notify=render.say)
    removed = target.collect(keep=keep)
    if as_json:
        render.emit_json(_document(target.location, removed, schema="itemrec.gc/1"))
        return 0
    freed = sum(g.size or 0 for g in removed)
    names = ", ".join(f"{g.number}{' (unfinished)' if g.state == 'building' else ''}" for g in removed)
    render.emit(
        f"Removed {len(removed)} generation{'s' if len(removed) != 1 else ''}"
        + (f": {names}; {freed / 1e6:,.1f} MB free again." if removed else ": nothing but the live one is there.")
    )
    return 0


def _warn_without_model(manifest: Manifest) -> None:
    """Queries need the model of what is live now; say so before one fails."""
    from retrieval.errors import ItemrecError
    from retrieval.models.installed import resolve_model

    try:
        resolve_model(None, index_model=manifest.model)
    except ItemrecError as error:
        render.warn(f"queries need the model {manifest.model.name}, which is not where it was: {error.message}")


def _document(
    location: str, generations: list[Generation], *, schema: str = "itemrec.generations/1"
) -> dict[str, object]:
    return {"schema": schema, "index": location, "generations": [g.to_json() for g in generations]}

"""`itemrec refuse`: pictures of what is not ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import render
from cli.options import IndexOption, JsonOption, ModelOption, QuietOption, index_location, setting
from retrieval.errors import ImageError
from retrieval.system.text import plural, printable

if TYPE_CHECKING:
    from retrieval.index.refusals import RefusalPicture, RefusalStore

app = typer.Typer(rich_markup_mode=None, help="Keep pictures of what is not in the catalog, so that it stays unknown.")


@app.command("add")
def add_command(
    photos: Annotated[list[str], typer.Argument(help="Photos, folders of photos, or - for standard input.")],
    note: Annotated[
        str, typer.Option("--note", metavar="TEXT", help="What they show, or why: answers that they refuse say so.")
    ] = "",
    index: IndexOption = None,
    model: ModelOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Add pictures of products that are not yours: what looks like them is unknown from the next query on.

    One photo of each helps, three help more; best of all the very photos that got a wrong name. They
    are kept beside the index, where index runs, rebuilds and other models leave them. Exit code 2
    when a photo cannot be read.

    \b
    Examples:
      itemrec refuse add strange.jpg --note "the rival's oat milk"
      itemrec refuse add ./not-ours
    """
    render.configure(json=as_json, quiet=quiet)
    from cli.query_text import find_photos
    from retrieval.recognition.api import Recognizer

    location = index_location(index)
    sources = find_photos(photos)
    added: list[RefusalPicture] = []
    refused: list[tuple[str, ImageError]] = []
    # Whether a photo is near enough is no question here: a model without a threshold can refuse, too.
    with Recognizer(location, model=setting("model", model), threshold=0.0) as shop:
        for source in sources:
            try:
                added.append(shop.refuse(source, note=note))
            except ImageError as error:
                refused.append((source.name, error))
        kept = shop.refusals()
    if len(sources) == len(refused) == 1:
        raise refused[0][1]
    for name, why in refused:
        render.warn(f"{printable(name)}: {printable(why.message)}")
    if as_json:
        unreadable = [{"path": name, "reason": e.message, "code": e.reason} for name, e in refused]
        render.emit_json(_document(location, kept, added=[r.described() for r in added], refused=unreadable))
    else:
        _table(added)
        render.say(f"{_counted(kept)} by {location} now. Take back: itemrec refuse remove ID")
    return ImageError.exit_code if refused else 0


@app.command("list")
def list_command(index: IndexOption = None, as_json: JsonOption = False, quiet: QuietOption = False) -> int:
    """List the pictures of what is not ours, oldest first.

    \b
    Examples:
      itemrec refuse list
      itemrec refuse list --json
    """
    render.configure(json=as_json, quiet=quiet)
    location = index_location(index)
    kept = _opened(location).read()
    if as_json:
        render.emit_json(_document(location, kept))
    elif kept:
        _table(kept)
    else:
        render.emit("No pictures are refused. Add some: itemrec refuse add PHOTO")
    return 0


@app.command("remove")
def remove_command(
    refusals: Annotated[list[str], typer.Argument(metavar="ID…", help="Ids, as refuse list shows them, or names.")],
    index: IndexOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Take pictures back: photos are answered as if they had never been added.

    \b
    Examples:
      itemrec refuse remove 3f0c91a2
      itemrec refuse remove strange.jpg
    """
    render.configure(json=as_json, quiet=quiet)
    from retrieval.index.refusals import named

    location = index_location(index)
    store = _opened(location)
    gone = named(store.read(), refusals)
    store.remove([refusal.refusal_id for refusal in gone])
    kept = store.read()
    if as_json:
        render.emit_json(_document(location, kept, removed=[r.described() for r in gone]))
    else:
        names = ", ".join(f"{refusal.short} ({refusal.image})" for refusal in gone)
        render.emit(f"Removed {names}. {_counted(kept)} by {location} now.")
    return 0


def _opened(location: str) -> RefusalStore:
    """The refusals of an index that is there."""
    from retrieval.index.open import open_index

    index = open_index(location)
    if index.manifest() is None:
        with index.reader():  # raises the error that fits
            pass
    return index.refusals


def _document(location: str, kept: Sequence[RefusalPicture], **more: Any) -> dict[str, Any]:
    return {"schema": "itemrec.refuse/1", "index": location, "refusals": [r.described() for r in kept], **more}


def _table(refusals: Sequence[RefusalPicture]) -> None:
    rows = [(r.short, r.image, r.created[:10], r.note) for r in refusals]
    if rows:
        render.table(("id", "image", "added", "note"), rows)


def _counted(kept: Sequence[RefusalPicture]) -> str:
    return f"{plural(len(kept), 'picture')} {'is' if len(kept) == 1 else 'are'} refused"

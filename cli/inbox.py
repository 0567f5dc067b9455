"""`itemrec inbox`: photos that a service was asked about, and what they show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import render
from cli.options import IndexOption, JsonOption, ModelOption, QuietOption, index_location, setting
from retrieval.errors import UsageError
from retrieval.system.text import plural, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.inbox.entries import Entry, NewLabel, Said
    from retrieval.inbox.inbox import Inbox
    from retrieval.recognition.api import Recognizer

app = typer.Typer(rich_markup_mode=None, help="Say what the photos show that a service was asked about.")

InboxOption = Annotated[Path, typer.Option("--inbox", metavar="DIR", help="The folder of itemrec serve --inbox.")]
PhotosArgument = Annotated[list[str], typer.Argument(metavar="PHOTO…", help="Ids, as inbox list shows them.")]


@app.command("list")
def list_command(
    inbox: InboxOption,
    verdicts: Annotated[
        list[str] | None, typer.Option("--verdict", metavar="VERDICT", help="match, ambiguous or unknown; repeatable.")
    ] = None,
    labeled: Annotated[
        bool | None, typer.Option("--labeled/--unlabeled", help="With a label, or without. Default: both")
    ] = None,
    quality: Annotated[
        list[str] | None, typer.Option("--quality", metavar="WHAT", help="good, small, dark or blurred; repeatable.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Asked then or later: 2026-11-28, or with a time.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="Stacks of near-equal shots at most.")] = 50,
    after: Annotated[str, typer.Option("--after", metavar="CURSOR", help="Go on after a page of --json.")] = "",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """List photos that were asked about: unlabeled unknown and ambiguous ones first, then the rest, newest first.

    \b
    Examples:
      itemrec inbox list --inbox ./inbox --unlabeled
      itemrec inbox list --inbox ./inbox --verdict unknown --quality good --json
    """
    render.configure(json=as_json, quiet=quiet)
    from retrieval.inbox.entries import Wanted, seconds_of
    from retrieval.inbox.inbox import Inbox

    wanted = Wanted(verdicts or (), labeled, quality or (), seconds_of(since) if since else None)  # type: ignore[arg-type]
    with Inbox(inbox, make=False) as opened:
        page = opened.page(wanted, limit=limit, after=after)
        held = opened.held()
    if as_json:
        stacks = [stack.to_json() for stack in page.stacks]
        render.emit_json(
            {"schema": "itemrec.inbox/1", "held": held.to_json(), "stacks": stacks, "after": page.after or None}
        )
        return 0
    if not page.stacks:
        render.emit("No such photos.")
    else:
        columns = ("photo", "asked", "answer", "like it", "marks", "label")
        render.table(columns, [_row(stack.photos[0], stack.count) for stack in page.stacks], right=(3,))
    render.say(f"{plural(held.photos, 'photo')}, {held.unlabeled:,} without a label.")
    return 0


@app.command("label")
def label_command(
    photos: PhotosArgument,
    inbox: InboxOption,
    product: Annotated[str, typer.Option("--product", metavar="ID", help="They show this product.")] = "",
    new: Annotated[str, typer.Option("--new", metavar="ID", help="They show a new product of this id.")] = "",
    name: Annotated[str, typer.Option("--name", metavar="TEXT", help="What a new product is called.")] = "",
    gtin: Annotated[str, typer.Option("--gtin", metavar="DIGITS", help="Under a new product's barcode.")] = "",
    not_ours: Annotated[bool, typer.Option("--not-ours", help="They show what is none of the catalog's.")] = False,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="What they show, with --not-ours.")] = "",
    skip: Annotated[bool, typer.Option("--skip", help="Nothing is worth saying of them.")] = False,
    index: IndexOption = None,
    model: ModelOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Say what photos show. They become pictures of their product, or refusals, and the index follows.

    One photo in five is kept to measure on and never taught; so are small, dark and blurred ones. Exit code 2 when a
    label could not be kept.

    \b
    Examples:
      itemrec inbox label --inbox ./inbox 6a1f0c9d2b7e4835a0c1d2e3 --product 0012
      itemrec inbox label --inbox ./inbox 0f4b… 77aa… --new 0815 --name "Oat drink"
      itemrec inbox label --inbox ./inbox 9c3e… --not-ours --note "the rival's oat milk"
    """
    render.configure(json=as_json, quiet=quiet)
    from retrieval.inbox.entries import LabelKind, NewLabel
    from retrieval.inbox.inbox import Inbox
    from retrieval.inbox.labels import label
    from retrieval.recognition.api import Recognizer

    kinds: dict[LabelKind, bool] = {"product": bool(product), "new": bool(new), "not-ours": not_ours, "skip": skip}
    chosen = [kind for kind, given in kinds.items() if given]
    if len(chosen) != 1:
        raise UsageError(
            "expected one of --product, --new, --not-ours and --skip, received "
            + ("several" if chosen else "none of them"),
            hint="For example: --product 0012",
        )
    labels: list[NewLabel] = [NewLabel(photo, chosen[0], product or new, name, gtin, note) for photo in photos]
    # Whether a photo is near enough is no question here: a model without a threshold can be taught, too.
    with (
        Inbox(inbox, make=False) as opened,
        Recognizer(index_location(index), model=setting("model", model), threshold=0.0) as shop,
    ):
        pictured = {record.product_id for record in shop.records()}
        known = pictured.union(_products(shop))
        said = label(opened, labels, exists=known.__contains__, pictured=pictured.__contains__, by="command line")
        return _told(opened, shop, said, as_json=as_json)


@app.command("undo")
def undo_command(
    photos: Annotated[
        list[str] | None, typer.Argument(metavar="[PHOTO…]", help="Take back the last label of each.")
    ] = None,
    *,
    inbox: InboxOption,
    batch: Annotated[
        str, typer.Option("--batch", metavar="ID", help="Take back all of one call, as --json names it.")
    ] = "",
    index: IndexOption = None,
    model: ModelOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Take labels of the last 30 days back: exactly what they taught is removed.

    \b
    Examples:
      itemrec inbox undo --inbox ./inbox 6a1f0c9d2b7e4835a0c1d2e3
      itemrec inbox undo --inbox ./inbox --batch 5d2e8c41a7b09f36
    """
    render.configure(json=as_json, quiet=quiet)
    from retrieval.inbox.inbox import Inbox
    from retrieval.inbox.labels import undo
    from retrieval.recognition.api import Recognizer

    if bool(photos) == bool(batch):
        raise UsageError("expected photos or --batch, received " + ("both" if photos else "neither"))
    with (
        Inbox(inbox, make=False) as opened,
        Recognizer(index_location(index), model=setting("model", model), threshold=0.0) as shop,
    ):
        said = undo(opened, batch=batch, photos=photos or ())
        return _told(opened, shop, said, as_json=as_json)


@app.command("export")
def export_command(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="An empty folder; or a file that ends in .zip.")],
    inbox: InboxOption,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Write the labeled photos as a dataset, for itemrec train, evaluate and calibrate.

    test/ is what is held out: a fifth, never taught. What is not ours stands there under products that no catalog has.

    \b
    Examples:
      itemrec inbox export --inbox ./inbox ./data
      itemrec inbox export --inbox ./inbox photos.zip
    """
    render.configure(json=as_json, quiet=quiet)
    from retrieval.inbox.inbox import Inbox
    from retrieval.inbox.labeled_photos import write_dataset, write_zip
    from retrieval.system.files import os_errors, replacing

    with Inbox(inbox, make=False) as opened:
        if out.suffix.lower() == ".zip":
            with os_errors("write the export", out.parent), replacing(out) as staging, staging.open("wb") as file:
                count = write_zip(opened, file)
        else:
            count = write_dataset(opened, out)
    if as_json:
        render.emit_json({"schema": "itemrec.inbox-export/1", "data": str(out), "photos": count})
    else:
        render.emit(f"Wrote {plural(count, 'photo')} to {printable(str(out))}")
    return 0


@app.command("gc")
def gc_command(
    inbox: InboxOption,
    photos: Annotated[int, typer.Option("--photos", min=0, help="Photos to keep at most.")] = 20_000,
    mib: Annotated[int, typer.Option("--mib", min=0, help="MiB of pictures to keep at most.")] = 2048,
    days: Annotated[float, typer.Option("--days", min=0.0, help="Days to keep a photo without a label.")] = 90.0,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Remove what an inbox need not keep: the oldest photos without a label first. What was taught stays taught.

    \b
    Examples:
      itemrec inbox gc --inbox ./inbox --days 30
    """
    render.configure(json=as_json, quiet=quiet)
    from retrieval.inbox.inbox import Caps, Inbox

    with Inbox(inbox, caps=Caps(photos, mib * 2**20, days), make=False) as opened:
        swept = opened.sweep()
        held = opened.held()
    if as_json:
        render.emit_json(
            {"schema": "itemrec.inbox-gc/1", "photos": swept.photos, "bytes": swept.bytes, "held": held.to_json()}
        )
    else:
        render.emit(f"Removed {plural(swept.photos, 'photo')}; {plural(held.photos, 'photo')} kept.")
    return 0


def _products(shop: Recognizer) -> Sequence[str]:
    """The products of the catalog as its folder is now, also those without pictures."""
    from retrieval.catalog.read import read_catalog

    return list(read_catalog(Path(shop.live().catalog)).products)


def _told(inbox: Inbox, shop: Recognizer, said: Said, *, as_json: bool) -> int:
    """Let the catalog follow, and tell what became of each label."""
    from retrieval.errors import IndexBusyError
    from retrieval.inbox.follow_up import follow, shelf_of

    late = ""
    try:
        follow(inbox, shop, lambda: shelf_of(shop))
    except IndexBusyError as error:
        # It is noted: whoever opens this inbox next carries it out.
        late = error.message
    refused = [item for item in said.items if item.state is None]
    if as_json:
        document: dict[str, Any] = said.to_json()
        for item in document["items"]:
            entry = inbox.entry(item["photo"]) if item["ok"] else None
            if entry is not None and entry.label is not None:
                item |= {"state": entry.label.state, "why": entry.label.why}
        render.emit_json(document)
    else:
        for item in said.items:
            entry = inbox.entry(item.photo) if item.state is not None else None
            now = entry.label if entry is not None else None
            state = now.state if now is not None else "no label" if item.state is not None else "refused"
            why = now.why if now is not None else item.why
            render.emit(f"{printable(item.photo)}  {state}{f': {printable(why)}' if why else ''}")
    if late:
        render.warn(f"The catalog follows when the index is free: {late}")
    return UsageError.exit_code if refused else 0


def _row(entry: Entry, count: int) -> tuple[str, ...]:
    answer = (*entry.answer["matches"], *entry.answer["nearest"])
    first = f"{entry.verdict} {answer[0]['product_id']}" if answer else entry.verdict
    label = entry.label
    said = "" if label is None else f"{label.product_id or label.kind} ({label.state})"
    marks = [*entry.badges, *(["held out"] if entry.held_out and label is not None else [])]
    return entry.photo, entry.to_json()["asked"][:16].replace("T", " "), first, f"{count:,}", ", ".join(marks), said

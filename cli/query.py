"""`itemrec query`: which product is in this photo, how sure, or none of ours?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import render
from cli.options import (
    InCatalogOption,
    IndexOption,
    JsonOption,
    ModelOption,
    QuietOption,
    SureOption,
    ThresholdOption,
    TopOption,
    VerifyOption,
    index_location,
    setting,
)
from retrieval.errors import ImageError, UsageError
from retrieval.system.progress import Progress, Silent
from retrieval.system.text import printable

if TYPE_CHECKING:
    from retrieval.recognition.answer import Answer

MANY = 8
"""From more photos than this on, how far it is is shown, and pictures only when asked for."""


def query_command(
    photos: Annotated[list[str], typer.Argument(help="Photos, folders of photos, or - for standard input.")],
    top: TopOption = None,
    sure: SureOption = None,
    in_catalog: InCatalogOption = None,
    threshold: ThresholdOption = None,
    same: Annotated[
        bool, typer.Option("--same", help="All photos show the same item: give one answer, from all of them together.")
    ] = False,
    many: Annotated[
        bool, typer.Option("--many", help="Find every item in a photo, of a shelf say, with its place (extra: verify).")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="With --many: the photo with its items drawn in, .jpg or .png."),
    ] = None,
    planogram: Annotated[
        Path | None,
        typer.Option(
            "--planogram", metavar="FILE", help="With --many: compare with rows of products that should stand there."
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="KEY=VALUE",
            help="Only products with this metadata, also 'price<5' or 'note?'; may be repeated.",
        ),
    ] = None,
    verify: VerifyOption = None,
    index: IndexOption = None,
    model: ModelOption = None,
    barcodes: Annotated[
        bool | None,
        typer.Option(
            "--barcodes/--no-barcodes",
            help="A barcode in the photo decides (extra: barcode). Default: where the catalog has a column of them.",
        ),
    ] = None,
    thumbnails: Annotated[
        bool | None,
        typer.Option(
            "--thumbnails/--no-thumbnails", help="Show pictures (extra: thumbnails). Default: where the terminal can."
        ),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Also show what decided: scores, shares, votes, distances, pictures.")
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="With --explain or --many: also write a page of what was seen."),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Recognize photos: match, ambiguous or unknown, and how sure that is.

    Exit code 0 when every photo found its product, 1 when at least one is unknown,
    2 when a photo cannot be read. An ambiguous photo shows its candidates and exits 0,
    an unknown one what is nearest all the same.

    \b
    Examples:
      itemrec query photo.jpg
      itemrec query shelf/*.jpg --top 3
      itemrec query photo.jpg --sure 0.9
      itemrec query --same front.jpg back.jpg
      itemrec query photo.jpg --explain
      itemrec query photo.jpg --explain --html look.html
      itemrec query photo.jpg --where category=Milk --where brand=Arla
      itemrec query shelf.jpg --many --out annotated.jpg
      itemrec query shelf.jpg --many --planogram rows.csv
      camera | itemrec query - --json
    """
    render.configure(json=as_json, quiet=quiet)
    if html is not None and not (explain or many):
        raise UsageError("expected --explain or --many with --html, which shows what was seen", hint="Add one of them")
    if not many and (only := [o for o, v in (("--out", out), ("--planogram", planogram)) if v]):
        raise UsageError(f"expected --many with {only[0]}, which is about many items in a photo", hint="Add --many")
    if many and same:
        raise UsageError("expected --many or --same, received both", hint="One finds items, one says all show the same")
    from cli.query_text import Printer, explain_filters, find_photos, tally
    from retrieval.recognition.answer import query_document
    from retrieval.recognition.api import Recognizer
    from retrieval.recognition.recognizer import RefusedPhoto

    wanted = int(setting("top", top, 5))
    shop = Recognizer(
        index_location(index),
        model=setting("model", model),
        threshold=setting("threshold", threshold),
        sure=setting("sure", sure),
        in_catalog=setting("in_catalog", in_catalog),
        barcodes=barcodes,
        verify=setting("verify", verify),
    )
    if many:
        from cli.many_items import query_many

        return query_many(shop, photos, where=where, planogram=planogram, out=out, html=html, as_json=as_json)
    sources = find_photos(photos)
    show = Printer(sources, thumbnails and not as_json, few=len(sources) <= MANY, explain=explain)
    while True:
        answers: list[Answer] = []
        refused: list[RefusedPhoto] = []
        with _view(len(sources)) as view:
            asked: Iterable[Answer | RefusedPhoto] = (
                [shop.recognize_same(sources, top=wanted, where=where)]
                if same
                else shop.recognize_all(sources, top=wanted, where=where)
            )
            for result in asked:
                if isinstance(result, RefusedPhoto):
                    refused.append(result)
                else:
                    answers.append(result)
                    if not as_json:
                        show(result)
                view.advance()
        model_now = shop.model
        if all(answer.fingerprint == model_now.fingerprint for answer in answers):
            break
        # Two other models went live since this query began, so that its own is gone: ask the newest for all.
        render.say(f"The index was rebuilt with {model_now.name} meanwhile; asking again.")
    if len(sources) == len(refused) == 1:
        raise refused[0].error
    found = shop.in_force
    if found is not None and found.why_not and setting("threshold", threshold) is None:
        render.say(f"Not calibrated: {printable(model_now.name)}: {found.why_not}")
    if as_json:
        document = query_document(
            answers,
            refused,
            fingerprint=model_now.fingerprint,
            threshold=shop.threshold,
            calibration=shop.in_use(),
        )
        render.emit_json(document)
    if html is not None:
        from retrieval.report.closer_look import closer_look_page
        from retrieval.report.page import write_page

        write_page(html, closer_look_page(answers, shop.manifest.catalog, shop.kept_look, shop.kept_refused_look))
        render.say(f"The page is {printable(html)}")
    for photo in refused:
        render.warn(f"{printable(photo.source)}: {printable(photo.error.message)}")
    _say_of_photos(answers)
    if len(sources) > 1 and not as_json and not same:
        render.say(tally(answers, refused))
    if where and any(answer.verdict == "unknown" for answer in answers):
        explain_filters(shop, where)
    if refused:
        return ImageError.exit_code
    return 1 if any(answer.verdict == "unknown" for answer in answers) else 0


def _say_of_photos(answers: Iterable[Answer]) -> None:
    """Which of several photos of one item show nothing, and which can hardly show one item."""
    for name in (name for answer in answers if answer.photos and not answer.blank for name in answer.blanks):
        render.warn(f"{printable(name)} shows nothing, one color or noise, and does not count")
    for pair in (pair for answer in answers for pair in answer.apart):
        one, other = map(printable, pair.photos)
        render.warn(
            f"{one} and {other} can hardly show one item: {pair.distance:.2f} apart, where nearly all photos of one "
            f"product lie within {pair.limit:.2f} of each other"
        )


@contextmanager
def _view(photos: int) -> Iterator[Progress]:
    """Shows how far many photos are. A few are answered before anybody could read it, and must not wait for it."""
    if photos <= MANY:
        yield Silent()
        return
    from cli import progress

    with progress.shown() as view:
        view.stage("Recognizing", photos)
        yield view

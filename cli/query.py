"""`itemrec query`: which product is in this photo, how sure, or none of ours?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import progress, render
from cli.options import IndexOption, JsonOption, ModelOption, QuietOption, index_location, setting
from retrieval.errors import ImageError
from retrieval.system.text import printable

if TYPE_CHECKING:
    from retrieval.index.manifest import Manifest
    from retrieval.recognition.recognizer import RefusedPhoto
    from retrieval.types import Recognition


def query_command(
    photos: Annotated[list[str], typer.Argument(help="Photos, folders of photos, or - for standard input.")],
    top: Annotated[
        int | None, typer.Option("--top", metavar="N", min=1, max=1000, help="Products to show at most. Default: 5")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            metavar="D",
            min=0.0,
            max=4.0,
            help="Largest squared L2 distance that counts. Default: the model's own.",
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="KEY=VALUE", help="Only products with this metadata; may be repeated."),
    ] = None,
    index: IndexOption = None,
    model: ModelOption = None,
    thumbnails: Annotated[
        bool | None,
        typer.Option(
            "--thumbnails/--no-thumbnails", help="Show pictures (extra: thumbnails). Default: where the terminal can."
        ),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> int:
    """Recognize photos: match, ambiguous or unknown, with the catalog pictures that voted.

    Exit code 0 when every photo found its product, 1 when at least one is unknown,
    2 when a photo cannot be read. An ambiguous photo shows its candidates and exits 0.

    \b
    Examples:
      itemrec query photo.jpg
      itemrec query shelf/*.jpg --top 3
      itemrec query photo.jpg --where category=Milk --where brand=Arla
      camera | itemrec query - --json
    """
    render.configure(json=as_json, quiet=quiet)
    from cli.answers import MANY, Printer, document, explain_filters, find_photos, tally
    from retrieval.index.open import open_index
    from retrieval.models.installed import resolve_model
    from retrieval.recognition.recognizer import (
        EmbeddedPhoto,
        embed_photos,
        parse_where,
        query_confidence,
        query_threshold,
        recognize,
    )

    target = open_index(index_location(index))
    manifest = target.manifest()
    if manifest is None:
        # Opening it raises the error that fits: no index here, or one that is still being built.
        with target.reader() as (_, manifest):
            pass
    named = setting("model", model)
    sources = find_photos(photos)
    show = Printer(sources, thumbnails and not as_json)
    while True:
        bundle = resolve_model(named, index_model=manifest.model)
        manifest.require(bundle.identity, target.location)
        limit = query_threshold(setting("threshold", threshold), bundle)
        sure = query_confidence(limit, bundle)
        wanted = int(setting("top", top, 5))
        filters = parse_where(where or [], manifest)
        answers: list[Recognition] = []
        refused: list[RefusedPhoto] = []
        replaced: Manifest | None = None
        with progress.shown() as view:
            if len(sources) > MANY:
                view.stage("Recognizing", len(sources))
            for chunk in embed_photos(list(sources.items()), bundle):
                embedded = [photo for photo in chunk if isinstance(photo, EmbeddedPhoto)]
                refused += [photo for photo in chunk if not isinstance(photo, EmbeddedPhoto)]
                # The engine allows one process at a time: hold the index only while searching.
                with target.reader(manifest) as (store, current):
                    if current.model.fingerprint != bundle.fingerprint:
                        replaced = current
                        break
                    found = [
                        recognize(
                            photo,
                            store,
                            threshold=limit,
                            top=wanted,
                            where=filters,
                            fingerprint=bundle.fingerprint,
                            confidence=sure,
                        )
                        for photo in embedded
                    ]
                answers += found
                for answer in found if not as_json else ():
                    show(answer, Path(manifest.catalog))
                view.reached(len(answers) + len(refused))
        if replaced is None:
            break
        # Two other models went live since this query began, so that its own is gone: ask the newest.
        render.say(f"The index was rebuilt with {replaced.model.name} meanwhile; asking again.")
        manifest = replaced
    if len(sources) == len(refused) == 1:
        raise refused[0].error
    if as_json:
        render.emit_json(document(answers, refused, bundle.fingerprint, limit))
    for photo in refused:
        render.warn(f"{printable(photo.source)}: {printable(photo.error.message)}")
    if len(sources) > 1 and not as_json:
        render.say(tally(answers, refused))
    if filters and any(a.verdict == "unknown" for a in answers):
        explain_filters(target, filters)
    if refused:
        return ImageError.exit_code
    return 1 if any(answer.verdict == "unknown" for answer in answers) else 0

"""Which product is in a photo: the question that the service is for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from retrieval.errors import ImageError
from retrieval.index.manifest import Manifest
from retrieval.recognition.answer import Answer, query_document
from retrieval.recognition.photo_source import PhotoSource
from retrieval.recognition.recognizer import RefusedPhoto, parse_where
from retrieval.service import examples
from retrieval.service.access import Key
from retrieval.service.problems import Problem
from retrieval.service.shared import LONGEST_NAME, Shared
from retrieval.service.uploads import Upload, read_photos
from retrieval.system.text import printable
from retrieval.types import Compare
from retrieval.types import Where as Filters

Top = Annotated[int, Query(ge=1, le=1000, description="Products to return at most.")]
Where = Annotated[
    list[str] | None,
    Query(description="Only products with this metadata: category=Milk, 'price<5', 'note?'; may be repeated."),
]


def recognize_routes(shared: Shared) -> APIRouter:
    """The routes that answer photos."""
    router = APIRouter()

    @router.post("/v1/recognize", **examples.RECOGNIZE)
    async def recognize(
        request: Request,
        top: Top = 5,
        where: Where = None,
        same: Annotated[bool, Query(description="The photos show one item: one answer for all.")] = False,
        many: Annotated[bool, Query(description="Find every item in a photo, with its place.")] = False,
    ) -> JSONResponse:
        """Which product is in each photo, how sure, or none of the catalog's.

        The body is an image, or a form with 1 to 16 photos in fields named `photo`. The answer is the document of
        `itemrec query --json`, and beside each picture a link to show it with. With `many` it is that of `itemrec query
        --many --json`: the items of each photo and their boxes.
        """
        key = await shared.allowed(request, "recognize")
        uploads = await shared.turns.receive(read_photos(request))
        if many:
            return JSONResponse(await shared.turns.run(partial(_items, shared, uploads, where or [], key)))
        return JSONResponse(
            await shared.turns.run(
                partial(_document, shared, uploads, top, where or [], key, same=same, request=request.state.id)
            )
        )

    return router


def _items(shared: Shared, uploads: Sequence[Upload], where: Sequence[str], key: Key | None) -> dict[str, Any]:
    """The document of the items of some photos."""
    from retrieval.detection.found import FoundItems, items_document

    filters = narrowed(where, key.where if key is not None else (), shared.shop.live())
    found: list[tuple[FoundItems, None]] = []
    refused: list[tuple[str, ImageError]] = []
    for upload in uploads:
        name = printable(upload.name)[:LONGEST_NAME]
        try:
            found.append((shared.shop.find(upload.data, where=filters, name=name), None))
        except ImageError as error:
            refused.append((name, error))
            shared.observed.refused(error.reason)
    document = items_document(found, refused, fingerprint=shared.shop.model.fingerprint)
    for result in document["results"]:
        for match in (match for item in result["items"] for match in item["matches"]):
            match["link"] = shared.pictures.link(match["image"])
    return document


def _document(
    shared: Shared,
    uploads: Sequence[Upload],
    top: int,
    where: Sequence[str],
    key: Key | None,
    *,
    same: bool,
    request: str,
) -> dict[str, Any]:
    """The document for some photos."""
    filters = narrowed(where, key.where if key is not None else (), shared.shop.live())
    photos = [PhotoSource(printable(upload.name)[:LONGEST_NAME], partial(_bytes, upload.data)) for upload in uploads]
    if same:
        results: Iterable[Answer | RefusedPhoto] = [shared.shop.recognize_same(photos, top=top, where=filters)]
    elif len(photos) == 1:
        # Asked alone, a photo gets every core when no other is under way.
        results = [shared.shop.recognize(photos[0], top=top, where=filters)]
    else:
        results = shared.shop.recognize_all(photos, top=top, where=filters)
    answers, refused, kept = [], [], []
    for place, result in enumerate(results):
        if isinstance(result, RefusedPhoto):
            refused.append(result)
            shared.observed.refused(result.error.reason)
        else:
            answers.append(result)
            shared.observed.answered(result.verdict, result.timings_ms)
            if shared.inbox is not None:
                of_it = uploads if same else [uploads[place]]
                named = [(printable(one.name)[:LONGEST_NAME], one.data) for one in of_it]
                kept.append(shared.inbox.keep(named, result, request=request, place=place, key=key))
    shared.note_index()
    document = query_document(
        answers,
        refused,
        fingerprint=shared.shop.model.fingerprint,
        threshold=shared.shop.threshold,
        calibration=shared.shop.in_use(),
    )
    for entry in document["results"]:
        for match in [*entry["matches"], *entry.get("nearest", [])]:
            for evidence in match["evidence"]:
                evidence["link"] = shared.pictures.link(evidence["image"])
    if shared.inbox is not None:
        document["request_id"] = request
        for entry, photos_kept in zip(document["results"], kept, strict=True):
            entry["inbox"] = photos_kept
    return document


def _bytes(data: bytes) -> bytes:
    return data


def narrowed(asked: Sequence[str], forced: Sequence[str], manifest: Manifest) -> Filters | None:
    """The filter of a query within what its key may see: both must hold.

    Args:
        asked: terms of the query.
        forced: terms of the key.
        manifest: names the columns that exist.

    Raises:
        UsageError: a term is none, or a column is not the catalog's.
        Problem: 403 when the query asks for what its key does not see.
    """
    wanted = dict(parse_where(asked, manifest) or {})
    for column, terms in (parse_where(forced, manifest) or {}).items():
        seen = [term for term in terms if not isinstance(term, Compare)]
        mine = [term for term in wanted.get(column, ()) if not isinstance(term, Compare)]
        both = [term for term in mine if term in seen] if seen and mine else seen or mine
        if seen and mine and not both:
            raise Problem(403, "not-allowed", f"expected {printable(column)} as this key sees it, received another")
        compared = [term for term in (*terms, *wanted.get(column, ())) if isinstance(term, Compare)]
        wanted[column] = (*both, *compared)
    return wanted or None

"""The inbox over HTTP: what was asked about, what people say it shows, and all of it as a dataset."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from typing import IO, Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from retrieval.inbox import labeled_photos
from retrieval.inbox.entries import Badge, LabelKind, NewLabel, Wanted, seconds_of
from retrieval.inbox.weeks import MOST_WEEKS
from retrieval.service import inbox_examples as examples
from retrieval.service.access import Key, Role
from retrieval.service.inbox_bodies import FeedbackBody, LabelBody, LabelsBody, UndoBody, read_body
from retrieval.service.inbox_calibration import Calibrating
from retrieval.service.inbox_desk import InboxDesk, tenant_seen
from retrieval.service.problems import Problem
from retrieval.service.shared import Shared
from retrieval.system.text import one_form
from retrieval.types import Verdict

_BLOCK = 2**18
_IN_MEMORY = 2**23


def inbox_routes(shared: Shared) -> APIRouter:
    """The routes of the inbox; a service without one answers them with 404 and the code ``no-inbox``."""
    router = APIRouter()
    calibrating = Calibrating(shared.inbox.inbox, shared.settings) if shared.inbox is not None else None

    async def desk(request: Request, role: Role = "teach") -> tuple[InboxDesk, Key | None]:
        key = await shared.allowed(request, role)
        if shared.inbox is None:
            raise Problem(404, "no-inbox", "This service keeps no inbox", hint="itemrec serve --inbox DIR")
        return shared.inbox, key

    @router.get("/v1/inbox", **examples.INBOX)
    async def inbox(
        request: Request,
        verdict: Annotated[list[Verdict] | None, Query(description="These alone; may be repeated.")] = None,
        labeled: Annotated[bool | None, Query(description="With a label, or without; else both.")] = None,
        quality: Annotated[
            list[Literal["good"] | Badge] | None, Query(description="One of these; may be repeated.")
        ] = None,
        since: Annotated[str, Query(max_length=40, description="Asked then or later, ISO 8601.")] = "",
        product_id: Annotated[str, Query(max_length=200, description="Labeled with this product.")] = "",
        limit: Annotated[int, Query(ge=1, le=200, description="Stacks at most.")] = 50,
        after: Annotated[str, Query(max_length=400, description="`after` of the page before.")] = "",
    ) -> JSONResponse:
        """The photos that were asked about, near-equal shots stacked.

        Stacks with unlabeled photos that were unknown or ambiguous come first, then the others; newest first.
        """
        found, key = await desk(request)
        wanted = Wanted(
            verdict or (), labeled, quality or (), seconds_of(since) if since else None, one_form(product_id)
        )
        return JSONResponse(await shared.turns.run(partial(_page, found, wanted, limit, after, key)))

    @router.post("/v1/inbox/labels", **examples.LABELS)
    async def labels(request: Request) -> JSONResponse:
        """Say what photos show: up to 1,000 in one transaction, each with its own answer.

        What is acknowledged here is kept; the catalog follows within seconds, and `GET /v1/inbox/{photo}` says when.
        """
        found, key = await desk(request)
        body = await shared.turns.receive(read_body(request, LabelsBody))
        said = [_new_label(one.photo, one) for one in body.labels]
        return JSONResponse((await shared.turns.run(partial(found.label, said, key))).to_json())

    @router.post("/v1/inbox/undo", **examples.UNDO)
    async def undo(request: Request) -> JSONResponse:
        """Take labels back, by the `batch` of an answer or by photos, for 30 days; the catalog follows."""
        found, key = await desk(request)
        body = await shared.turns.receive(read_body(request, UndoBody))
        if bool(body.batch) == bool(body.photos):
            raise Problem(422, "wrong-usage", "expected either a batch or photos, received both or neither")
        return JSONResponse((await shared.turns.run(partial(found.undo, body.batch, body.photos, key))).to_json())

    @router.post("/v1/feedback", **examples.FEEDBACK)
    async def feedback(request: Request) -> JSONResponse:
        """Say what the photo of a recognize request shows, by the request's id."""
        found, key = await desk(request)
        body = await shared.turns.receive(read_body(request, FeedbackBody))
        return JSONResponse(await shared.turns.run(partial(_feedback, found, body, key)))

    @router.get("/v1/inbox/export", response_class=Response, **examples.EXPORT)
    async def export(
        request: Request,
        form: Annotated[
            Literal["zip", "ndjson"], Query(alias="format", description="With pictures, or one line a photo.")
        ] = "zip",
    ) -> Response:
        """The labeled photos as a dataset: test/ is what is held out, train/ and val/ the others."""
        found, key = await desk(request, "admin")
        if form == "ndjson":
            lines = await shared.turns.run(partial(_lines, found, key))
            return Response(b"".join(lines), media_type="application/x-ndjson")
        archive = await shared.turns.run(partial(_archive, found, key))
        headers = {"Content-Disposition": 'attachment; filename="inbox.zip"'}
        return StreamingResponse(_blocks(archive), media_type="application/zip", headers=headers)

    @router.get("/v1/inbox/quality", **examples.QUALITY)
    async def quality(
        request: Request,
        weeks: Annotated[int, Query(ge=1, le=MOST_WEEKS, description="How many, this one included.")] = 12,
    ) -> JSONResponse:
        """How good the answers are by week, with intervals: right and unknown shares, confusions, what none found."""
        found, key = await desk(request)
        return JSONResponse(await shared.turns.run(partial(found.quality_document, weeks, key)))

    @router.post("/v1/calibrate", status_code=202, **examples.CALIBRATE)
    async def calibrate(
        request: Request,
        dry: Annotated[bool, Query(description="Only say what it would do.")] = False,
    ) -> JSONResponse:
        """Fit the probabilities that verdicts follow to confirmed photos that were never taught: a job."""
        await desk(request, "admin")
        assert calibrating is not None
        return JSONResponse(calibrating.begin(dry=dry).to_json(), 202)

    @router.get("/v1/calibrate/{job}", **examples.CALIBRATION)
    async def calibration(request: Request, job: str) -> JSONResponse:
        """How far a calibration is, and what it does to the photos, before and after."""
        await desk(request, "admin")
        assert calibrating is not None
        return JSONResponse(calibrating.job(job).to_json())

    @router.get("/v1/inbox/{photo}", **examples.PHOTO)
    async def one(request: Request, photo: str) -> JSONResponse:
        """One photo, its answer, and what became of its label."""
        found, key = await desk(request)
        return JSONResponse(await shared.turns.run(partial(_one, found, photo, key)))

    @router.get("/v1/inbox/{photo}/picture", response_class=Response, **examples.PICTURE)
    async def picture(
        request: Request,
        photo: str,
        sig: Annotated[str, Query(max_length=64, description="As the photo's `link` has it; then no key.")] = "",
        size: Annotated[int, Query(ge=1, le=768, description="Longer side, pixels.")] = 192,
    ) -> Response:
        """A photo as a small JPEG without metadata, by its signed link or with a key that sees it."""
        if shared.inbox is not None and shared.inbox.is_signed(photo, sig):
            found = shared.inbox
        else:
            found, key = await desk(request)
            await shared.turns.run(partial(found.entry, photo, key))
        data, tag = await shared.turns.run(partial(found.picture, photo, size))
        headers = {"ETag": tag, "Cache-Control": "private, max-age=3600"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(data, media_type="image/jpeg", headers=headers)

    return router


def _page(desk: InboxDesk, wanted: Wanted, limit: int, after: str, key: Key | None) -> dict[str, Any]:
    page = desk.inbox.page(wanted, limit=limit, after=after, tenant=tenant_seen(key))
    return desk.page_document(page, key)


def _one(desk: InboxDesk, photo: str, key: Key | None) -> dict[str, Any]:
    return {"schema": "itemrec.inbox-photo/1", **desk.described(desk.entry(photo, key))}


def _feedback(desk: InboxDesk, body: FeedbackBody, key: Key | None) -> dict[str, Any]:
    photo = desk.asked_in(body.request_id, body.place, key)
    return desk.label([_new_label(photo, body)], key).to_json()


def _new_label(photo: str, said: LabelBody | FeedbackBody) -> NewLabel:
    kind: LabelKind = said.label
    return NewLabel(photo, kind, one_form(said.product_id), one_form(said.name), said.gtin.strip(), one_form(said.note))


def _lines(desk: InboxDesk, key: Key | None) -> list[bytes]:
    return list(labeled_photos.ndjson(desk.inbox, tenant=tenant_seen(key)))


def _archive(desk: InboxDesk, key: Key | None) -> IO[bytes]:
    """The dataset as a zip, on the disk where it is large: photos that the inbox keeps anyway."""
    out = tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(desk.inbox.folder))  # noqa: SIM115 (whoever sends it closes it)
    try:
        labeled_photos.write_zip(desk.inbox, out, tenant=tenant_seen(key))
        out.seek(0)
    except BaseException:
        out.close()
        raise
    return out


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while block := file.read(_BLOCK):
            yield block

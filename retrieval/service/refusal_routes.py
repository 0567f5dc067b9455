"""Photos of what is none of the catalog's: what looks like them is unknown."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from retrieval.service import examples
from retrieval.service.problems import Problem
from retrieval.service.shared import LONGEST_NAME, Shared
from retrieval.service.uploads import Upload, read_photo
from retrieval.system.text import printable


def refusal_routes(shared: Shared) -> APIRouter:
    """The routes of refusals."""
    router = APIRouter()

    @router.post("/v1/refusals", status_code=201, **examples.REFUSE)
    async def refuse(
        request: Request,
        note: Annotated[str, Query(max_length=200, description="What it shows; answers that it refuses say so.")] = "",
    ) -> JSONResponse:
        """Keep a photo of what is none of the catalog's: what looks like it is unknown from now on."""
        await shared.allowed(request, "teach")
        upload = await shared.turns.receive(read_photo(request))
        return JSONResponse(await shared.turns.run(partial(_refuse, shared, upload, note)), 201)

    @router.get("/v1/refusals", **examples.REFUSALS)
    async def refusals(request: Request) -> JSONResponse:
        """The photos of what is none of the catalog's, oldest first."""
        await shared.allowed(request, "teach")
        return JSONResponse(await shared.turns.run(partial(_document, shared)))

    @router.delete("/v1/refusals/{refusal_id}", **examples.UNREFUSE)
    async def unrefuse(request: Request, refusal_id: str) -> JSONResponse:
        """Take a refusal back."""
        await shared.allowed(request, "teach")
        return JSONResponse(await shared.turns.run(partial(_take_back, shared, refusal_id)))

    return router


def _refuse(shared: Shared, upload: Upload, note: str) -> dict[str, Any]:
    """Keep a refusal; its document."""
    name = printable(upload.name)[:LONGEST_NAME]
    return {"schema": "itemrec.refusal/1", **shared.shop.refuse(upload.data, note=note, name=name).described()}


def _document(shared: Shared) -> dict[str, Any]:
    """The document of all refusals."""
    return {"schema": "itemrec.refusals/1", "refusals": [r.described() for r in shared.shop.refusals()]}


def _take_back(shared: Shared, refusal_id: str) -> dict[str, Any]:
    """Take a refusal back; the document of those that are left."""
    if refusal_id not in {r.refusal_id for r in shared.shop.refusals()}:
        raise Problem(404, "no-refusal", "expected the id of a refusal, received one that is not known")
    shared.shop.remove_refusals(refusal_id)
    return _document(shared)

"""How the service itself is: what it serves, whether it can answer, what it counted."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from retrieval.errors import ItemrecError
from retrieval.service import examples
from retrieval.service.access import Key
from retrieval.service.observed import CONTENT_TYPE
from retrieval.service.problems import Problem
from retrieval.service.shared import Shared
from retrieval.system.version import release

_READY_SECONDS = 5.0
_NEAR = 1e-3


def health_routes(shared: Shared) -> APIRouter:
    """The routes that people and machines watch the service with."""
    router = APIRouter()
    ready_at = float("-inf")

    def ready() -> None:
        nonlocal ready_at
        if time.monotonic() - ready_at < _READY_SECONDS:
            return
        if not shared.shop.finds_itself(_NEAR):
            raise Problem(503, "not-ready", "A picture of the index does not find itself", hint="itemrec doctor")
        ready_at = time.monotonic()

    @router.get("/v1/status", **examples.STATUS)
    async def status(request: Request) -> JSONResponse:
        """What is served: pictures, products, model, columns; what this key may do."""
        key = await shared.allowed(request, "recognize")
        return JSONResponse(await shared.turns.run(partial(_status, shared, key)))

    @router.get("/healthz", **examples.HEALTHY)
    async def healthz() -> JSONResponse:
        """The process answers."""
        return JSONResponse({"status": "ok"})

    @router.get("/readyz", **examples.READY)
    async def readyz() -> JSONResponse:
        """The index is open, its model is the one in use, and a picture of the catalog finds itself."""
        await shared.turns.run(ready)
        return JSONResponse({"status": "ready"})

    @router.get("/metrics", response_class=Response, **examples.METRICS)
    async def metrics(request: Request) -> Response:
        """Counters and histograms as Prometheus reads them."""
        if not shared.access.open:
            await shared.allowed(request, "recognize")
        shared.observed.busy(shared.turns.running)
        if shared.inbox is not None:
            with suppress(Problem, ItemrecError):  # a busy service, or a full disk, is when counters are wanted
                await shared.turns.run(shared.inbox.note_drift)
        return Response(shared.observed.text(), media_type=CONTENT_TYPE)

    return router


def _status(shared: Shared, key: Key | None) -> dict[str, Any]:
    """The document of what is served."""
    manifest, bundle = shared.shop.live(), shared.shop.model
    return {
        "schema": "itemrec.status/1",
        "version": release(),
        "images": manifest.images,
        "products": manifest.products,
        "generation": manifest.generation,
        "columns": list(manifest.metadata_keys),
        "model": {"name": bundle.name, "fingerprint": bundle.fingerprint},
        "threshold": shared.shop.threshold,
        "role": "admin" if key is None else key.role,
        "whole_catalog": key is None or not key.where,
        "inbox": shared.inbox is not None,
    }

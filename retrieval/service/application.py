"""The HTTP application: its parts put together. What answers lies in `retrieval.recognition`.

    app = create_app(Settings(index="shop.index"))

Run it with any ASGI server; `itemrec serve` runs it with uvicorn.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.trustedhost import TrustedHostMiddleware

from retrieval.service.around import wrap
from retrieval.service.health_routes import health_routes
from retrieval.service.inbox_routes import inbox_routes
from retrieval.service.page_files import page_routes
from retrieval.service.product_routes import product_routes
from retrieval.service.recognize_routes import recognize_routes
from retrieval.service.refusal_routes import refusal_routes
from retrieval.service.settings import Settings
from retrieval.service.shared import Shared
from retrieval.system.version import release


def create_app(settings: Settings) -> FastAPI:
    """The application. Opens the index and the model at once, so that what is wrong is said at the start.

    Raises:
        ItemrecError: as `Recognizer` and `Access` raise.
    """
    shared = Shared(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await shared.turns.run(shared.start)
        yield
        shared.close()

    app = FastAPI(
        title="itemrec",
        version=release(),
        summary="Which product is in this photo, how sure, or none of ours?",
        lifespan=lifespan,
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    app.state.shared = shared
    if settings.hosts:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(settings.hosts), www_redirect=False)
    if settings.origins:
        from starlette.middleware.cors import CORSMiddleware

        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.origins),
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type"],
        )
    wrap(app, shared.observed, frozenset(settings.origins))
    for routes in (recognize_routes, product_routes, refusal_routes, inbox_routes, health_routes):
        app.include_router(routes(shared))
    if settings.page:
        app.include_router(page_routes())
    return app

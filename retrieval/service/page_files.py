"""The page: static files, named here one by one, so that nothing else in the folder is served."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

PAGE = Path(__file__).with_name("page")
_FILES = {
    "index.html": "text/html; charset=utf-8",
    **{
        f"{name}.js": "text/javascript; charset=utf-8"
        for name in ("page", "parts", "service", "ask", "camera", "crop", "choose", "items", "inbox", "catalog", "good")
    },
    "page.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


def page_routes() -> APIRouter:
    """The routes of the page's files."""
    router = APIRouter(include_in_schema=False)
    for name, kind in _FILES.items():
        router.add_api_route("/" if name == "index.html" else f"/{name}", _file(name, kind))
    return router


def _file(name: str, kind: str) -> Callable[[], Awaitable[FileResponse]]:
    async def file() -> FileResponse:
        return FileResponse(PAGE / name, media_type=kind, headers={"Cache-Control": "no-cache"})

    return file

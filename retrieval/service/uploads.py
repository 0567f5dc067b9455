"""Photos and objects out of a request: in memory, never on disk, never more than allowed."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from retrieval.service.problems import Problem

MOST = 16
"""Photos of one request."""
MAX_BYTES = 32 * 2**20
"""A photo's bytes at most, and half of what a form may have: several requests are held in memory at once."""

MAX_JSON_BYTES = 2**20
"""Bytes of a JSON body at most."""

_FORM = "multipart/form-data"
_FIELDS = ("photo", "photos", "file", "files", "image")
_OVERHEAD = 65_536


class _InMemory(MultiPartParser):
    """Keeps every part in memory: what somebody asks about must not stay on the disk of the service."""

    spool_max_size = 2 * MAX_BYTES


@dataclass(frozen=True, slots=True)
class Upload:
    """A photo that came in.

    Attributes:
        name: what its sender calls it; only shown.
        data: its bytes.
    """

    name: str
    data: bytes


async def read_photos(request: Request) -> list[Upload]:
    """The photos of a request, in order.

    Raises:
        Problem: 400 when there is none or the form is broken, 413 when there are too many bytes or photos, 415 for a
            body that is neither an image nor a form.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == _FORM:
        return await _form(request)
    if kind.startswith("image/") or kind == "application/octet-stream":
        data = b"".join([part async for part in _bounded(request, MAX_BYTES)])
        if not data:
            raise Problem(400, "no-photo", "expected a photo as the body, received nothing")
        return [Upload("photo", data)]
    raise Problem(
        415,
        "unsupported-type",
        f"expected an image or {_FORM}, received {kind or 'no Content-Type'}",
        hint="curl -F photo=@photo.jpg, or --data-binary @photo.jpg with -H 'Content-Type: image/jpeg'",
    )


async def read_photo(request: Request) -> Upload:
    """The one photo of a request.

    Raises:
        Problem: as `read_photos`; 413 when there are several.
    """
    uploads = await read_photos(request)
    if len(uploads) > 1:
        raise Problem(413, "too-many-photos", "expected one photo, received several")
    return uploads[0]


async def read_object(request: Request) -> dict[str, Any]:
    """The JSON object that a request's body is.

    Raises:
        Problem: 400 for another body, 413 for too many bytes, 415 when it is not said to be JSON.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem(415, "unsupported-type", f"expected application/json, received {kind or 'no Content-Type'}")
    data = b"".join([part async for part in _bounded(request, MAX_JSON_BYTES)])
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Problem(400, "broken-json", "expected a JSON object, received what is no JSON") from error
    if not isinstance(value, dict):
        raise Problem(400, "broken-json", f"expected a JSON object, received {type(value).__name__}")
    return value


async def _form(request: Request) -> list[Upload]:
    _declared(request, _InMemory.spool_max_size)
    parser = _InMemory(
        request.headers,
        _bounded(request, _InMemory.spool_max_size),
        max_files=MOST,
        max_fields=MOST,
        max_part_size=_OVERHEAD,
    )
    try:
        form: FormData = await parser.parse()
    except (MultiPartException, KeyError, ValueError, UnicodeError) as error:
        if "Too many files" in str(error):
            raise Problem(413, "too-many-photos", f"expected at most {MOST} photos, received more") from error
        raise Problem(
            400, "broken-form", f"expected a form that can be read, received a broken one: {error}"
        ) from error
    try:
        found = [
            Upload(value.filename or f"photo {place}", await value.read())
            for place, (name, value) in enumerate(form.multi_items(), 1)
            if isinstance(value, UploadFile) and name.removesuffix("[]") in _FIELDS
        ]
    finally:
        await form.close()
    if not found:
        raise Problem(400, "no-photo", "expected a photo in the form's field `photo`, received none")
    return found


def _declared(request: Request, most: int) -> None:
    """Refuse a body that says beforehand that it is too large."""
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length) > most:
        raise _too_large(most)


async def _bounded(request: Request, most: int) -> AsyncGenerator[bytes, None]:
    _declared(request, most)
    seen = 0
    try:
        async for part in request.stream():
            seen += len(part)
            if seen > most:
                raise _too_large(most)
            yield part
    except ClientDisconnect as error:
        raise Problem(400, "disconnected", "expected the whole body, received a part of it") from error


def _too_large(most: int) -> Problem:
    return Problem(413, "too-many-bytes", f"expected at most {most:,} bytes, received more")

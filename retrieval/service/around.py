"""What is around every answer: an id, headers that keep browsers safe, a place in the metrics, one shape of errors."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from retrieval.errors import ItemrecError
from retrieval.service.observed import Observed
from retrieval.service.problems import Problem
from retrieval.system.text import printable

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; manifest-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
_SAFE = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def wrap(app: FastAPI, observed: Observed, origins: frozenset[str]) -> None:
    """Put it around an application.

    Args:
        app: whose requests.
        observed: counts them.
        origins: pages of elsewhere that may change something.
    """

    def answer(request: Request, problem: Problem) -> JSONResponse:
        observed.refused(problem.code)
        ident = getattr(request.state, "id", "")
        return JSONResponse(problem.to_json(ident), problem.status, headers=problem.headers)

    @app.middleware("http")
    async def around(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        sent = request.headers.get("x-request-id", "")
        request.state.id = sent if _REQUEST_ID.fullmatch(sent) else secrets.token_hex(8)
        start = time.perf_counter()
        if request.method not in ("GET", "HEAD", "OPTIONS") and _from_elsewhere(request, origins):
            problem = Problem(403, "other-origin", "expected a request of this page, received one of another")
            response: Response = answer(request, problem)
        else:
            response = await call_next(request)
        response.headers["X-Request-Id"] = request.state.id
        for name, value in _SAFE.items():
            response.headers.setdefault(name, value)
        if "Cache-Control" not in response.headers:
            response.headers["Cache-Control"] = "no-store"
        route = request.scope.get("route")
        path = getattr(route, "path", "other")
        observed.request(path, response.status_code, time.perf_counter() - start)
        return response

    _errors(app, answer)


def _from_elsewhere(request: Request, origins: frozenset[str]) -> bool:
    """True for what another site's page sent: without keys, its forms would reach a service on this machine."""
    site = request.headers.get("sec-fetch-site", "none")
    if site in ("none", "same-origin"):
        return False
    return request.headers.get("origin", "") not in origins


def _errors(app: FastAPI, answer: Callable[[Request, Problem], JSONResponse]) -> None:
    """Everything that goes wrong becomes ``itemrec.error/1``."""

    async def ours(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ItemrecError)
        return answer(request, Problem.of(error))

    async def problem(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Problem)
        return answer(request, error)

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return answer(request, Problem(422, "wrong-usage", _first(error.errors())))

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        codes: Mapping[int, str] = {404: "no-such-address", 405: "wrong-method"}
        code = codes.get(error.status_code, "wrong-request")
        headers = dict(error.headers or {})
        return answer(request, Problem(error.status_code, code, str(error.detail), headers=headers))

    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        message = f"something unexpected broke: {type(error).__name__}"
        return answer(request, Problem(500, "broke", message, hint="The service's log says more."))

    app.add_exception_handler(ItemrecError, ours)
    app.add_exception_handler(Problem, problem)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, unexpected)


def _first(faults: Sequence[Mapping[str, Any]]) -> str:
    """The first fault of a request's parameters, in one line."""
    fault = faults[0]
    name = ".".join(str(part) for part in fault["loc"][1:]) or "the request"
    return f"{printable(name)}: {printable(str(fault['msg']))}"

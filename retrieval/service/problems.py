"""One shape for everything that goes wrong: ``itemrec.error/1``, a status, and the request's id."""

from __future__ import annotations

from typing import Any

from retrieval.errors import (
    AccessDeniedError,
    BundleError,
    CatalogError,
    DiskFullError,
    EncoderError,
    ImageError,
    IndexBusyError,
    IndexDamagedError,
    IndexNotFoundError,
    ItemrecError,
    ModelMismatchError,
    ModelNotFoundError,
    ServerError,
    StoreError,
    UsageError,
)

SCHEMA = "itemrec.error/1"

_STATUS: tuple[tuple[type[ItemrecError], int, str], ...] = (
    (ImageError, 422, "refused-photo"),
    (CatalogError, 503, "catalog-unreadable"),
    (ModelNotFoundError, 503, "model-not-found"),
    (UsageError, 422, "wrong-usage"),
    (ModelMismatchError, 409, "other-model"),
    (IndexBusyError, 503, "index-busy"),
    (IndexNotFoundError, 503, "no-index"),
    (IndexDamagedError, 503, "index-damaged"),
    (AccessDeniedError, 503, "index-access-denied"),
    (ServerError, 503, "index-server"),
    (DiskFullError, 503, "disk-full"),
    (StoreError, 503, "index-unreadable"),
    (BundleError, 503, "model-damaged"),
    (EncoderError, 500, "model-failed"),
)
RETRY_SECONDS = 2
"""After which a request that met a busy service or index is worth another try."""


class Problem(Exception):  # noqa: N818 (an answer of the service, named after RFC 9457)
    """A request that is answered with an error.

    Attributes:
        status: of HTTP.
        code: a short stable name.
        message: one line: what was expected and what came, or what happened.
        hint: one line: what to do; may be empty.
        headers: to send along.
        error: the name of the error's class, as `--json` prints it.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        hint: str = "",
        headers: dict[str, str] | None = None,
        error: str = "RequestError",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.hint = hint
        self.error = error
        self.headers = headers or {}
        if status in (429, 503) and "Retry-After" not in self.headers:
            self.headers = {**self.headers, "Retry-After": str(RETRY_SECONDS)}

    @classmethod
    def of(cls, error: ItemrecError) -> Problem:
        """How the service answers one of our own errors."""
        status, code = next(((s, c) for kind, s, c in _STATUS if isinstance(error, kind)), (500, "broke"))
        reason = getattr(error, "reason", None)
        if reason == "too-many-bytes":
            status = 413
        return cls(status, str(reason or code), error.message, hint=error.hint, error=type(error).__name__)

    def to_json(self, request_id: str) -> dict[str, Any]:
        """The ``itemrec.error/1`` document."""
        return {
            "schema": SCHEMA,
            "error": self.error,
            "status": self.status,
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "request_id": request_id,
        }

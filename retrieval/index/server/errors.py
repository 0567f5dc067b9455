"""What qdrant-client, httpx and gRPC raise, in our terms, and whether it may be tried again.

Every operation that itemrec sends can be repeated: points are written by id, aliases by name. So whatever may be
over in a moment is tried again: no connection, no answer in time, a connection cut in mid-answer, 429, 5xx. A full or
read-only disk, a wrong key, or an answer that is none of Qdrant's is not.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from retrieval.errors import (
    AccessDeniedError,
    DiskFullError,
    ItemrecError,
    ServerError,
    ServerUnreachableError,
    ServerUnsuitableError,
    StoreError,
)

_RETRIED_STATUS = (408, 425, 429, 500, 502, 503, 504)
_FULL = ("No space left", "os error 28", "StorageFull", "disk space")
_READ_ONLY = ("Read-only file system", "os error 30", "ReadOnlyFilesystem", "read-only mode", "recovery mode")
_QUORUM = (
    "enough active replicas",
    "at least one `Active` replica",
    "No active replica",
    "Replica set is not available",
    "consensus",
    "quorum",
    "Consensus",
    "leader is not established",
    # Of a node that its neighbor did not reach: a read of its shard, or a write that needed it, as Qdrant 1.16 to 1.18
    # pass them on. No client of ours says so of its own connection.
    "Tonic status error: code: 'The service is currently unavailable'",
    "Tonic status error: code: 'Deadline expired",
    "Tonic status error: status: Unavailable",
    "Tonic status error: status: DeadlineExceeded",
    "has no active replica",
    "deactivation timed out",
    "Expected at least one response for one query",
)
_PEER = re.compile(r"Failed to connect to https?://(\[[^\]]+\]|[^/:\s]+)")
"""The node that another one did not reach, in what that one says."""
_GRPC_RETRIED = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "INTERNAL", "ABORTED", "UNKNOWN")


class MissingError(StoreError):
    """The server has no such collection; whoever asked knows what that means."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An error in our terms.

    Attributes:
        error: to raise.
        again: it may be over in a moment.
        refused: nobody listens at all, which for a first contact means a wrong URL.
        after: the server asked to wait this many seconds.
    """

    error: StoreError
    again: bool = False
    refused: bool = False
    after: float = 0.0


def map_error(error: Exception, action: str, where: str) -> Failure | None:
    """An error of the client or the network in our terms; None for one that is not the server's or the network's.

    Args:
        error: as raised by the client.
        action: what was wanted, as a verb phrase.
        where: the URL.
    """
    import grpc
    from qdrant_client.common.client_exceptions import ResourceExhaustedResponse
    from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

    if isinstance(error, ItemrecError):
        return None
    if isinstance(error, ResourceExhaustedResponse):
        return _busy(action, where, error.retry_after_s)
    if isinstance(error, UnexpectedResponse):
        return _status(error.status_code or 0, _said(error.content), action, where)
    if isinstance(error, ResponseHandlingException):
        return _transport(error.source, action, where)
    if isinstance(error, grpc.RpcError):
        return _rpc(error, action, where)
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError) or type(error).__name__ == "ValidationError":
        return Failure(_not_qdrant(f"an answer that is not Qdrant's ({type(error).__name__})", action, where))
    # The client in this process, which tests use, raises ValueError; gRPC's own set-up a RuntimeError.
    if isinstance(error, ValueError) and "not found" in str(error):
        return Failure(MissingError(f"Cannot {action} at {where}: {error}"))
    if isinstance(error, ValueError | RuntimeError | TypeError | AssertionError):
        return Failure(_server_error(str(error), action, where))
    return None


def _status(status: int, said: str, action: str, where: str) -> Failure:
    if status in (401, 403) and not any(sign in said for sign in _READ_ONLY):
        return Failure(_denied(said, action, where))
    if status == 404:
        if "doesn't exist" in said or "not found" in said.lower():
            return Failure(MissingError(f"Cannot {action} at {where}: {said:.200}"))
        return Failure(_not_qdrant(f"status 404 ({said:.80})", action, where))
    if status == 429:
        return _busy(action, where, 0)
    if 300 <= status < 400:
        return Failure(_not_qdrant(f"a redirection (status {status})", action, where))
    failure = Failure(_server_error(said or f"status {status}", action, where, status=status))
    return Failure(failure.error, again=status in _RETRIED_STATUS and not isinstance(failure.error, DiskFullError))


def _rpc(error: Any, action: str, where: str) -> Failure:
    code, said = error.code().name, " ".join(str(error.details() or "").split())
    if code in ("UNAUTHENTICATED", "PERMISSION_DENIED") and not any(sign in said for sign in _READ_ONLY):
        return Failure(_denied(said, action, where))
    if code == "NOT_FOUND":
        return Failure(MissingError(f"Cannot {action} at {where}: {said:.200}"))
    if code == "RESOURCE_EXHAUSTED":
        return _busy(action, where, 0)
    if code == "UNIMPLEMENTED":
        return Failure(_not_qdrant(f"gRPC {code}: {said:.80}", action, where))
    if code == "DEADLINE_EXCEEDED":
        return Failure(_silent(action, where), again=True)
    failure = _server_error(f"gRPC {code}: {said}", action, where)
    if code == "UNAVAILABLE" and type(failure) is ServerError:
        return Failure(_gone(f"gRPC {code}: {said:.150}", action, where), again=True)
    return Failure(failure, again=code in _GRPC_RETRIED and not isinstance(failure, DiskFullError))


def _transport(source: BaseException, action: str, where: str) -> Failure:
    import httpx

    said = " ".join(str(source).split()) or type(source).__name__
    if isinstance(source, httpx.ConnectError):
        if "SSL" in said or "CERTIFICATE" in said or "certificate" in said:
            return Failure(
                ServerUnreachableError(
                    f"Cannot {action} at {where}: TLS failure: {said:.200}",
                    hint="http:// for a server without TLS; SSL_CERT_FILE names the certificates to trust",
                )
            )
        return Failure(_gone(said, action, where), again=True, refused=True)
    if isinstance(source, httpx.TimeoutException):
        return Failure(_silent(action, where), again=True)
    if isinstance(source, httpx.ProtocolError) and "illegal" in said.lower():
        return Failure(_not_qdrant(f"something that is not HTTP ({said:.80})", action, where))
    if isinstance(source, httpx.TransportError):
        return Failure(_gone(f"the connection was cut ({said:.120})", action, where), again=True)
    return Failure(_not_qdrant(f"an answer that cannot be read ({type(source).__name__})", action, where))


def _said(content: bytes) -> str:
    """What a server says went wrong: Qdrant's own words where they are."""
    try:
        said = json.loads(content)["status"]["error"]
    except (ValueError, KeyError, TypeError):
        said = content[:300].decode(errors="replace")
    return " ".join(str(said).split())


def _server_error(said: str, action: str, where: str, status: int = 0) -> StoreError:
    head = f"Cannot {action} at {where}"
    if any(sign in said for sign in _FULL):
        return DiskFullError(
            f"Disk full on the server: cannot {action} at {where} ({said:.150})",
            hint="Free some space there and run the same command again; what was acknowledged is kept",
        )
    if any(sign in said for sign in _READ_ONLY):
        return DiskFullError(
            f"{head}: the server's disk is read-only ({said:.150})",
            hint="Repair or remount its storage, and see the server's log; queries may still be answered",
        )
    if any(sign in said for sign in _QUORUM):
        return ServerError(
            f"{head}: too few nodes of the cluster answer ({_missing_nodes(said) or f'{said:.150}'})",
            hint="Bring its nodes back (GET /cluster lists them) and run the same command again",
        )
    prefix = f"status {status}: " if status and not said.startswith("status") else ""
    return ServerError(f"{head}: {prefix}{said:.300}", hint="See the server's log")


def _missing_nodes(said: str) -> str:
    """Which nodes others did not reach, in a few words; empty where no name is said."""
    names = sorted(set(_PEER.findall(said)))
    return f"{', '.join(names)} {'does' if len(names) == 1 else 'do'} not" if names else ""


def _busy(action: str, where: str, after: float) -> Failure:
    error = ServerError(
        f"Cannot {action} at {where}: too many requests (status 429)",
        hint="Try again later, or with fewer workers",
    )
    return Failure(error, again=True, after=float(after))


def _denied(said: str, action: str, where: str) -> AccessDeniedError:
    return AccessDeniedError(
        f"Not allowed to {action} at {where}: {said:.150}",
        hint="Set QDRANT_API_KEY in the environment to a key that may do this",
    )


def _silent(action: str, where: str) -> ServerUnreachableError:
    return ServerUnreachableError(
        f"Cannot {action} at {where}: no answer in time",
        hint="Is the server overloaded? ITEMREC_TIMEOUT gives each request more seconds",
    )


def _gone(said: str, action: str, where: str) -> ServerUnreachableError:
    return ServerUnreachableError(
        f"Cannot {action} at {where}: no connection: {said:.150}",
        hint="Is the URL right and the server running? Ask its /readyz",
    )


def _not_qdrant(said: str, action: str, where: str) -> ServerUnsuitableError:
    return ServerUnsuitableError(
        f"Cannot {action} at {where}: it is no Qdrant server and sent {said}",
        hint="Check the URL; Qdrant's REST interface listens on port 6333",
    )

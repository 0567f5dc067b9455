"""The client behind one door: every request goes through `Link`, which retries, maps errors, and leaves dead nodes."""

from __future__ import annotations

import random
import ssl
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from retrieval.errors import ServerUnreachableError, ServerUnsuitableError, StoreError, UsageError
from retrieval.index.server.errors import Failure, map_error
from retrieval.index.server.nodes import LOOK_SECONDS, Clients, Nodes, require_one_cluster
from retrieval.system.installation import install_hint, missing

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

    from retrieval.index.server.address import Address

T = TypeVar("T")

MIN_VERSION = (1, 16)
"""Collections carry metadata from this release on; generations are described there."""
PARALLEL = 4
"""Requests in flight while writing."""
READ_PATIENCE = 10.0
WRITE_PATIENCE = 300.0
"""How long a request is tried again, in seconds: a node of a cluster that restarts takes a minute or two."""
FIRST_PATIENCE = 2.0
"""How long the very first request is tried again, in seconds: a wrong URL should not take minutes to say so."""
FIRST_TIMEOUT = 10
"""How long the very first request may take, in seconds."""
_FIRST_DELAY = 0.1
_LONGEST_DELAY = 10.0


@dataclass(slots=True)
class Link:
    """A connection to one server.

    Attributes:
        client: qdrant-client, in whatever mode; collections and aliases are asked for through it, over REST.
        fast: another one for points, over gRPC; None to ask for points as for everything else.
        where: the URL, for messages.
        notify: told once when a request has to be tried again.
        parallel: requests in flight while writing.
        read_patience: how long a read is tried again, in seconds.
        write_patience: how long a write is tried again, in seconds.
        tried_again: how many requests were repeated.
        nodes: the addresses of a cluster, where there are several: one that fails is left for the next.
    """

    client: QdrantClient
    where: str
    notify: Callable[[str], None] = lambda line: None
    parallel: int = PARALLEL
    read_patience: float = READ_PATIENCE
    write_patience: float = WRITE_PATIENCE
    fast: QdrantClient | None = None
    tried_again: int = 0
    nodes: Nodes | None = None
    _pool: ThreadPoolExecutor | None = field(default=None, repr=False)

    @property
    def data(self) -> QdrantClient:
        """The client for points."""
        return self.fast or self.client

    def read(self, action: str, request: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Ask; see `retrieval.index.server.errors` for what may be raised."""
        return self._try(action, self.read_patience, lambda: request(*arguments, **options))

    def write(self, action: str, request: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Write; returns when it is acknowledged."""
        return self._try(action, self.write_patience, lambda: request(*arguments, **options))

    def write_all(self, action: str, requests: list[Callable[[], Any]]) -> None:
        """Several writes, `parallel` of them at a time; returns when all are acknowledged, raises the first error."""
        if len(requests) == 1 or self.parallel == 1:
            for request in requests:
                self._try(action, self.write_patience, request)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.parallel, thread_name_prefix="itemrec-server")
        futures = [self._pool.submit(self._try, action, self.write_patience, request) for request in requests]
        try:
            for future in futures:
                future.result()
        finally:
            for future in futures:
                future.cancel()

    def _try(self, action: str, patience: float, request: Callable[[], T]) -> T:
        deadline = time.monotonic() + patience
        attempt = 0
        failed: dict[int, Failure] = {}
        while True:
            at = self.nodes.at if self.nodes is not None else 0
            try:
                return request()
            except Exception as error:
                where = self.nodes.addresses[at].url if self.nodes is not None else self.where
                failure = map_error(error, action, where)
                if failure is None:
                    raise
                failed[at] = failure
                moved = failure.again and self._elsewhere(at, failure, failed)
                wait = 0.0 if moved else self._wait(failure, attempt)
                if not moved and (not failure.again or time.monotonic() + wait > deadline):
                    raise self._verdict(action, failure, failed) from error
                if attempt == 0 and patience == self.write_patience and not moved:
                    self.notify(f"{failure.error.message}; trying again for up to {patience:.0f} s")
            attempt += not moved
            self.tried_again += 1
            time.sleep(wait)

    def _elsewhere(self, at: int, failure: Failure, failed: dict[int, Failure]) -> bool:
        """Go on to the next address; True when it was not tried for this request yet, so that nobody need wait."""
        if self.nodes is None:
            return False
        self.nodes.move(at)
        following = self.nodes.at
        if following in failed:
            return False
        self.notify(f"{failure.error.message}; asking {self.nodes.addresses[following].host_and_port}")
        return True

    def _verdict(self, action: str, failure: Failure, failed: dict[int, Failure]) -> StoreError:
        """What to raise: what a node that answers said, or one line for all addresses when none of them does."""
        addresses = self.nodes.addresses if self.nodes is not None else ()
        answered = [f.error for f in failed.values() if not isinstance(f.error, ServerUnreachableError)]
        if len(failed) < 2 or answered:
            return answered[-1] if answered else failure.error
        said = "; ".join(
            f"{addresses[n].host_and_port}: {f.error.message.partition(addresses[n].url + ': ')[2].partition(':')[0]}"
            for n, f in sorted(failed.items())
        )
        return ServerUnreachableError(
            f"Cannot {action}: none of {len(addresses)} addresses answers ({said})", hint=failure.error.hint
        )

    @staticmethod
    def _wait(failure: Failure, attempt: int) -> float:
        """Exponential, with full jitter, so that many workers do not come back in step."""
        longest = min(_LONGEST_DELAY, _FIRST_DELAY * 2.0**attempt)
        return failure.after + random.uniform(longest / 4, longest)

    def check_version(self) -> None:
        """Refuse what is no Qdrant server, or too old a one; the first request to a server.

        Raises:
            ServerUnreachableError: nobody listens there, or nobody answers.
            AccessDeniedError: it wants another key.
            ServerUnsuitableError: it is no Qdrant server, or older than `MIN_VERSION`.
        """
        info = self._try("ask for the version", FIRST_PATIENCE, self.client.info)
        numbers = str(info.version).split("-")[0].split(".")
        if "qdrant" not in str(info.title).lower() or not all(n.isdigit() for n in numbers[:2]):
            raise ServerUnsuitableError(
                f"What answers at {self.where} is no Qdrant server but {info.title!r:.80} {info.version!r:.40}",
                hint="Check the URL; Qdrant's REST interface listens on port 6333",
            )
        if tuple(map(int, numbers[:2])) < MIN_VERSION:
            raise ServerUnsuitableError(
                f"The server at {self.where} is Qdrant {info.version}, older than {'.'.join(map(str, MIN_VERSION))}",
                hint="Upgrade the server, one minor release at a time",
            )

    def close(self) -> None:
        """Let go of the connections."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        self.client.close()
        if self.fast is not None:
            self.fast.close()


def connect(address: Address, notify: Callable[[str], None], *, timeout: int = 0, fast: bool = True) -> Link:
    """A link to the server at an address, over gRPC for points if its port answers; nothing is asked yet.

    Args:
        address: the server.
        notify: see `Link`.
        timeout: of one request, in seconds; 0 takes the address's.
        fast: False to leave gRPC alone.

    Raises:
        UsageError: qdrant-client is not installed.
    """
    rest, points = _clients(address, notify, timeout, fast)
    return Link(rest, address.url, notify, read_patience=READ_PATIENCE, write_patience=WRITE_PATIENCE, fast=points)


def connect_any(
    addresses: Sequence[Address], notify: Callable[[str], None], *, timeout: int = 0, fast: bool = True, at: int = 0
) -> Link:
    """A link to one server, or to a cluster by several of its addresses; see `connect`.

    Args:
        addresses: one or more; another one is asked when one does not answer.
        notify: see `Link`.
        timeout: see `connect`, as ``fast``.
        fast: False to leave gRPC alone.
        at: which of several to ask first.

    Raises:
        UsageError: qdrant-client is not installed.
    """
    if len(addresses) == 1:
        return connect(addresses[0], notify, timeout=timeout, fast=fast)
    nodes = Nodes(addresses, lambda address: _clients(address, notify, timeout, fast), at=at)
    return Link(
        nodes.rest,
        ",".join(address.url for address in addresses),
        notify,
        read_patience=READ_PATIENCE,
        write_patience=WRITE_PATIENCE,
        fast=nodes.points if fast else None,
        nodes=nodes,
    )


def one_cluster(addresses: Sequence[Address]) -> None:
    """Refuse addresses of different clusters; see `require_one_cluster`.

    Raises:
        UsageError: they are.
    """

    def ask(address: Address) -> Any:
        client, _ = _clients(address, lambda line: None, LOOK_SECONDS, False)
        try:
            return client.cluster_status()
        finally:
            client.close()

    require_one_cluster(addresses, ask)


def _clients(address: Address, notify: Callable[[str], None], timeout: int, fast: bool) -> Clients:
    try:
        import httpx
        from qdrant_client import QdrantClient
    except ImportError as error:
        raise UsageError(
            missing("qdrant-client", f"the index at {address.url}", error),
            hint=install_hint("server"),
        ) from error

    # Reading the authorities of this machine takes longer than a small request, and without TLS nobody asks them.
    # A context that knows none, rather than no verification: what turns to https after all is not trusted blindly.
    security: dict[str, Any] = {} if address.tls else {"verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)}

    def client(grpc_port: int | None) -> QdrantClient:
        with warnings.catch_warnings():
            # It warns of unencrypted keys in its own words.
            warnings.simplefilter("ignore")
            return QdrantClient(
                host=address.host,
                port=address.port,
                https=address.tls,
                prefix=address.prefix or None,
                api_key=address.api_key,
                timeout=timeout or address.timeout,
                prefer_grpc=grpc_port is not None,
                grpc_port=grpc_port or 0,
                check_compatibility=False,
                # Its default for this machine is a new connection for every request.
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=PARALLEL),
                **security,
            )

    rest = client(None)
    grpc_port = address.answering_grpc_port() if fast else None
    if grpc_port is None:
        return rest, None
    points = client(grpc_port)
    try:
        points.info()
    except Exception as error:
        failure = map_error(error, "use gRPC", f"{address.host}:{grpc_port}")
        if failure is None:
            raise
        # Something listens there that is no Qdrant, or a proxy that does not let gRPC through.
        notify(f"{failure.error.message}; using REST")
        points.close()
        return rest, None
    return rest, points

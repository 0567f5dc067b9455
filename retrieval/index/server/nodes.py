"""Several addresses of one cluster: the first that answers is asked, another one when it does not answer any more."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

from retrieval.errors import UsageError

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

    from retrieval.index.server.address import Address

LOOK_SECONDS = 1
"""How long an address may take to say which cluster it belongs to; one that is silent may be a dead node."""

Clients = tuple["QdrantClient", "QdrantClient | None"]
"""Of one node: for everything, over REST; for points, over gRPC, where its port answers."""


class Nodes:
    """The addresses of a cluster, and which of them is asked now. Thread-safe."""

    def __init__(self, addresses: Sequence[Address], connect: Callable[[Address], Clients], *, at: int = 0) -> None:
        """Connect to nothing yet.

        Args:
            addresses: two or more.
            connect: makes the clients of one; nothing need answer there.
            at: which to ask first.
        """
        self.addresses = tuple(addresses)
        self.at = at
        self._connect = connect
        self._clients: dict[int, Clients] = {}
        self._lock = threading.Lock()

    @property
    def rest(self) -> QdrantClient:
        """A client for everything, which asks whichever node is asked when it is called."""
        return cast("QdrantClient", _Asking(self, 0))

    @property
    def points(self) -> QdrantClient:
        """The same, over gRPC where the node that is asked has it."""
        return cast("QdrantClient", _Asking(self, 1))

    def move(self, failed: int) -> None:
        """Ask the next address from now on, unless somebody else moved on from the one that failed already."""
        with self._lock:
            if self.at == failed:
                self.at = (failed + 1) % len(self.addresses)

    def clients(self) -> Clients:
        """The clients of the node that is asked now."""
        with self._lock:
            at = self.at
            if at not in self._clients:
                self._clients[at] = self._connect(self.addresses[at])
            return self._clients[at]

    def close(self) -> None:
        """Let go of all connections."""
        with self._lock:
            for client in (c for pair in self._clients.values() for c in pair if c is not None):
                client.close()
            self._clients = {}


class _Asking:
    """Stands where a client stands."""

    def __init__(self, nodes: Nodes, which: int) -> None:
        self._nodes = nodes
        self._which = which

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def ask(*arguments: Any, **options: Any) -> Any:
            clients = self._nodes.clients()
            return getattr(clients[self._which] or clients[0], name)(*arguments, **options)

        return ask

    def close(self) -> None:
        self._nodes.close()


def require_one_cluster(addresses: Sequence[Address], ask: Callable[[Address], Any]) -> None:
    """Refuse addresses that lead to different clusters, as far as those that answer tell.

    Args:
        addresses: two or more.
        ask: what an address answers about its cluster, an object with ``peers`` by id, or raises.

    Raises:
        UsageError: two of them have no node in common.
    """

    def peers(address: Address) -> frozenset[str] | None:
        with contextlib.suppress(Exception):
            return frozenset(getattr(ask(address), "peers", None) or {})
        return None

    with ThreadPoolExecutor(len(addresses)) as pool:
        found = [(a, p) for a, p in zip(addresses, pool.map(peers, addresses), strict=True) if p is not None]
    for address, theirs in found[1:]:
        if not theirs & found[0][1]:
            first, reason = found[0][0], "they have no node in common"
            if not theirs or not found[0][1]:
                reason = f"{(address if not theirs else first).host_and_port} is no node of a cluster"
            raise UsageError(
                f"expected addresses of one cluster, received {first.host_and_port} and {address.host_and_port}: "
                f"{reason}",
                hint="Name nodes of one cluster, as GET /cluster lists them, or one server alone",
            )

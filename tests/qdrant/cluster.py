"""Several stand-in servers as nodes of one cluster: any of them may die, and the others say what Qdrant says then.

All answer from one place, as a cluster with a copy everywhere would. What a lost node means follows from the layout
that a collection was made with: a read fails when as many nodes are lost as a shard has copies, a write when fewer
copies are left than must acknowledge it, and what the cluster agrees on when half of the nodes or more are lost. The
words are those of Qdrant 1.16 to 1.18.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from tests.qdrant.double import Double, Request, serving

GONE = (
    "Service internal error: Tonic status error: code: 'The service is currently unavailable', "
    'message: "Failed to connect to http://node-{node}:6335/, error: transport error"'
)
NO_READ = "Service internal error: 1 of 1 read operations failed:\n  " + GONE
NO_NAME = (
    "Service internal error: 1 of 1 read operations failed:\n  Service internal error: Tonic status error: "
    "code: 'The service is currently unavailable', message: \"dns error\", source: tonic::transport::Error(Transport, "
    'ConnectError(ConnectError("dns error", Custom { kind: Uncategorized, error: "failed to lookup address '
    'information: Name or service not known" })))'
)
NOT_ACTIVE = "Service internal error: The replica set for shard 1 on peer 4 does not have enough active replicas"
NO_CONSENSUS = "Service internal error: Waiting for consensus operation commit failed. Timeout set at: 10 seconds"
NO_LEADER = "Service internal error: Failed to propose operation: leader is not established within 10s"
SILENT = (
    "Service internal error: 1 of 1 read operations failed:\n  Service internal error: Tonic status error: "
    "code: 'Deadline expired before operation could complete', message: \"Timeout expired\""
)
OLD = (
    "Service internal error: 1 of 1 read operations failed:\n  Service internal error: Tonic status error: "
    'status: Unavailable, message: "Failed to connect to http://node-2.qdrant-headless:6335/, error: transport error", '
    "details: [], metadata: MetadataMap { headers: {} }"
)

_READS = ("count", "scroll", "query", "query/batch")


@dataclass
class Cluster:
    """Nodes, the first of which was asked to make the collections.

    Attributes:
        nodes: all of them.
        lost: the numbers of those that are dead.
        layouts: replicas and write consistency of each collection.
    """

    nodes: list[Double]
    lost: set[int] = field(default_factory=set)
    layouts: dict[str, tuple[int, int]] = field(default_factory=dict)

    def url(self, name: str) -> str:
        """All addresses of an index."""
        return ",".join(node.url(f"/{name}") for node in self.nodes)

    def before(self, number: int, request: Request) -> bool:
        """What a node says before it would answer; True when that was all."""
        if number in self.lost:
            request.reset()
            return True
        steps = [step for step in request.path.split("/") if step]
        if request.method == "GET" or not self.lost or steps[0] != "collections":
            self._note(request, steps)
            return False
        rest = "/".join(steps[2:])
        if rest and steps[1] != "aliases" and steps[1] not in self.layouts:
            return False  # there is no such collection, which every node knows
        replicas, acknowledged = self.layouts.get(steps[1], (1, 1))
        node = min(self.lost)
        if rest in ("", "index") or steps[1] == "aliases":
            return self._refuse(request, 2 * len(self.lost) >= len(self.nodes), NO_CONSENSUS)
        if rest.removeprefix("points/") in _READS or rest == "facet" or (rest == "points" and "ids" in request.body):
            return self._refuse(request, len(self.lost) >= replicas, NO_READ.format(node=node))
        return self._refuse(request, replicas - len(self.lost) < acknowledged, GONE.format(node=node))

    def _note(self, request: Request, steps: list[str]) -> None:
        if request.method == "PUT" and len(steps) == 2:
            body = request.body
            self.layouts[steps[1]] = (body.get("replication_factor") or 1, body.get("write_consistency_factor") or 1)

    @staticmethod
    def _refuse(request: Request, wrong: bool, said: str) -> bool:
        if wrong:
            request.refuse(500, said)
        return wrong


@contextmanager
def clustered(count: int = 3) -> Iterator[Cluster]:
    """Run a cluster in this process until the context is left."""
    with ExitStack() as stack:
        cluster = Cluster([stack.enter_context(serving()) for _ in range(count)])
        for number, node in enumerate(cluster.nodes):
            node.client, node.lock, node.peers = cluster.nodes[0].client, cluster.nodes[0].lock, count
            node.before = lambda request, number=number: cluster.before(number, request)  # type: ignore[misc]
        yield cluster

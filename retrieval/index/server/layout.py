"""Pure: how a collection is laid out on a server, from how many pictures are expected and how many nodes there are.

| pictures a node | vectors     | int8 copy in memory | graph   | index built    |
|-----------------|-------------|---------------------|---------|----------------|
| below 100,000   | memory      | no                  | memory  | while loading  |
| below 1 million | memory      | no                  | memory  | after loading  |
| below 20 million| disk        | yes                 | memory  | after loading  |
| above           | disk        | yes                 | disk    | after loading  |

| nodes         | replicas | acknowledged by | one node lost: reads | writes             | switching generations |
|---------------|----------|-----------------|----------------------|--------------------|-----------------------|
| 1             | 1        | 1               | wait                 | wait               | waits                 |
| 2             | 2        | 2               | go on                | wait until it is back | waits              |
| 3 and more    | 3        | 2               | go on                | go on              | goes on               |

A write is acknowledged by most of the replicas, so that what is acknowledged outlives a node and a lost node stops
nothing. With two nodes it cannot be both: the cluster agrees by majority, and one of two is none.
Shards: one a node, or two from 10 million pictures a node on, so that a node more can take its part.
The bytes are arithmetic from the formats, not measurements: see docs/guides/scale.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from retrieval.errors import UsageError
from retrieval.index import hnsw

BULK_FROM = 100_000
QUANTIZED_FROM = 1_000_000
GRAPH_ON_DISK_FROM = 20_000_000
TWO_SHARDS_FROM = 10_000_000
REPLICAS = 3
"""Copies of every shard, where there are so many nodes: the fewest of which most are left when one is lost."""
RECORD_BYTES = 700
"""Product id, path, hash and six columns of metadata, twice (text and keywords)."""
POINT_BYTES = 120
"""Id tracker and keyword index of one point, in memory."""
GRAPH_BYTES = hnsw.M * 2 * 4 * 5 // 4
"""Links of one point: 2 m on the lowest level, a quarter more for the levels above and the lists' heads."""
REWRITE = 1.5
"""The optimizer writes a new segment before it drops the old one."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What `itemrec index` asks of the server when it creates a collection; every field can be given by hand.

    Attributes:
        images: expected number of pictures.
        dimension: length d of the vectors.
        nodes: nodes of the cluster.
        shards: parts of the collection.
        replicas: copies of every shard.
        write_consistency: copies that must be written before a write is acknowledged.
        on_disk: vectors are mapped from disk instead of held in memory.
        quantized: an int8 copy of the vectors in memory ranks first, the floats rank again.
        graph_on_disk: the HNSW graph is mapped from disk.
        bulk: no graph is built while loading; all of it after.
    """

    images: int
    dimension: int
    nodes: int
    shards: int
    replicas: int
    write_consistency: int
    on_disk: bool
    quantized: bool
    graph_on_disk: bool
    bulk: bool

    @classmethod
    def choose(
        cls, images: int, dimension: int, nodes: int = 1, overrides: Mapping[str, int | bool | None] | None = None
    ) -> Self:
        """The row of the table, with what was given by hand instead.

        Args:
            images: expected number of pictures.
            dimension: length d of the vectors.
            nodes: nodes of the cluster.
            overrides: fields by name; None leaves the choice.

        Raises:
            UsageError: more copies than nodes, or more acknowledgments than copies.
        """
        share = images / max(nodes, 1)
        chosen = cls(
            images=images,
            dimension=dimension,
            nodes=max(nodes, 1),
            shards=nodes * (2 if share >= TWO_SHARDS_FROM else 1) if nodes > 1 else 1,
            replicas=min(max(nodes, 1), REPLICAS),
            write_consistency=_most_of(min(max(nodes, 1), REPLICAS)),
            on_disk=share >= QUANTIZED_FROM,
            quantized=share >= QUANTIZED_FROM,
            graph_on_disk=share >= GRAPH_ON_DISK_FROM,
            bulk=images >= BULK_FROM,
        )
        given = {key: value for key, value in (overrides or {}).items() if value is not None}
        if "replicas" in given and "write_consistency" not in given:
            given["write_consistency"] = _most_of(int(given["replicas"]))
        layout = replace(chosen, **given)  # type: ignore[arg-type]
        if not 1 <= layout.replicas <= layout.nodes:
            raise UsageError(
                f"expected at most as many replicas as nodes, {layout.nodes}, received {layout.replicas}",
                hint="Two copies of a shard on one node would be lost together.",
            )
        if not 1 <= layout.write_consistency <= layout.replicas:
            raise UsageError(
                f"expected a write consistency of at most {layout.replicas}, the number of replicas, "
                f"received {layout.write_consistency}"
            )
        return layout

    @property
    def reads_survive(self) -> int:
        """Nodes that may be lost, whichever they are, while every photo is still answered from all pictures."""
        return self.replicas - 1

    @property
    def switches_survive(self) -> int:
        """Nodes that may be lost while the others can agree on a new collection, which one is live, and who writes."""
        return (self.nodes - 1) // 2

    @property
    def writes_survive(self) -> int:
        """Nodes that may be lost, whichever they are, while an index run goes on; it needs the others to agree, too."""
        return min(self.replicas - self.write_consistency, self.switches_survive)

    @property
    def memory(self) -> int:
        """Estimated bytes of memory a node needs to answer without waiting for its disk."""
        vector = self.dimension if self.quantized else 0
        vector += 0 if self.on_disk else 4 * self.dimension
        graph = 0 if self.graph_on_disk else GRAPH_BYTES
        return round(self._points_a_node() * (vector + graph + POINT_BYTES))

    @property
    def disk(self) -> int:
        """Estimated bytes of disk a node needs, with room for the optimizer to rewrite."""
        vector = 4 * self.dimension + (self.dimension if self.quantized else 0)
        return round(self._points_a_node() * (vector + GRAPH_BYTES + RECORD_BYTES) * REWRITE)

    def _points_a_node(self) -> float:
        return self.images * self.replicas / self.nodes

    def to_json(self) -> dict[str, Any]:
        """The ``layout`` of ``itemrec.explain/1``."""
        return asdict(self) | {
            "reads_survive_lost_nodes": self.reads_survive,
            "writes_survive_lost_nodes": self.writes_survive,
            "memory_bytes_a_node": self.memory,
            "disk_bytes_a_node": self.disk,
        }


def _most_of(replicas: int) -> int:
    return replicas // 2 + 1

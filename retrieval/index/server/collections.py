"""What a server holds of an index, how its collections describe themselves, and how new ones are made."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Self

from retrieval.errors import ServerError, UsageError
from retrieval.index import hnsw
from retrieval.index import payload as codec
from retrieval.index.manifest import Manifest
from retrieval.index.server.layout import Layout
from retrieval.index.server.lease import Note
from retrieval.index.server.link import Link
from retrieval.index.sharding import Shard
from retrieval.types import ModelIdentity

KEY = "itemrec"
BUILD_SCHEMA = "itemrec.build/1"
INDEXING_KB = 10_000
"""From so many kilobytes of vectors on a segment gets a graph; the server's own default."""


@dataclass(frozen=True, slots=True)
class BuildRecord:
    """What decides whether an interrupted rebuild can be continued."""

    generation: int
    base: str
    model: ModelIdentity
    schema: str = BUILD_SCHEMA

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self | None:
        """The record in a collection's metadata; None where it is none."""
        try:
            return cls(**(data | {"model": ModelIdentity(**data["model"])}))
        except (TypeError, KeyError):
            return None

    def continues(self, base: str, model: ModelIdentity) -> bool:
        """True when this build is what would be begun anew."""
        mine = (self.base, self.model.fingerprint, self.model.dimension)
        return mine == (base, model.fingerprint, model.dimension)


@dataclass(frozen=True, slots=True)
class Shelf:
    """What the server holds of an index: complete generations, builds, and who writes into which."""

    complete: dict[int, Manifest]
    building: dict[int, BuildRecord]
    notes: dict[int, list[Note]]

    @property
    def next_number(self) -> int:
        """The number of a new build."""
        return max([*self.complete, *self.building], default=0) + 1


def read_metadata(info: Any) -> dict[str, Any] | None:
    """What itemrec wrote into a collection's metadata; None for a collection of another program."""
    try:
        data = json.loads((info.config.metadata or {}).get(KEY) or "null")
    except (TypeError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def create(link: Link, name: str, layout: Layout, metadata: dict[str, str]) -> None:
    """Make an empty collection of that layout, with the indexes that filters use.

    One that is there already and is being built from the same base by the same model is as good: another worker
    made it, or this request was tried again after its answer was lost.
    """
    from qdrant_client import models

    quantization = models.ScalarQuantization(
        scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99, always_ram=True)
    )

    def attempt() -> None:
        try:
            link.client.create_collection(
                name,
                vectors_config=models.VectorParams(
                    size=layout.dimension, distance=models.Distance.EUCLID, on_disk=layout.on_disk
                ),
                hnsw_config=models.HnswConfigDiff(
                    m=hnsw.M, ef_construct=hnsw.EF_CONSTRUCT, on_disk=layout.graph_on_disk
                ),
                optimizers_config=models.OptimizersConfigDiff(indexing_threshold=0 if layout.bulk else INDEXING_KB),
                quantization_config=quantization if layout.quantized else None,
                shard_number=layout.shards,
                replication_factor=layout.replicas,
                write_consistency_factor=layout.write_consistency,
                on_disk_payload=True,
                metadata=metadata,
            )
        except Exception as error:
            if "already exists" not in str(error):
                raise
            found = BuildRecord.from_json(read_metadata(link.client.get_collection(name)) or {})
            wanted = BuildRecord.from_json(json.loads(metadata[KEY]))
            if found is None or wanted is None or not found.continues(wanted.base, wanted.model):
                raise

    link.write("create a collection", attempt)
    for field in (codec.PRODUCT, codec.TAGS):
        link.write(
            "index a field",
            link.client.create_payload_index,
            name,
            field_name=field,
            field_schema=models.PayloadSchemaType.KEYWORD,
            wait=True,
        )


def nodes(link: Link) -> int:
    """Nodes of the cluster; 1 where the server is none."""
    try:
        status = link.read("look at the cluster", link.client.cluster_status)
    except (ServerError, NotImplementedError, UsageError):
        return 1
    return max(1, len(getattr(status, "peers", None) or {}))


def shard_key(shard: Shard) -> str:
    """The metadata key under which a worker says that its part of a build is done."""
    return f"itemrec_shard_{shard.number}_of_{shard.count}"


def shards_out(link: Link, name: str, shard: Shard) -> int:
    """How many workers of a build are not done."""
    metadata = link.read("see who is done", link.client.get_collection, name).config.metadata or {}
    parts = (Shard(number, shard.count) for number in range(1, shard.count + 1))
    return sum(metadata.get(shard_key(part)) != "done" for part in parts)

"""What a server holds of an index, how its collections describe themselves, and how new ones are made."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from retrieval.errors import AccessDeniedError, IndexDamagedError, ServerError, UsageError
from retrieval.index import hnsw
from retrieval.index import payload as codec
from retrieval.index.commands import REBUILD_HINT
from retrieval.index.manifest import Manifest, worth_keeping
from retrieval.index.server.address import Address
from retrieval.index.server.errors import MissingError
from retrieval.index.server.layout import Layout
from retrieval.index.server.lease import Note
from retrieval.index.server.link import FIRST_TIMEOUT, Link, connect_any, one_cluster
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
class Listing:
    """What the server holds of an index: complete generations, builds, and who writes into which."""

    complete: dict[int, Manifest]
    building: dict[int, BuildRecord]
    notes: dict[int, list[Note]]


class Collections:
    """The collections of one index, by generation, and the alias that says which is live.

    Attributes:
        address: which index on which server.
        notify: called with lines that are no error.
    """

    def __init__(
        self, address: Address, notify: Callable[[str], None], link: Link | None = None, others: Sequence[Address] = ()
    ) -> None:
        """Name them; nothing is asked yet.

        Args:
            address: which index on which server.
            notify: called with lines that are no error.
            link: the connection, if there is one already.
            others: further addresses of the same cluster.
        """
        self.address = address
        self.others = tuple(others)
        self.notify = notify
        self._link = link

    @property
    def link(self) -> Link:
        """The connection; made, and the server's version looked at, when first needed."""
        if self._link is None:
            addresses = (self.address, *self.others)
            for address in addresses:
                if address.exposed:
                    self.notify(f"The API key goes to {address.host} unencrypted; use https://")
            timeout = min(self.address.timeout, FIRST_TIMEOUT)
            with contextlib.closing(connect_any(addresses, self.notify, timeout=timeout, fast=False)) as first:
                first.check_version()
                at = first.nodes.at if first.nodes is not None else 0
            if self.others:
                one_cluster(addresses)
            self._link = connect_any(addresses, lambda line: self.notify(line), at=at)
        return self._link

    @property
    def engine(self) -> str:
        """The engine and its version, for the manifest."""
        return f"qdrant {self.link.read('ask for the version', self.link.client.info).version}"

    def name(self, generation: int) -> str:
        """The name of a generation's collection."""
        return f"{self.address.name}-gen-{generation:06d}"

    def manifest(self) -> Manifest | None:
        """The live generation's manifest; None if there is none.

        Raises:
            IndexDamagedError: there are complete generations and none is live, or a manifest is not legible.
            UsageError: a collection of that name belongs to another program.
        """
        info = self.info(self.address.name)
        if info is not None:
            data = read_metadata(info)
            if data is None or data.get("schema") == BUILD_SCHEMA:
                raise UsageError(
                    f"The collection {self.address.name!r} at {self.address.url} belongs to another program",
                    hint="Give the index another name: --index http://HOST:6333/NAME",
                )
            return self._checked(Manifest.from_json(data), info)
        whole = self.listing().complete
        if whole:
            raise IndexDamagedError(
                f"No generation at {self.address.url} is live: the alias {self.address.name!r} is gone, "
                f"but generation {max(whole)} is complete",
                hint=f"Make it live: itemrec rollback --to {max(whole)}",
            )
        return None

    def info(self, collection: str) -> Any | None:
        """What the server says about a collection or an alias; None where there is none."""
        try:
            return self.link.read("open the index", self.link.client.get_collection, collection)
        except MissingError:
            return None

    def _checked(self, manifest: Manifest, info: Any) -> Manifest:
        """Refuse a collection whose vectors are not what its manifest says."""
        vectors = info.config.params.vectors
        found = (getattr(vectors, "size", None), str(getattr(getattr(vectors, "distance", ""), "value", "")))
        if found != (manifest.model.dimension, "Euclid"):
            raise IndexDamagedError(
                f"expected vectors of dimension {manifest.model.dimension} and Euclid distance in "
                f"{self.name(manifest.generation)}, received {found[0]} and {found[1] or 'several vectors'}",
                hint=REBUILD_HINT,
            )
        return manifest

    def listing(self) -> Listing:
        """Everything the server holds of this index."""
        listing = Listing({}, {}, {})
        head = f"{self.address.name}-gen-"
        for found in self.link.read("list collections", self.link.client.get_collections).collections:
            number = found.name.removeprefix(head)
            if found.name.startswith(head) and number.isdigit():
                info = self.info(found.name)
                data = read_metadata(info) if info is not None else None
                if info is not None:
                    listing.notes[int(number)] = Note.read(info.config.metadata)
                record = BuildRecord.from_json(data) if data is not None else None
                if record is not None and record.schema == BUILD_SCHEMA:
                    listing.building[int(number)] = record
                elif data is not None:
                    with contextlib.suppress(IndexDamagedError):
                        listing.complete[int(number)] = Manifest.from_json(data)
        return listing

    def describe_as(self, manifest: Manifest) -> None:
        """Write a generation's manifest into its collection."""
        self.link.write(
            "write the manifest",
            self.link.client.update_collection,
            self.name(manifest.generation),
            metadata={KEY: json.dumps(manifest.to_json())},
        )

    def switch(self, manifest: Manifest) -> None:
        """Make a new complete generation the live one, then drop those that are not worth keeping."""
        with contextlib.suppress(IndexDamagedError):
            replaced = self.manifest()
            self.make_live(manifest.generation)
            listing = self.listing()
            kept = worth_keeping(manifest, replaced.generation if replaced else None, listing.complete.values())
            for number in listing.complete:
                if number != manifest.generation and number not in kept:
                    self.drop(number)
            return
        self.make_live(manifest.generation)

    def make_live(self, generation: int) -> None:
        """Move the alias: one request, and the server sees all of it or none."""
        from qdrant_client import models

        alias = self.address.name
        aliases = self.link.read("list aliases", self.link.client.get_aliases).aliases
        moves: list[Any] = [
            models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))
            for found in aliases
            if found.alias_name == alias
        ]
        moves.append(
            models.CreateAliasOperation(
                create_alias=models.CreateAlias(collection_name=self.name(generation), alias_name=alias)
            )
        )
        self.link.write("switch generations", self.link.client.update_collection_aliases, moves)

    def drop(self, generation: int) -> None:
        """Delete a generation's collection; one that is gone is no error."""
        with contextlib.suppress(MissingError):
            self.link.write("remove a generation", self.link.client.delete_collection, self.name(generation))

    def close(self) -> None:
        """Let go of the connection."""
        if self._link is not None:
            self._link.close()
            self._link = None


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
    """Nodes of the cluster; 1 where the server is none, or, which is told, does not let this key ask."""
    try:
        status = link.read("look at the cluster", link.client.cluster_status)
    except NotImplementedError:  # the client in this process is no server
        return 1
    except (AccessDeniedError, ServerError, UsageError) as error:
        link.notify(f"{error.message}. Laid out for one node; --nodes N says how many there are")
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

"""`EmbeddedStore`: one open shard of Qdrant's engine in this process, as a `WritableStore`.

The engine allows one process a shard, holds the GIL in every call, writes half of a rejected
batch, and turns a full disk into a fatal signal. So everything is checked before it is called,
and nothing else in the package calls it.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from retrieval.distance import MAX_DISTANCE, to_euclid_bound
from retrieval.index import hnsw
from retrieval.index import payload as codec
from retrieval.index.embedded.engine import check_config, check_ids, engine_errors
from retrieval.index.store_common import commonest_values, group_metadata, sample, to_neighbors, to_point
from retrieval.system.files import require_space
from retrieval.types import IndexedImage, JsonScalar, Metadata, Neighbor, Point, Where

if TYPE_CHECKING:
    import qdrant_edge

CHUNK = 512
"""Points per engine call. A call holds the GIL and is replayed whole after a crash."""
PAGE = 1000
HNSW_FROM = 100_000 * 128
"""Vector components (images x dimension) from which on a graph is built.

Below, a scan of all vectors takes less time than embedding the photo did, never misses a
neighbor, and an index run ends without minutes of building. Figures: docs/decisions/0004-embedded-index.md.
"""
FULL_SCAN_KB = 10_000
RESERVE_BYTES = 96 * 2**20
"""Kept free beyond the batch itself: the log and the vector files grow in blocks of 32 MiB."""
POINT_BYTES = 1024
"""Ids, payload bookkeeping and log framing of one point, beside its vector and payload."""


class EmbeddedStore:
    """One open shard. Close it as soon as possible: nobody else can open it meanwhile.

    Distances come from the engine's Euclid metric, not from its dot product: squaring a true
    distance is exact near zero, where ``2 - 2c`` in float32 is wrong by up to 2e-7.
    """

    def __init__(self, shard: qdrant_edge.EdgeShard, path: Path, dimension: int) -> None:
        self._shard = shard
        self._path = path
        self._dimension = dimension
        self._count: int | None = None
        self._asked: tuple[Where, list[list[str]]] | None = None

    @classmethod
    def create(cls, path: Path, dimension: int) -> Self:
        """Make an empty shard in a directory that does not exist yet.

        Raises:
            DiskFullError: there is not enough room for an empty one.
            StoreError: the engine refused.
        """
        import qdrant_edge as edge

        path.mkdir(parents=True)
        require_space(path, RESERVE_BYTES, "start an index")
        config = edge.EdgeConfig(
            # Else each opening reads blocks of 32 MiB whole, also what is empty. Those of a graph are read whole still
            # (`optimize_child`): they are searched here and there, not from first to last.
            vectors=edge.EdgeVectorParams(size=dimension, distance=edge.Distance.Euclid, memory=edge.Memory.Cold),
            hnsw_config=edge.HnswIndexConfig(
                m=hnsw.M, ef_construct=hnsw.EF_CONSTRUCT, full_scan_threshold=FULL_SCAN_KB
            ),
        )
        with engine_errors("create", path):
            shard = edge.EdgeShard.create(str(path), config)
            # In memory they would be read whole by every query of a new process.
            keywords = edge.KeywordIndexParams(memory=edge.Memory.Cold)
            for field in (codec.PRODUCT, codec.TAGS):
                shard.update(edge.UpdateOperation.create_field_index(field, keywords))
            shard.flush()
        return cls(shard, path, dimension)

    @classmethod
    def open(cls, path: Path, dimension: int) -> Self:
        """Open an existing shard.

        Raises:
            IndexBusyError: another process has it open.
            IndexDamagedError: it cannot be opened, or holds vectors of another dimension or distance.
        """
        import qdrant_edge as edge

        check_config(path, dimension)
        check_ids(path)
        with engine_errors("open", path):
            shard = edge.EdgeShard.load(str(path))
        return cls(shard, path, dimension)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write what is pending and let go of the shard."""
        with engine_errors("close", self._path):
            self._shard.close()

    @property
    def dimension(self) -> int:
        """Length d of its vectors."""
        return self._dimension

    def count(self) -> int:
        """Number of points."""
        import qdrant_edge as edge

        if self._count is None:
            with engine_errors("count", self._path):
                self._count = int(self._shard.count(edge.CountRequest(exact=True)))
        return self._count

    def products(self) -> int:
        """Number of distinct products."""
        return len(self._facet(codec.PRODUCT))

    def has_graph(self) -> bool:
        """True when searches use an HNSW graph."""
        with engine_errors("examine", self._path):
            return int(self._shard.info().indexed_vectors_count) > 0

    def search(
        self,
        vector: NDArray[np.float32],
        *,
        limit: int,
        max_distance: float,
        where: Where | None = None,
        product_id: str | None = None,
        exact: bool = False,
    ) -> list[Neighbor]:
        """See `retrieval.index.protocols.VectorStore.search`. Equal distances are ordered by image id.

        Raises:
            StoreError: the vector is not a unit vector of this index's dimension, or the engine failed.
        """
        codec.check_vector(vector, self._dimension)
        if limit <= 0 or not max_distance >= 0.0:
            return []
        only = _filter(self._wanted(where), product_id)
        (hits,) = self._nearest(vector, [only], limit=limit, max_distance=max_distance, exact=exact)
        return to_neighbors(hits, max_distance)

    def nearest_of(
        self, vector: NDArray[np.float32], product_ids: Sequence[str], *, limit: int, exact: bool = False
    ) -> list[list[Neighbor]]:
        """See `retrieval.index.protocols.Searchable.nearest_of`."""
        codec.check_vector(vector, self._dimension)
        filters = [_filter([], product_id) for product_id in product_ids]
        found = self._nearest(vector, filters, limit=limit, max_distance=MAX_DISTANCE, exact=exact)
        return [to_neighbors(hits, MAX_DISTANCE) for hits in found]

    def _nearest(
        self,
        vector: NDArray[np.float32],
        filters: Sequence[qdrant_edge.Filter | None],
        *,
        limit: int,
        max_distance: float,
        exact: bool,
    ) -> list[list[Any]]:
        """The engine's hits for each filter."""
        import qdrant_edge as edge

        query = edge.Query.Nearest(vector.tolist())
        params = edge.SearchParams(hnsw_ef=hnsw.search_width(limit), exact=exact)
        # A bound that nothing can miss is compared all the same, with all.
        bound = to_euclid_bound(max_distance) if max_distance < MAX_DISTANCE else None
        shown = edge.PayloadSelector.Include(list(codec.SHOWN))
        most = min(limit, max(self.count(), 1))
        requests = [
            edge.SearchRequest(
                query, most, filter=only, params=params, with_payload=shown, with_vector=False, score_threshold=bound
            )
            for only in filters
        ]
        # `query` finds the same, but plans several steps for it, which is felt in a search of a graph.
        with engine_errors("search", self._path):
            return [self._shard.search(request) for request in requests]

    def records(self) -> Iterator[IndexedImage]:
        """Every record, by image id; one page in memory at a time."""
        offset: UUID | None = None
        while True:
            page, offset = self.page(offset, PAGE)
            yield from page
            if offset is None:
                return

    def page(self, offset: UUID | None, size: int) -> tuple[list[IndexedImage], UUID | None]:
        """``size`` records from ``offset`` on, by image id, and where the next page begins."""
        found, following = self._scroll(offset, size, vectors=False)
        return [codec.decode(str(r.id), r.payload) for r in found], following

    def points(self, *, batch: int = 1000, after: str | None = None) -> Iterator[list[Point]]:
        """See `retrieval.index.protocols.VectorStore.points`."""
        offset = codec.next_id(after)
        while True:
            page, offset = self.point_page(offset, batch)
            if page:
                yield page
            if offset is None:
                return

    def point_page(self, offset: UUID | None, size: int) -> tuple[list[Point], UUID | None]:
        """As `page`, with vectors."""
        found, following = self._scroll(offset, size, vectors=True)
        return [to_point(r, self._dimension) for r in found], following

    def sample(self, count: int) -> list[Point]:
        """See `retrieval.index.protocols.VectorStore.sample`."""
        if self.count() <= count:  # one call tells what hundreds would
            everything, _ = self.point_page(None, max(count, 1))
            ids = [UUID(point.record.image_id) for point in everything]
            return sample(count, lambda start: everything[(first := bisect_left(ids, start)) : first + 1])
        return sample(count, lambda start: self.point_page(start, 1)[0])

    def _scroll(self, offset: UUID | None, size: int, *, vectors: bool) -> tuple[list[Any], UUID | None]:
        import qdrant_edge as edge

        with engine_errors("read", self._path):
            found, following = self._shard.scroll(
                edge.ScrollRequest(offset=offset, limit=size, with_payload=True, with_vector=vectors)
            )
        return found, following if isinstance(following, UUID) else None

    def values(self, key: str, *, limit: int = 20) -> list[tuple[JsonScalar, int]]:
        """See `retrieval.index.protocols.VectorStore.values`."""
        return commonest_values(key, self._facet(codec.TAGS), self._metadata_with, limit)

    def holders(self, field: str, keyword: str) -> set[str]:
        """See `retrieval.index.protocols.VectorStore.holders`."""
        import qdrant_edge as edge

        most = max(self.count(), 1)
        with engine_errors("read", self._path):
            found, _ = self._shard.scroll(
                edge.ScrollRequest(
                    limit=most, filter=_matching(field, [keyword]), with_payload=False, with_vector=False
                )
            )
        return {str(r.id) for r in found}

    def tagged(self, tags: Sequence[str], *, limit: int) -> list[IndexedImage]:
        """See `retrieval.index.protocols.VectorStore.tagged`."""
        import qdrant_edge as edge

        with engine_errors("read", self._path):
            found, _ = self._shard.scroll(
                edge.ScrollRequest(
                    limit=limit, filter=_matching(codec.TAGS, list(tags)), with_payload=True, with_vector=False
                )
            )
        return [codec.decode(str(r.id), r.payload) for r in found]

    def fetch(self, image_ids: Sequence[str]) -> list[Point]:
        """The points of some image ids; those that are not there are left out.

        Raises:
            IndexDamagedError: one is no point that was written.
        """
        found: list[Point] = []
        with engine_errors("read", self._path):
            for start in range(0, len(image_ids), PAGE):
                ids: list[Any] = list(image_ids[start : start + PAGE])
                page = self._shard.retrieve(ids, with_payload=True, with_vector=True)
                found.extend(to_point(r, self._dimension) for r in page)
        return found

    def _wanted(self, where: Where | None) -> list[list[str]]:
        """The keywords of a filter; remembered, since one photo searches several times and one query many photos."""
        if where is None:
            return []
        if self._asked is None or self._asked[0] != where:
            tags = codec.filter_tags(where, lambda: self._facet(codec.TAGS), self._metadata_with)
            self._asked = (where, tags)
        return self._asked[1]

    def _metadata_with(self, tag: str) -> Metadata:
        found = self.tagged([tag], limit=1)
        return found[0].metadata if found else {}

    def _facet(self, field: str) -> dict[str, int]:
        import qdrant_edge as edge

        with engine_errors("count values", self._path):
            response = self._shard.facet(edge.FacetRequest(field, limit=2**31, exact=True))
            # Values whose points are all deleted stay in the engine's index with a count of 0.
            return {str(hit.value): int(hit.count) for hit in response.hits if hit.count > 0}

    def upsert(self, points: Sequence[Point]) -> None:
        """Write points, replacing those of the same id; of two with one id the last counts.

        Raises:
            StoreError: a point is not valid; nothing was written.
            DiskFullError: there is not enough room; nothing was written.
        """
        import qdrant_edge as edge

        latest = list({p.record.image_id: p for p in points}.values())
        vectors = codec.check_points(latest, self._dimension)
        payloads = [codec.encode(p.record) for p in latest]
        size = sum(map(codec.size, payloads))
        self._reserve(len(latest) * (POINT_BYTES + 16 * self._dimension) + 2 * size, "write pictures")
        operations = (
            edge.UpdateOperation.upsert_points(
                [
                    edge.Point(latest[i].record.image_id, vectors[i].tolist(), payloads[i])
                    for i in range(start, min(start + CHUNK, len(latest)))
                ]
            )
            for start in range(0, len(latest), CHUNK)
        )
        self._write(operations)

    def set_metadata(self, updates: Mapping[str, Metadata]) -> None:
        """Replace the metadata of points, by image id; ids that are not there are no error.

        Raises:
            StoreError: metadata or an id is not valid; nothing was written.
            DiskFullError: there is not enough room; nothing was written.
        """
        import qdrant_edge as edge

        groups = group_metadata(updates)
        size = sum(len(ids) * len(json.dumps(fields[codec.META])) for fields, ids in groups)
        self._reserve(len(updates) * POINT_BYTES + 8 * size, "update metadata")
        known = self._existing(list(updates))
        operations = (
            edge.UpdateOperation.set_payload(list[Any](present), fields)
            for fields, ids in groups
            if (present := [i for i in ids if i in known])
        )
        self._write(operations)

    def delete(self, image_ids: Sequence[str]) -> None:
        """Remove points; ids that are not there are no error.

        Raises:
            StoreError: an id is not a UUID; nothing was removed.
        """
        import qdrant_edge as edge

        for image_id in image_ids:
            codec.check_id(image_id)
        self._reserve(len(image_ids) * POINT_BYTES, "remove pictures")
        operations = (
            edge.UpdateOperation.delete_points(list[Any](image_ids[start : start + CHUNK]))
            for start in range(0, len(image_ids), CHUNK)
        )
        self._write(operations)

    def _existing(self, image_ids: list[str]) -> set[str]:
        found: set[str] = set()
        with engine_errors("read", self._path):
            for start in range(0, len(image_ids), PAGE):
                ids: list[Any] = list(image_ids[start : start + PAGE])
                found.update(str(r.id) for r in self._shard.retrieve(ids, with_payload=False, with_vector=False))
        return found

    def _write(self, operations: Iterator[qdrant_edge.UpdateOperation]) -> None:
        self._count = None
        self._asked = None
        with engine_errors("write to", self._path):
            for operation in operations:
                self._shard.update(operation)
            self._shard.flush()

    def _reserve(self, size: int, action: str) -> None:
        require_space(self._path, RESERVE_BYTES + size, action)


def _matching(field: str, keywords: list[str]) -> qdrant_edge.Filter:
    import qdrant_edge as edge

    return edge.Filter(must=[edge.FieldCondition(field, match=edge.MatchAny(keywords))])


def _filter(wanted: list[list[str]], product_id: str | None) -> qdrant_edge.Filter | None:
    import qdrant_edge as edge

    conditions: list[Any] = [edge.FieldCondition(codec.TAGS, match=edge.MatchAny(tags)) for tags in wanted]
    if product_id is not None:
        conditions.append(edge.FieldCondition(codec.PRODUCT, match=edge.MatchValue(product_id)))
    return edge.Filter(must=conditions) if conditions else None

"""`ServerStore`: one collection of a Qdrant server as a `retrieval.index.protocols.WritableStore`.

Distances come from the server's Euclid metric and payloads from the same codec as in the embedded
index, so that both answer alike. Every write waits until it is applied on the replicas that the collection's
write consistency asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from retrieval.distance import MAX_DISTANCE, to_euclid_bound
from retrieval.index import hnsw
from retrieval.index import payload as codec
from retrieval.index.server.link import Link
from retrieval.index.store_common import commonest_values, group_metadata, sample, to_neighbors, to_point
from retrieval.types import IndexedImage, JsonScalar, Metadata, Neighbor, Point, Where

if TYPE_CHECKING:
    from qdrant_client import models

CHUNK = 256
"""Points in one request."""
CHUNK_BYTES = 8 * 2**20
"""Bytes in one request at most; the server refuses bodies from 32 MiB on."""
PAGE = 1000
MOST_NEIGHBORS = 1_000_000
MOST_VALUES = 10_000_000
"""Distinct products that a facet may return."""
OVERSAMPLING = 2.0
"""Quantized vectors are first ranked by their bytes; twice as many as wanted are ranked again by their floats."""


class ServerStore:
    """One collection, to read and write."""

    def __init__(self, link: Link, collection: str, dimension: int) -> None:
        """Name a collection; nothing is asked.

        Args:
            link: the server.
            collection: its name, not an alias: another generation may go live meanwhile.
            dimension: length d of its vectors.
        """
        self._link = link
        self.collection = collection
        self._dimension = dimension
        self.changed = False
        self._asked: tuple[Where, list[list[str]]] | None = None

    def count(self) -> int:
        """Number of points."""
        return int(self._link.read("count", self._link.data.count, self.collection, exact=True).count)

    def products(self) -> int:
        """Number of distinct products."""
        return len(self._facet(codec.PRODUCT, MOST_VALUES))

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
            StoreError: the vector is not a unit vector of this index's dimension, or the server failed.
        """
        codec.check_vector(vector, self._dimension)
        if limit <= 0 or not max_distance >= 0.0:
            return []
        response = self._link.read(
            "search",
            self._link.data.query_points,
            self.collection,
            query=vector.tolist(),
            limit=min(limit, MOST_NEIGHBORS),
            query_filter=_filter(self._wanted(where), product_id),
            search_params=self._params(limit, exact),
            score_threshold=to_euclid_bound(min(max_distance, MAX_DISTANCE)),
            with_payload=list(codec.SHOWN),
            with_vectors=False,
        )
        return to_neighbors(response.points, max_distance)

    def nearest_of(
        self, vector: NDArray[np.float32], product_ids: Sequence[str], *, limit: int, exact: bool = False
    ) -> list[list[Neighbor]]:
        """See `retrieval.index.protocols.Searchable.nearest_of`; one request whatever the number of products."""
        from qdrant_client import models

        codec.check_vector(vector, self._dimension)
        if not product_ids:
            return []
        query = vector.tolist()
        requests = [
            models.QueryRequest(
                query=query,
                limit=limit,
                filter=_filter([], product_id),
                params=self._params(limit, exact),
                with_payload=list(codec.SHOWN),
            )
            for product_id in product_ids
        ]
        responses = self._link.read("search", self._link.data.query_batch_points, self.collection, requests=requests)
        return [to_neighbors(response.points, MAX_DISTANCE) for response in responses]

    def _params(self, limit: int, exact: bool) -> models.SearchParams:
        from qdrant_client import models

        return models.SearchParams(
            hnsw_ef=hnsw.search_width(limit),
            exact=exact,
            quantization=models.QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING),
        )

    def records(self) -> Iterator[IndexedImage]:
        """Every record, by image id; one page in memory at a time."""
        for page in self._pages(PAGE, vectors=False):
            for found in page:
                yield codec.decode(str(found.id), found.payload)

    def points(self, *, batch: int = 1000, after: str | None = None) -> Iterator[list[Point]]:
        """See `retrieval.index.protocols.VectorStore.points`."""
        for page in self._pages(batch, vectors=True, after=after):
            yield [self._point(found) for found in page]

    def _pages(self, size: int, *, vectors: bool, after: str | None = None) -> Iterator[list[Any]]:
        start = codec.next_id(after)
        offset: Any = None if start is None else str(start)
        while True:
            found, offset = self._scroll(offset, size, vectors=vectors)
            if found:
                yield found
            if offset is None:
                return

    def _scroll(self, offset: Any, size: int, *, vectors: bool) -> tuple[list[Any], Any]:
        return self._link.read(
            "read",
            self._link.data.scroll,
            self.collection,
            limit=size,
            offset=offset,
            with_payload=True,
            with_vectors=vectors,
        )

    def _point(self, found: Any) -> Point:
        return to_point(found, self._dimension)

    def sample(self, count: int) -> list[Point]:
        """See `retrieval.index.protocols.VectorStore.sample`."""
        return sample(count, lambda start: map(self._point, self._scroll(str(start), 1, vectors=True)[0]))

    def values(self, key: str, *, limit: int = 20) -> list[tuple[JsonScalar, int]]:
        """See `retrieval.index.protocols.VectorStore.values`."""
        return commonest_values(key, self._facet(codec.TAGS, MOST_VALUES), self._metadata_with, limit)

    def holders(self, field: str, keyword: str) -> set[str]:
        """See `retrieval.index.protocols.VectorStore.holders`."""
        ids: set[str] = set()
        offset: Any = None
        while True:
            found, offset = self._link.read(
                "read",
                self._link.data.scroll,
                self.collection,
                limit=PAGE,
                offset=offset,
                scroll_filter=_matching(field, [keyword]),
                with_payload=False,
                with_vectors=False,
            )
            ids.update(str(point.id) for point in found)
            if offset is None:
                return ids

    def tagged(self, tags: Sequence[str], *, limit: int) -> list[IndexedImage]:
        """See `retrieval.index.protocols.VectorStore.tagged`."""
        found, _ = self._link.read(
            "read",
            self._link.data.scroll,
            self.collection,
            limit=limit,
            scroll_filter=_matching(codec.TAGS, list(tags)),
            with_payload=True,
            with_vectors=False,
        )
        return [codec.decode(str(r.id), r.payload) for r in found]

    def _wanted(self, where: Where | None) -> list[list[str]]:
        """The keywords of a filter; remembered, since one photo searches several times and one query many photos."""
        if where is None:
            return []
        if self._asked is None or self._asked[0] != where:
            tags = codec.filter_tags(where, lambda: self._facet(codec.TAGS, MOST_VALUES), self._metadata_with)
            self._asked = (where, tags)
        return self._asked[1]

    def _metadata_with(self, tag: str) -> Metadata:
        found = self.tagged([tag], limit=1)
        return found[0].metadata if found else {}

    def _facet(self, field: str, limit: int) -> dict[str, int]:
        response = self._link.read(
            "count values", self._link.data.facet, self.collection, key=field, limit=limit, exact=True
        )
        return {str(hit.value): int(hit.count) for hit in response.hits if hit.count > 0}

    def upsert(self, points: Sequence[Point]) -> None:
        """Write points, replacing those of the same id; of two with one id the last counts.

        Raises:
            StoreError: a point is not valid, and nothing was written; or the server failed for longer than
                the patience of a write, and the same call again completes it.
        """
        from qdrant_client import models

        latest = list({p.record.image_id: p for p in points}.values())
        if not latest:
            return
        vectors = codec.check_points(latest, self._dimension)
        payloads = [codec.encode(p.record) for p in latest]

        def send(start: int, end: int) -> None:
            batch = models.Batch(
                ids=[p.record.image_id for p in latest[start:end]],
                vectors=vectors[start:end].tolist(),
                payloads=payloads[start:end],
            )
            self._link.data.upsert(self.collection, batch, wait=True)

        self._write("write pictures", [partial(send, *span) for span in self._spans(payloads)])

    def _spans(self, payloads: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, int]]:
        """Runs of points that fit into one request: a float takes at most 13 bytes of JSON."""
        start, size = 0, 0
        for i, payload in enumerate(payloads):
            bytes_ = codec.size(payload) + 13 * self._dimension + 200
            if i > start and (i - start >= CHUNK or size + bytes_ > CHUNK_BYTES):
                yield start, i
                start, size = i, 0
            size += bytes_
        yield start, len(payloads)

    def set_metadata(self, updates: Mapping[str, Metadata]) -> None:
        """Replace the metadata of points, by image id; ids that are not there are no error.

        Raises:
            StoreError: metadata or an id is not valid, and nothing was written; or the server failed.
        """
        from qdrant_client import models

        groups = group_metadata(updates)
        if not groups:
            return
        known = self._existing(list(updates))
        operations = [
            models.SetPayloadOperation(set_payload=models.SetPayload(payload=fields, points=list[Any](present)))
            for fields, ids in groups
            if (present := [i for i in ids if i in known])
        ]

        def send(start: int) -> None:
            self._link.data.batch_update_points(self.collection, operations[start : start + CHUNK], wait=True)

        self._write("update metadata", [partial(send, start) for start in range(0, len(operations), CHUNK)])

    def _existing(self, image_ids: list[Any]) -> set[str]:
        found: set[str] = set()
        for start in range(0, len(image_ids), PAGE):
            page = self._link.read(
                "read",
                self._link.data.retrieve,
                self.collection,
                ids=image_ids[start : start + PAGE],
                with_payload=False,
                with_vectors=False,
            )
            found.update(str(r.id) for r in page)
        return found

    def fetch(self, image_ids: Sequence[str]) -> list[Point]:
        """The points of some image ids; those that are not there are left out.

        Raises:
            IndexDamagedError: one is no point that was written.
            StoreError: an id is not a UUID, or the server failed.
        """
        ids: list[Any] = [codec.check_id(image_id) for image_id in image_ids]
        found: list[Point] = []
        for start in range(0, len(ids), CHUNK):
            page = self._link.read(
                "read",
                self._link.data.retrieve,
                self.collection,
                ids=ids[start : start + CHUNK],
                with_payload=True,
                with_vectors=True,
            )
            found.extend(map(self._point, page))
        return found

    def delete(self, image_ids: Sequence[str]) -> None:
        """Remove points; ids that are not there are no error.

        Raises:
            StoreError: an id is not a UUID, and nothing was removed; or the server failed.
        """
        from qdrant_client import models

        ids: list[Any] = [codec.check_id(image_id) for image_id in image_ids]

        def send(start: int) -> None:
            selector = models.PointIdsList(points=ids[start : start + PAGE])
            self._link.data.delete(self.collection, selector, wait=True)

        self._write("remove pictures", [partial(send, start) for start in range(0, len(ids), PAGE)])

    def _write(self, action: str, requests: list[Callable[[], Any]]) -> None:
        if requests:
            self.changed = True
            self._asked = None
            self._link.write_all(action, requests)


def _matching(field: str, values: list[str]) -> models.Filter:
    from qdrant_client import models

    return models.Filter(must=[models.FieldCondition(key=field, match=models.MatchAny(any=values))])


def _filter(wanted: list[list[str]], product_id: str | None) -> models.Filter | None:
    from qdrant_client import models

    conditions: list[Any] = [models.FieldCondition(key=codec.TAGS, match=models.MatchAny(any=tags)) for tags in wanted]
    if product_id is not None:
        conditions.append(models.FieldCondition(key=codec.PRODUCT, match=models.MatchValue(value=product_id)))
    return models.Filter(must=conditions) if conditions else None

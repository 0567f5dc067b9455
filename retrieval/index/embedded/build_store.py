"""A build as a `WritableStore`: reads go to the committed generation until something is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Protocol, TypeVar
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import IndexDamagedError
from retrieval.index import payload as codec
from retrieval.index.checksum import Checksum
from retrieval.index.embedded.store import EmbeddedStore
from retrieval.types import IndexedImage, JsonScalar, Metadata, Neighbor, Point, Where

READ_AHEAD = 10_000
"""Records read from the committed generation per opening: about 0.1 s in which queries wait."""
POINTS_AHEAD = 2_000

T = TypeVar("T")
Change = Callable[[Callable[[list[Point]], list[Point]]], None]


class Stages(Protocol):
    """What a build reads from and writes to: the committed generation first, a shard of its own once it changes it."""

    @property
    def dimension(self) -> int:
        """Length d of the vectors."""
        ...

    @property
    def tally(self) -> Checksum | None:
        """The checksum of what this build holds, kept as it is written; None where nobody kept count."""
        ...

    def lose_count(self) -> None:
        """From now on nobody knows the checksum."""
        ...

    @property
    def base_images(self) -> int:
        """How many pictures the base generation holds."""
        ...

    def committed_store(self) -> AbstractContextManager[EmbeddedStore | None]:
        """The base generation, open for as long as the context; None where there is none."""
        ...

    def opened(self) -> EmbeddedStore | None:
        """The build's own shard if anything was written, else None."""
        ...

    def begin(self) -> EmbeddedStore:
        """The build's own shard; made on the first call."""
        ...


class BuildStore:
    """A build as a `retrieval.index.protocols.WritableStore`: reads go to the base until something is written."""

    def __init__(self, stages: Stages) -> None:
        self._stages = stages

    def count(self) -> int:
        """Number of points."""
        shard = self._stages.opened()
        return self._stages.base_images if shard is None else shard.count()

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
        """See `retrieval.index.protocols.VectorStore.search`."""

        def ask(store: EmbeddedStore) -> list[Neighbor]:
            return store.search(
                vector,
                limit=limit,
                max_distance=max_distance,
                where=where,
                product_id=product_id,
                exact=exact,
            )

        return self._ask(ask, [])

    def nearest_of(
        self, vector: NDArray[np.float32], product_ids: Sequence[str], *, limit: int, exact: bool = False
    ) -> list[list[Neighbor]]:
        """See `retrieval.index.protocols.Searchable.nearest_of`."""
        return self._ask(lambda store: store.nearest_of(vector, product_ids, limit=limit, exact=exact), [])

    def values(self, key: str, *, limit: int = 20) -> list[tuple[JsonScalar, int]]:
        """See `retrieval.index.protocols.VectorStore.values`."""
        return self._ask(lambda store: store.values(key, limit=limit), [])

    def holders(self, field: str, keyword: str) -> set[str]:
        """See `retrieval.index.protocols.VectorStore.holders`."""
        return self._ask(lambda store: store.holders(field, keyword), set())

    def tagged(self, tags: Sequence[str], *, limit: int) -> list[IndexedImage]:
        """See `retrieval.index.protocols.VectorStore.tagged`."""
        return self._ask(lambda store: store.tagged(tags, limit=limit), [])

    def _ask(self, question: Callable[[EmbeddedStore], T], empty: T) -> T:
        shard = self._stages.opened()
        if shard is not None:
            return question(shard)
        with self._stages.committed_store() as store:
            return empty if store is None else question(store)

    def records(self) -> Iterator[IndexedImage]:
        """Every record, by image id. The committed generation is opened for one long page at a time."""
        for page in self._pages(lambda store, at: store.page(at, READ_AHEAD)):
            yield from page

    def points(self, *, batch: int = 1000, after: str | None = None) -> Iterator[list[Point]]:
        """See `retrieval.index.protocols.VectorStore.points`."""
        first = codec.next_id(after)
        for page in self._pages(lambda store, at: store.point_page(at or first, max(batch, POINTS_AHEAD))):
            for start in range(0, len(page), batch):
                yield page[start : start + batch]

    def sample(self, count: int) -> list[Point]:
        """See `retrieval.index.protocols.VectorStore.sample`."""
        return self._ask(lambda store: store.sample(count), [])

    def _pages(self, read: Callable[[EmbeddedStore, UUID | None], tuple[list[T], UUID | None]]) -> Iterator[list[T]]:
        nothing: tuple[list[T], UUID | None] = ([], None)
        offset: UUID | None = None
        while True:

            def ask(store: EmbeddedStore, at: UUID | None = offset) -> tuple[list[T], UUID | None]:
                return read(store, at)

            page, offset = self._ask(ask, nothing)
            if page:
                yield page
            if offset is None:
                return

    def upsert(self, points: Sequence[Point]) -> None:
        """See `retrieval.index.protocols.WritableStore.upsert`."""
        if points:
            codec.check_points(points, self._stages.dimension)
            latest = list({p.record.image_id: p for p in points}.values())
            with self._counted([p.record.image_id for p in latest]) as (shard, change):
                shard.upsert(latest)
                change(lambda old: latest)

    def set_metadata(self, updates: Mapping[str, Metadata]) -> None:
        """See `retrieval.index.protocols.WritableStore.set_metadata`."""
        if updates:
            for image_id, metadata in updates.items():
                codec.check_metadata(metadata, codec.check_id(image_id))
            with self._counted(list(updates)) as (shard, change):
                shard.set_metadata(updates)
                change(
                    lambda old: [
                        Point(replace(p.record, metadata=dict(updates[p.record.image_id])), p.vector) for p in old
                    ]
                )

    def delete(self, image_ids: Sequence[str]) -> None:
        """See `retrieval.index.protocols.WritableStore.delete`."""
        if image_ids:
            for image_id in image_ids:
                codec.check_id(image_id)
            with self._counted(list(dict.fromkeys(image_ids))) as (shard, change):
                shard.delete(image_ids)
                change(lambda old: [])

    @contextmanager
    def _counted(self, image_ids: Sequence[str]) -> Iterator[tuple[EmbeddedStore, Change]]:
        """The build's shard to change some points in, and what tells their checksum what became of them.

        So a commit says what was written, without reading it: what rots on the disk, before or after, is
        not taken for what was meant.
        """
        shard = self._stages.begin()
        tally = self._stages.tally
        before: list[Point] = []
        if tally is not None:
            try:
                before = shard.fetch(image_ids)
            except IndexDamagedError:
                # What cannot be read is about to be replaced: the commit reads all, once that is done.
                self._stages.lose_count()
                tally = None

        def change(became: Callable[[list[Point]], list[Point]]) -> None:
            if tally is not None:
                for point in before:
                    tally.remove(point)
                for point in became(before):
                    tally.add(point)

        try:
            yield shard, change
        except BaseException:
            self._stages.lose_count()
            raise

"""`CountedStore`: a collection that one process writes to, and the checksum of what it holds, kept as it is written.

A commit then says what was written without reading it, so that what the server's disk changes, before or after, is not
taken for what was meant (`retrieval.index.checksum`, and `itemrec doctor --full`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from retrieval.errors import IndexDamagedError
from retrieval.index.checksum import Checksum
from retrieval.index.server.link import Link
from retrieval.index.server.store import ServerStore
from retrieval.types import Metadata, Point

Change = Callable[[Callable[[list[Point]], list[Point]]], None]


class CountedStore(ServerStore):
    """A `ServerStore` that keeps count."""

    def __init__(
        self,
        link: Link,
        collection: str,
        dimension: int,
        *,
        tally: Checksum | None,
        fresh: bool,
        first: Callable[[], None],
    ) -> None:
        """Name a collection; nothing is asked.

        Args:
            link: as for `ServerStore`, as are the next two.
            collection: its name.
            dimension: length d of its vectors.
            tally: the checksum of what it holds; None where nobody knows it.
            fresh: it began empty, so that new pictures replace none.
            first: called before the first change.
        """
        super().__init__(link, collection, dimension)
        self._tally = tally
        self._fresh = fresh
        self._first = first

    def checksum(self, images: int) -> str:
        """Of what was written; empty where nobody knows, or where that is not what the server counts."""
        known = self._tally is not None and self._tally.count == images
        return self._tally.hex() if known and self._tally is not None else ""

    def upsert(self, points: Sequence[Point]) -> None:
        """See `ServerStore.upsert`."""
        latest = list({p.record.image_id: p for p in points}.values())
        with self._counted([] if self._fresh else [p.record.image_id for p in latest]) as change:
            super().upsert(latest)
            change(lambda old: latest)

    def set_metadata(self, updates: Mapping[str, Metadata]) -> None:
        """See `ServerStore.set_metadata`."""
        with self._counted(list(updates)) as change:
            super().set_metadata(updates)
            change(
                lambda old: [Point(replace(p.record, metadata=dict(updates[p.record.image_id])), p.vector) for p in old]
            )

    def delete(self, image_ids: Sequence[str]) -> None:
        """See `ServerStore.delete`."""
        with self._counted(list(dict.fromkeys(image_ids))) as change:
            super().delete(image_ids)
            change(lambda old: [])

    @contextmanager
    def _counted(self, image_ids: Sequence[str]) -> Iterator[Change]:
        """What tells the checksum what became of some points, once they were changed."""
        before: list[Point] = []
        if self._tally is not None:
            try:
                before = self.fetch(image_ids)
            except IndexDamagedError:  # what cannot be read is about to be replaced
                self._tally = None

        def change(became: Callable[[list[Point]], list[Point]]) -> None:
            if self._tally is not None:
                for point in before:
                    self._tally.remove(point)
                for point in became(before):
                    self._tally.add(point)

        try:
            yield change
        except BaseException:
            self._tally = None
            raise

    def _write(self, action: str, requests: list[Callable[[], Any]]) -> None:
        if requests and not self.changed:
            self._first()
        super()._write(action, requests)

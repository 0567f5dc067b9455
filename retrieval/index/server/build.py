"""`ServerBuild`: an index run on a server.

The model stays the same: pictures are written into the live collection, findable at once. An interrupted run
leaves what it wrote, and the next one completes it. Copying a collection for every run, as the embedded index
does, would cost a marketplace hours.

A rebuild, or the first build, goes into a collection of its own, which becomes the live one by moving the alias.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from retrieval.errors import ServerError, StoreError
from retrieval.index.checksum import Checksum
from retrieval.index.manifest import Manifest
from retrieval.index.protocols import Check
from retrieval.index.server.collections import INDEXING_KB, Collections, shard_key, shards_out
from retrieval.index.server.counted import CountedStore
from retrieval.index.sharding import Shard
from retrieval.types import ModelIdentity

_POLL_SECONDS = 0.2
_LONGEST_POLL = 5.0


class ServerBuild:
    """See `retrieval.index.protocols.Build`.

    Attributes:
        waiting: after a commit, how many other workers the switch waits for.
    """

    def __init__(
        self,
        collections: Collections,
        model: ModelIdentity,
        *,
        generation: int,
        live: Manifest | None,
        in_place: bool,
        resumed: bool,
        shard: Shard | None,
        report: Callable[..., None],
    ) -> None:
        self._collections = collections
        self._model = model
        self._generation = generation
        self._live = live
        self._in_place = in_place
        self._resumed = resumed
        self._report = report
        self._shard = shard
        self._finished = False
        self.waiting = 0
        self._store = CountedStore(
            collections.link,
            collections.name(generation),
            model.dimension,
            tally=self._known(),
            fresh=not in_place and not resumed,
            first=self._forget,
        )
        if shard is not None and not in_place:
            self._mark("working")

    def _known(self) -> Checksum | None:
        """The checksum of what is there; None where nobody knows it, or where others write as well."""
        if self._shard is not None or self._resumed:
            return None
        if not self._in_place:
            return Checksum()
        return Checksum(self._live.images, self._live.checksum) if self._live and self._live.checksum else None

    def _forget(self) -> None:
        """What is live is about to change: until the commit, and after an interruption, nobody knows its checksum."""
        if self._in_place and self._live is not None and self._live.checksum:
            self._collections.describe_as(replace(self._collections.manifest() or self._live, checksum=""))

    def _mark(self, state: str) -> None:
        """Say how far this worker's part of a build is: whoever finishes last makes it live."""
        if self._shard is not None:
            link, metadata = self._collections.link, {shard_key(self._shard): state}
            link.write("note what is done", link.client.update_collection, self._store.collection, metadata=metadata)

    @property
    def store(self) -> CountedStore:
        """The collection, open for writing."""
        return self._store

    @property
    def resumed(self) -> bool:
        """True when an interrupted rebuild was found and is continued."""
        return self._resumed

    @property
    def changed(self) -> bool:
        """True when something was written, now or before an interruption."""
        return self._resumed or self._store.changed

    def report(self, done: int, total: int) -> None:
        """Record progress for whoever asks what holds the index."""
        self._report(done=done, total=total, phase="indexing")

    def commit(
        self,
        *,
        catalog: str,
        metadata_keys: Sequence[str],
        check: Check | None = None,
        studio: float | None = None,
        gap: float | None = None,
        calibration: Mapping[str, Any] | None = None,
    ) -> Manifest:
        """See `retrieval.index.protocols.Build.commit`.

        Raises:
            StoreError: the server failed, or what it holds is not what was written; the live generation stays.
        """
        if self._finished:
            raise StoreError("This build was committed or discarded already")
        keys = tuple(metadata_keys)
        if self._in_place and self._live is not None:
            return self._commit_in_place(self._live, catalog, keys, check, studio, gap, calibration)
        if self._shard is not None:
            self._mark("done")
            self.waiting = shards_out(self._collections.link, self._store.collection, self._shard)
            if self.waiting:
                self._finished = True
                return self._manifest(self._store.count(), catalog, keys, False)
        self._report(phase="building the search graph")
        graph = self._finish_loading()
        manifest = self._manifest(self._store.count(), catalog, keys, graph)
        manifest = manifest.noting(self._live, studio=studio, gap=gap, calibration=calibration)
        if check is not None:
            self._report(phase="checking")
            check(self._store, manifest)
        self._collections.describe_as(manifest)
        self._collections.switch(manifest)
        self._finished = True
        return manifest

    def _commit_in_place(
        self,
        live: Manifest,
        catalog: str,
        keys: tuple[str, ...],
        check: Check | None,
        studio: float | None,
        gap: float | None,
        calibration: Mapping[str, Any] | None,
    ) -> Manifest:
        images = self._store.count()
        # A calibration that came meanwhile stays.
        now = self._collections.manifest() or live
        manifest = replace(live, catalog=catalog, metadata_keys=keys).noting(
            now, studio=studio, gap=gap, calibration=calibration
        )
        if self.changed or images != live.images:
            manifest = replace(
                manifest, images=images, products=self._store.products(), checksum=self._store.checksum(images)
            )
            if check is not None:
                check(self._store, manifest)
        if manifest != live or manifest.checksum != now.checksum:
            self._collections.describe_as(manifest)
        self._finished = True
        return manifest

    def _manifest(self, images: int, catalog: str, keys: tuple[str, ...], graph: bool) -> Manifest:
        from importlib.metadata import version

        return Manifest(
            generation=self._generation,
            model=self._model,
            images=images,
            products=self._store.products(),
            catalog=catalog,
            metadata_keys=keys,
            itemrec_version=version("itemrec"),
            engine=self._collections.engine,
            created=datetime.now(UTC).isoformat(timespec="microseconds"),
            hnsw=graph,
            checksum=self._store.checksum(images),
        )

    def _finish_loading(self) -> bool:
        """Have the graph built if loading left it out, and wait for it; True if there is one."""
        from qdrant_client import models

        link, name = self._collections.link, self._store.collection
        settled = models.OptimizersConfigDiff(indexing_threshold=INDEXING_KB)
        link.write("have the graph built", link.client.update_collection, name, optimizers_config=settled)
        pause, told = _POLL_SECONDS, False
        while True:
            info = link.read("wait for the graph", link.client.get_collection, name)
            trouble = getattr(info.optimizer_status, "error", None)
            if trouble or info.status == models.CollectionStatus.RED:
                raise ServerError(
                    f"The server could not build the search graph of {name}: {trouble or 'status red'}",
                    hint="See the server's log, then run the same command again; it continues here",
                )
            if info.status == models.CollectionStatus.GREEN:
                return int(info.indexed_vectors_count or 0) > 0
            if not told:
                self._collections.notify(f"The server builds the search graph of {name}")
                told = True
            time.sleep(pause)
            pause = min(_LONGEST_POLL, 1.5 * pause)

    def discard(self) -> None:
        """Drop a rebuild; what was written in place stays."""
        self._finished = True
        if not self._in_place and self._shard is None:
            self._collections.drop(self._generation)

"""`EmbeddedIndex`: an index in a directory, as generations of which one is committed; see `place` for what lies where.

Queries need this module and the store. What only index runs and housekeeping need is imported when they begin.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.errors import IndexDamagedError, UsageError
from retrieval.index.embedded.place import READ_PATIENCE, Place
from retrieval.index.embedded.refusals import EmbeddedRefusals
from retrieval.index.embedded.store import HNSW_FROM, EmbeddedStore
from retrieval.index.manifest import Generation, Manifest
from retrieval.index.sharding import Shard
from retrieval.system.files import os_errors
from retrieval.types import ModelIdentity

if TYPE_CHECKING:
    from retrieval.index.embedded.build import EmbeddedBuild


class EmbeddedIndex:
    """An index in a directory; see `retrieval.index.protocols.Index` for what its methods promise."""

    staged = True

    def __init__(
        self,
        path: Path,
        *,
        notify: Callable[[str], None] | None = None,
        patience: float = READ_PATIENCE,
        hnsw_from: int = HNSW_FROM,
    ) -> None:
        """Name a place; nothing is opened or created.

        Args:
            path: the directory; need not exist.
            notify: called with lines that are no error; by default they are logged.
            patience: how long `reader` waits for other readers, in seconds.
            hnsw_from: build a graph from this many vector components on (images x dimension).
        """
        self._place = Place(path, notify=notify, patience=patience, hnsw_from=hnsw_from)
        self._refusals = EmbeddedRefusals(self._place)

    @property
    def location(self) -> str:
        """The directory as given."""
        return str(self._place.path)

    @property
    def refusals(self) -> EmbeddedRefusals:
        """See `retrieval.index.protocols.Index.refusals`."""
        return self._refusals

    def nodes(self) -> int:
        """One: this machine."""
        return 1

    def manifest(self) -> Manifest | None:
        """See `retrieval.index.protocols.Index.manifest`.

        Raises:
            IndexDamagedError: CURRENT or the manifest is not what was committed.
            UsageError: the directory holds something else.
        """
        return self._place.manifest()

    @contextlib.contextmanager
    def reader(self, pinned: Manifest | None = None) -> Iterator[tuple[EmbeddedStore, Manifest]]:
        """See `retrieval.index.protocols.Index.reader`."""
        place = self._place
        place.require_committed()
        with place.read_lock(place.patience, "querying"):
            manifest = place.require_committed()
            if pinned is not None and pinned.created != manifest.created:
                manifest = self._still_kept(pinned) or manifest
            with place.open_generation(manifest) as store:
                yield store, manifest

    def awaited(self) -> bool:
        """See `retrieval.index.protocols.Index.awaited`."""
        return self._place.read_awaited()

    def _still_kept(self, pinned: Manifest) -> Manifest | None:
        """A generation that was live before, if it is still there; the caller holds the lock."""
        with contextlib.suppress(FileNotFoundError, IndexDamagedError):
            found = self._place.read_manifest(self._place.generation_path(pinned.generation).name)
            return found if found.created == pinned.created else None
        return None

    @contextlib.contextmanager
    def writer(
        self, model: ModelIdentity, *, rebuild: bool = False, shard: Shard | None = None
    ) -> Iterator[EmbeddedBuild]:
        """See `retrieval.index.protocols.Index.writer`."""
        from retrieval.index.embedded.build import open_build

        if shard is not None:
            raise UsageError(
                f"expected the URL of a server for shard {shard}, received the directory {self.location}",
                hint="One process at a time can write to a directory; it uses every core by itself",
            )
        with open_build(self._place, model, rebuild=rebuild) as build:
            yield build

    def generations(self) -> list[Generation]:
        """See `retrieval.index.protocols.Index.generations`."""
        from retrieval.index.embedded.retention import list_generations

        return list_generations(self._place)

    def rollback(self, generation: int | None = None) -> Manifest:
        """See `retrieval.index.protocols.Index.rollback`."""
        from retrieval.index.embedded.retention import rollback

        return rollback(self._place, generation)

    def set_calibration(self, calibration: Mapping[str, Any] | None) -> Manifest:
        """See `retrieval.index.protocols.Index.set_calibration`."""
        place = self._place
        place.require_committed()
        with place.writing("calibrating"), os_errors("calibrate", place.path):
            manifest = replace(place.require_committed(), calibration=calibration)
            place.write_manifest(manifest)
        return manifest

    def collect(self, *, keep: int = 0) -> list[Generation]:
        """See `retrieval.index.protocols.Index.collect`."""
        from retrieval.index.embedded.retention import collect

        return collect(self._place, keep)

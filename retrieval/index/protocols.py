"""What every index offers, whatever engine keeps it.

An `Index` is a place (a directory or a server) with at most one *committed generation*
that queries read, and at most one generation being *built* beside it. A build becomes
the committed generation in one atomic switch, so that a query sees the state before or
after an index run and never a mixture. A build that was interrupted is found again and
continued. Generations that were live before are kept to go back to: the last one, and the
last one of another model. A `VectorStore` is one open generation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.index.manifest import Generation, Manifest
from retrieval.index.refusals import RefusalStore
from retrieval.index.sharding import Shard
from retrieval.types import IndexedImage, JsonScalar, Metadata, ModelIdentity, Neighbor, Point, Where

Check = Callable[["VectorStore", Manifest], None]
"""Looks at a complete generation before it goes live; raises to keep the old one."""


class Searchable(Protocol):
    """Anything that finds the nearest points of a vector."""

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
        """The nearest points with ``distance <= max_distance``, nearest first, at most ``limit``.

        Args:
            vector: unit vector, shape (d,).
            limit: how many at most.
            max_distance: squared L2, in [0, 4]; inclusive.
            where: keep only products whose metadata match.
            product_id: keep only this product's pictures.
            exact: scan every vector even where an HNSW graph exists.
        """
        ...

    def nearest_of(
        self, vector: NDArray[np.float32], product_ids: Sequence[str], *, limit: int, exact: bool = False
    ) -> list[list[Neighbor]]:
        """For each product its own nearest points, whatever their distance; in one round trip where there is one."""
        ...


class VectorStore(Searchable, Protocol):
    """One open generation: unit vectors with their records."""

    def count(self) -> int:
        """Number of points."""
        ...

    def records(self) -> Iterator[IndexedImage]:
        """Every record, in a stable order, without vectors; memory stays flat."""
        ...

    def points(self, *, batch: int = 1000, after: str | None = None) -> Iterator[list[Point]]:
        """Every point with its vector, by image id, in batches; memory stays flat.

        Args:
            batch: points at a time.
            after: only those whose image id is greater.
        """
        ...

    def sample(self, count: int) -> list[Point]:
        """At most ``count`` points with their vectors, spread evenly over all; the same ones every time."""
        ...

    def values(self, key: str, *, limit: int = 20) -> list[tuple[JsonScalar, int]]:
        """The commonest values of a metadata column with the number of pictures that carry each."""
        ...

    def holders(self, field: str, keyword: str) -> set[str]:
        """Image ids of the pictures that the keyword index, which answers filters, holds under a keyword.

        Args:
            field: ``product_id`` or ``tags``, see `retrieval.index.payload`.
            keyword: the product's id, or a tag.
        """
        ...

    def tagged(self, tags: Sequence[str], *, limit: int) -> list[IndexedImage]:
        """Records that carry one of some tags, found by the keyword index; at most ``limit`` of them, by image id."""
        ...


class WritableStore(VectorStore, Protocol):
    """A generation being built. Every write is durable when the call returns."""

    def upsert(self, points: Sequence[Point]) -> None:
        """Write points, replacing those of the same id. Validated whole before anything is written."""
        ...

    def set_metadata(self, updates: Mapping[str, Metadata]) -> None:
        """Replace the product metadata of points, by image id; vectors stay."""
        ...

    def delete(self, image_ids: Sequence[str]) -> None:
        """Remove points; ids that are not there are no error."""
        ...


class Build(Protocol):
    """A generation being built, seeded from the committed one (or empty for a rebuild)."""

    @property
    def store(self) -> WritableStore:
        """The generation, open for writing."""
        ...

    @property
    def resumed(self) -> bool:
        """True when an interrupted build was found and is continued."""
        ...

    @property
    def changed(self) -> bool:
        """True when something was written, now or before an interruption; a commit without changes is free."""
        ...

    @property
    def waiting(self) -> int:
        """After a commit: how many other workers the switch waits for."""
        ...

    def report(self, done: int, total: int) -> None:
        """Record progress for whoever asks what holds the index."""
        ...

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
        """Optimize, check, write the manifest, make it durable and switch to it atomically.

        Args:
            catalog: where the pictures are shown from.
            metadata_keys: the columns that ``--where`` may name.
            check: looks at the complete generation before the switch. If it raises, the committed
                generation stays live and the build can be continued. Not called without changes.
            studio: see `Manifest`; None leaves what the generation before said, if its model is the same.
            gap: likewise.
            calibration: likewise.
        """
        ...

    def discard(self) -> None:
        """Drop the build; the committed generation stays as it is."""
        ...


class Index(Protocol):
    """A place that holds an index.

    Attributes:
        staged: True when an index run of the same model is seen at its commit only; False when its pictures
            are findable as they are written. A rebuild is seen at its commit only, everywhere.
    """

    staged: bool

    @property
    def location(self) -> str:
        """The path or URL as given."""
        ...

    @property
    def refusals(self) -> RefusalStore:
        """The pictures that are none of the catalog's; they belong to the place, whatever generation is live."""
        ...

    def nodes(self) -> int:
        """How many machines it is spread over."""
        ...

    def manifest(self) -> Manifest | None:
        """The committed generation's manifest, without opening the engine; None if there is none."""
        ...

    def reader(self, pinned: Manifest | None = None) -> AbstractContextManager[tuple[VectorStore, Manifest]]:
        """The committed generation, open for searching. Hold it briefly.

        Args:
            pinned: prefer this generation for as long as it is kept, so that vectors made by its model
                find their neighbors also when another model went live meanwhile.

        Raises:
            IndexNotFoundError: nothing was committed here yet (says so if a build is under way).
            IndexBusyError: another process held it for longer than the patience of a query.
            IndexDamagedError: what is on disk is not what the manifest says.
        """
        ...

    def awaited(self) -> bool:
        """True when another process waits for what `reader` holds here."""
        ...

    def writer(
        self, model: ModelIdentity, *, rebuild: bool = False, shard: Shard | None = None
    ) -> AbstractContextManager[Build]:
        """Start or continue a build. Leaving the context without `Build.commit` keeps it for resuming.

        Args:
            model: makes the vectors.
            rebuild: begin with an empty generation.
            shard: this is one of several workers at the same build, each with a part of the pictures; whoever
                commits last makes it live. On a server only.

        Raises:
            UsageError: ``shard`` was given for a directory, which one process at a time can write to.
            IndexBusyError: another process is writing; names it.
            ModelMismatchError: the index was built by another model and ``rebuild`` is false.
            DiskFullError: there is not enough room.
        """
        ...

    def generations(self) -> list[Generation]:
        """All generations, oldest number first."""
        ...

    def rollback(self, generation: int | None = None) -> Manifest:
        """Make a kept generation the live one again, in one atomic switch; what was live is kept.

        Args:
            generation: its number; None for the newest before the live one.

        Raises:
            UsageError: there is no such generation.
            IndexDamagedError: it is not what was committed.
            IndexBusyError: somebody is writing.
        """
        ...

    def set_calibration(self, calibration: Mapping[str, Any] | None) -> Manifest:
        """Give the live generation a calibration of its own, which all who ask it go by from then on.

        Args:
            calibration: see `Manifest`; None for the model's own.

        Raises:
            IndexNotFoundError: nothing is live yet.
            IndexBusyError: somebody is writing.
            StoreError: it cannot be written.
        """
        ...

    def collect(self, *, keep: int = 0) -> list[Generation]:
        """Remove kept generations, all but the newest ``keep``, and unfinished builds.

        Returns:
            What was removed.

        Raises:
            IndexBusyError: somebody is writing.
        """
        ...

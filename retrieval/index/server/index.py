"""`ServerIndex`: collections as generations, an alias as the live one.

    NAME                 alias of the live generation: what a query asks for
    NAME-gen-000001      a collection; its metadata hold the manifest, or what is being built
    NAME-gen-000002      …

Moving the alias is the only commit point of a rebuild, one atomic request to the server.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

from retrieval.errors import (
    IndexBusyError,
    IndexDamagedError,
    IndexNotFoundError,
)
from retrieval.index.manifest import Generation, Manifest, choose_kept, choose_removed
from retrieval.index.server.address import Address
from retrieval.index.server.build import ServerBuild
from retrieval.index.server.collections import KEY, BuildRecord, Collections, create, nodes, read_metadata
from retrieval.index.server.layout import Layout
from retrieval.index.server.lease import Note, held
from retrieval.index.server.link import Link
from retrieval.index.server.refusals import ServerRefusals
from retrieval.index.server.store import ServerStore
from retrieval.index.sharding import Shard
from retrieval.system.locks import Holder
from retrieval.types import ModelIdentity


class ServerIndex:
    """An index on a Qdrant server; see `retrieval.index.protocols.Index` for what its methods promise."""

    staged = False

    def __init__(
        self,
        url: str,
        *,
        notify: Callable[[str], None] | None = None,
        overrides: dict[str, int | bool | None] | None = None,
        expected: int | Callable[[], int] = 0,
        nodes: int | None = None,
        link: Link | None = None,
    ) -> None:
        """Name a place; nothing is asked yet.

        Args:
            url: see `Address.parse_all`.
            notify: called with lines that are no error.
            overrides: fields of a new collection's `Layout` that are given by hand.
            expected: about how many pictures a new collection will hold, or what tells so when one is made.
            nodes: nodes of the cluster; None to ask it.
            link: the connection, if there is one already.

        Raises:
            UsageError: it is no such URL.
        """
        address, *others = Address.parse_all(url)
        self.collections = Collections(address, notify or (lambda line: None), link, others)
        self.overrides = overrides or {}
        self.expected = expected
        self._nodes = nodes
        self._refusals = ServerRefusals(self.collections)

    @property
    def refusals(self) -> ServerRefusals:
        """See `retrieval.index.protocols.Index.refusals`."""
        return self._refusals

    def nodes(self) -> int:
        """Nodes of the cluster; 1 for a single server."""
        return self._nodes or nodes(self.collections.link)

    @property
    def location(self) -> str:
        """The URL as given, or several of one cluster."""
        return ",".join(a.url for a in (self.collections.address, *self.collections.others))

    def manifest(self) -> Manifest | None:
        """See `retrieval.index.protocols.Index.manifest`.

        Raises:
            IndexDamagedError: there are complete generations and none is live, or a manifest is not legible.
            UsageError: a collection of that name belongs to another program.
        """
        return self.collections.manifest()

    def require_live(self) -> Manifest:
        """The live generation's manifest.

        Raises:
            IndexNotFoundError: nothing is live yet.
        """
        manifest = self.collections.manifest()
        if manifest is not None:
            return manifest
        if self.collections.listing().building:
            raise IndexNotFoundError(
                f"The index at {self.location} is being built for the first time",
                hint="Try again when it is done, or finish it: itemrec index CATALOG",
            )
        raise IndexNotFoundError(f"There is no index at {self.location}", hint="Make one: itemrec index CATALOG")

    @contextlib.contextmanager
    def reader(self, pinned: Manifest | None = None) -> Iterator[tuple[ServerStore, Manifest]]:
        """See `retrieval.index.protocols.Index.reader`."""
        manifest = self.require_live()
        if pinned is not None and pinned.created != manifest.created:
            info = self.collections.info(self.collections.name(pinned.generation))
            data = read_metadata(info) if info is not None else None
            if data is not None and data.get("created") == pinned.created:
                manifest = pinned
        yield (
            ServerStore(self.collections.link, self.collections.name(manifest.generation), manifest.model.dimension),
            manifest,
        )

    def awaited(self) -> bool:
        """See `retrieval.index.protocols.Index.awaited`. A server answers everybody at once."""
        return False

    @contextlib.contextmanager
    def writer(
        self, model: ModelIdentity, *, rebuild: bool = False, shard: Shard | None = None
    ) -> Iterator[ServerBuild]:
        """See `retrieval.index.protocols.Index.writer`. Without ``rebuild`` the live collection is written to."""
        live = self._live_for(model, rebuild=rebuild)
        part = str(shard) if shard else ""
        in_place = live is not None and not rebuild
        if live is None:
            # The lease lies in the live collection; without one in the first that is built.
            self._refuse_builders(part)
            number, resumed = self._open_build(None, model)
        with held(
            self.collections.link, self.collections.name(live.generation if live else number), "indexing", part
        ) as report:
            if live is not None:
                number, resumed = (live.generation, False) if in_place else self._open_build(live, model)
            yield ServerBuild(
                self.collections,
                model,
                generation=number,
                live=live,
                in_place=in_place,
                resumed=resumed,
                shard=shard,
                report=report,
            )

    def _live_for(self, model: ModelIdentity, *, rebuild: bool) -> Manifest | None:
        try:
            live = self.collections.manifest()
        except IndexDamagedError as error:
            if not rebuild:
                raise
            self.collections.notify(f"Rebuilding a damaged index: {error.message}")
            return None
        if live is not None and not rebuild:
            live.require(model, self.location)
        return live

    def _refuse_builders(self, part: str) -> None:
        me = Note("", 0.0, Holder.me(), part)
        for number, notes in self.collections.listing().notes.items():
            for note in notes:
                if note.excludes(me) and note.stands():
                    raise IndexBusyError(
                        f"Generation {number} of {self.location} is being built by {note.holder}",
                        hint="Wait for it. If it died on another machine, its claim ends within a minute",
                    )

    def _open_build(self, live: Manifest | None, model: ModelIdentity) -> tuple[int, bool]:
        """The generation to build, and whether it was begun before; drops builds that cannot be continued."""
        listing = self.collections.listing()
        base = f"{live.generation} of {live.created}" if live else ""
        for number, record in sorted(listing.building.items()):
            if record.continues(base, model):
                count = ServerStore(self.collections.link, self.collections.name(number), model.dimension).count()
                self.collections.notify(f"Continuing an interrupted build that holds {count:,} pictures")
                return number, True
            self.collections.notify(
                f"Dropping an interrupted build that cannot be continued: it was made by {record.model.name} "
                f"({record.model.fingerprint[:12]}) from generation {record.base or 'none'}"
            )
            self.collections.drop(number)
        number = max(listing.complete, default=0) + 1
        record = BuildRecord(number, base, model)
        expected = self.expected() if callable(self.expected) else self.expected
        layout = Layout.choose(expected, model.dimension, self.nodes(), self.overrides)
        create(self.collections.link, self.collections.name(number), layout, {KEY: json.dumps(asdict(record))})
        return number, False

    def generations(self) -> list[Generation]:
        """See `retrieval.index.protocols.Index.generations`."""
        listing = self.collections.listing()
        live = self._live_number()
        found = [
            Generation(n, "live" if n == live else "kept", m.model, m.images, m.products, m.created, None)
            for n, m in listing.complete.items()
        ]
        found += [Generation(n, "building", r.model, None, None, None, None) for n, r in listing.building.items()]
        return sorted(found, key=lambda g: g.number)

    def _live_number(self) -> int | None:
        with contextlib.suppress(IndexDamagedError):
            manifest = self.collections.manifest()
            return manifest.generation if manifest else None
        return None

    def rollback(self, generation: int | None = None) -> Manifest:
        """See `retrieval.index.protocols.Index.rollback`; also mends an index whose alias was lost."""
        from retrieval.index.checks import require_sound

        listing, live = self.collections.listing(), self._live_number()
        if live is None and not listing.complete:
            self.require_live()
        target = choose_kept(live, listing.complete, generation)
        if target.generation == live:
            return target
        name = self.collections.name(target.generation if live is None else live)
        with held(self.collections.link, name, "rolling back"):
            store = ServerStore(self.collections.link, self.collections.name(target.generation), target.model.dimension)
            require_sound(store, target)
            self.collections.make_live(target.generation)
        return target

    def set_calibration(self, calibration: Mapping[str, Any] | None) -> Manifest:
        """See `retrieval.index.protocols.Index.set_calibration`."""
        live = self.require_live()
        with held(self.collections.link, self.collections.name(live.generation), "calibrating"):
            manifest = replace(self.require_live(), calibration=calibration)
            self.collections.describe_as(manifest)
        return manifest

    def collect(self, *, keep: int = 0) -> list[Generation]:
        """See `retrieval.index.protocols.Index.collect`."""
        live = self.require_live()
        with held(self.collections.link, self.collections.name(live.generation), "removing old generations"):
            removed = choose_removed(self.generations(), keep)
            for gone in removed:
                self.collections.drop(gone.number)
        return removed

    def close(self) -> None:
        """Let go of the connection."""
        self.collections.close()

"""`ServerIndex`: collections as generations, an alias as the live one.

    NAME                 alias of the live generation: what a query asks for
    NAME-gen-000001      a collection; its metadata hold the manifest, or what is being built
    NAME-gen-000002      …

Moving the alias is the only commit point of a rebuild, one atomic request to the server.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from retrieval.errors import (
    IndexBusyError,
    IndexDamagedError,
    IndexNotFoundError,
    UsageError,
)
from retrieval.index.manifest import Generation, Manifest, choose_kept, worth_keeping
from retrieval.index.server.address import Address
from retrieval.index.server.build import ServerBuild
from retrieval.index.server.collections import BUILD_SCHEMA, KEY, BuildRecord, Shelf, create, nodes, read_metadata
from retrieval.index.server.errors import MissingError
from retrieval.index.server.layout import Layout
from retrieval.index.server.lease import Note, held
from retrieval.index.server.link import FIRST_TIMEOUT, Link, connect
from retrieval.index.server.store import ServerStore
from retrieval.index.sharding import Shard
from retrieval.system.locks import Holder
from retrieval.types import ModelIdentity

_REBUILD_HINT = "Rebuild the index from its catalog: itemrec index CATALOG --rebuild"


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
            url: see `Address.parse`.
            notify: called with lines that are no error.
            overrides: fields of a new collection's `Layout` that are given by hand.
            expected: about how many pictures a new collection will hold, or what tells so when one is made.
            nodes: nodes of the cluster; None to ask it.
            link: the connection, if there is one already.

        Raises:
            UsageError: it is no such URL.
        """
        self.address = Address.parse(url)
        self.notify = notify or (lambda line: None)
        self.overrides = overrides or {}
        self.expected = expected
        self._nodes = nodes
        self._link = link

    def nodes(self) -> int:
        """Nodes of the cluster; 1 for a single server."""
        return self._nodes or nodes(self.link)

    @property
    def location(self) -> str:
        """The URL as given."""
        return self.address.url

    @property
    def link(self) -> Link:
        """The connection; made, and the server's version looked at, when first needed."""
        if self._link is None:
            address = self.address
            if address.exposed:
                self.notify(f"The API key goes to {address.host} unencrypted; use https://")
            with contextlib.closing(
                connect(address, self.notify, timeout=min(address.timeout, FIRST_TIMEOUT), fast=False)
            ) as first:
                first.check_version()
            self._link = connect(address, lambda line: self.notify(line))
        return self._link

    @property
    def engine(self) -> str:
        """The engine and its version, for the manifest."""
        return f"qdrant {self.link.read('ask for the version', self.link.client.info).version}"

    def collection(self, generation: int) -> str:
        """The collection of a generation."""
        return f"{self.address.name}-gen-{generation:06d}"

    def manifest(self) -> Manifest | None:
        """The live generation's manifest; None if there is none.

        Raises:
            IndexDamagedError: there are complete generations and none is live, or a manifest is not legible.
            UsageError: a collection of that name belongs to another program.
        """
        info = self._info(self.address.name)
        if info is not None:
            data = read_metadata(info)
            if data is None or data.get("schema") == BUILD_SCHEMA:
                raise UsageError(
                    f"expected an index of itemrec at {self.location}, received a collection "
                    f"{self.address.name!r} of another program",
                    hint="Give the index another name: --index http://HOST:6333/NAME",
                )
            return self._checked(Manifest.from_json(data), info)
        whole = self.shelf().complete
        if whole:
            raise IndexDamagedError(
                f"expected the alias {self.address.name!r} at {self.location} to name a live generation, "
                f"received none, but generation {max(whole)} is complete",
                hint=f"Make it live: itemrec rollback --to {max(whole)}",
            )
        return None

    def _info(self, collection: str) -> Any | None:
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
                f"{self.collection(manifest.generation)}, received {found[0]} and {found[1] or 'several vectors'}",
                hint=_REBUILD_HINT,
            )
        return manifest

    def shelf(self) -> Shelf:
        """Everything the server holds of this index."""
        shelf = Shelf({}, {}, {})
        head = f"{self.address.name}-gen-"
        for found in self.link.read("list collections", self.link.client.get_collections).collections:
            number = found.name.removeprefix(head)
            if found.name.startswith(head) and number.isdigit():
                info = self._info(found.name)
                data = read_metadata(info) if info is not None else None
                if info is not None:
                    shelf.notes[int(number)] = Note.read(info.config.metadata)
                record = BuildRecord.from_json(data) if data is not None else None
                if record is not None and record.schema == BUILD_SCHEMA:
                    shelf.building[int(number)] = record
                elif data is not None:
                    with contextlib.suppress(IndexDamagedError):
                        shelf.complete[int(number)] = Manifest.from_json(data)
        return shelf

    def require_live(self) -> Manifest:
        """The live generation's manifest.

        Raises:
            IndexNotFoundError: nothing is live yet.
        """
        manifest = self.manifest()
        if manifest is not None:
            return manifest
        if self.shelf().building:
            raise IndexNotFoundError(
                f"expected a complete index at {self.location}, received one that is being built for the first time",
                hint="Try again when it is done, or finish it: itemrec index CATALOG",
            )
        raise IndexNotFoundError(
            f"expected an index at {self.location}, received nothing there", hint="Make one: itemrec index CATALOG"
        )

    @contextlib.contextmanager
    def reader(self, pinned: Manifest | None = None) -> Iterator[tuple[ServerStore, Manifest]]:
        """See `retrieval.index.protocols.Index.reader`."""
        manifest = self.require_live()
        if pinned is not None and pinned.created != manifest.created:
            info = self._info(self.collection(pinned.generation))
            data = read_metadata(info) if info is not None else None
            if data is not None and data.get("created") == pinned.created:
                manifest = pinned
        yield (
            ServerStore(
                self.link, self.collection(manifest.generation), manifest.model.dimension, images=manifest.images
            ),
            manifest,
        )

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
        with held(self.link, self.collection(live.generation if live else number), "indexing", part) as report:
            if live is not None:
                number, resumed = (live.generation, False) if in_place else self._open_build(live, model)
            yield ServerBuild(
                self,
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
            live = self.manifest()
        except IndexDamagedError as error:
            if not rebuild:
                raise
            self.notify(f"Rebuilding a damaged index: {error.message}")
            return None
        if live is not None and not rebuild:
            live.require(model, self.location)
        return live

    def _refuse_builders(self, part: str) -> None:
        me = Note("", 0.0, Holder.me(), part)
        for number, notes in self.shelf().notes.items():
            for note in notes:
                if note.excludes(me) and note.stands():
                    raise IndexBusyError(
                        f"expected to write to {self.location}, received: generation {number} is being built "
                        f"by {note.holder}",
                        hint="Wait for it. If it died on another machine, its claim ends within a minute",
                    )

    def _open_build(self, live: Manifest | None, model: ModelIdentity) -> tuple[int, bool]:
        """The generation to build, and whether it was begun before; drops builds that cannot be continued."""
        shelf = self.shelf()
        base = f"{live.generation} of {live.created}" if live else ""
        for number, record in sorted(shelf.building.items()):
            if record.continues(base, model):
                count = ServerStore(self.link, self.collection(number), model.dimension).count()
                self.notify(f"Continuing an interrupted build that holds {count:,} pictures")
                return number, True
            self.notify(
                f"Dropping an interrupted build that cannot be continued: it was made by {record.model.name} "
                f"({record.model.fingerprint[:12]}) from generation {record.base or 'none'}"
            )
            self.drop(number)
        number = max(shelf.complete, default=0) + 1
        record = BuildRecord(number, base, model)
        expected = self.expected() if callable(self.expected) else self.expected
        layout = Layout.choose(expected, model.dimension, self.nodes(), self.overrides)
        create(self.link, self.collection(number), layout, {KEY: json.dumps(asdict(record))})
        return number, False

    def describe_as(self, manifest: Manifest) -> None:
        """Write a generation's manifest into its collection."""
        self.link.write(
            "write the manifest",
            self.link.client.update_collection,
            self.collection(manifest.generation),
            metadata={KEY: json.dumps(manifest.to_json())},
        )

    def switch(self, manifest: Manifest) -> None:
        """Make a new complete generation the live one, then drop those that are not worth keeping."""
        with contextlib.suppress(IndexDamagedError):
            replaced = self.manifest()
            self.make_live(manifest.generation)
            shelf = self.shelf()
            kept = worth_keeping(manifest, replaced.generation if replaced else None, shelf.complete.values())
            for number in shelf.complete:
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
                create_alias=models.CreateAlias(collection_name=self.collection(generation), alias_name=alias)
            )
        )
        self.link.write("switch generations", self.link.client.update_collection_aliases, moves)

    def drop(self, generation: int) -> None:
        """Delete a generation's collection; one that is gone is no error."""
        with contextlib.suppress(MissingError):
            self.link.write("remove a generation", self.link.client.delete_collection, self.collection(generation))

    def generations(self) -> list[Generation]:
        """See `retrieval.index.protocols.Index.generations`."""
        shelf = self.shelf()
        live = self._live_number()
        found = [
            Generation(n, "live" if n == live else "kept", m.model, m.images, m.products, m.created, None)
            for n, m in shelf.complete.items()
        ]
        found += [Generation(n, "building", r.model, None, None, None, None) for n, r in shelf.building.items()]
        return sorted(found, key=lambda g: g.number)

    def _live_number(self) -> int | None:
        with contextlib.suppress(IndexDamagedError):
            manifest = self.manifest()
            return manifest.generation if manifest else None
        return None

    def rollback(self, generation: int | None = None) -> Manifest:
        """See `retrieval.index.protocols.Index.rollback`; also mends an index whose alias was lost."""
        from retrieval.index.checks import require_sound

        shelf, live = self.shelf(), self._live_number()
        if live is None and not shelf.complete:
            self.require_live()
        target = choose_kept(live, shelf.complete, generation)
        if target.generation == live:
            return target
        name = self.collection(target.generation if live is None else live)
        with held(self.link, name, "rolling back"):
            store = ServerStore(self.link, self.collection(target.generation), target.model.dimension)
            require_sound(store, target)
            self.make_live(target.generation)
        return target

    def collect(self, *, keep: int = 0) -> list[Generation]:
        """See `retrieval.index.protocols.Index.collect`."""
        live = self.require_live()
        with held(self.link, self.collection(live.generation), "removing old generations"):
            every = self.generations()
            kept = sorted((g for g in every if g.state == "kept"), key=lambda g: g.created or "")
            spared = {g.number for g in kept[len(kept) - keep :]} if keep > 0 else set()
            removed = [g for g in every if g.state != "live" and g.number not in spared]
            for gone in removed:
                self.drop(gone.number)
        return removed

    def close(self) -> None:
        """Let go of the connection."""
        if self._link is not None:
            self._link.close()
            self._link = None

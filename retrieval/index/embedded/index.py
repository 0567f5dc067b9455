"""`EmbeddedIndex`: an index in a directory, as generations of which one is committed.

    DIR/FORMAT                      marks the directory as ours
    DIR/CURRENT                     name of the committed generation; replacing it is the commit
    DIR/generations/gen-000001/     manifest.json and shard/ (the engine's files)
    DIR/generations/gen-000002/     a build under way: build.json and shard/
                                    (others with a manifest and no build.json are kept for a rollback)
    DIR/reader.lock, reader.json    who has the committed generation open: held for milliseconds
    DIR/reader.turn                 who is next: nobody overtakes
    DIR/writer.lock, writer.json    who is building: held for the whole index run

A directory under ``generations`` counts only when CURRENT names it, when it is complete, or when
its build.json says that it can be continued; all else there is debris that the next writer clears.
Why so: docs/decisions/0004-embedded-index.md.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.errors import IndexBusyError, IndexDamagedError, IndexNotFoundError, UsageError
from retrieval.index.embedded.copy import BUILD_FILE, TEMPORARY, replace_alone
from retrieval.index.embedded.engine import REBUILD_HINT
from retrieval.index.embedded.store import HNSW_FROM, EmbeddedStore
from retrieval.index.manifest import Generation, Manifest, worth_keeping
from retrieval.index.sharding import Shard
from retrieval.system.files import os_errors, remove_tree
from retrieval.system.locks import Holder, Lock
from retrieval.types import ModelIdentity

if TYPE_CHECKING:
    from retrieval.index.embedded.build import EmbeddedBuild

FORMAT = "itemrec.index/1"
READ_PATIENCE = 30.0
"""How long a query waits for other queries, in seconds; each holds the index for milliseconds, or for
seconds on a machine that has twenty times too much to do."""
COMMIT_PATIENCE = 60.0
"""How long a commit waits for queries, in seconds."""
_BEFORE_FORMAT = {"writer.lock", "writer.json", ".FORMAT.tmp"}
"""What an index run that was cut off at its very beginning may have left."""
_MANIFEST = "manifest.json"
_SHARD = "shard"

_log = logging.getLogger("itemrec.index")


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
        self.path = path
        self.notify = notify or _log.info
        self.patience = patience
        self.hnsw_from = hnsw_from
        self._reading = Lock(path / "reader.lock", path / "reader.json")
        self._writing = Lock(path / "writer.lock", path / "writer.json")

    @property
    def location(self) -> str:
        """The directory as given."""
        return str(self.path)

    def nodes(self) -> int:
        """One: this machine."""
        return 1

    def generation_path(self, generation: int) -> Path:
        """Where a generation lies."""
        return self.path / "generations" / f"gen-{generation:06d}"

    def shard_path(self, generation: int) -> Path:
        """Where the engine's files of a generation lie."""
        return self.generation_path(generation) / _SHARD

    def manifest(self) -> Manifest | None:
        """The committed generation's manifest; None if there is none.

        Raises:
            IndexDamagedError: CURRENT or the manifest is not what was committed.
            UsageError: the directory holds something else.
        """
        name = self.current_name()
        while name is not None:
            try:
                return self.read_manifest(name)
            except FileNotFoundError as error:
                # A commit between the two reads moved CURRENT on and deleted what it named.
                latest = self.current_name()
                if latest == name:
                    raise IndexDamagedError(
                        f"expected the manifest of {name} in {self.path}, received nothing", hint=REBUILD_HINT
                    ) from error
                name = latest
        self._check_nothing_lost()
        return None

    def _check_nothing_lost(self) -> None:
        """Without CURRENT no generation can be complete, or somebody removed that file."""
        for path in sorted(self.path.glob(f"generations/gen-*/{_MANIFEST}")):
            if not (path.parent / BUILD_FILE).exists() and not (self.path / "CURRENT").exists():
                raise IndexDamagedError(
                    f"expected {self.path / 'CURRENT'} to name the complete {path.parent.name}, received no such file",
                    hint=f"Restore that file with the one line {path.parent.name}, or rebuild: "
                    "itemrec index CATALOG --rebuild",
                )

    def current_name(self) -> str | None:
        """The folder of the committed generation; None if there is none."""
        self._check_format()
        try:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                name = (self.path / "CURRENT").read_text(encoding="utf-8").strip()
                if not (name.startswith("gen-") and name[4:].isdigit()):
                    raise IndexDamagedError(
                        f"expected the name of a generation in {self.path / 'CURRENT'}, received {name!r:.80}",
                        hint=REBUILD_HINT,
                    )
                return name
        except (OSError, UnicodeDecodeError) as error:
            raise IndexDamagedError(
                f"expected a legible {self.path / 'CURRENT'}, received: {error}", hint=REBUILD_HINT
            ) from error
        return None

    def read_manifest(self, name: str) -> Manifest:
        """The manifest in a generation's folder; FileNotFoundError where there is none."""
        path = self.path / "generations" / name / _MANIFEST
        try:
            data = json.loads(path.read_bytes())
            if not isinstance(data, dict):
                raise ValueError("not a JSON object")
        except FileNotFoundError:
            raise
        except (OSError, ValueError) as error:
            raise IndexDamagedError(
                f"expected a legible manifest in {path}, received: {error}", hint=REBUILD_HINT
            ) from error
        manifest = Manifest.from_json(data)
        if f"gen-{manifest.generation:06d}" != name:
            raise IndexDamagedError(
                f"expected the manifest of {name} in {path}, received that of generation {manifest.generation}",
                hint=REBUILD_HINT,
            )
        return manifest

    def _check_format(self) -> None:
        """Leave a directory alone that is not an index."""
        try:
            found = (self.path / "FORMAT").read_text(encoding="utf-8", errors="replace").strip()
        except FileNotFoundError:
            if self.path.is_dir() and any(n.name not in _BEFORE_FORMAT for n in self.path.iterdir()):
                raise UsageError(
                    f"expected an index or an empty directory, received {self.path}, which holds other files",
                    hint="Give --index another directory",
                ) from None
            return
        except NotADirectoryError as error:
            raise UsageError(
                f"expected a directory as index, received the file {self.path}", hint="Use --index DIR"
            ) from error
        except OSError as error:
            raise UsageError(
                f"expected a directory that you may read, received {self.path}: {error.strerror}",
                hint="Check its permissions",
            ) from error
        if found != FORMAT:
            raise IndexDamagedError(
                f"expected an index of format {FORMAT} in {self.path}, received {found!r:.80}",
                hint="Another release of itemrec made it: use that one, or rebuild into a new directory",
            )

    @contextlib.contextmanager
    def reader(self, pinned: Manifest | None = None) -> Iterator[tuple[EmbeddedStore, Manifest]]:
        """See `retrieval.index.protocols.Index.reader`."""
        self.require_committed()
        with self.read_lock(self.patience, "querying"):
            manifest = self.require_committed()
            if pinned is not None and pinned.created != manifest.created:
                manifest = self._still_kept(pinned) or manifest
            with self.open_generation(manifest) as store:
                yield store, manifest

    def _still_kept(self, pinned: Manifest) -> Manifest | None:
        """A generation that was live before, if it is still there; the caller holds the lock."""
        with contextlib.suppress(FileNotFoundError, IndexDamagedError):
            found = self.read_manifest(self.generation_path(pinned.generation).name)
            return found if found.created == pinned.created else None
        return None

    def require_committed(self) -> Manifest:
        """The committed generation's manifest; IndexNotFoundError, with the reason, if there is none."""
        manifest = self.manifest()
        if manifest is not None:
            return manifest
        holder = self._writing.holder()
        if holder is not None and holder.alive:
            raise IndexNotFoundError(
                f"expected a complete index in {self.path}, received one that is being built for the first time "
                f"by {holder}",
                hint="Try again when it is done",
            )
        if (self.path / "FORMAT").exists():
            raise IndexNotFoundError(
                f"expected a complete index in {self.path}, received one whose first build was not finished",
                hint="Finish it: itemrec index CATALOG",
            )
        raise IndexNotFoundError(
            f"expected an index in {self.path}, received nothing there",
            hint="Make one: itemrec index CATALOG",
        )

    @contextlib.contextmanager
    def read_lock(self, patience: float, phase: str) -> Iterator[None]:
        """Keep everybody else from opening or switching the committed generation."""

        def busy(holder: Holder | None) -> IndexBusyError:
            return IndexBusyError(
                f"expected to open {self.path} within {patience:g} s, received: held by {holder or 'another process'}",
                hint="Try again; one process at a time can use an embedded index",
            )

        with self._reading.hold(patience, busy, phase):
            yield

    @contextlib.contextmanager
    def open_generation(self, manifest: Manifest) -> Iterator[EmbeddedStore]:
        """Open a complete generation, whose lock the caller holds, and check it against its manifest."""
        with EmbeddedStore.open(self.shard_path(manifest.generation), manifest.model.dimension) as store:
            if store.count() != manifest.images:
                raise IndexDamagedError(
                    f"expected {manifest.images:,} pictures in {self.path}, received {store.count():,}",
                    hint=REBUILD_HINT,
                )
            yield store

    @contextlib.contextmanager
    def writer(
        self, model: ModelIdentity, *, rebuild: bool = False, shard: Shard | None = None
    ) -> Iterator[EmbeddedBuild]:
        """See `retrieval.index.protocols.Index.writer`."""
        if shard is not None:
            raise UsageError(
                f"expected the URL of a server for shard {shard}, received the directory {self.path}",
                hint="One process at a time can write to a directory; it uses every core by itself",
            )
        self._check_format()
        with os_errors("create an index", self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        with self.writing("starting") as me:
            with os_errors("create an index", self.path):
                if not (self.path / "FORMAT").exists():
                    replace_alone(self.path / "FORMAT", FORMAT + "\n")
                (self.path / "generations").mkdir(exist_ok=True)
            base = self._base(model, rebuild=rebuild)
            build = self._open_build(base, model, me, rebuild=rebuild)
            try:
                yield build
            finally:
                build.close()

    @contextlib.contextmanager
    def writing(self, phase: str) -> Iterator[Holder]:
        """Keep everybody else from building, switching and removing generations."""

        def busy(holder: Holder | None) -> IndexBusyError:
            return IndexBusyError(
                f"expected to write to {self.path}, received: it is being written by {holder or 'another process'}",
                hint="Wait for it; queries are answered from the last complete index meanwhile",
            )

        with self._writing.hold(0.0, busy, phase) as me:
            yield me

    def _base(self, model: ModelIdentity, *, rebuild: bool) -> Manifest | None:
        """The committed generation that a build continues from; a rebuild forgives a damaged one."""
        try:
            committed = self.manifest()
        except IndexDamagedError as error:
            if not rebuild:
                raise
            self.notify(f"Rebuilding a damaged index: {error.message}")
            return None
        if committed is not None and not rebuild:
            committed.require(model, self.location)
        return committed

    def _open_build(
        self, committed: Manifest | None, model: ModelIdentity, me: Holder, *, rebuild: bool
    ) -> EmbeddedBuild:
        # What a build needs is not imported for a query.
        from retrieval.index.embedded.build import BuildRecord, EmbeddedBuild
        from retrieval.index.embedded.retention import complete

        live = f"gen-{committed.generation:06d}" if committed else self.name_or_none()
        kept = complete(self)
        number = max([*kept, int(live[4:]) if live else 0]) + 1
        base = None if rebuild else committed
        record = BuildRecord.start(number, base, model)
        resumable = False
        with os_errors("write", self.path):
            for half_written in self.path.glob(f".*{TEMPORARY}"):
                half_written.unlink(missing_ok=True)
            for folder in sorted((self.path / "generations").iterdir()):
                if folder.name == live:
                    for done in (folder / BUILD_FILE, *folder.glob(f".*{TEMPORARY}")):
                        done.unlink(missing_ok=True)
                    continue
                if any(folder == self.generation_path(n) for n in kept):
                    continue
                left = BuildRecord.read(folder / BUILD_FILE)
                if left is not None and folder == self.generation_path(number) and left.continues(record):
                    (folder / _MANIFEST).unlink(missing_ok=True)
                    resumable = True
                    continue
                if left is not None and left.seeded:
                    self.notify(
                        f"Dropping an interrupted build that cannot be continued: it was made by "
                        f"{left.model.name} ({left.model.fingerprint[:12]}) from generation {left.base or 'none'}"
                    )
                self.remove_generation(folder)
        build = EmbeddedBuild(self, self._writing, me, committed=committed, base=base, record=record)
        if resumable:
            build.resume()
        return build

    def name_or_none(self) -> str | None:
        """As `current_name`; None also where it cannot be read."""
        with contextlib.suppress(IndexDamagedError):
            return self.current_name()
        return None

    def write_manifest(self, manifest: Manifest) -> None:
        """Write a generation's manifest so that it is there whole or not at all."""
        path = self.generation_path(manifest.generation) / _MANIFEST
        replace_alone(path, json.dumps(manifest.to_json(), indent=2, ensure_ascii=False) + "\n")

    def switch(self, manifest: Manifest) -> None:
        """Make a new complete generation the committed one; drop those that are not worth keeping."""
        from retrieval.index.embedded.retention import complete, folders

        replaced = self.name_or_none()
        self.make_current(manifest)
        (self.generation_path(manifest.generation) / BUILD_FILE).unlink(missing_ok=True)
        kept = worth_keeping(manifest, int(replaced[4:]) if replaced else None, complete(self).values())
        staying = {self.generation_path(n) for n in (manifest.generation, *kept)}
        doomed = [folder for folder in folders(self) if folder not in staying]
        with os_errors("clear", self.path):
            if doomed:
                with self.read_lock(COMMIT_PATIENCE, "committing"):
                    for folder in doomed:
                        self.remove_generation(folder)

    def make_current(self, manifest: Manifest) -> None:
        """Answer queries from a complete generation from now on: the one commit point."""
        with self.read_lock(COMMIT_PATIENCE, "committing"), os_errors("commit", self.path):
            replace_alone(self.path / "CURRENT", self.generation_path(manifest.generation).name + "\n")

    def remove_generation(self, folder: Path) -> None:
        """Delete a generation; cut off at any moment, what is left of it counts as nothing."""
        (folder / _MANIFEST).unlink(missing_ok=True)
        remove_tree(folder, first=BUILD_FILE)

    def generations(self) -> list[Generation]:
        """See `retrieval.index.protocols.Index.generations`."""
        from retrieval.index.embedded.retention import list_generations

        return list_generations(self)

    def rollback(self, generation: int | None = None) -> Manifest:
        """See `retrieval.index.protocols.Index.rollback`."""
        from retrieval.index.embedded.retention import rollback

        return rollback(self, generation)

    def collect(self, *, keep: int = 0) -> list[Generation]:
        """See `retrieval.index.protocols.Index.collect`."""
        from retrieval.index.embedded.retention import collect

        return collect(self, keep)

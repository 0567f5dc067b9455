"""`Place`: the directory of an embedded index: what lies where, which generation is committed, who may change it.

    DIR/FORMAT                      marks the directory as ours
    DIR/CURRENT                     name of the committed generation; replacing it is the commit
    DIR/generations/gen-000001/     manifest.json and shard/ (the engine's files)
    DIR/generations/gen-000002/     a build under way: build.json and shard/
                                    (others with a manifest and no build.json are kept for a rollback)
    DIR/reader.lock, reader.json    who has the committed generation open: held for milliseconds
    DIR/reader.turn                 who is next: nobody overtakes
    DIR/writer.lock, writer.json    who is building: held for the whole index run

A directory under ``generations`` counts only when CURRENT names it, when it is complete, or when
its build.json says that it can be continued; all else there is ignored, and the next writer clears it.
Why so: docs/decisions/0004-embedded-index.md.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from retrieval.errors import DiskFullError, IndexBusyError, IndexDamagedError, IndexNotFoundError, UsageError
from retrieval.index.commands import REBUILD_HINT
from retrieval.index.embedded.copy import remove_left_by_readers
from retrieval.index.embedded.engine import UnwritableError, unreadable
from retrieval.index.embedded.store import HNSW_FROM, EmbeddedStore
from retrieval.index.manifest import Manifest
from retrieval.system.files import os_errors, remove_tree, replace_file
from retrieval.system.locks import Holder, Lock
from retrieval.system.text import json_bytes

FORMAT = "itemrec.index/1"
READ_PATIENCE = 30.0
"""How long a query waits for other queries, in seconds; each holds the index for milliseconds, or for
seconds on a machine that has twenty times too much to do."""
COMMIT_PATIENCE = 60.0
"""How long a commit waits for queries, in seconds."""
BUILD_FILE = "build.json"
"""Marks a generation that is still being built."""
MANIFEST_FILE = "manifest.json"
_SHARD = "shard"
_TEMPORARY = ".tmp"
_OPENING_BYTES = 2**20
"""What the engine writes to a shard that it opens is less."""
_BEFORE_FORMAT = {"writer.lock", "writer.json", f".FORMAT{_TEMPORARY}"}
"""What an index run that was cut off at its very beginning may have left."""

_log = logging.getLogger("itemrec.index")


def _has_room(shard: Path) -> bool:
    if not hasattr(os, "statvfs"):
        return True
    with contextlib.suppress(OSError):
        disk = os.statvfs(shard)
        return disk.f_bavail * disk.f_frsize >= _OPENING_BYTES or bool(disk.f_flag & os.ST_RDONLY)
    return True


class Place:
    """The directory of an index. Naming it opens and creates nothing.

    Attributes:
        path: the directory.
        notify: called with lines that are no error.
        patience: how long a reader waits for other readers, in seconds.
        hnsw_from: a graph is built from this many vector components on (images x dimension).
        writer: the lock of whoever builds.
    """

    def __init__(
        self,
        path: Path,
        *,
        notify: Callable[[str], None] | None = None,
        patience: float = READ_PATIENCE,
        hnsw_from: int = HNSW_FROM,
    ) -> None:
        self.path = path
        self.notify = notify or _log.info
        self.patience = patience
        self.hnsw_from = hnsw_from
        self.writer = Lock(path / "writer.lock", path / "writer.json")
        self._reader = Lock(path / "reader.lock", path / "reader.json")

    def generation_path(self, generation: int) -> Path:
        """Where a generation lies."""
        return self.path / "generations" / f"gen-{generation:06d}"

    def shard_path(self, generation: int) -> Path:
        """Where the engine's files of a generation lie."""
        return self.generation_path(generation) / _SHARD

    def folders(self) -> list[Path]:
        """The folders of all generations, complete or not, by name."""
        try:
            return sorted(f for f in (self.path / "generations").iterdir() if f.is_dir())
        except FileNotFoundError:
            return []

    def complete(self) -> dict[int, Manifest]:
        """Every complete generation that can be read, the live one included, by number."""
        found: dict[int, Manifest] = {}
        live = self.name_or_none()
        for folder in self.folders():
            if folder.name == live or not (folder / BUILD_FILE).exists():
                try:
                    manifest = self.read_manifest(folder.name)
                except (FileNotFoundError, IndexDamagedError):
                    continue
                found[manifest.generation] = manifest
        return found

    def prepare(self) -> None:
        """Mark the directory as an index; the caller holds the writer's lock."""
        with os_errors("create an index", self.path):
            if not (self.path / "FORMAT").exists():
                self.replace_file(self.path / "FORMAT", FORMAT + "\n")
            (self.path / "generations").mkdir(exist_ok=True)

    def check_format(self) -> None:
        """Leave a directory alone that is not an index.

        Raises:
            UsageError: the directory holds something else, is a file, or may not be read.
            IndexDamagedError: it is the index of another release.
        """
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
                f"Cannot read the directory {self.path}: {error.strerror}", hint="Check its permissions"
            ) from error
        if found != FORMAT:
            raise IndexDamagedError(
                f"expected an index of format {FORMAT} in {self.path}, received {found!r:.80}",
                hint="Another release of itemrec made it: use that one, or rebuild into a new directory",
            )

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
                        f"The manifest of {name} in {self.path} is gone", hint=REBUILD_HINT
                    ) from error
                name = latest
        self._check_nothing_lost()
        return None

    def _check_nothing_lost(self) -> None:
        """Without CURRENT no generation can be complete, or somebody removed that file."""
        for path in sorted(self.path.glob(f"generations/gen-*/{MANIFEST_FILE}")):
            if not (path.parent / BUILD_FILE).exists() and not (self.path / "CURRENT").exists():
                raise IndexDamagedError(
                    f"{self.path / 'CURRENT'} is gone, which names the live generation; {path.parent.name} is complete",
                    hint=f"Restore that file with the one line {path.parent.name}, or rebuild: "
                    "itemrec index CATALOG --rebuild",
                )

    def current_name(self) -> str | None:
        """The folder of the committed generation; None if there is none."""
        self.check_format()
        try:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                name = (self.path / "CURRENT").read_text(encoding="utf-8").strip()
                if not (name.startswith("gen-") and name[4:].isdigit()):
                    raise IndexDamagedError(
                        f"expected the name of a generation in {self.path / 'CURRENT'}, received {name!r:.80}",
                        hint=REBUILD_HINT,
                    )
                return name
        except PermissionError as error:
            raise unreadable(self.path / "CURRENT") from error
        except (OSError, UnicodeDecodeError) as error:
            raise IndexDamagedError(f"Cannot read {self.path / 'CURRENT'}: {error}", hint=REBUILD_HINT) from error
        return None

    def name_or_none(self) -> str | None:
        """As `current_name`; None also where it cannot be read."""
        with contextlib.suppress(IndexDamagedError):
            return self.current_name()
        return None

    def read_manifest(self, name: str) -> Manifest:
        """The manifest in a generation's folder; FileNotFoundError where there is none."""
        path = self.path / "generations" / name / MANIFEST_FILE
        try:
            data = json.loads(path.read_bytes())
            if not isinstance(data, dict):
                raise ValueError("not a JSON object")
        except FileNotFoundError:
            raise
        except PermissionError as error:
            raise unreadable(path) from error
        except (OSError, ValueError) as error:
            raise IndexDamagedError(f"Cannot read the manifest {path}: {error}", hint=REBUILD_HINT) from error
        manifest = Manifest.from_json(data)
        if f"gen-{manifest.generation:06d}" != name:
            raise IndexDamagedError(
                f"expected the manifest of {name} in {path}, received that of generation {manifest.generation}",
                hint=REBUILD_HINT,
            )
        return manifest

    def write_manifest(self, manifest: Manifest) -> None:
        """Write a generation's manifest so that it is there whole or not at all."""
        path = self.generation_path(manifest.generation) / MANIFEST_FILE
        self.replace_file(path, json_bytes(json.dumps(manifest.to_json(), indent=2, ensure_ascii=False) + "\n"))

    def require_committed(self) -> Manifest:
        """The committed generation's manifest; IndexNotFoundError, with the reason, if there is none."""
        manifest = self.manifest()
        if manifest is not None:
            return manifest
        holder = self.writer.holder()
        if holder is not None and holder.alive:
            raise IndexNotFoundError(
                f"The index in {self.path} is being built for the first time by {holder}",
                hint="Try again when it is done",
            )
        if (self.path / "FORMAT").exists():
            raise IndexNotFoundError(
                f"The first build of the index in {self.path} was not finished",
                hint="Finish it: itemrec index CATALOG",
            )
        raise IndexNotFoundError(f"There is no index in {self.path}", hint="Make one: itemrec index CATALOG")

    @contextlib.contextmanager
    def read_lock(self, patience: float, phase: str) -> Iterator[None]:
        """Keep everybody else from opening or switching the committed generation."""

        def busy(holder: Holder | None) -> IndexBusyError:
            return IndexBusyError(
                f"Could not open {self.path} within {patience:g} s: {holder or 'another process'} holds it",
                hint="Try again; one process at a time can use an embedded index",
            )

        with self._reader.hold(patience, busy, phase, reading=True):
            yield

    def read_awaited(self) -> bool:
        """True when somebody waits for the lock that `read_lock` holds."""
        return self._reader.awaited()

    @contextlib.contextmanager
    def writing(self, phase: str) -> Iterator[Holder]:
        """Keep everybody else from building, switching and removing generations."""

        def busy(holder: Holder | None) -> IndexBusyError:
            return IndexBusyError(
                f"{self.path} is being written by {holder or 'another process'}",
                hint="Wait for it; queries are answered from the last complete index meanwhile",
            )

        with self.writer.hold(0.0, busy, phase) as me:
            yield me

    @contextlib.contextmanager
    def open_generation(self, manifest: Manifest) -> Iterator[EmbeddedStore]:
        """Open a complete generation, whose lock the caller holds, and check it against its manifest."""
        with self._open(manifest) as store:
            if store.count() != manifest.images:
                raise IndexDamagedError(
                    f"expected {manifest.images:,} pictures in {self.path}, received {store.count():,}",
                    hint=REBUILD_HINT,
                )
            yield store

    @contextlib.contextmanager
    def _open(self, manifest: Manifest) -> Iterator[EmbeddedStore]:
        """A generation's shard; where it cannot be written, which the engine wants, a private copy of it."""
        shard = self.shard_path(manifest.generation)
        reason = f"the disk of {self.path} is full"
        # On a full disk the engine's memory maps end in a signal.
        if _has_room(shard):
            remove_left_by_readers(shard)
            try:
                opened = EmbeddedStore.open(shard, manifest.model.dimension)
            except UnwritableError:
                reason = f"{self.path} cannot be written"
            except DiskFullError:
                pass
            else:
                with opened as store:
                    yield store
                return
        from retrieval.index.embedded.private_copy import lent_copy

        with lent_copy(shard, manifest, reason) as store:
            yield store

    def make_current(self, manifest: Manifest) -> None:
        """Answer queries from a complete generation from now on: the one commit point."""
        with self.read_lock(COMMIT_PATIENCE, "committing"), os_errors("commit", self.path):
            self.replace_file(self.path / "CURRENT", self.generation_path(manifest.generation).name + "\n")

    def remove_generation(self, folder: Path) -> None:
        """Delete a generation; cut off at any moment, what is left of it counts as nothing."""
        (folder / MANIFEST_FILE).unlink(missing_ok=True)
        remove_tree(folder, first=BUILD_FILE)

    def replace_file(self, path: Path, text: str | bytes) -> None:
        """Replace a file of this index; the caller holds the writer's lock.

        So its temporary file may have a fixed name, and a crash leaves one at most.
        """
        replace_file(path, text, staging=path.with_name(f".{path.name}{_TEMPORARY}"))

    def remove_half_written(self, folder: Path) -> None:
        """Remove the temporary files that a crash left in the index's directory or in a generation's."""
        for path in folder.glob(f".*{_TEMPORARY}"):
            path.unlink(missing_ok=True)

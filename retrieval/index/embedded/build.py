"""`EmbeddedBuild`: the next generation of an embedded index, begun on the first write, committed in one switch."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from retrieval.errors import IndexDamagedError, StoreError
from retrieval.index.checksum import Checksum
from retrieval.index.commands import REBUILD_HINT
from retrieval.index.embedded import optimize_child
from retrieval.index.embedded.build_record import BuildRecord
from retrieval.index.embedded.build_store import BuildStore
from retrieval.index.embedded.copy import copy_changed, sync_tree
from retrieval.index.embedded.engine import engine_name
from retrieval.index.embedded.place import BUILD_FILE, MANIFEST_FILE, Place
from retrieval.index.embedded.retention import switch
from retrieval.index.embedded.store import RESERVE_BYTES, EmbeddedStore
from retrieval.index.manifest import Manifest
from retrieval.index.protocols import Check
from retrieval.system.files import allocated, os_errors, remove_tree, require_space, sync_directory
from retrieval.system.locks import Holder
from retrieval.types import ModelIdentity

VACUUM_FROM = 1_000
"""The engine compacts segments of at least this many points once a fifth of them is deleted."""
_NEVER_KB = 2**40


@contextmanager
def open_build(place: Place, model: ModelIdentity, *, rebuild: bool) -> Iterator[EmbeddedBuild]:
    """Start or continue a build under the writer's lock; see `retrieval.index.protocols.Index.writer`."""
    place.check_format()
    with os_errors("create an index", place.path):
        place.path.mkdir(parents=True, exist_ok=True)
    with place.writing("starting") as me:
        place.prepare()
        committed = _committed(place, model, rebuild=rebuild)
        build = _start_or_resume(place, me, model, committed, None if rebuild else committed)
        try:
            yield build
        finally:
            build.close()


def _committed(place: Place, model: ModelIdentity, *, rebuild: bool) -> Manifest | None:
    """The committed generation that a build continues from; a rebuild forgives a damaged one."""
    try:
        committed = place.manifest()
    except IndexDamagedError as error:
        if not rebuild:
            raise
        place.notify(f"Rebuilding a damaged index: {error.message}")
        return None
    if committed is not None and not rebuild:
        committed.require(model, str(place.path))
    return committed


def _start_or_resume(
    place: Place, me: Holder, model: ModelIdentity, committed: Manifest | None, base: Manifest | None
) -> EmbeddedBuild:
    """A build with the next free number, or the interrupted one of that number; clears what nobody can use."""
    live = f"gen-{committed.generation:06d}" if committed else place.name_or_none()
    kept = place.complete()
    number = max([*kept, int(live[4:]) if live else 0]) + 1
    record = BuildRecord.start(number, base, model)
    resumable = False
    with os_errors("write", place.path):
        place.remove_half_written(place.path)
        for folder in sorted((place.path / "generations").iterdir()):
            if folder.name == live:
                (folder / BUILD_FILE).unlink(missing_ok=True)
                place.remove_half_written(folder)
                continue
            if any(folder == place.generation_path(n) for n in kept):
                continue
            left = BuildRecord.read(folder / BUILD_FILE)
            if left is not None and folder == place.generation_path(number) and left.continues(record):
                (folder / MANIFEST_FILE).unlink(missing_ok=True)
                resumable = True
                continue
            if left is not None and left.seeded:
                place.notify(
                    f"Dropping an interrupted build that cannot be continued: it was made by "
                    f"{left.model.name} ({left.model.fingerprint[:12]}) from generation {left.base or 'none'}"
                )
            place.remove_generation(folder)
    build = EmbeddedBuild(place, me, base=base, record=record)
    if resumable:
        build.resume()
    return build


class EmbeddedBuild:
    """See `retrieval.index.protocols.Build`. The committed generation is copied on the first write, not before."""

    waiting = 0

    def __init__(
        self,
        place: Place,
        me: Holder,
        *,
        base: Manifest | None,
        record: BuildRecord,
    ) -> None:
        self._place = place
        self._me = me
        self._base = base
        self._record = record
        self._folder = place.generation_path(record.generation)
        self._shard_path = place.shard_path(record.generation)
        self._shard: EmbeddedStore | None = None
        self._resumed = False
        self._changed = False
        self._finished = False
        self._tally: Checksum | None = None
        self._store = BuildStore(self)

    @property
    def store(self) -> BuildStore:
        """The generation, open for writing."""
        return self._store

    @property
    def resumed(self) -> bool:
        """True when an interrupted build was found and is continued."""
        return self._resumed

    @property
    def changed(self) -> bool:
        """True when there is anything to commit that the committed generation does not hold."""
        return self._changed

    @property
    def dimension(self) -> int:
        """Length d of its vectors."""
        return self._record.model.dimension

    @property
    def tally(self) -> Checksum | None:
        """The checksum of what this build holds; None where nobody kept count: after an interruption or older base."""
        return self._tally

    def lose_count(self) -> None:
        """From now on nobody knows the checksum: the commit reads everything."""
        self._tally = None

    def report(self, done: int, total: int) -> None:
        """Record progress for whoever asks what holds the index."""
        self._me = replace(self._me, done=done, total=total, phase="indexing")
        self._place.writer.update(self._me)

    def resume(self) -> None:
        """Open an interrupted build; one that the engine cannot open is dropped with a notice."""
        with os_errors("resume", self._folder):
            clear_leftovers(self._shard_path)
        try:
            self._shard = EmbeddedStore.open(self._shard_path, self._record.model.dimension)
        except IndexDamagedError as error:
            self._place.notify(f"Dropping an interrupted build that cannot be opened: {error.message}")
            with os_errors("clear", self._folder):
                remove_tree(self._folder, first=BUILD_FILE)
            return
        self._record = replace(self._record, seeded=True)
        self._resumed = self._changed = True
        self._place.notify(f"Continuing an interrupted build that holds {self._shard.count():,} pictures")

    def begin(self) -> EmbeddedStore:
        """The open shard of this build; seeds it on the first call."""
        if self._finished:
            raise StoreError("This build was committed or discarded already")
        if self._shard is None:
            try:
                self._shard = self._start()
            except BaseException:
                with suppress(OSError):
                    remove_tree(self._folder, first=BUILD_FILE)
                raise
            self._changed = True
            if self._base is None:
                self._tally = Checksum()
            elif self._base.checksum:
                self._tally = Checksum(self._base.images, self._base.checksum)
        return self._shard

    def _start(self) -> EmbeddedStore:
        dimension = self._record.model.dimension
        with os_errors("begin a build", self._folder):
            self._folder.mkdir()
            self._write_record()
            if self._base is None:
                EmbeddedStore.create(self._shard_path, dimension).close()
            else:
                self._seed(self._base)
            sync_tree(self._shard_path)
            sync_directory(self._folder.parent)
            self._record = replace(self._record, seeded=True)
            self._write_record()
        shard = EmbeddedStore.open(self._shard_path, dimension)
        if shard.count() != self.base_images:
            received = shard.count()
            shard.close()
            raise IndexDamagedError(
                f"expected {self.base_images:,} pictures in the copy of the index, received {received:,}",
                hint=REBUILD_HINT,
            )
        return shard

    def _write_record(self) -> None:
        self._place.replace_file(self._folder / BUILD_FILE, self._record.to_text())

    def _seed(self, base: Manifest) -> None:
        source = self._place.shard_path(base.generation)
        require_space(self._folder, allocated(source) + RESERVE_BYTES, "copy the index before changing it")
        first = copy_changed(source, self._shard_path, None)
        # Opening a shard touches some of its files; under the lock nobody does.
        with self._place.read_lock(self._place.patience, "copying"):
            copy_changed(source, self._shard_path, first)

    @contextmanager
    def committed_store(self) -> Iterator[EmbeddedStore | None]:
        """The base generation, open for as long as the context; None where there is none."""
        if self._base is None:
            yield None
            return
        with (
            self._place.read_lock(self._place.patience, "reading"),
            self._place.open_generation(self._base) as store,
        ):
            yield store

    def opened(self) -> EmbeddedStore | None:
        """The shard of this build if anything was written, else None."""
        return self._shard

    @property
    def base_images(self) -> int:
        """How many pictures the base generation holds."""
        return self._base.images if self._base else 0

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
        """See `retrieval.index.protocols.Build.commit`. Without any change the committed generation stays.

        Raises:
            IndexBusyError: readers kept the index for longer than a minute; the build can be continued.
            IndexDamagedError: the optimizer lost pictures; the committed generation stays.
            DiskFullError: there is no room to optimize; the build can be continued.
        """
        if self._finished:
            raise StoreError("This build was committed or discarded already")
        if self._shard is None and self._base is not None:
            touched = replace(self._base, catalog=catalog, metadata_keys=tuple(metadata_keys))
            return self._touch(touched.noting(self._base, studio=studio, gap=gap, calibration=calibration))
        shard = self.begin()
        self._phase("committing")
        images, products = shard.count(), shard.products()
        self._finished = True
        self.close()
        try:
            self._optimize(images)
        except BaseException:
            clear_leftovers(self._shard_path)
            raise
        with EmbeddedStore.open(self._shard_path, self._record.model.dimension) as checked:
            found = (checked.count(), checked.products())
            if found != (images, products):
                raise IndexDamagedError(
                    f"expected {images:,} pictures of {products:,} products after optimizing, "
                    f"received {found[0]:,} of {found[1]:,}",
                    hint="Run the same command again with --rebuild; the last complete index is still in place",
                )
            manifest = replace(
                self._manifest(images, products, catalog, metadata_keys, hnsw=checked.has_graph()),
                checksum=self._checksum(checked),
            ).noting(self._live(), studio=studio, gap=gap, calibration=calibration)
            if check is not None:
                self._phase("checking")
                check(checked, manifest)
        with os_errors("commit", self._folder):
            sync_tree(self._folder)
            self._place.write_manifest(manifest)
        switch(self._place, manifest)
        return manifest

    def _checksum(self, store: EmbeddedStore) -> str:
        """Of what was written, or where nobody kept count, of what can be read back."""
        if self._tally is None:
            self._tally = Checksum()
            for batch in store.points():
                for point in batch:
                    self._tally.add(point)
        if self._tally.count != store.count():
            raise IndexDamagedError(
                f"expected {self._tally.count:,} pictures as they were written, received {store.count():,}",
                hint="Run the same command again with --rebuild; the last complete index is still in place",
            )
        return self._tally.hex()

    def _manifest(
        self, images: int, products: int, catalog: str, metadata_keys: Sequence[str], *, hnsw: bool
    ) -> Manifest:
        from importlib.metadata import version

        return Manifest(
            generation=self._record.generation,
            model=self._record.model,
            images=images,
            products=products,
            catalog=catalog,
            metadata_keys=tuple(metadata_keys),
            itemrec_version=version("itemrec"),
            engine=engine_name(),
            created=datetime.now(UTC).isoformat(timespec="microseconds"),
            hnsw=hnsw,
        )

    def _live(self) -> Manifest | None:
        """What is live while this is built; a rebuild of a damaged index knows of none."""
        with suppress(IndexDamagedError):
            return self._place.manifest()
        return None

    def _touch(self, manifest: Manifest) -> Manifest:
        if manifest != self._base:
            with os_errors("commit", self._folder.parent):
                self._place.write_manifest(manifest)
        self._finished = True
        return manifest

    def _optimize(self, images: int) -> None:
        """Build the graph of a large index, compact a small one, in a child process."""
        dimension = self._record.model.dimension
        graph = images * dimension >= self._place.hnsw_from
        if not graph and (images < VACUUM_FROM or (self._base is None and not self._resumed)):
            return
        if graph:
            self._phase("building the search graph")
            self._place.notify(f"Building the search graph of {images:,} pictures")
        occupied = allocated(self._shard_path)
        require_space(self._folder, occupied + images * 1024 + RESERVE_BYTES, "optimize the index")
        command = [sys.executable, "-P", optimize_child.__file__, str(self._shard_path), str(dimension)]
        command += [str(1 if graph else _NEVER_KB), str(os.getpid())]
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            _, errors = child.communicate()
        except BaseException:
            child.kill()
            child.wait()
            raise
        if child.returncode != 0:
            text = " ".join(errors.decode(errors="replace").split())[-300:]
            raise StoreError(
                f"The engine could not optimize {self._shard_path}: exit code {child.returncode}: {text}",
                hint="Run the same command again; it continues here",
            )
        with os_errors("clear", self._shard_path):
            clear_leftovers(self._shard_path)

    def _phase(self, phase: str) -> None:
        self._me = replace(self._me, phase=phase)
        self._place.writer.update(self._me, force=True)

    def discard(self) -> None:
        """Drop the build; the committed generation stays as it is."""
        self.close()
        self._finished = True
        if self._folder.exists():
            with os_errors("clear", self._folder):
                self._place.remove_generation(self._folder)

    def close(self) -> None:
        """Let go of the shard; what was acknowledged is kept for the next writer."""
        shard, self._shard = self._shard, None
        if shard is not None:
            shard.close()


def clear_leftovers(shard_path: Path) -> None:
    """Remove what an interrupted optimizer leaves behind; the shard must be closed."""
    temporary = shard_path / "temp_segments"
    if temporary.is_dir():
        for entry in temporary.iterdir():
            if entry.is_dir():
                remove_tree(entry)
            else:
                entry.unlink(missing_ok=True)

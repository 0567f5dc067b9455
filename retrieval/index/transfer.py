"""Moving an index: from place to place, into a file and back; resumable, verified by count and checksum."""

from __future__ import annotations

import glob
import re
import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from retrieval.errors import IndexBusyError, IndexDamagedError
from retrieval.index.checks import require_sound
from retrieval.index.checksum import Checksum, digest
from retrieval.index.manifest import Manifest
from retrieval.index.protocols import Index, VectorStore
from retrieval.index.refusals import RefusalPicture
from retrieval.index.snapshot import SnapshotWriter, verify
from retrieval.system.files import beside, os_errors, replacing
from retrieval.system.locks import Holder, Lock
from retrieval.system.progress import Progress, Silent
from retrieval.types import Point

BATCH = 1000
PAGES = 4
_TEMPORARY = ".tmp"
Refused = tuple[RefusalPicture, bytes]
"""A picture that is none of the catalog's, and its JPEG."""


class Source(Protocol):
    """Something that holds a generation: an index, or a snapshot."""

    def open(self) -> AbstractContextManager[tuple[Manifest, Iterator[list[Point]]]]:
        """Its manifest, and all its points in batches."""
        ...

    def refusals(self) -> Iterator[Refused]:
        """The pictures that are none of its catalog's, oldest first, each with its JPEG."""
        ...


@dataclass(frozen=True, slots=True)
class FromIndex:
    """The generation of an index that is live when it is opened. Queries are answered in between."""

    index: Index

    @contextmanager
    def open(self) -> Iterator[tuple[Manifest, Iterator[list[Point]]]]:
        """See `Source.open`.

        Raises:
            IndexNotFoundError: there is no index.
        """
        with self.index.reader() as (_, manifest):
            pass
        yield manifest, self._points(manifest)

    def refusals(self) -> Iterator[Refused]:
        """See `Source.refusals`."""
        for refusal in self.index.refusals.read():
            yield refusal, self.index.refusals.picture(refusal.refusal_id)

    def _points(self, manifest: Manifest) -> Iterator[list[Point]]:
        last: str | None = None
        while True:
            # A directory is open to one process at a time: let go of it after every few pages.
            with self.index.reader(manifest) as (store, current):
                if current.created != manifest.created:
                    raise IndexBusyError(
                        f"Generation {manifest.generation} of {self.index.location} was removed while it was read",
                        hint="Run the same command again",
                    )
                pages = list(islice(store.points(batch=BATCH, after=last), PAGES))
            yield from pages
            if len(pages) < PAGES:
                return
            last = pages[-1][-1].record.image_id


@dataclass(frozen=True, slots=True)
class Transferred:
    """What a copy, snapshot or restore did.

    Attributes:
        images: how many pictures the target holds now.
        written: how many of them were written by this run; the others were there from an interrupted one.
        checksum: of all pictures, read back from the target.
        model: the model's name.
        generation: of the target; 0 for a file.
        refusals: pictures that are none of the catalog's, and that came along.
    """

    images: int
    written: int
    checksum: str
    model: str
    generation: int
    refusals: int = 0

    def to_json(self, schema: str, source: str, target: str) -> dict[str, Any]:
        """The document of `itemrec copy`, `snapshot` or `restore`."""
        return {"schema": schema, "from": source, "to": target, **asdict(self)}


def copy(source: Source, target: Index, *, progress: Progress = Silent()) -> Transferred:
    """Bring everything a source holds into a new generation of an index, and make it live when it is the same.

    Run again after an interruption, it continues: what the target holds already is compared, not written again.

    Args:
        source: what to copy.
        target: where to; its live generation, if any, answers until the switch and is kept.
        progress: told as pictures are done.

    Raises:
        IndexDamagedError: what came back is not what was written; the live generation stays.
        StoreError: as `Index.reader` and `Index.writer`.
    """
    with source.open() as (manifest, batches), target.writer(manifest.model, rebuild=True) as build:
        before = {p.record.image_id: digest(p) for b in build.store.points(batch=BATCH) for p in b}
        wanted, written = Checksum(), 0
        progress.stage("Copying", manifest.images)
        for batch in batches:
            for point in batch:
                wanted.add(point)
            missing = [p for p in batch if before.pop(p.record.image_id, None) != digest(p)]
            if missing:
                build.store.upsert(missing)
                written += len(missing)
            build.report(wanted.count, manifest.images)
            progress.advance(len(batch))
        build.store.delete(list(before))
        _require_committed(manifest, wanted)
        # Before the switch: what the source refuses, the copy must never name. What the target refuses stays refused.
        refused = 0
        for refusal in source.refusals():
            target.refusals.add([refusal])
            refused += 1

        def check(store: VectorStore, described: Manifest) -> None:
            require_sound(store, described)
            found = Checksum()
            for batch in store.points(batch=BATCH):
                for point in batch:
                    found.add(point)
            if (found.count, found.hex()) != (wanted.count, wanted.hex()):
                raise IndexDamagedError(
                    f"expected {wanted.count:,} pictures of checksum {wanted.hex()[:12]} in the copy, "
                    f"received {found.count:,} of {found.hex()[:12]}",
                    hint="The live generation of the target stays. Run the same command again",
                )

        committed = build.commit(
            catalog=manifest.catalog,
            metadata_keys=manifest.metadata_keys,
            check=check,
            studio=manifest.studio,
            gap=manifest.gap,
            calibration=manifest.calibration,
        )
    return Transferred(committed.images, written, wanted.hex(), manifest.model.name, committed.generation, refused)


def snapshot(source: Source, path: Path, *, progress: Progress = Silent()) -> Transferred:
    """Write everything a source holds into one file, read it back and compare.

    It is written beside its place and renamed when complete.

    Args:
        source: what to save.
        path: the file; replaced only by a whole one.
        progress: told as pictures are done.

    Raises:
        StoreError: the file cannot be written.
        IndexBusyError: another process writes to it.
        IndexDamagedError: what was read back is not what was written.
    """
    with os_errors("write a snapshot", path.parent), _alone(path), replacing(path, staging=_staging(path)) as new:
        with (
            source.open() as (manifest, batches),
            zipfile.ZipFile(new, "x", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        ):
            progress.stage("Saving", manifest.images)
            writer = SnapshotWriter(archive)
            for batch in batches:
                writer.write(batch)
                progress.advance(len(batch))
            for refusal, picture in source.refusals():
                writer.write_refusal(refusal, picture)
            wanted = writer.finish(manifest)
        _require_committed(manifest, wanted)
        verify(new, manifest, wanted, writer.refusals)
    return Transferred(wanted.count, wanted.count, wanted.hex(), manifest.model.name, 0, writer.refusals.count)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep others from writing the same file; remove what killed processes left, each as large as the index."""

    def busy(holder: Holder | None) -> IndexBusyError:
        return IndexBusyError(
            f"{path} is being written by {holder or 'another process'}",
            hint="Wait for it, or give this snapshot another name",
        )

    lock = Lock(path.with_name(f".{path.name}.lock"), path.with_name(f".{path.name}.json"))
    with lock.hold(0.0, busy, "saving"):
        try:
            # A release before this one left a file without random digits in its name.
            for left in path.parent.glob(f".{glob.escape(path.name)}*{_TEMPORARY}"):
                middle = left.name[len(path.name) + 1 : -len(_TEMPORARY)]
                if re.fullmatch(r"|\.[0-9a-f]{12}", middle):
                    left.unlink(missing_ok=True)
            yield
        finally:
            with suppress(OSError):  # Windows removes no file that is open
                lock.path.unlink(missing_ok=True)


def _staging(path: Path) -> Path:
    # Random: where locks do not reach, as on some network disks, two writers still write two files.
    return beside(path, _TEMPORARY.removeprefix("."))


def _require_committed(manifest: Manifest, found: Checksum) -> None:
    """Refuse to pass on what is not what was committed."""
    if found.count != manifest.images:
        raise IndexDamagedError(
            f"expected {manifest.images:,} pictures in the source, received {found.count:,}",
            hint="Finish or repair it first: itemrec index CATALOG",
        )
    if manifest.checksum and found.hex() != manifest.checksum:
        raise IndexDamagedError(
            f"expected pictures of checksum {manifest.checksum[:12]} in the source, as they were committed, "
            f"received {found.hex()[:12]}",
            hint="The disk changed them: see itemrec doctor --full, and rebuild: itemrec index CATALOG --rebuild",
        )

"""Moving an index: from place to place, into a file and back; resumable, verified by count and checksum.

A snapshot is a ZIP file, readable by any engine: ``manifest.json``, then for every thousand pictures
``records-000001.jsonl`` and ``vectors-000001.npy`` (float32, shape (n, d)), and at the end ``checksum.json``. It is
written beside its place and renamed when complete.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from retrieval.errors import IndexBusyError, IndexDamagedError, UsageError
from retrieval.index.checks import require_sound
from retrieval.index.manifest import Manifest
from retrieval.index.protocols import Index, VectorStore
from retrieval.system.files import os_errors, replacing
from retrieval.system.progress import Progress, Silent
from retrieval.types import IndexedImage, Point

BATCH = 1000
PAGES = 4
SNAPSHOT_SCHEMA = "itemrec.snapshot/1"
_DATE = (1980, 1, 1, 0, 0, 0)


class Checksum:
    """A number that two indexes share when they hold the same pictures, in whatever order they are read.

    It is the sum, modulo 2^256, of the SHA-256 of every point: its record as JSON and its vector's bytes.
    """

    def __init__(self) -> None:
        self.count = 0
        self._sum = 0

    def add(self, point: Point) -> None:
        """Count one point."""
        self.count += 1
        self._sum = (self._sum + int.from_bytes(digest(point))) % 2**256

    def hex(self) -> str:
        """64 hexadecimal digits."""
        return f"{self._sum:064x}"


def digest(point: Point) -> bytes:
    """The SHA-256 of a point: equal for equal records and bit-equal vectors."""
    data = asdict(point.record) | {"metadata": dict(point.record.metadata)}
    text = json.dumps(data, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode() + b"\0" + point.vector.astype("<f4").tobytes()).digest()


class Source(Protocol):
    """Something that holds a generation: an index, or a snapshot."""

    def open(self) -> AbstractContextManager[tuple[Manifest, Iterator[list[Point]]]]:
        """Its manifest, and all its points in batches."""
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
class FromSnapshot:
    """A snapshot file."""

    path: Path

    @contextmanager
    def open(self) -> Iterator[tuple[Manifest, Iterator[list[Point]]]]:
        """See `Source.open`.

        Raises:
            UsageError: there is no such file.
            IndexDamagedError: it is no snapshot, or not a whole one.
        """
        try:
            with zipfile.ZipFile(self.path) as archive:
                described = json.loads(archive.read("checksum.json"))
                if described.get("schema") != SNAPSHOT_SCHEMA:
                    raise ValueError(f"schema {described.get('schema')!r}")
                yield Manifest.from_json(json.loads(archive.read("manifest.json"))), self._points(archive, described)
        except FileNotFoundError as error:
            raise UsageError(f"There is no snapshot at {self.path}") from error
        except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, TypeError, EOFError, OSError) as error:
            raise IndexDamagedError(
                f"Cannot read the snapshot {self.path}: {error}",
                hint="It was cut or changed; take another: itemrec snapshot FILE",
            ) from error

    def _points(self, archive: zipfile.ZipFile, described: dict[str, Any]) -> Iterator[list[Point]]:
        seen = Checksum()
        for number in range(1, described["batches"] + 1):
            lines = archive.read(f"records-{number:06d}.jsonl").decode().splitlines()
            vectors = np.load(io.BytesIO(archive.read(f"vectors-{number:06d}.npy")), allow_pickle=False)
            records = [IndexedImage(**json.loads(line)) for line in lines]
            points = [Point(record, vector) for record, vector in zip(records, vectors, strict=True)]
            for point in points:
                seen.add(point)
            yield points
        if (seen.count, seen.hex()) != (described["images"], described["checksum"]):
            raise ValueError(f"{seen.count:,} pictures of checksum {seen.hex()[:12]}")


@dataclass(frozen=True, slots=True)
class Transferred:
    """What a copy, snapshot or restore did.

    Attributes:
        images: how many pictures the target holds now.
        written: how many of them were written by this run; the others were there from an interrupted one.
        checksum: of all pictures, read back from the target.
        model: the model's name.
        generation: of the target; 0 for a file.
    """

    images: int
    written: int
    checksum: str
    model: str
    generation: int

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
        if wanted.count != manifest.images:
            raise IndexDamagedError(
                f"expected {manifest.images:,} pictures in the source, received {wanted.count:,}",
                hint="Finish or repair it first: itemrec index CATALOG",
            )

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

        committed = build.commit(catalog=manifest.catalog, metadata_keys=manifest.metadata_keys, check=check)
    return Transferred(committed.images, written, wanted.hex(), manifest.model.name, committed.generation)


def snapshot(source: Source, path: Path, *, progress: Progress = Silent()) -> Transferred:
    """Write everything a source holds into one file, and read it back.

    Args:
        source: what to save.
        path: the file; replaced only by a whole one.
        progress: told as pictures are done.

    Raises:
        StoreError: the file cannot be written.
        IndexDamagedError: what was read back is not what was written.
    """
    wanted, number = Checksum(), 0
    # A fixed name: what a killed process leaves is as large as the index, and the next one overwrites it.
    staging = path.with_name(f".{path.name}.tmp")
    with os_errors("write a snapshot", path.parent), replacing(path, staging=staging) as new:
        with (
            source.open() as (manifest, batches),
            zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        ):
            progress.stage("Saving", manifest.images)
            for batch in batches:
                number += 1
                _write_batch(archive, number, batch)
                for point in batch:
                    wanted.add(point)
                progress.advance(len(batch))
            described = {"schema": SNAPSHOT_SCHEMA, "images": wanted.count, "batches": number}
            described["checksum"] = wanted.hex()
            _write(archive, "manifest.json", json.dumps(manifest.to_json(), indent=1).encode())
            _write(archive, "checksum.json", json.dumps(described, indent=1).encode())
        with FromSnapshot(new).open() as (_, batches):
            for _ in batches:
                pass
    return Transferred(wanted.count, wanted.count, wanted.hex(), manifest.model.name, 0)


def _write_batch(archive: zipfile.ZipFile, number: int, batch: list[Point]) -> None:
    records = (asdict(p.record) | {"metadata": dict(p.record.metadata)} for p in batch)
    lines = "".join(json.dumps(record, ensure_ascii=True) + "\n" for record in records)
    vectors = io.BytesIO()
    np.save(vectors, np.stack([p.vector for p in batch]))
    _write(archive, f"records-{number:06d}.jsonl", lines.encode())
    _write(archive, f"vectors-{number:06d}.npy", vectors.getvalue())


def _write(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    # A fixed date: the same index gives the same file.
    info = zipfile.ZipInfo(name, _DATE)
    info.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(info, data)

"""The file that holds an index, readable by any engine; read as what a stranger sent.

It is a ZIP file: for every thousand pictures ``records-000001.jsonl`` and ``vectors-000001.npy`` (float32, shape
(n, d)), then for every picture that is none of the catalog's ``refusal-000001.json``, then ``manifest.json``, and at
the end ``checksum.json`` with the checksum of all pictures and the SHA-256 of the refusals and of the manifest.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import IndexDamagedError, ItemrecError, UsageError
from retrieval.index.checksum import Checksum, record_json
from retrieval.index.manifest import Manifest
from retrieval.index.payload import check_points
from retrieval.index.refusals import RefusalPicture
from retrieval.types import PICTURE_KINDS, IndexedImage, Point

SNAPSHOT_SCHEMA = "itemrec.snapshot/1"
MAX_MEMBER_BYTES = 256 * 2**20
"""Longest member, unpacked. What we write stays far below: see `CUT_BYTES`."""
MAX_TEXT_BYTES = 4 * 2**20
"""Longest ``manifest.json`` and ``checksum.json``, unpacked."""
MAX_REFUSAL_BYTES = 8 * 2**20
"""Longest ``refusal-….json``, unpacked: a small JPEG in base64, and a few vectors."""
CUT_BYTES = 16 * 2**20
"""A batch is written as several members from this size on."""
_NPY_HEADER_BYTES = 256
_DATE = (1980, 1, 1, 0, 0, 0)
_RECORD_FIELDS = {"image_id", "product_id", "image", "content_hash", "metadata"}


class SnapshotWriter:
    """Writes the members of a snapshot."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._written = Checksum()
        self._batches = 0
        self.refusals = RefusalDigest()

    def write(self, points: Sequence[Point]) -> None:
        """Write some points; memory stays flat, however long their metadata are."""
        lines: list[str] = []
        size = start = 0
        for i, point in enumerate(points):
            lines.append(json.dumps(record_json(point), ensure_ascii=True) + "\n")
            self._written.add(point)
            size += len(lines[-1]) + point.vector.nbytes
            if size >= CUT_BYTES or i == len(points) - 1:
                self._batch(lines, np.stack([p.vector for p in points[start : i + 1]]))
                lines, size, start = [], 0, i + 1

    def _batch(self, lines: list[str], vectors: NDArray[np.float32]) -> None:
        self._batches += 1
        packed = io.BytesIO()
        np.save(packed, vectors.astype("<f4"))
        self._member(f"records-{self._batches:06d}.jsonl", "".join(lines).encode())
        self._member(f"vectors-{self._batches:06d}.npy", packed.getvalue())

    def write_refusal(self, refusal: RefusalPicture, picture: bytes) -> None:
        """Write a picture that is none of the catalog's."""
        data = refusal.to_json() | {"picture": base64.b64encode(picture).decode()}
        text = json.dumps(data, ensure_ascii=True, sort_keys=True).encode()
        self.refusals.add(text)
        self._member(_refusal_name(self.refusals.count), text)

    def finish(self, manifest: Manifest) -> Checksum:
        """Write what describes the points.

        Returns:
            The checksum of all that was written.
        """
        text = json.dumps(manifest.to_json(), indent=1).encode()
        described = {
            "schema": SNAPSHOT_SCHEMA,
            "images": self._written.count,
            "batches": self._batches,
            "checksum": self._written.hex(),
            "refusals": self.refusals.count,
            "refusals_sha256": self.refusals.hex(),
            "manifest_sha256": hashlib.sha256(text).hexdigest(),
        }
        self._member("manifest.json", text)
        self._member("checksum.json", json.dumps(described, indent=1).encode())
        return self._written

    def _member(self, name: str, data: bytes) -> None:
        # A fixed date: the same index gives the same file.
        info = zipfile.ZipInfo(name, _DATE)
        info.compress_type = zipfile.ZIP_DEFLATED
        self._archive.writestr(info, data)


class RefusalDigest:
    """How many refusals were written or read, and the SHA-256 of their members, one after the other."""

    def __init__(self) -> None:
        self.count = 0
        self._hash = hashlib.sha256()

    def add(self, member: bytes) -> None:
        """Count one."""
        self.count += 1
        self._hash.update(member)

    def hex(self) -> str:
        """64 hexadecimal digits."""
        return self._hash.hexdigest()


@dataclass(frozen=True, slots=True)
class FromSnapshot:
    """A snapshot file as a `retrieval.index.transfer.Source`."""

    path: Path

    @contextmanager
    def open(self) -> Iterator[tuple[Manifest, Iterator[list[Point]]]]:
        """See `retrieval.index.transfer.Source.open`. Memory stays flat, whatever the file claims to hold.

        Raises:
            UsageError: there is no such file.
            IndexDamagedError: it is no snapshot, or not a whole one.
        """
        try:
            regular = self.path.is_file()
            if not regular and self.path.exists():
                raise UsageError(f"expected a snapshot file, received {self.path}, which is no regular file")
        except (OSError, ValueError) as error:
            raise UsageError(f"Cannot read the snapshot {self.path}: {error}") from error
        if not regular:
            raise UsageError(f"There is no snapshot at {self.path}")
        with self._reading():
            archive = zipfile.ZipFile(self.path)
        with archive:
            with self._reading():
                manifest, described = _describe(archive)
            yield manifest, self._points(archive, manifest, described)

    def refusals(self) -> Iterator[tuple[RefusalPicture, bytes]]:
        """See `retrieval.index.transfer.Source.refusals`.

        Raises:
            IndexDamagedError: it is no snapshot, or not a whole one.
        """
        seen = RefusalDigest()
        with self._reading():
            archive = zipfile.ZipFile(self.path)
        with archive:
            with self._reading():
                _, described = _describe(archive)
            for number in range(1, described.refusals + 1):
                with self._reading():
                    text = _read(archive, _refusal_name(number), MAX_REFUSAL_BYTES)
                    data = json.loads(text)
                    refusal = RefusalPicture.from_json(data)
                    picture = base64.b64decode(data["picture"], validate=True)
                seen.add(text)
                yield refusal, picture
        with self._reading():
            if described.refusals and seen.hex() != described.refusals_sha256:
                raise ValueError("the refused pictures are not what was written")

    def _points(self, archive: zipfile.ZipFile, manifest: Manifest, described: _Description) -> Iterator[list[Point]]:
        seen = Checksum()
        for number in range(1, described.batches + 1):
            with self._reading():
                points = _read_batch(archive, number, manifest.model.dimension, described.images - seen.count)
                for point in points:
                    seen.add(point)
            yield points
        with self._reading():
            if (seen.count, seen.hex()) != (described.images, described.checksum):
                raise ValueError(
                    f"expected {described.images:,} pictures of checksum {described.checksum[:12]}, "
                    f"received {seen.count:,} of {seen.hex()[:12]}"
                )

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Whatever a damaged file makes the libraries raise is damage; what happens between two reads is not."""
        try:
            yield
        except PermissionError as error:
            raise UsageError(f"Cannot read the snapshot {self.path}: {error.strerror}") from error
        except (
            zipfile.BadZipFile,
            zlib.error,
            ArithmeticError,
            AttributeError,
            EOFError,
            LookupError,
            MemoryError,
            OSError,
            struct.error,
            SyntaxError,  # numpy's reader of headers
            tokenize.TokenError,
            RuntimeError,  # encrypted members, unknown packing, JSON nested too deeply
            TypeError,
            ValueError,
            ItemrecError,
        ) as error:
            text = error.message if isinstance(error, ItemrecError) else str(error) or type(error).__name__
            raise IndexDamagedError(
                f"Cannot read the snapshot {self.path}: {text:.300}",
                hint="It was cut or changed; take another: itemrec snapshot FILE",
            ) from error


@dataclass(frozen=True, slots=True)
class _Description:
    """What ``checksum.json`` says."""

    images: int
    batches: int
    checksum: str
    refusals: int
    refusals_sha256: str


def _describe(archive: zipfile.ZipFile) -> tuple[Manifest, _Description]:
    data = json.loads(_read(archive, "checksum.json", MAX_TEXT_BYTES))
    if not isinstance(data, dict) or data.get("schema") != SNAPSHOT_SCHEMA:
        raise ValueError(f"expected the schema {SNAPSHOT_SCHEMA}")
    # Snapshots of older releases have no refusals.
    data.setdefault("refusals", 0)
    data.setdefault("refusals_sha256", hashlib.sha256().hexdigest())
    for key in ("images", "batches", "refusals"):
        if type(data[key]) is not int or not 0 <= data[key] < 2**40:
            raise ValueError(f"expected a count as {key}, received {data[key]!r:.80}")
    for key in ("checksum", "refusals_sha256", "manifest_sha256"):
        if key in data and not (isinstance(data[key], str) and re.fullmatch("[0-9a-f]{64}", data[key])):
            raise ValueError(f"expected 64 hexadecimal digits as {key}, received {data[key]!r:.80}")
    text = _read(archive, "manifest.json", MAX_TEXT_BYTES)
    # Snapshots of older releases say nothing about their manifest.
    if "manifest_sha256" in data and hashlib.sha256(text).hexdigest() != data["manifest_sha256"]:
        raise ValueError("manifest.json is not what was written")
    manifest = Manifest.from_json(json.loads(text))
    if manifest.images != data["images"]:
        raise ValueError(f"expected {manifest.images:,} pictures, received {data['images']:,}")
    return manifest, _Description(
        data["images"], data["batches"], data["checksum"], data["refusals"], data["refusals_sha256"]
    )


def _read_batch(archive: zipfile.ZipFile, number: int, dimension: int, most: int) -> list[Point]:
    records: list[IndexedImage] = []
    with _member(archive, f"records-{number:06d}.jsonl", MAX_MEMBER_BYTES) as stream:
        while line := stream.readline():
            if len(records) >= most:
                raise ValueError(f"more pictures than the {most:,} that are missing in batch {number}")
            data = json.loads(line)
            if (
                not isinstance(data, dict)
                or set(data) - {"kind"} != _RECORD_FIELDS
                or not isinstance(data["metadata"], dict)
            ):
                raise ValueError(f"expected the record of a picture in batch {number}")
            if data.get("kind") not in (None, *PICTURE_KINDS):
                raise ValueError(f"expected the kind of a picture in batch {number}, received {data['kind']!r:.80}")
            records.append(IndexedImage(**data))
    wanted = len(records) * dimension * 4
    name = f"vectors-{number:06d}.npy"
    with _member(archive, name, min(wanted + _NPY_HEADER_BYTES, MAX_MEMBER_BYTES)) as stream:
        version = np.lib.format.read_magic(stream)
        if version != (1, 0):
            raise ValueError(f"expected version 1.0 of {name}, received {version}")
        header = np.lib.format.read_array_header_1_0(stream)
        if header != ((len(records), dimension), False, np.dtype("<f4")):
            raise ValueError(f"expected float32 vectors of shape ({len(records)}, {dimension}) in {name}")
        content = stream.read(wanted + 1)
    if len(content) != wanted:
        raise ValueError(f"expected {wanted:,} bytes of vectors in {name}, received {len(content):,}")
    vectors = np.frombuffer(content, "<f4").astype(np.float32).reshape(len(records), dimension)
    points = [Point(record, vector) for record, vector in zip(records, vectors, strict=True)]
    check_points(points, dimension)
    return points


def _read(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    with _member(archive, name, limit) as stream:
        return stream.read()


def _member(archive: zipfile.ZipFile, name: str, limit: int) -> IO[bytes]:
    """A member to read from, if its size is in bounds: `zipfile` unpacks no more than what the directory says."""
    info = archive.getinfo(name)
    if info.file_size > limit:
        raise ValueError(f"expected at most {limit:,} bytes in {name}, received {info.file_size:,}")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"expected {name} stored or deflated, received packing {info.compress_type}")
    return archive.open(info)


def _refusal_name(number: int) -> str:
    return f"refusal-{number:06d}.json"


def verify(path: Path, manifest: Manifest, wanted: Checksum, refusals: RefusalDigest) -> None:
    """Read a snapshot back and compare it with what was sent.

    Raises:
        IndexDamagedError: it holds something else.
    """
    found = Checksum()
    with FromSnapshot(path).open() as (described, batches):
        for batch in batches:
            for point in batch:
                found.add(point)
    refused = sum(1 for _ in FromSnapshot(path).refusals())
    if (described, found.count, found.hex(), refused) != (manifest, wanted.count, wanted.hex(), refusals.count):
        raise IndexDamagedError(
            f"expected {wanted.count:,} pictures of checksum {wanted.hex()[:12]} in the snapshot, "
            f"received {found.count:,} of {found.hex()[:12]}",
            hint="Run the same command again; if it happens again, examine the disk",
        )

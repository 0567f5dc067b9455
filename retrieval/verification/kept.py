"""Keypoints of catalog and refused pictures, kept beside the index so that a closer look need not open the pictures.

One file, ``keypoints.sqlite`` (`retrieval.verification.kept_file` says where). Pictures are kept by the hash of their
bytes, so that a picture under two names is kept once and one that was replaced is made anew.
"""

from __future__ import annotations

import io
import logging
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from retrieval.images import pictures
from retrieval.index.manifest import KEYPOINTS_FILE
from retrieval.verification import keypoints
from retrieval.verification.kept_file import KeptFile, beside
from retrieval.verification.keypoints import Keypoints

if TYPE_CHECKING:
    import sqlite3

_log = logging.getLogger("itemrec.verify")

VERSION = 1
"""Of what is kept; what another release wrote is made anew."""
THUMBNAIL = 192
"""Pixels of the longer side of the picture that is kept with its keypoints: enough to be compared and to be shown."""

KEPT = 150
"""Points of a catalog picture that are kept: with 300 no more is told, and a picture takes twice the room."""

KEPT_REFUSED = 300
"""The same of a refused picture: it is a photo with things around what is meant, and there are few of them."""

_QUALITY = 85
_FINE = 64.0
"""Steps to a pixel that points are kept in."""
_HEAD = struct.Struct("<HHH")
_AT_ONCE = 500
"""Names in one question: SQLite takes a limited number."""
_TABLES = (
    "CREATE TABLE IF NOT EXISTS looks (content_hash TEXT PRIMARY KEY, look BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS pictures (image_id TEXT PRIMARY KEY, content_hash TEXT NOT NULL) WITHOUT ROWID",
)


@dataclass(frozen=True, slots=True, eq=False)
class PictureLook:
    """What is kept of a catalog picture.

    Attributes:
        keypoints: in pixels of ``pixels``.
        pixels: the picture, small, RGB, uint8, shape (height, width, 3).
    """

    keypoints: Keypoints
    pixels: NDArray[np.uint8]

    @classmethod
    def from_bytes(cls, data: bytes) -> PictureLook:
        """Read what `look_at` made; raises ValueError on anything else."""
        from PIL import Image

        try:
            width, height, count = _HEAD.unpack_from(data)
            at = _HEAD.size
            points = np.frombuffer(data, "<u2", 2 * count, at).reshape(count, 2).astype(np.float32) / _FINE
            at += 4 * count
            descriptors = np.frombuffer(data, np.uint8, 128 * count, at).reshape(count, 128)
            with Image.open(io.BytesIO(data[at + 128 * count :]), formats=["JPEG"]) as im:
                if im.size != (width, height):
                    raise ValueError(f"expected a picture of {width} x {height}, received {im.size}")
                pixels = np.array(im.convert("RGB"))
        except (struct.error, OSError) as error:
            raise ValueError(str(error)) from error
        return cls(Keypoints((width, height), points, descriptors), pixels)


def look_at(data: bytes, *, most: int = KEPT) -> bytes:
    """Look at a picture of the catalog; `PictureLook.from_bytes` reads what was seen.

    Args:
        data: the bytes of its file.
        most: points that are kept.

    Raises:
        ImageError: it cannot be read.
        UsageError: OpenCV is not installed.
    """
    whole = pictures.thumbnail(data, keypoints.SIDE)
    found = keypoints.find_keypoints(np.asarray(whole), most=most)
    whole.thumbnail((THUMBNAIL, THUMBNAIL))
    file = io.BytesIO()
    whole.save(file, "JPEG", quality=_QUALITY)
    scale = np.array([whole.width / found.size[0], whole.height / found.size[1]], np.float32)
    points = np.clip(np.rint(found.points * scale * _FINE), 0, 65535).astype("<u2")
    head = _HEAD.pack(*whole.size, len(found))
    return b"".join((head, points.tobytes(), found.descriptors.tobytes(), file.getvalue()))


def keypoints_file(location: str) -> Path:
    """Where the keypoints of an index are kept.

    Args:
        location: of the index, a directory or the URL of a server.
    """
    return beside(location, KEYPOINTS_FILE)


class KeptLooks:
    """The keypoints of one index. Thread-safe: every call opens the file for itself."""

    def __init__(self, location: str) -> None:
        """Name them; nothing is opened.

        Args:
            location: of the index, see `keypoints_file`.
        """
        self.file = keypoints_file(location)
        self._kept = KeptFile(self.file, _TABLES, version=VERSION, what="keypoints")

    def there(self) -> bool:
        """Whether any were made for this index; cheap enough for every query."""
        return self._kept.there()

    def get(self, image_ids: Sequence[str]) -> dict[str, PictureLook]:
        """Those of some pictures, by image id; whatever cannot be read is not there."""
        if not image_ids or not self.there():
            return {}
        marks = ",".join("?" * len(image_ids))
        question = f"SELECT image_id, look FROM pictures JOIN looks USING (content_hash) WHERE image_id IN ({marks})"
        import sqlite3

        try:
            with self._kept.read() as database:
                rows = database.execute(question, list(image_ids)).fetchall() if database is not None else []
            return {image_id: PictureLook.from_bytes(look) for image_id, look in rows}
        except (sqlite3.Error, ValueError) as error:
            _log.warning("The keypoints in %s cannot be read: %s", self.file, error)
            return {}

    def missing(self, wanted: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
        """Those pictures whose keypoints are not kept, as they are now.

        Args:
            wanted: pairs of image id and content hash.
        """
        with self._kept.write() as database:
            for part in _parts(wanted):
                known = _rows(database, "pictures", "image_id, content_hash", "image_id", [i for i, _ in part])
                looks = {h for (h,) in _rows(database, "looks", "content_hash", "content_hash", [h for _, h in part])}
                same = {row[0]: row[1] for row in known}
                again = [(i, h) for i, h in part if h in looks and same.get(i) != h]
                database.executemany("INSERT OR REPLACE INTO pictures VALUES (?, ?)", again)
                # Nothing is held while the caller makes them: it writes through a connection of its own.
                database.commit()
                yield from ((i, h) for i, h in part if h not in looks)

    def put(self, made: Sequence[tuple[str, str, bytes]]) -> None:
        """Keep some, all or none of them.

        Args:
            made: image id, content hash, and what `look_at` made of the picture.

        Raises:
            StoreError: they cannot be kept.
        """
        if not made:
            return
        with self._kept.write() as database, database:
            database.executemany("INSERT OR REPLACE INTO looks VALUES (?, ?)", [(h, look) for _, h, look in made])
            database.executemany("INSERT OR REPLACE INTO pictures VALUES (?, ?)", [(i, h) for i, h, _ in made])

    def prune(self, image_ids: Iterable[str]) -> int:
        """Forget all but the pictures of these ids.

        Returns:
            How many pictures' keypoints were forgotten.

        Raises:
            StoreError: they cannot be changed.
        """
        with self._kept.write() as database, database:
            database.execute("CREATE TEMP TABLE living (image_id TEXT PRIMARY KEY) WITHOUT ROWID")
            database.executemany("INSERT OR IGNORE INTO living VALUES (?)", ((image_id,) for image_id in image_ids))
            database.execute("DELETE FROM pictures WHERE image_id NOT IN (SELECT image_id FROM living)")
            gone = database.execute("DELETE FROM looks WHERE content_hash NOT IN (SELECT content_hash FROM pictures)")
            return gone.rowcount

    def count(self) -> int:
        """How many pictures' keypoints are kept."""
        import sqlite3

        try:
            with self._kept.read() as database:
                return 0 if database is None else int(database.execute("SELECT COUNT(*) FROM looks").fetchone()[0])
        except sqlite3.Error:
            return 0


def _parts(wanted: Iterable[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    from itertools import islice

    source = iter(wanted)
    while part := list(islice(source, _AT_ONCE)):
        yield part


def _rows(database: sqlite3.Connection, table: str, columns: str, key: str, values: list[str]) -> list[tuple[str, ...]]:
    marks = ",".join("?" * len(values))
    return database.execute(f"SELECT {columns} FROM {table} WHERE {key} IN ({marks})", values).fetchall()

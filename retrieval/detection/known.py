"""Catalog pictures as they are looked for in photos of many items, and where what is known of them is kept.

Looking at a picture takes a tenth of a second, hundreds are looked for in a photo: so what was seen is kept in memory
for the next photo, and beside the index for the next process. ``shelves.sqlite`` is filled when pictures are looked for
first, holds `MOST_KEPT` of them at most, and forgets those that it got first; so nobody needs to tell it what is gone.
"""

from __future__ import annotations

import io
import logging
import struct
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from retrieval.detection.candidates import content_box
from retrieval.detection.instances import Box
from retrieval.errors import StoreError
from retrieval.system.threads import ordered_map
from retrieval.verification.kept_file import KeptFile, beside
from retrieval.verification.keypoints import Keypoints, find_keypoints
from retrieval.verification.opencv import opencv

T = TypeVar("T")

_log = logging.getLogger("itemrec.many")

LOOKS = ((384, 0.0), (192, 2.5))
"""Pixels of a catalog picture's longer side at which its points are found, and how far it is blurred before: 192 pixels
are about as large as an item is on a shelf, and what a blurred photo shows is found in a picture as blurred."""
SEEN_SIDE = 384
"""Pixels of the longer side of a picture in which its points are found."""
KEPT_SIDE = 256
"""And of the picture that is kept, which places are compared with."""
PICTURE_POINTS = 300
CONTRAST = 0.004
"""Of a point at least: a fifth of the usual, since photos of shelves are blurred."""
IN_MEMORY = 1500
"""Pictures that are kept in memory, 280 KB each at most."""
MOST_KEPT = 10_000
"""Pictures that are kept beside the index, 100 KB each at most."""
SHELVES_FILE = "shelves.sqlite"
VERSION = 1
"""Of what is kept; what another release wrote is made anew."""

_TABLES = (
    "CREATE TABLE IF NOT EXISTS pictures "
    "(number INTEGER PRIMARY KEY AUTOINCREMENT, content_hash TEXT UNIQUE NOT NULL, known BLOB NOT NULL)",
)
_QUALITY = 88
_FINE, _TURN = 64.0, 65536.0 / 360.0
"""Steps to a pixel and to a degree that points are kept in."""
_HEAD = struct.Struct("<6H")
_COUNT = struct.Struct("<H")
_AT_ONCE = 64
"""Pictures that are read, or looked at and written, at once: what a run that is killed has to make again."""


@dataclass(frozen=True, slots=True, eq=False)
class KnownPicture:
    """A catalog picture, ready to be looked for.

    Attributes:
        pixels: RGB, uint8, shape (height, width, 3), as it is compared.
        box: what the item fills of it.
        keypoints: of it, for each of `LOOKS`.
    """

    pixels: NDArray[np.uint8]
    box: Box
    keypoints: tuple[Keypoints, ...]

    @classmethod
    def of(cls, pixels: NDArray[np.uint8]) -> KnownPicture:
        """Looks at a picture once; see `looked_at`."""
        return cls.from_bytes(looked_at(pixels))

    @classmethod
    def from_bytes(cls, data: bytes) -> KnownPicture:
        """Read what `looked_at` made; raises ValueError on anything else."""
        try:
            width, height, *box = _HEAD.unpack_from(data)
            at, looks = _HEAD.size, []
            for _ in LOOKS:
                (count,) = _COUNT.unpack_from(data, at)
                at += _COUNT.size
                places = np.frombuffer(data, "<u2", 4 * count, at).reshape(count, 4).astype(np.float32)
                at += 8 * count
                descriptors = np.frombuffer(data, np.uint8, 128 * count, at).reshape(count, 128)
                at += 128 * count
                places /= np.array([_FINE, _FINE, _FINE, _TURN], np.float32)
                looks.append(Keypoints((width, height), places[:, :2], descriptors, places[:, 2:]))
            with Image.open(io.BytesIO(data[at:]), formats=["JPEG"]) as im:
                if im.size != (width, height):
                    raise ValueError(f"expected a picture of {width} x {height}, received {im.size}")
                pixels = np.array(im.convert("RGB"))
        except (struct.error, OSError) as error:
            raise ValueError(str(error)) from error
        left, top, right, bottom = box
        return cls(pixels, (left, top, right, bottom), tuple(looks))

    @property
    def plain(self) -> bool:
        """Whether it shows an item before a plain background, which is cut off."""
        left, top, right, bottom = self.box
        height, width = self.pixels.shape[:2]
        return bool((right - left) * (bottom - top) < width * height)


def looked_at(pixels: NDArray[np.uint8]) -> bytes:
    """Look at a picture of the catalog; `KnownPicture.from_bytes` reads what was seen.

    Args:
        pixels: RGB, uint8, shape (height, width, 3), its longer side `SEEN_SIDE` where it has as many.

    Raises:
        UsageError: OpenCV is not installed.
    """
    cv2 = opencv()
    height, width = pixels.shape[:2]
    scale = min(1.0, KEPT_SIDE / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if scale < 1.0 else pixels
    parts = [_HEAD.pack(*size, *content_box(small))]
    for side, blur in LOOKS:
        seen = cv2.GaussianBlur(pixels, (0, 0), blur * max(width, height) / side) if blur else pixels
        found = find_keypoints(seen, side=side, most=PICTURE_POINTS, contrast=CONTRAST)
        assert found.frames is not None
        places = np.concatenate([found.points, found.frames[:, :1]], axis=1)
        places = places * np.array([size[0] / width, size[1] / height, scale], np.float32) * _FINE
        turns = np.rint(found.frames[:, 1:] * _TURN) % 65536.0
        whole = np.concatenate([np.clip(np.rint(places), 0, 65535), turns], axis=1).astype("<u2")
        parts += [_COUNT.pack(len(found)), whole.tobytes(), found.descriptors.tobytes()]
    file = io.BytesIO()
    Image.fromarray(small).save(file, "JPEG", quality=_QUALITY)
    return b"".join((*parts, file.getvalue()))


Read = Callable[[], NDArray[np.uint8] | None]
"""Gives the pixels of a picture, RGB, uint8, shape (height, width, 3); None where it cannot be read."""


class KnownPictures:
    """What is known of the pictures of one index. Thread-safe."""

    def __init__(self, location: str) -> None:
        """Open nothing yet.

        Args:
            location: of the index, a directory or the URL of a server.
        """
        self._kept = KeptPictures(location)
        self._memory: OrderedDict[str, KnownPicture] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, wanted: Sequence[tuple[str, Read]], *, threads: int = 1) -> list[KnownPicture | None]:
        """Some pictures, each looked at when it is asked for first; None for one that cannot be read.

        Args:
            wanted: the hash of each one's bytes, and what reads it.
            threads: that look at once.

        Raises:
            UsageError: OpenCV is not installed, and there is something to look at.
        """
        found: dict[str, KnownPicture | None] = {}
        with self._lock:
            for content_hash, _ in wanted:
                if content_hash in self._memory:
                    self._memory.move_to_end(content_hash)
                    found[content_hash] = self._memory[content_hash]
        lacking = {content_hash: read for content_hash, read in wanted if content_hash not in found}
        found |= self._kept.get(list(lacking), threads=threads)
        unseen = ((content_hash, read) for content_hash, read in lacking.items() if content_hash not in found)
        for part in _parts(ordered_map(_looked, unseen, threads)):
            made = [(content_hash, data) for content_hash, data in part if data is not None]
            with suppress(StoreError):  # of a disk that may not be written: they are made again by the next process
                self._kept.put(made)
            found |= dict.fromkeys(content_hash for content_hash, _ in part)
            found |= {content_hash: KnownPicture.from_bytes(data) for content_hash, data in made}
        with self._lock:
            self._memory.update((h, picture) for h in lacking if (picture := found[h]) is not None)
            while len(self._memory) > IN_MEMORY:
                self._memory.popitem(last=False)
        return [found[content_hash] for content_hash, _ in wanted]


class KeptPictures:
    """The file beside an index. Thread-safe: every call opens it for itself."""

    def __init__(self, location: str) -> None:
        """Name it; nothing is opened.

        Args:
            location: see `KnownPictures`.
        """
        self.file: Path = beside(location, SHELVES_FILE)
        self._kept = KeptFile(self.file, _TABLES, version=VERSION, what="what shelves are looked for with")

    def there(self) -> bool:
        """Whether any was ever kept."""
        return self._kept.there()

    def get(self, hashes: Sequence[str], *, threads: int = 1) -> dict[str, KnownPicture]:
        """Those of some pictures, by the hash of their bytes; whatever cannot be read is not there."""
        import sqlite3

        if not hashes or not self.there():
            return {}
        rows: list[tuple[str, bytes]] = []
        try:
            with self._kept.read() as database:
                for part in _parts(hashes):
                    marks = ",".join("?" * len(part))
                    question = f"SELECT content_hash, known FROM pictures WHERE content_hash IN ({marks})"
                    rows += [] if database is None else database.execute(question, part).fetchall()
            pictures = ordered_map(lambda row: KnownPicture.from_bytes(row[1]), rows, threads)
            return {content_hash: picture for (content_hash, _), picture in zip(rows, pictures, strict=True)}
        except (sqlite3.Error, ValueError) as error:
            _log.warning("What is kept in %s cannot be read: %s", self.file, error)
            return {}

    def put(self, made: Sequence[tuple[str, bytes]]) -> None:
        """Keep some, all or none of them; those that were kept first make room.

        Args:
            made: the hash of each picture's bytes, and what `looked_at` made of it.

        Raises:
            StoreError: they cannot be kept.
        """
        if not made:
            return
        with self._kept.write() as database, database:
            database.executemany("INSERT OR REPLACE INTO pictures (content_hash, known) VALUES (?, ?)", made)
            newest = "SELECT number FROM pictures ORDER BY number DESC LIMIT 1 OFFSET ?"
            database.execute(f"DELETE FROM pictures WHERE number <= ({newest})", (MOST_KEPT,))


def _looked(unseen: tuple[str, Read]) -> tuple[str, bytes | None]:
    content_hash, read = unseen
    pixels = read()
    return content_hash, None if pixels is None else looked_at(pixels)


def _parts(items: Iterable[T]) -> Iterator[list[T]]:
    source = iter(items)
    while part := list(islice(source, _AT_ONCE)):
        yield part

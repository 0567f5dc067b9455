"""Photos in whatever form they come, and what a look at one gives."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from retrieval.errors import UsageError
from retrieval.images import pictures
from retrieval.images.blank import shows_nothing
from retrieval.images.views import Prepared, Thumbnail
from retrieval.models.bundle import Bundle
from retrieval.models.embedding import Look
from retrieval.types import ReadCode

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

    Photo = str | Path | bytes | Image.Image | NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class PhotoSource:
    """A photo that is read when its turn comes.

    Attributes:
        name: what the answer calls it.
        read: gives its bytes; its `ImageError` refuses this photo alone.
    """

    name: str
    read: Callable[[], bytes]


class Source(NamedTuple):
    """A photo in whatever form, under its name."""

    name: str
    photo: Callable[[], bytes] | Image.Image | NDArray[np.uint8]
    again: Callable[[], bytes] | None = None


class Seen(NamedTuple):
    """What a look at a photo gives beside its pixels: if it shows nothing, its codes, and what both took, in ms."""

    decode_ms: float
    blank: bool
    codes: tuple[ReadCode, ...] = ()
    codes_ms: float | None = None


def named_photo(photo: Photo | PhotoSource, name: str | None = None, *, keep: bool = False) -> Source:
    """The photo under its name. With ``keep`` a notebook can show it, also where only its pixels are at hand."""
    if isinstance(photo, PhotoSource):
        return Source(name or photo.name, photo.read, photo.read)
    if isinstance(photo, (str, Path)):
        read = partial(pictures.read_file, Path(photo))
        return Source(name or str(photo), read, read)
    if isinstance(photo, bytes):
        return Source(name or "bytes", lambda: photo, (lambda: photo) if keep else None)
    if hasattr(photo, "getexif") or hasattr(photo, "dtype"):
        return Source(name or "pixels", photo, partial(pictures.to_png, photo) if keep else None)
    raise UsageError(
        f"expected a photo as path, bytes, Pillow image or array of pixels, received {type(photo).__name__}",
        hint="For example: recognize('photo.jpg')",
    )


def seen_whole(source: Source) -> tuple[NDArray[np.uint8], float]:
    """A photo as it is looked at closer, and how many times larger it is."""
    from retrieval.verification.keypoints import SIDE

    data = source.photo() if callable(source.photo) else source.photo
    small = pictures.thumbnail(data, SIDE) if isinstance(data, bytes) else pictures.thumbnail_decoded(data, SIDE)
    return np.asarray(small), pictures.longer_side(data) / max(small.size)


def look_at(bundle: Bundle, barcodes: bool, source: Source) -> Look[Seen]:
    """The pixels of a photo, how long decoding took, and the barcodes in it where they are asked for."""
    data = source.photo() if callable(source.photo) else source.photo
    start = time.perf_counter()
    if not barcodes:
        pixels = (
            pictures.prepare(data, bundle.preprocessing)
            if isinstance(data, bytes)
            else pictures.prepare_decoded(data, bundle.preprocessing)
        )
        return Look(Seen((time.perf_counter() - start) * 1e3, shows_nothing(pixels)), pixels)
    from retrieval.barcodes.scan import SIDE, read_codes

    if isinstance(data, bytes):
        small, large = pictures.views(data, Prepared(bundle.preprocessing), Thumbnail(SIDE))
        pixels = np.array(small, dtype=np.uint8)
    else:
        pixels = pictures.prepare_decoded(data, bundle.preprocessing)
        large = pictures.thumbnail_decoded(data, SIDE)
    decoded = time.perf_counter()
    codes = read_codes(large, pictures.longer_side(data) / max(large.size))
    took = (time.perf_counter() - decoded) * 1e3
    return Look(Seen((decoded - start) * 1e3, shows_nothing(pixels), codes, took), pixels)

"""What picture bytes claim to be: format, size, orientation and completeness, without decoding a pixel.

The readers look at fields at checked offsets and allocate nothing that a file can choose, so that a
decompression bomb is refused before any decoder sees it. Pillow's WebP and AVIF plugins allocate a
canvas, or a frame larger than the declared one, before their caller learns its size; that is why
the sizes are read here.
"""

from __future__ import annotations

from collections.abc import Callable

from retrieval.images.formats.base import Format, Header, damaged, exif_orientation, truncated
from retrieval.images.formats.iso import read_iso
from retrieval.images.formats.polyglots import hidden_content
from retrieval.images.formats.raster import bare_jpeg, read_bmp, read_gif, read_jpeg, read_png, read_webp
from retrieval.images.formats.tiff import read_tiff

__all__ = [
    "Format",
    "Header",
    "bare_jpeg",
    "damaged",
    "exif_orientation",
    "hidden_content",
    "read_header",
    "truncated",
]

_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)


def read_header(data: bytes) -> Header | None:
    """The header of a picture of an allowed format, told by its content; None for anything else.

    Raises:
        ImageError: truncated, damaged or unsupported-pixels.
        IndexError, struct.error, ValueError: a field lies outside the file or makes no sense.
    """
    reader = _reader(data)
    return reader(data) if reader else None


def _reader(data: bytes) -> Callable[[bytes], Header | None] | None:
    if data[:3] == b"\xff\xd8\xff":
        return read_jpeg
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return read_png
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return read_gif
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return read_webp
    if data[:4] in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"):
        return read_tiff
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") in _BMP_HEADERS:
        return read_bmp
    if data[4:8] == b"ftyp":
        return read_iso
    return None

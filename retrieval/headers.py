"""What picture bytes claim to be: format, size, orientation and completeness, without decoding a pixel.

Everything here reads fields at checked offsets and allocates nothing that a file can choose, so that
a decompression bomb is refused before any decoder sees it. A field outside the file raises
`IndexError`, `struct.error` or `ValueError`; `retrieval.images` maps them, with every other foreign
error, to `ImageError` in one place.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from retrieval.errors import ImageError

Format = Literal["JPEG", "PNG", "GIF", "WEBP", "AVIF", "HEIF", "TIFF", "BMP"]

_HEIF_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_ISO_BRANDS = _HEIF_BRANDS | _AVIF_BRANDS | {b"mif1", b"msf1", b"mif2"}


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says about itself.

    Attributes:
        format: by content, never by name.
        width: stored columns, pixels, before the EXIF orientation is applied.
        height: stored rows, pixels.
        orientation: EXIF orientation, 1 to 8; 1 where the format's decoder applies it itself.
        data: the bytes that the decoder should see: the picture without what only costs or harms.
    """

    format: Format
    width: int
    height: int
    orientation: int
    data: bytes


def truncated(what: str) -> ImageError:
    """The error for a file that ends before its picture does."""
    return ImageError(
        f"expected a complete picture, received one that ends early ({what})",
        reason="truncated",
        hint="Copy or export the picture again.",
    )


def damaged(what: str) -> ImageError:
    """The error for a file whose fields contradict each other."""
    return ImageError(
        f"expected an intact picture, received a damaged one ({what})",
        reason="damaged",
        hint="Copy or export the picture again.",
    )


def sniff(data: bytes) -> Format | None:
    """The format that the first bytes announce, or None when it is none of the allowed ones."""
    if data[:3] == b"\xff\xd8\xff":
        return "JPEG"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:4] in (b"II*\x00", b"MM\x00*"):
        return "TIFF"
    if data[:2] == b"BM" and data[6:10] == b"\x00\x00\x00\x00":
        return "BMP"
    if data[4:8] == b"ftyp":
        return _iso_brand(data)
    return None


def _iso_brand(data: bytes) -> Format | None:
    size = int.from_bytes(data[:4], "big")
    end = min(size, len(data), 4096)
    brands = {data[8:12]} | {data[at : at + 4] for at in range(16, end - 3, 4)}
    if data[8:12] not in _ISO_BRANDS:
        return None
    if data[8:12] in _AVIF_BRANDS or (data[8:12] not in _HEIF_BRANDS and brands & _AVIF_BRANDS):
        return "AVIF"
    return "HEIF" if brands & _HEIF_BRANDS else None


def read_header(data: bytes, kind: Format) -> Header:
    """Read the header of a file of this format.

    Raises:
        ImageError: truncated or damaged.
        IndexError, struct.error, ValueError: a field lies outside the file or makes no sense.
    """
    return _READERS[kind](data)


def exif_orientation(exif: bytes) -> int:
    """The orientation in a TIFF-structured EXIF block; 1 when it is absent or cannot be read.

    A broken EXIF block does not make the picture broken: every viewer shows it as stored.
    """
    exif = exif.removeprefix(b"Exif\x00\x00")
    order: Literal["little", "big"] | None = {b"II": "little", b"MM": "big"}.get(exif[:2])  # type: ignore[assignment]
    if order is None or len(exif) < 14:
        return 1
    at = int.from_bytes(exif[4:8], order)
    for entry in range(at + 2, at + 2 + 12 * int.from_bytes(exif[at : at + 2], order), 12):
        if entry + 12 > len(exif):
            return 1
        if int.from_bytes(exif[entry : entry + 2], order) == 0x0112:
            value = int.from_bytes(exif[entry + 8 : entry + 10], order)
            return value if 1 <= value <= 8 else 1
    return 1


def _jpeg(data: bytes) -> Header:
    at, orientation = 2, 1
    while True:
        if at + 4 > len(data):
            raise truncated("no picture data after the JPEG header")
        if data[at] != 0xFF:
            raise damaged("a JPEG marker is missing")
        marker = data[at + 1]
        if marker in (0xFF, 0x00) or 0xD0 <= marker <= 0xD8 or marker == 0x01:
            at += 1 if marker in (0xFF, 0x00) else 2
            continue
        if marker in (0xD9, 0xDA):
            raise damaged("a JPEG without a frame header")
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xE1 and data[at + 4 : at + 10] == b"Exif\x00\x00":
            orientation = exif_orientation(data[at + 10 : at + 2 + length])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return Header("JPEG", width, height, orientation, data)
        at += 2 + length


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    at = 8
    while True:
        if at + 12 > len(data):
            raise truncated("no end chunk in the PNG")
        length = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + length > len(data):
            raise truncated("a PNG chunk ends after the file")
        name = data[at + 4 : at + 8]
        yield name, at, length
        if name == b"IEND":
            return
        at += 12 + length


def _png(data: bytes) -> Header:
    """Only the chunks that make pixels go on: text, profiles and animation can be bombs and are not used."""
    kept: list[bytes | memoryview] = [data[:8]]
    orientation, size = 1, None
    view = memoryview(data)
    for name, at, length in _png_chunks(data):
        if size is None and name != b"IHDR":
            raise damaged("a PNG that does not start with its header")
        if name == b"eXIf":
            orientation = exif_orientation(data[at + 8 : at + 8 + length])
        if name not in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            continue
        if zlib.crc32(view[at + 4 : at + 8 + length]) != int.from_bytes(
            view[at + 8 + length : at + 12 + length], "big"
        ):
            raise damaged(f"the checksum of PNG chunk {name.decode()} is wrong")
        if name == b"IHDR":
            if size is not None or length != 13:
                raise damaged("a PNG header of the wrong length")
            size = struct.unpack_from(">II", data, at + 8)
        kept.append(view[at : at + 12 + length])
    assert size is not None
    return Header("PNG", size[0], size[1], orientation, b"".join(kept))


def _gif(data: bytes) -> Header:
    width, height, _ = struct.unpack_from("<HHB", data, 6)
    return Header("GIF", width, height, 1, data)


def _webp(data: bytes) -> Header:
    if int.from_bytes(data[4:8], "little") + 8 > len(data):
        raise truncated("a RIFF container shorter than it says")
    orientation, at, size = 1, 12, None
    while at + 8 <= len(data):
        name, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        body = at + 8
        if size is None and name == b"VP8X":
            size = (
                1 + int.from_bytes(data[body + 4 : body + 7], "little"),
                1 + int.from_bytes(data[body + 7 : body + 10], "little"),
            )
        elif size is None and name == b"VP8 ":
            raw = struct.unpack_from("<HH", data, body + 6)
            size = (raw[0] & 0x3FFF, raw[1] & 0x3FFF)
        elif size is None and name == b"VP8L":
            bits = int.from_bytes(data[body + 1 : body + 5], "little")
            size = ((bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1)
        elif name == b"EXIF":
            orientation = exif_orientation(data[body : body + length])
        at = body + length + (length & 1)
    if size is None:
        raise damaged("a WebP without a picture")
    return Header("WEBP", size[0], size[1], orientation, data)


def _bmp(data: bytes) -> Header:
    if int.from_bytes(data[14:18], "little") == 12:
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    return Header("BMP", width, abs(height), 1, data)


def _tiff(data: bytes) -> Header:
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    at = int.from_bytes(data[4:8], order)
    values = {}
    for entry in range(at + 2, at + 2 + 12 * int.from_bytes(data[at : at + 2], order), 12):
        if entry + 12 > len(data):
            raise truncated("the TIFF directory ends after the file")
        tag, kind = (int.from_bytes(data[entry + o : entry + o + 2], order) for o in (0, 2))
        values[tag] = int.from_bytes(data[entry + 8 : entry + (10 if kind == 3 else 12)], order)
    orientation = values.get(0x0112, 1)
    return Header("TIFF", values.get(256, 0), values.get(257, 0), orientation if 1 <= orientation <= 8 else 1, data)


def _iso_size(data: bytes) -> tuple[int, int]:
    """The largest ``ispe`` (spatial extent) in the meta box: a grid's tiles are smaller than the whole."""
    best, at = (0, 0), 0
    while (at := data.find(b"ispe", at, 1 << 20)) >= 0:
        size = struct.unpack_from(">II", data, at + 8)
        best = max(best, size, key=lambda s: s[0] * s[1])
        at += 4
    if best == (0, 0):
        raise damaged("no picture size in the container")
    return best


def _avif(data: bytes) -> Header:
    return Header("AVIF", *_iso_size(data), 1, data)


def _heif(data: bytes) -> Header:
    return Header("HEIF", *_iso_size(data), 1, data)


_READERS = {
    "JPEG": _jpeg,
    "PNG": _png,
    "GIF": _gif,
    "WEBP": _webp,
    "BMP": _bmp,
    "TIFF": _tiff,
    "AVIF": _avif,
    "HEIF": _heif,
}

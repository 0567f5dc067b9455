"""Headers of JPEG, PNG, GIF, WebP and BMP."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from retrieval.images.formats.base import MAX_PARTS, Header, damaged, find_orientation, truncated, unsupported
from retrieval.images.formats.color_profile import MAX_PROFILE, from_cicp, from_gamma, notice, usable

_MAX_SCANS = 64
"""Most scans of a JPEG. Encoders write 1 to about 10; each costs a pass over the whole picture."""

_JFIF = b"\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00"
"""Version 1.1, square pixels, no thumbnail."""

_ICC = b"ICC_PROFILE\x00"

_PNG_PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_PNG_COLORS = frozenset({b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM"})


def read_jpeg(data: bytes) -> Header:
    """Size and orientation from the segments before the first scan; the number of scans is capped."""
    at, turn, size, kind, channels = 2, None, None, 0, 0
    profiles: dict[int, bytes] = {}
    parts = 0
    for _ in range(MAX_PARTS):
        at = _next_marker(data, at)
        if at + 4 > len(data):
            raise truncated("no picture data after the JPEG header")
        marker = data[at + 1]
        if marker == 0x01 or 0xD0 <= marker <= 0xD9:
            raise damaged("a JPEG marker out of place")
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xDA:
            break
        if marker == 0xE1 and data[at + 4 : at + 10] == b"Exif\x00\x00":
            turn = turn or find_orientation(data[at + 10 : at + 2 + length])
        elif marker == 0xE2 and data[at + 4 : at + 16] == _ICC:
            profiles.setdefault(data[at + 16], data[at + 18 : at + 2 + length])
            parts = data[at + 17]
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if size is not None:
                raise damaged("a JPEG with two frame headers")
            height, width, channels = struct.unpack_from(">HHB", data, at + 5)
            kind, size = marker, (width, height)
        at += 2 + length
    else:
        raise damaged("too many JPEG segments")
    if size is None:
        raise damaged("a JPEG without a frame header")
    if data.rfind(b"\xff\xd9", at) < 0:
        raise truncated("a JPEG without its end marker")
    # A sequential JPEG whose first scan has all channels ends with it. Elsewhere the marker's bytes also
    # occur in thumbnails and trailers: scans are counted only when there may be too many.
    one = kind in (0xC0, 0xC1) and data[at + 4] == channels
    if not one and data.count(b"\xff\xda", at) > _MAX_SCANS and _scans(data, at) > _MAX_SCANS:
        raise damaged(f"more than {_MAX_SCANS} JPEG scans")
    whole = sorted(profiles) == list(range(1, parts + 1))
    if not whole:
        notice("parts are missing")
    profile = usable(b"".join(profiles[n] for n in sorted(profiles))) if whole else b""
    return Header("JPEG", (size,), turn or 1, data, streamed=one, profile=profile)


def _next_marker(data: bytes, at: int) -> int:
    """Where the next marker is; the file's end if there is none. Decoders skip stray bytes between segments too."""
    while (at := data.find(b"\xff", at)) >= 0 and at + 1 < len(data):
        if data[at + 1] not in (0x00, 0xFF):
            return at
        at += 1
    return len(data)


def _scans(data: bytes, at: int) -> int:
    """Scans from the first start-of-scan marker to the end of the picture, counted up to the cap."""
    scans = 0
    while scans <= _MAX_SCANS and (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        marker = data[at + 1]
        if marker == 0xD9:
            break
        if marker in (0x00, 0xFF) or 0xD0 <= marker <= 0xD7:
            at += 1 if marker == 0xFF else 2
            continue
        scans += marker == 0xDA
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return scans


def bare_jpeg(data: bytes) -> bytes:
    """The same JPEG, not decoded: without EXIF, profiles, comments, thumbnails and whatever follows its end.

    What decides about colors stays: that there is a JFIF segment, and the Adobe segment.

    Args:
        data: a JPEG that `read_jpeg` and a decoder accepted.

    Raises:
        ImageError: its segments do not lead to its end.
    """
    kept: list[bytes] = [data[:2]]
    at = 2
    while (at := _next_marker(data, at)) + 2 <= len(data):
        marker = data[at + 1]
        if marker == 0xD9:
            return b"".join([*kept, b"\xff\xd9"])
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xE0 and data[at + 4 : at + 9] == b"JFIF\x00":
            if len(kept) == 1:
                kept.append(_JFIF)
        elif (marker == 0xEE and data[at + 4 : at + 9] == b"Adobe") or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            kept.append(data[at:end])
        at = end
        if marker == 0xDA:
            end = _end_of_scan(data, at)
            kept.append(data[at:end])
            at = end
    raise truncated("a JPEG without its end marker")


def _end_of_scan(data: bytes, at: int) -> int:
    """Where the next marker is that is neither a stuffed byte nor a restart."""
    while (at := data.find(b"\xff", at)) >= 0 and at + 1 < len(data):
        if data[at + 1] and not 0xD0 <= data[at + 1] <= 0xD7:
            return at
        at += 2
    return len(data)


def read_png(data: bytes) -> Header:
    """Checks every chunk's extent and the checksums of those with pixels, and keeps only the latter.

    Text, color profiles and animation frames are never handed on: they can be decompression bombs,
    and no decoder needs them.
    """
    kept: list[bytes | memoryview] = [data[:8]]
    view, turn, size, depth = memoryview(data), None, (0, 0), 0
    colors: dict[bytes, bytes] = {}
    for number, (name, at, length) in enumerate(_png_chunks(data)):
        if (number == 0) != (name == b"IHDR"):
            raise damaged("a PNG that does not start with its one header")
        if name == b"eXIf":
            turn = turn or find_orientation(data[at + 8 : at + 8 + length])
        if name in _PNG_COLORS and name not in colors:
            colors[name] = data[at + 8 : at + 8 + length]
        if name not in _PNG_PIXELS:
            continue
        end = at + 8 + length
        if zlib.crc32(view[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise damaged(f"a wrong checksum of PNG chunk {name.decode()}")
        if name == b"IHDR":
            width, height, depth = struct.unpack_from(">IIB", data, at + 8)
            size = (width, height)
        kept.append(view[at : end + 4])
    return Header("PNG", (size,), turn or 1, b"".join(kept), depth, profile=_png_profile(colors))


def _png_profile(colors: dict[bytes, bytes]) -> bytes:
    """In the order of the PNG specification, third edition: cICP, iCCP, sRGB, gAMA with cHRM."""
    cicp = colors.get(b"cICP", b"")
    if len(cicp) == 4 and cicp[2:] == b"\x00\x01":
        return from_cicp(cicp[0], cicp[1])
    if b"iCCP" in colors:
        _, _, rest = colors[b"iCCP"].partition(b"\x00")
        try:
            return usable(zlib.decompressobj().decompress(rest[1:], MAX_PROFILE + 1))
        except zlib.error:
            notice("damaged")
            return b""
    if b"sRGB" in colors or len(colors.get(b"gAMA", b"")) != 4:
        return b""
    [gamma] = struct.unpack(">I", colors[b"gAMA"])
    primaries = None
    if len(colors.get(b"cHRM", b"")) == 32:
        white_x, white_y, *rgb = (value / 1e5 for value in struct.unpack(">8I", colors[b"cHRM"]))
        primaries = ((rgb[0], rgb[1]), (rgb[2], rgb[3]), (rgb[4], rgb[5]), (white_x, white_y))
    return from_gamma(gamma / 1e5, primaries)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """(name, offset, length of the body) of every chunk up to the end chunk."""
    at = 8
    for _ in range(MAX_PARTS):
        length = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + length > len(data):
            raise truncated("no end chunk in the PNG")
        name = data[at + 4 : at + 8]
        yield name, at, length
        if name == b"IEND":
            return
        at += 12 + length
    raise damaged("too many PNG chunks")


def read_gif(data: bytes) -> Header:
    """Walks all blocks to the trailer, and keeps only what the first frame needs.

    Comments and later frames are not handed on.
    """
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = start = 13 + _color_table(flags)
    control, frame, size = b"", b"", (width, height)
    for _ in range(MAX_PARTS):
        kind = data[at : at + 1]
        if kind == b";":
            break
        if kind == b"!":
            end = _gif_blocks(data, at + 2)
            if data[at + 1] == 0xF9 and not frame:
                control = data[at:end]
        elif kind == b",":
            left, top, columns, rows, flags = struct.unpack_from("<HHHHB", data, at + 1)
            end = _gif_blocks(data, at + 11 + _color_table(flags))
            if not frame:
                frame = data[at:end]
                # A frame that sticks out enlarges the canvas.
                size = (max(width, left + columns), max(height, top + rows))
        elif not kind:
            raise truncated("no trailer in the GIF")
        else:
            raise damaged("an unknown GIF block")
        at = end
    else:
        raise damaged("too many GIF blocks")
    if not frame:
        raise damaged("a GIF without a picture")
    return Header("GIF", (size,), 1, data[:start] + control + frame + b";")


def _color_table(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _gif_blocks(data: bytes, at: int) -> int:
    """The offset after a run of sub-blocks that starts at ``at``."""
    for _ in range(10 * MAX_PARTS):
        if at >= len(data):
            raise truncated("a GIF block ends after the file")
        if data[at] == 0:
            return at + 1
        at += 1 + data[at]
    raise damaged("too many GIF blocks")


def read_webp(data: bytes) -> Header:
    """The canvas from VP8X, else the size in the bitstream's own header; EXIF where there is a chunk of it."""
    end = int.from_bytes(data[4:8], "little") + 8
    if end > len(data):
        raise truncated("a RIFF container shorter than it says")
    turn, at, sizes, profile = None, 12, [], b""
    for _ in range(MAX_PARTS):
        if at + 8 > end:
            break
        name, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        body = at + 8
        if body + length > end:
            raise truncated("a WebP chunk ends after its container")
        if name == b"VP8X":
            sizes.append((1 + _u24(data, body + 4), 1 + _u24(data, body + 7)))
        elif name == b"ANMF":
            sizes.append((1 + _u24(data, body + 6), 1 + _u24(data, body + 9)))
        elif name == b"VP8 ":
            width, height = struct.unpack_from("<HH", data, body + 6)
            sizes.append((width & 0x3FFF, height & 0x3FFF))
        elif name == b"VP8L":
            bits = int.from_bytes(data[body + 1 : body + 5], "little")
            sizes.append(((bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1))
        elif name == b"EXIF":
            turn = turn or find_orientation(data[body : body + length])
        elif name == b"ICCP" and not profile:
            profile = usable(data[body : body + length])
        at = body + length + (length & 1)
    else:
        raise damaged("too many WebP chunks")
    if not sizes:
        raise damaged("a WebP without a picture")
    largest = max(sizes, key=lambda size: size[0] * size[1])
    return Header("WEBP", (sizes[0], largest), turn or 1, data, profile=profile)


def _u24(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 3], "little")


def read_bmp(data: bytes) -> Header:
    """Uncompressed bitmaps only: run-length ones are extinct, and Pillow expands them in a Python loop."""
    header = int.from_bytes(data[14:18], "little")
    if header == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression = 0
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    if compression not in (0, 3):
        raise unsupported(f"a compressed BMP (method {compression})")
    if width <= 0 or bits not in (1, 4, 8, 16, 24, 32):
        raise damaged("a BMP header that makes no sense")
    return Header("BMP", ((width, abs(height)),), 1, data)

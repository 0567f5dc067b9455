"""The header of a TIFF: its first directory is checked and rewritten with only what pixels need."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from pathlib import Path

from retrieval.images.formats.base import MAX_PARTS, ByteOrder, Header, damaged, orientation, truncated, unsupported
from retrieval.images.formats.color_profile import MAX_PROFILE, usable

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 8: 2, 9: 4, 5: 8, 10: 8, 11: 4, 12: 8, 16: 8}

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _STRIPS, _SAMPLES = 256, 257, 258, 259, 273, 277
_ROWS_PER_STRIP, _STRIP_BYTES, _PLANAR = 278, 279, 284
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES = 322, 323, 324, 325
_ORIENTATION, _SAMPLE_FORMAT, _PROFILE = 274, 339, 34675

_LONG, _LONG8 = 4, 16

_SINGLE = frozenset(
    {_WIDTH, _HEIGHT, _COMPRESSION, 262, 266, _SAMPLES, _ROWS_PER_STRIP, _PLANAR, 317}
    | {_TILE_WIDTH, _TILE_HEIGHT, 531}
)
_LISTS = frozenset({_BITS, _STRIPS, _STRIP_BYTES, 320, _TILES, _TILE_BYTES, 338, _SAMPLE_FORMAT, 347, 530, 532})
_COMPRESSIONS = frozenset({1, 5, 7, 8, 32773, 32946})
"""None, LZW, JPEG, deflate, PackBits, old deflate. Fax codes are out: they cannot tell that data is damaged."""


@cache
def silence_libtiff() -> None:
    """Stop libtiff from writing to this process's stderr.

    It prints a line for every flaw it meets, past Python's own streams, and Pillow leaves that on
    and reports the failure as an exception as well. Where the library cannot be found (it is linked
    into Pillow on Windows) nothing changes but the noise.
    """
    import ctypes

    import PIL

    home = Path(PIL.__file__).parent
    for library in (*home.parent.glob("pillow.libs/libtiff*"), *home.glob(".dylibs/libtiff*")):
        with suppress(OSError, AttributeError):
            libtiff = ctypes.CDLL(str(library))
            libtiff.TIFFSetErrorHandler(None)
            libtiff.TIFFSetWarningHandler(None)


def read_tiff(data: bytes) -> Header:
    """Check the first directory and append a new one in its place, without private tags and metadata.

    A BigTIFF becomes a TIFF that way: within the caps nothing in it needs 64 bits.

    Every strip or tile must lie inside the file, and be no larger than the picture. The decoder
    gets a directory with the tags of the baseline and nothing else: no EXIF, no profile, no
    further page, and no orientation, which is applied after the resize.
    """
    order: ByteOrder = "little" if data[:2] == b"II" else "big"
    tags = _directory(data, order)
    values = {tag: _integers(kind, raw, order) for tag, (kind, _, raw) in tags.items()}
    for tag in _SINGLE & values.keys():
        if len(values[tag]) != 1:
            raise damaged(f"TIFF tag {tag} with {len(values[tag])} values")
    one = {tag: values[tag][0] for tag in _SINGLE & values.keys()}
    width, height = one.get(_WIDTH, 0), one.get(_HEIGHT, 0)
    compression = one.get(_COMPRESSION, 1)
    if compression not in _COMPRESSIONS:
        raise unsupported(f"a TIFF of compression {compression}")
    formats, bits = values.get(_SAMPLE_FORMAT, (1,)), values.get(_BITS, (1,))
    if set(formats) != {1} or not set(bits) <= {1, 2, 4, 8, 16} or not 1 <= one.get(_SAMPLES, 1) <= 8:
        raise unsupported("a TIFF of floating-point, signed, 32-bit or many-channel pixels")
    if width < 1 or height < 1:
        raise damaged("a TIFF without a size")
    tile = _check_parts(len(data), values, one, width, height)
    turn = orientation((values.get(_ORIENTATION) or (1,))[0])
    rewritten = _rewrite(data, order, {t: v for t, v in tags.items() if t in _SINGLE | _LISTS})
    profile = usable(tags[_PROFILE][2]) if _PROFILE in tags else b""
    return Header("TIFF", ((width, height), tile), turn, rewritten, bits[0], profile=profile)


def _directory(data: bytes, order: ByteOrder) -> dict[int, tuple[int, int, bytes]]:
    """(type, count, raw bytes) of the tags that are used, by tag."""
    big = b"+" in data[2:4]
    if big and int.from_bytes(data[4:8], order) != (8 if order == "little" else 8 << 16):
        raise damaged("a BigTIFF with offsets of another size")
    wide, head, step = (8, 8, 20) if big else (4, 2, 12)
    at = int.from_bytes(data[wide : 2 * wide], order)
    count = int.from_bytes(data[at : at + head], order)
    if at + head + step * count + wide > len(data):
        raise truncated("the TIFF directory ends after the file")
    tags: dict[int, tuple[int, int, bytes]] = {}
    for entry in range(at + head, at + head + step * count, step):
        tag, kind = (int.from_bytes(data[entry + o : entry + o + 2], order) for o in (0, 2))
        if tag not in _SINGLE | _LISTS | {_ORIENTATION, _PROFILE}:
            continue
        number = int.from_bytes(data[entry + 4 : entry + 4 + wide], order)
        if tag == _PROFILE and (kind not in (1, 7) or tag in tags or number > MAX_PROFILE):
            continue  # a damaged profile does not make the picture damaged
        if kind not in _SIZES or tag in tags or (kind != 7 and tag != _PROFILE and number > MAX_PARTS):
            raise damaged(f"TIFF tag {tag} of type {kind} with {number} values, or twice")
        size = number * _SIZES[kind]
        value = entry + 4 + wide
        start = value if size <= wide else int.from_bytes(data[value : value + wide], order)
        if size == 0 or start + size > len(data):
            if tag == _PROFILE:
                continue
            raise truncated(f"TIFF tag {tag} lies outside the file")
        raw = data[start : start + size]
        if kind == _LONG8:
            kind, raw = _LONG, _narrow(raw, order, tag)
        tags[tag] = (kind, number, raw)
    return tags


def _narrow(raw: bytes, order: ByteOrder, tag: int) -> bytes:
    """Numbers of 64 bits in 32."""
    values = [int.from_bytes(raw[at : at + 8], order) for at in range(0, len(raw), 8)]
    if max(values) >= 2**32:
        raise truncated(f"TIFF tag {tag} lies outside the file")
    return b"".join(value.to_bytes(4, order) for value in values)


def _integers(kind: int, raw: bytes, order: ByteOrder) -> tuple[int, ...]:
    size = _SIZES[kind]
    if kind not in (1, 3, 4, 6, 8, 9):
        return ()
    return tuple(int.from_bytes(raw[at : at + size], order) for at in range(0, len(raw), size))


def _check_parts(
    length: int, values: dict[int, tuple[int, ...]], one: dict[int, int], width: int, height: int
) -> tuple[int, int]:
    """Strips or tiles: as many as the picture needs, all inside the file. Returns the size of one."""
    if _TILES in values:
        offsets, counts = values[_TILES], values.get(_TILE_BYTES, ())
        part = (one.get(_TILE_WIDTH, 0), one.get(_TILE_HEIGHT, 0))
        if _STRIPS in values or part[0] < 1 or part[1] < 1:
            raise damaged("TIFF tiles that make no sense")
    else:
        offsets, counts = values.get(_STRIPS, ()), values.get(_STRIP_BYTES, ())
        part = (width, min(one.get(_ROWS_PER_STRIP, height), height))
        if part[1] < 1:
            raise damaged("TIFF strips of no rows")
    needed = -(-width // part[0]) * -(-height // part[1])
    if one.get(_PLANAR, 1) == 2:
        needed *= one.get(_SAMPLES, 1)
    if len(offsets) != needed or len(counts) != needed:
        raise damaged(f"a TIFF of {len(offsets)} parts where its size needs {needed}")
    if any(offset + count > length or count == 0 for offset, count in zip(offsets, counts, strict=True)):
        raise truncated("TIFF pixels lie outside the file")
    return part


def _rewrite(data: bytes, order: ByteOrder, tags: dict[int, tuple[int, int, bytes]]) -> bytes:
    at = len(data) + len(data) % 2
    body_at = at + 2 + 12 * len(tags) + 4
    entries, bodies = [], b""
    for tag, (kind, number, raw) in sorted(tags.items()):
        if len(raw) <= 4:
            value = raw.ljust(4, b"\x00")
        else:
            value = (body_at + len(bodies)).to_bytes(4, order)
            bodies += raw + b"\x00" * (len(raw) % 2)
        entries.append(tag.to_bytes(2, order) + kind.to_bytes(2, order) + number.to_bytes(4, order) + value)
    head = data[:2] + (42).to_bytes(2, order) + at.to_bytes(4, order)
    directory = len(tags).to_bytes(2, order) + b"".join(entries) + b"\x00" * 4
    return b"".join((head, data[8:], b"\x00" * (len(data) % 2), directory, bodies))

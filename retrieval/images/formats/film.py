"""The first picture of an image sequence (HEIF and AVIF without a still picture), as a file that holds it alone.

Decoders of stills know only items; a sequence has samples in a track (ISO/IEC 14496-12, 8.5 to 8.7). The first sample
of one is a whole picture: it is put into a container of one item, with what the track says of its decoder, colors and
turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from retrieval.images.formats.base import truncated, unsupported

_CODECS = {
    b"hvc1": (b"hvc1", b"hvcC", b"heic"),
    b"hev1": (b"hvc1", b"hvcC", b"heic"),
    b"av01": (b"av01", b"av1C", b"avif"),
}
"""By the name of a sample's description: the item's type, its decoder's settings, and the file's brand."""
_HANDLERS = (b"pict", b"vide")
_BEFORE_BOXES = 78
"""Fixed fields of a visual sample entry, bytes."""
_TURNS = {(0, 1, -1, 0): 3, (-1, 0, 0, -1): 2, (0, -1, 1, 0): 1}
"""What the matrix of a track turns by, in quarters against the clock."""


class Box(Protocol):
    """Where a box is: its name, its body, its end."""

    @property
    def name(self) -> bytes:
        """Four letters."""

    @property
    def start(self) -> int:
        """Where its body begins."""

    @property
    def stop(self) -> int:
        """Where it ends."""


Boxes = Callable[[bytes, int, int], Iterable[Box]]
"""Lists the boxes between two offsets; raises ImageError."""


def first_picture(data: bytes, film: tuple[int, int], boxes: Boxes) -> bytes:
    """A file with the first picture of a sequence and nothing else.

    Args:
        data: the sequence.
        film: where the body of its ``moov`` box is.
        boxes: lists boxes.

    Raises:
        ImageError: truncated, or unsupported-pixels where no track holds pictures of a codec that is decoded.
    """

    def inside(name: bytes, at: int, end: int) -> Iterator[tuple[int, int]]:
        yield from ((box.start, box.stop) for box in boxes(data, at, end) if box.name == name)

    def one(place: tuple[int, int], *path: bytes) -> tuple[int, int] | None:
        for name in path:
            found = next(inside(name, *place), None)
            if found is None:
                return None
            place = found
        return place

    for wanted in _HANDLERS:
        for track in inside(b"trak", *film):
            handler = one(track, b"mdia", b"hdlr")
            table = one(track, b"mdia", b"minf", b"stbl")
            if handler is None or table is None or data[handler[0] + 8 : handler[0] + 12] != wanted:
                continue
            described = one(table, b"stsd")
            entry = next(iter(boxes(data, described[0] + 8, described[1])), None) if described else None
            if entry is None or entry.name not in _CODECS:
                continue
            kind, settings, brand = _CODECS[entry.name]
            size = (_number(data, entry.start + 24, 2), _number(data, entry.start + 26, 2))
            known = {
                box.name: data[box.start : box.stop] for box in boxes(data, entry.start + _BEFORE_BOXES, entry.stop)
            }
            if settings not in known:
                continue
            sample = _first_sample(data, one(table, b"stsz"), one(table, b"stco"), one(table, b"co64"))
            properties = [
                _box(settings, known[settings]),
                _box(b"ispe", bytes(4) + b"".join(side.to_bytes(4, "big") for side in size)),
            ]
            properties += [_box(b"colr", known[b"colr"])] if b"colr" in known else []
            turn = _turn(data, one(track, b"tkhd"))
            properties += [_box(b"irot", bytes([turn]))] if turn else []
            return _still(kind, brand, properties, sample)
    raise unsupported("a sequence without a still picture, and without a track that is decoded")


def _first_sample(
    data: bytes, sizes: tuple[int, int] | None, places: tuple[int, int] | None, far: tuple[int, int] | None
) -> bytes:
    place = places or far
    if sizes is None or place is None or not _number(data, sizes[0] + 8, 4) or not _number(data, place[0] + 4, 4):
        raise truncated("a sequence without its first picture")
    size = _number(data, sizes[0] + 4, 4) or _number(data, sizes[0] + 12, 4)
    at = _number(data, place[0] + 8, 4 if places else 8)
    if not size or at + size > len(data):
        raise truncated("the first picture of a sequence lies outside the file")
    return data[at : at + size]


def _turn(data: bytes, header: tuple[int, int] | None) -> int:
    if header is None:
        return 0
    at = header[0] + (52 if data[header[0]] else 40)
    values = [int.from_bytes(data[at + 4 * n : at + 4 * n + 4], "big", signed=True) >> 16 for n in (0, 1, 3, 4)]
    return _TURNS.get((values[0], values[1], values[2], values[3]), 0)


def _still(kind: bytes, brand: bytes, properties: list[bytes], sample: bytes) -> bytes:
    links = b"".join(bytes([0x80 | number if number == 1 else number]) for number in range(1, len(properties) + 1))
    parts = [
        _box(b"hdlr", bytes(8) + b"pict" + bytes(13)),
        _box(b"pitm", bytes(4) + b"\0\1"),
        _box(b"iinf", bytes(4) + b"\0\1" + _box(b"infe", b"\2\0\0\0" + b"\0\1" + b"\0\0" + kind + b"\0")),
        _box(
            b"iprp",
            _box(b"ipco", b"".join(properties))
            + _box(b"ipma", bytes(4) + b"\0\0\0\1" + b"\0\1" + bytes([len(properties)]) + links),
        ),
    ]
    head = _box(b"ftyp", brand + bytes(4) + b"mif1" + brand)
    place = b"\1\0\0\0" + b"\x44\0" + b"\0\1" + b"\0\1" + b"\0\0" + b"\0\0" + b"\0\1"
    length = len(head) + 12 + sum(map(len, parts)) + 8 + len(place) + 8
    located = _box(b"iloc", place + (length + 8).to_bytes(4, "big") + len(sample).to_bytes(4, "big"))
    return head + _box(b"meta", bytes(4) + b"".join(parts) + located) + _box(b"mdat", sample)


def _box(name: bytes, body: bytes) -> bytes:
    return (8 + len(body)).to_bytes(4, "big") + name + body


def _number(data: bytes, at: int, size: int) -> int:
    if at + size > len(data):
        raise truncated("a field lies outside the file")
    return int.from_bytes(data[at : at + size], "big")

"""The header of AVIF and HEIC, both ISO base media files (ISO/IEC 14496-12, 23008-12; AV1 spec 5.5).

The declared size (``ispe``) is not the size that a decoder allocates: libavif decodes a coded frame
of any size and scales it afterwards, and a grid declares its canvas a second time. So the coded
AV1 sequence headers and the grids are read as well. libheif ties an HEVC frame to the declared size
itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from retrieval.images.formats.base import MAX_PARTS, Header, damaged, truncated, unsupported

_BRANDS = frozenset({b"avif", b"avis", b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"mif2", b"msf1"})
_CONTAINERS = frozenset({b"iprp", b"ipco"})
_MAX_EXTENTS = 20_000
"""Most items and their parts; a phone writes about a hundred. Parts can take no bytes at all in the file."""

_PICTURES = frozenset({b"av01", b"hvc1", b"grid"})


@dataclass(slots=True)
class _Item:
    kind: bytes = b""
    in_idat: bool = False
    extents: list[tuple[int, int]] = field(default_factory=list)


@dataclass(slots=True)
class _Meta:
    items: dict[int, _Item] = field(default_factory=dict)
    primary: int | None = None
    sizes: list[tuple[int, int]] = field(default_factory=list)
    idat: tuple[int, int] = (0, 0)
    parts: int = 0

    def item(self, number: int) -> _Item:
        return self.items.setdefault(number, _Item())


def read_iso(data: bytes) -> Header | None:
    """Sizes of the picture, its coded frames and its grids; None when no brand is a picture's.

    An image sequence is handed on as a still picture: its primary item is its first frame.
    """
    meta = None
    for name, start, end in _boxes(data, 0, len(data)):
        if start == 8 and not _is_picture(data, end):
            return None
        if name == b"meta" and meta is None:
            meta = _read_meta(data, start + 4, end)
    if meta is None or meta.primary not in meta.items:
        raise truncated("no description of the picture in its container")
    kind = meta.items[meta.primary].kind
    if kind not in _PICTURES:
        raise unsupported(f"a picture of type {kind.decode('latin-1')!r}")
    kinds = {item.kind for item in meta.items.values()} & {b"av01", b"hvc1"}
    coded = kind if kind != b"grid" else b"hvc1" if b"hvc1" in kinds else b"av01"
    if not meta.sizes:
        raise damaged("no picture size in the container")
    sizes = [max(meta.sizes, key=lambda size: size[0] * size[1])]
    for item in meta.items.values():
        if item.kind in _PICTURES:
            sizes += _item_sizes(data, meta, item)
    if coded == b"hvc1":
        return Header("HEIF", tuple(sizes), 1, data)
    still = data[:8] + b"avif" + data[12:] if data[8:12] == b"avis" else data
    return Header("AVIF", tuple(sizes), None, still)


def _is_picture(data: bytes, end: int) -> bool:
    return data[8:12] in _BRANDS and any(data[at : at + 4] in _BRANDS for at in range(8, min(end, 1024), 4))


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(type, start of the body, end) of the boxes between two offsets."""
    for _ in range(MAX_PARTS):
        if at >= end:
            return
        size, start = int.from_bytes(data[at : at + 4], "big"), at + 8
        if size == 1:
            size, start = int.from_bytes(data[at + 8 : at + 16], "big"), at + 16
        stop = end if size == 0 else at + size
        if start > end or stop > end:
            raise truncated("a box ends after its container")
        if stop < start:
            raise damaged("a box smaller than its header")
        yield data[at + 4 : at + 8], start, stop
        at = stop
    raise damaged("too many boxes")


def _read_meta(data: bytes, at: int, end: int) -> _Meta:
    meta = _Meta()
    _gather(data, at, end, meta)
    return meta


def _gather(data: bytes, at: int, end: int, meta: _Meta) -> None:
    for name, start, stop in _boxes(data, at, end):
        if name in _CONTAINERS:
            _gather(data, start, stop, meta)
        elif name == b"ispe":
            meta.sizes.append((_number(data, start + 4, 4), _number(data, start + 8, 4)))
        elif name == b"pitm":
            meta.primary = _number(data, start + 4, 4 if data[start] else 2)
        elif name == b"idat":
            meta.idat = (start, stop)
        elif name == b"iinf":
            for kind, info, _ in _boxes(data, start + (8 if data[start] else 6), stop):
                if kind == b"infe" and data[info] in (2, 3):
                    wide = 4 if data[info] == 3 else 2
                    meta.item(_number(data, info + 4, wide)).kind = data[info + 6 + wide : info + 10 + wide]
        elif name == b"iloc":
            _read_locations(data, start, meta)


def _read_locations(data: bytes, at: int, meta: _Meta) -> None:
    version = data[at]
    offset_size, length_size = data[at + 4] >> 4, data[at + 4] & 15
    base_size, index_size = data[at + 5] >> 4, data[at + 5] & 15 if version else 0
    wide = 4 if version == 2 else 2
    count, at = _number(data, at + 6, wide), at + 6 + wide
    for _ in range(count):
        item = meta.item(_number(data, at, wide))
        at += wide
        if version:
            item.in_idat = data[at + 1] & 15 == 1
            at += 2
        base = _number(data, at + 2, base_size)
        at += 2 + base_size
        extents = _number(data, at, 2)
        at += 2
        meta.parts += extents + 1
        if meta.parts > _MAX_EXTENTS:
            raise damaged("too many parts in the container")
        for _ in range(extents):
            at += index_size
            offset, length = _number(data, at, offset_size), _number(data, at + offset_size, length_size)
            at += offset_size + length_size
            item.extents.append((base + offset, length))


def _number(data: bytes, at: int, size: int) -> int:
    if at + size > len(data):
        raise truncated("a field lies outside the file")
    return int.from_bytes(data[at : at + size], "big")


def _item_sizes(data: bytes, meta: _Meta, item: _Item) -> list[tuple[int, int]]:
    """The sizes that an item's own bytes claim; checks that they are all in the file."""
    origin, limit = meta.idat if item.in_idat else (0, len(data))
    if any(origin + offset + length > limit for offset, length in item.extents):
        raise truncated("coded pixels lie outside the file")
    head = b"".join(
        data[origin + offset : origin + offset + min(length or 256, 256)] for offset, length in item.extents[:8]
    )
    if item.kind == b"grid" and len(head) >= 8:
        wide = 4 if head[1] & 1 else 2
        return [(int.from_bytes(head[4 : 4 + wide], "big"), int.from_bytes(head[4 + wide : 4 + 2 * wide], "big"))]
    return [_av1_size(head)] if item.kind == b"av01" else []


def _av1_size(head: bytes) -> tuple[int, int]:
    """The maximal frame size in the sequence header that a coded AV1 picture starts with."""
    at = 0
    while at < len(head):
        kind, extended, sized = (head[at] >> 3) & 15, head[at] & 4, head[at] & 2
        at += 2 if extended else 1
        length, shift = 0, 0
        while sized:
            length |= (head[at] & 0x7F) << shift
            shift, sized, at = shift + 7, head[at] & 0x80, at + 1
        if kind == 1:
            return _av1_sequence(_Bits(head[at:]))
        at += length
    raise damaged("an AV1 picture without its sequence header")


class _Bits:
    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def read(self, count: int) -> int:
        if count > self._left:
            raise truncated("an AV1 sequence header that ends early")
        self._left -= count
        return (self._value >> self._left) & ((1 << count) - 1)

    def read_uvlc(self) -> None:
        zeros = 0
        while not self.read(1):
            zeros += 1
        self.read(zeros if zeros < 32 else 0)


def _av1_sequence(bits: _Bits) -> tuple[int, int]:
    """``sequence_header_obu`` of the AV1 specification, section 5.5.1, up to the frame size."""
    bits.read(4)  # seq_profile, still_picture
    if bits.read(1):  # reduced_still_picture_header
        bits.read(5)
    else:
        delay_bits = -1
        if bits.read(1):  # timing_info_present_flag
            bits.read(64)
            if bits.read(1):  # equal_picture_interval
                bits.read_uvlc()
            if bits.read(1):  # decoder_model_info_present_flag
                delay_bits = bits.read(5) + 1
                bits.read(42)
        display_delay = bits.read(1)
        for _ in range(bits.read(5) + 1):
            bits.read(12)  # operating_point_idc
            if bits.read(5) > 7:  # seq_level_idx
                bits.read(1)
            if delay_bits >= 0 and bits.read(1):
                bits.read(2 * delay_bits + 1)
            if display_delay and bits.read(1):
                bits.read(4)
    width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
    return bits.read(width_bits) + 1, bits.read(height_bits) + 1

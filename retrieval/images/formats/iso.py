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
from retrieval.images.formats.color_profile import from_cicp, usable
from retrieval.images.formats.film import first_picture

_BRANDS = frozenset({b"avif", b"avis", b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"mif2", b"msf1"})
_CONTAINERS = frozenset({b"iprp", b"ipco"})
_MAX_EXTENTS = 20_000
"""Most items and their parts; a phone writes about a hundred. Parts can take no bytes at all in the file."""

_CODED = frozenset({b"av01", b"hvc1"})
_DERIVED = frozenset({b"grid", b"iden", b"iovl"})
_PICTURES = _CODED | _DERIVED

_ALPHA = (b"urn:mpeg:hevc:2015:auxid:1\x00", b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\x00")
"""What the auxiliary picture of a picture says when it is its transparency, and no depth or gain map."""


@dataclass(frozen=True, slots=True)
class _Box:
    """Where a box is: its first byte, its body, its end."""

    name: bytes
    at: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class _Reference:
    box: _Box
    origin: int
    targets: tuple[int, ...]


@dataclass(slots=True)
class _Item:
    kind: bytes = b""
    box: _Box | None = None
    in_idat: bool = False
    extents: list[tuple[int, int]] = field(default_factory=list)


@dataclass(slots=True)
class _Meta:
    items: dict[int, _Item] = field(default_factory=dict)
    primary: int | None = None
    sizes: list[tuple[int, int]] = field(default_factory=list)
    idat: tuple[int, int] = (0, 0)
    parts: int = 0
    infos: _Box | None = None
    links: _Box | None = None
    references: list[_Reference] = field(default_factory=list)
    properties: list[_Box] = field(default_factory=list)
    associated: dict[int, list[int]] = field(default_factory=dict)
    unneeded: list[_Box] = field(default_factory=list)

    def item(self, number: int) -> _Item:
        return self.items.setdefault(number, _Item())

    def needed(self, data: bytes) -> set[int]:
        """The primary item, what it is derived from, and their transparency: neither metadata nor thumbnails."""
        to: dict[int, set[int]] = {}
        for link in self.references:
            if link.box.name == b"dimg":
                to.setdefault(link.origin, set()).update(link.targets)
            elif link.box.name == b"auxl" and self._is_alpha(data, link.origin):
                for target in link.targets:
                    to.setdefault(target, set()).add(link.origin)
        found: set[int] = set()
        waiting = [] if self.primary is None else [self.primary]
        while waiting:
            number = waiting.pop()
            if number not in found:
                found.add(number)
                waiting += to.get(number, ())
        return found

    def _is_alpha(self, data: bytes, number: int) -> bool:
        found = (self.properties[i - 1] for i in self.associated.get(number, ()) if 0 < i <= len(self.properties))
        return any(p.name == b"auxC" and data.startswith(_ALPHA, p.start + 4) for p in found)


def read_iso(data: bytes) -> Header | None:
    """Sizes of the picture, its coded frames and its grids; None when no brand is a picture's.

    An image sequence is handed on as a still picture: its primary item, or the first picture of its track.
    """
    meta: _Meta | None = None
    film: _Box | None = None
    for found in _boxes(data, 0, len(data)):
        if found.start == 8 and not _is_picture(data, found.stop):
            return None
        film = found if film is None and found.name == b"moov" else film
        if found.name == b"meta" and meta is None:
            meta = _read_meta(data, found.start + 4, found.stop)
    if (meta is None or meta.primary is None) and film is not None:
        return read_iso(first_picture(data, (film.start, film.stop), _boxes))
    if meta is None or meta.primary not in meta.items:
        raise truncated("no description of the picture in its container")
    kind = meta.items[meta.primary].kind
    if kind not in _PICTURES:
        raise unsupported(f"a picture of type {kind.decode('latin-1')!r}")
    needed = meta.needed(data)
    kinds = {meta.item(number).kind for number in needed} & _CODED
    coded = kind if kind in _CODED else b"hvc1" if b"hvc1" in kinds else b"av01"
    if not meta.sizes:
        raise damaged("no picture size in the container")
    sizes = [max(meta.sizes, key=lambda size: size[0] * size[1])]
    for number in needed:
        if meta.item(number).kind in _PICTURES:
            sizes += _item_sizes(data, meta, meta.item(number))
    profile = _profile(data, meta, needed)
    data = _without_metadata(data, meta, needed)
    if coded == b"hvc1":
        return Header("HEIF", tuple(sizes), 1, data, profile=profile)
    still = data[:8] + b"avif" + data[12:] if data[8:12] == b"avis" else data
    return Header("AVIF", tuple(sizes), None, still, profile=profile)


def _is_picture(data: bytes, end: int) -> bool:
    return data[8:12] in _BRANDS and any(data[at : at + 4] in _BRANDS for at in range(8, min(end, 1024), 4))


def _boxes(data: bytes, at: int, end: int) -> Iterator[_Box]:
    """The boxes between two offsets."""
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
        yield _Box(data[at + 4 : at + 8], at, start, stop)
        at = stop
    raise damaged("too many boxes")


def _read_meta(data: bytes, at: int, end: int) -> _Meta:
    meta = _Meta()
    _gather(data, at, end, meta)
    return meta


def _gather(data: bytes, at: int, end: int, meta: _Meta) -> None:
    for found in _boxes(data, at, end):
        name, start, stop = found.name, found.start, found.stop
        if name == b"ipco":
            meta.properties = list(_boxes(data, start, stop))
        if name in _CONTAINERS:
            _gather(data, start, stop, meta)
        elif name == b"ispe":
            meta.sizes.append((_number(data, start + 4, 4), _number(data, start + 8, 4)))
        elif name == b"pitm":
            meta.primary = _number(data, start + 4, 4 if data[start] else 2)
        elif name == b"idat":
            meta.idat = (start, stop)
        elif name == b"iinf":
            meta.infos = found
            for entry in _boxes(data, start + (8 if data[start] else 6), stop):
                info = entry.start
                if entry.name == b"infe" and data[info] in (2, 3):
                    wide = 4 if data[info] == 3 else 2
                    item = meta.item(_number(data, info + 4, wide))
                    item.kind, item.box = data[info + 6 + wide : info + 10 + wide], entry
        elif name == b"iref":
            meta.links = found
            wide = 4 if data[start] else 2
            for entry in _boxes(data, start + 4, stop):
                meta.references.append(_read_reference(data, entry, wide, meta))
        elif name == b"ipma":
            _read_associations(data, start, meta)
        elif name == b"iloc":
            _read_locations(data, start, meta)
        elif name == b"grpl":
            meta.unneeded.append(found)


def _read_reference(data: bytes, entry: _Box, wide: int, meta: _Meta) -> _Reference:
    count = _number(data, entry.start + wide, 2)
    meta.parts += count + 1
    if meta.parts > _MAX_EXTENTS:
        raise damaged("too many parts in the container")
    first = entry.start + wide + 2
    targets = tuple(_number(data, at, wide) for at in range(first, first + wide * count, wide))
    return _Reference(entry, _number(data, entry.start, wide), targets)


def _read_associations(data: bytes, at: int, meta: _Meta) -> None:
    """Which properties each item has, numbered from 1."""
    wide, index = 4 if data[at] else 2, 2 if data[at + 3] & 1 else 1
    count, at = _number(data, at + 4, 4), at + 8
    for _ in range(min(count, _MAX_EXTENTS)):
        found = meta.associated.setdefault(_number(data, at, wide), [])
        number = _number(data, at + wide, 1)
        at += wide + 1
        for _ in range(number):
            found.append(_number(data, at, index) & (0x7FFF if index == 2 else 0x7F))
            at += index


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


def _profile(data: bytes, meta: _Meta, needed: set[int]) -> bytes:
    """The colors of the primary item, or of a tile where it says nothing; ICC before code points."""
    for number in [meta.primary, *sorted(needed)]:
        found = [
            data[p.start : p.stop]
            for i in meta.associated.get(number or 0, ())
            if 0 < i <= len(meta.properties) and (p := meta.properties[i - 1]).name == b"colr"
        ]
        for body in found:
            if body[:4] in (b"prof", b"rICC"):
                return usable(body[4:])
        for body in found:
            if body[:4] == b"nclx" and len(body) >= 8:
                return from_cicp(int.from_bytes(body[4:6], "big"), int.from_bytes(body[6:8], "big"))
    return b""


def _without_metadata(data: bytes, meta: _Meta, needed: set[int]) -> bytes:
    """The same file, every byte of the pictures where it was, that lists only the items it needs.

    Decoders read what a file lists before anybody asks: EXIF, XMP, names, thumbnails, maps of depth and light.
    """
    out = bytearray(data)
    if meta.infos is not None:
        kept = [meta.items[n].box for n in sorted(needed & meta.items.keys())]
        entries = [data[b.at : b.stop] for b in kept if b is not None]
        start = meta.infos.start
        head = data[start : start + 4] + len(entries).to_bytes(4 if data[start] else 2, "big")
        _replace(out, meta.infos, head, entries)
    if meta.links is not None:
        links = [r for r in meta.references if r.origin in needed and needed.issuperset(r.targets)]
        entries = [data[r.box.at : r.box.stop] for r in links]
        _replace(out, meta.links, data[meta.links.start : meta.links.start + 4], entries)
    for found in meta.unneeded:
        out[found.at + 4 : found.at + 8] = b"free"
    return bytes(out)


def _replace(out: bytearray, found: _Box, head: bytes, entries: list[bytes]) -> None:
    """A box with fewer entries where it was, and an empty one behind it that takes up the room."""
    body = head + b"".join(entries)
    made = (8 + len(body)).to_bytes(4, "big") + found.name + body
    left = found.stop - found.at - len(made)
    if left:
        made += left.to_bytes(4, "big") + b"free" + bytes(left - 8)
    out[found.at : found.stop] = made


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
        return [(_number(head, 4, wide), _number(head, 4 + wide, wide))]
    if item.kind == b"iovl" and len(head) >= 10:
        wide = 4 if head[1] & 1 else 2
        return [(_number(head, 10, wide), _number(head, 10 + wide, wide))]
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

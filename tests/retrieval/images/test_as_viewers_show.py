"""Pictures that every viewer opens, and shows this way up."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageOps

from retrieval.errors import ImageError
from retrieval.images.pictures import decode, to_jpeg
from tests.pictures import box, corners, encode, full, png_chunk, samples, scene

JPEG = samples()["jpeg"]


def segment(body: bytes, marker: bytes = b"\xff\xe1") -> bytes:
    return marker + struct.pack(">H", len(body) + 2) + body


def block(kind: int, value: bytes, order: str = "<") -> bytes:
    """EXIF of nothing but an orientation, of any type."""
    mark = b"II*\x00" if order == "<" else b"MM\x00*"
    return mark + struct.pack(order + "IHHHI", 8, 1, 0x0112, kind, 1) + value.ljust(4, b"\x00") + bytes(4)


SIX = block(3, struct.pack("<H", 6))
EMPTY = b"II*\x00\x08\x00\x00\x00\x00\x00" + bytes(4)


def with_exif(*blocks: bytes) -> bytes:
    return JPEG[:2] + b"".join(segment(b"Exif\x00\x00" + b) for b in blocks) + JPEG[2:]


def is_turned(data: bytes) -> bool:
    size = decode(data).size
    assert decode(to_jpeg(data, 1000)).size == size  # `prepare` writes what the others see
    return size == (64, 96)


@pytest.mark.parametrize(
    "blocks",
    [
        (SIX, bytes(300)),
        (SIX, EMPTY),
        (SIX, block(3, struct.pack("<H", 1))),
        (SIX, block(3, struct.pack("<H", 3))),
        (bytes(30), SIX),
        (EMPTY, SIX),
        (block(3, struct.pack("<H", 0)), SIX),
    ],
)
def test_the_first_orientation_counts(blocks: tuple[bytes, ...]) -> None:
    assert is_turned(with_exif(*blocks))


def test_a_later_orientation_does_not_count() -> None:
    assert not is_turned(with_exif(block(3, struct.pack("<H", 1)), SIX))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("kind", "form"), [(1, "B"), (3, "H"), (4, "I"), (6, "b"), (8, "h"), (9, "i")])
def test_an_orientation_may_be_any_whole_number(kind: int, form: str, order: str) -> None:
    data = with_exif(block(kind, struct.pack(order + form, 6), order))
    assert is_turned(data)
    if kind not in (1, 6):  # single bytes are text to Pillow
        with Image.open(io.BytesIO(data)) as im:
            assert ImageOps.exif_transpose(im).size == (64, 96)


def test_orientations_of_other_formats() -> None:
    plain = samples()["png"]
    assert is_turned(plain[:33] + png_chunk(b"eXIf", SIX) + png_chunk(b"eXIf", EMPTY) + plain[33:])
    assert is_turned(encode(scene(), "WEBP", exif=block(4, struct.pack(">I", 6), ">")))


def test_orientations_that_browsers_do_not_know_do_not_count() -> None:
    """XMP, and a PNG's text: docs/decisions/0011-untrusted-pictures.md."""
    packet = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    )
    assert not is_turned(JPEG[:2] + segment(b"http://ns.adobe.com/xap/1.0/\x00" + packet) + JPEG[2:])
    plain, raw = samples()["png"], b"\nexif\n      32\n" + SIX.hex().encode()
    assert not is_turned(plain[:33] + png_chunk(b"tEXt", b"Raw profile type exif\x00" + raw) + plain[33:])


@pytest.mark.parametrize("junk", [bytes(7), b"\xff\x00\x00", b"stray", b"\xff\xff\xff"])
def test_stray_bytes_between_segments_are_read_over(junk: bytes) -> None:
    data = JPEG[:2] + segment(b"Exif\x00\x00" + SIX) + junk + JPEG[2:]
    assert is_turned(data)
    first = 4 + int.from_bytes(JPEG[4:6], "big")
    upright = JPEG[:first] + junk + JPEG[first:]
    bare = to_jpeg(upright, 1000)
    assert junk not in bare[:100] or junk == b"\xff\xff\xff"
    np.testing.assert_array_equal(np.asarray(decode(bare)), np.asarray(decode(JPEG)))


def test_gray_tiff_with_associated_alpha_is_laid_over_white() -> None:
    im = Image.new("LA", (20, 10))
    im.putdata([(0, 0)] * 100 + [(64, 128)] * 50 + [(200, 255)] * 50)
    plain = encode(im, "TIFF")
    extra = struct.pack("<HHI", 338, 3, 1)
    assert plain.count(extra + b"\x02") == 1  # what follows is alpha, not multiplied in
    data = plain.replace(extra + b"\x02", extra + b"\x01")
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.mode == "La"
    shown = decode(data)
    assert shown.getpixel((0, 0)) == (255, 255, 255)
    assert shown.getpixel((0, 9)) == (200, 200, 200)
    assert abs(shown.getpixel((0, 6))[0] - 191) <= 2  # type: ignore[index]


@pytest.mark.parametrize("order", ["<", ">"])
def test_big_tiff(order: str) -> None:
    small = encode(scene(), "TIFF")
    assert small[:2] == b"II"
    for data in (encode(scene(), "TIFF", big_tiff=True), big_tiff(order)):
        assert data[2:4].strip(b"\x00") == b"+"
        np.testing.assert_array_equal(np.asarray(decode(data)), np.asarray(scene()))


def big_tiff(order: str) -> bytes:
    """One strip, its tags of 64 bits wherever they can be."""
    pixels = scene().tobytes()
    tags = [(256, 96), (257, 64), (259, 1), (262, 2), (273, 16), (277, 3), (278, 64), (279, len(pixels))]
    entries = [struct.pack(order + "HHQQ", tag, 16, 1, value) for tag, value in tags]
    entries.insert(2, struct.pack(order + "HHQHHHH", 258, 3, 3, 8, 8, 8, 0))
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HHHQ", 43, 8, 0, 16 + len(pixels))
    return head + pixels + struct.pack(order + "Q", len(entries)) + b"".join(entries) + bytes(8)


def derived(kind: bytes, body: bytes) -> bytes:
    """A HEIC whose primary item is made of another."""
    tile = samples()["heic"]
    at = tile.index(b"hvcC") - 4
    config = tile[at : at + int.from_bytes(tile[at : at + 4], "big")]
    coded = tile[tile.index(b"mdat") + 4 :]
    head = box(b"ftyp", b"heic", bytes(4), b"mif1heicmiaf")

    def info(number: int, kind: bytes) -> bytes:
        made = full(b"infe", struct.pack(">HH4s", number, 0, kind), b"\x00")
        return made[:8] + b"\x02" + made[9:]

    def meta(offset: int) -> bytes:
        places = [(2, offset + len(body), len(coded))]
        if body:
            places.insert(0, (1, offset, len(body)))
        return full(
            b"meta",
            full(b"hdlr", bytes(4), b"pict", bytes(13)),
            full(b"pitm", struct.pack(">H", 1)),
            full(
                b"iloc",
                struct.pack(">BBH", 0x44, 0, len(places)),
                *(struct.pack(">HHHII", n, 0, 1, start, length) for n, start, length in places),
            ),
            full(b"iinf", struct.pack(">H", 2), info(1, kind), info(2, b"hvc1")),
            full(b"iref", box(b"dimg", struct.pack(">HHH", 1, 1, 2))),
            box(
                b"iprp",
                box(b"ipco", config, full(b"ispe", struct.pack(">II", 96, 64)), full(b"pixi", bytes([3, 8, 8, 8]))),
                full(
                    b"ipma",
                    struct.pack(">I", 2),
                    struct.pack(">HBBB", 1, 2, 2, 3),
                    struct.pack(">HBBBB", 2, 3, 0x81, 2, 3),
                ),
            ),
        )

    return head + meta(len(head) + len(meta(0)) + 8) + box(b"mdat", body, coded)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (b"iden", b""),
        (b"iovl", struct.pack(">BBHHHHHHhh", 0, 0, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, 96, 64, 0, 0)),
    ],
)
def test_a_heic_made_of_another_picture(kind: bytes, body: bytes) -> None:
    found = corners(decode(derived(kind, body)))
    for color, expected in zip(found, corners(scene()), strict=True):
        assert max(abs(a - b) for a, b in zip(color, expected, strict=True)) < 12


def test_a_sequence_without_a_still_picture_is_not_called_cut() -> None:
    data = box(b"ftyp", b"hevc", bytes(4), b"msf1hevcheic") + box(b"moov", bytes(64)) + box(b"mdat", bytes(64))
    with pytest.raises(ImageError, match="a sequence without a still picture") as caught:
        decode(data)
    assert caught.value.reason == "unsupported-pixels"


def sequence(*, turned: bool = False, handler: bytes = b"pict", entry: bytes = b"hvc1") -> bytes:
    """The sample HEIC as the first picture of a sequence, which has no items at all."""
    tile = samples()["heic"]
    at = tile.index(b"hvcC") - 4
    config = tile[at : at + int.from_bytes(tile[at : at + 4], "big")]
    coded = tile[tile.index(b"mdat") + 4 :]
    head = box(b"ftyp", b"hevc", bytes(4), b"msf1hevcheic")
    matrix = (0, 1, 0, -1, 0, 0, 0, 0, 1) if turned else (1, 0, 0, 0, 1, 0, 0, 0, 1)

    def moov(offset: int) -> bytes:
        described = box(entry, bytes(24), struct.pack(">HH", 96, 64), bytes(50), config)
        table = box(
            b"stbl",
            full(b"stsd", struct.pack(">I", 1), described),
            full(b"stsz", struct.pack(">III", 0, 2, len(coded)), struct.pack(">I", 1)),
            full(b"stco", struct.pack(">II", 1, offset)),
        )
        media = box(b"mdia", full(b"hdlr", bytes(4), handler, bytes(13)), box(b"minf", table))
        shown = full(b"tkhd", bytes(36), struct.pack(">9i", *(value << 16 for value in matrix)), bytes(8))
        return box(b"moov", full(b"mvhd", bytes(96)), box(b"trak", shown, media))

    return head + moov(len(head) + len(moov(0)) + 8) + box(b"mdat", coded)


def test_the_first_picture_of_a_sequence() -> None:
    still = decode(samples()["heic"])
    np.testing.assert_array_equal(np.asarray(decode(sequence())), np.asarray(still))
    turned = np.rot90(np.asarray(still), -1)
    np.testing.assert_array_equal(np.asarray(decode(sequence(turned=True))), turned)


def test_the_first_picture_of_an_avif_sequence() -> None:
    file = io.BytesIO()
    frames = [Image.new("RGB", (64, 48), color) for color in ("red", "blue")]
    frames[0].save(file, "AVIF", save_all=True, append_images=frames[1:])
    data = file.getvalue()
    assert data[8:12] == b"avis"
    assert decode(data.replace(b"meta", b"free", 1)).getpixel((9, 9)) == decode(data).getpixel((9, 9))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda: sequence(handler=b"soun"), "unsupported-pixels"),
        (lambda: sequence(entry=b"mp4v"), "unsupported-pixels"),
        (lambda: sequence()[:-40], "truncated"),
        (lambda: sequence().replace(b"stsz", b"xxxx"), "truncated"),
        (lambda: sequence().replace(b"hvcC", b"xxxx"), "unsupported-pixels"),
    ],
)
def test_sequences_that_cannot_be_read(damage: Callable[[], bytes], reason: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode(damage())
    assert caught.value.reason == reason

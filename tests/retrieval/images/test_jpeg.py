"""`to_jpeg`: what a dataset keeps of a picture."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from retrieval.errors import ImageError
from retrieval.images.pictures import decode, to_jpeg
from tests.pictures import corners, encode, exif, samples, scene


def opened(data: bytes) -> Image.Image:
    im = Image.open(io.BytesIO(data))
    im.load()
    return im


def segments(data: bytes) -> list[tuple[int, bytes]]:
    found, at = [], 2
    while data[at + 1] != 0xDA:
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        found.append((data[at + 1], data[at + 4 : at + 2 + length]))
        at += 2 + length
    return found


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def with_segments(data: bytes, *extra: bytes) -> bytes:
    return data[:2] + b"".join(extra) + data[2:]


@pytest.mark.parametrize("name", sorted(samples()))
def test_every_format_becomes_an_rgb_jpeg_that_shows_the_same(name: str) -> None:
    data = to_jpeg(samples()[name], 1024)
    im = opened(data)
    assert (im.format, im.mode) == ("JPEG", "RGB")
    shown = decode(samples()[name])
    assert im.size == shown.size
    difference = np.abs(np.asarray(im, int) - np.asarray(shown, int))
    assert difference.mean() < 4
    assert {marker for marker, _ in segments(data) if 0xE0 <= marker <= 0xEF or marker == 0xFE} <= {0xE0, 0xEE}


def private() -> bytes:
    im = scene(400, 300)
    block = Image.Exif()
    block[0x0112] = 1
    block[0x010F] = "SECRET camera"
    data = encode(im, "JPEG", quality=80, exif=block.tobytes(), comment=b"SECRET", icc_profile=b"SECRET profile")
    xmp = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\x00SECRET")
    photoshop = segment(0xED, b"Photoshop 3.0\x00SECRET")
    thumbnail = segment(0xE0, b"JFXX\x00\x10SECRET")
    return with_segments(data, xmp, photoshop, thumbnail) + b"SECRET trailer"


def test_metadata_go_and_the_coded_pixels_stay() -> None:
    data = private()
    bare = to_jpeg(data, 1024)
    assert data.count(b"SECRET") == 7
    assert b"SECRET" not in bare
    assert np.array_equal(np.asarray(opened(bare)), np.asarray(opened(data)))
    assert data[data.index(b"\xff\xda") : data.rindex(b"\xff\xd9") + 2] in bare
    assert to_jpeg(bare, 1024) == bare


@pytest.mark.parametrize(
    "options",
    [
        {"progressive": True},
        {"quality": 95, "subsampling": 0, "optimize": True},
        {"restart_marker_rows": 1},
        {"progressive": True, "restart_marker_blocks": 3},
        {"keep_rgb": True},
    ],
    ids=str,
)
def test_every_coding_keeps_its_pixels(options: dict[str, object]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 130, 3), dtype=np.uint8)
    im = Image.fromarray(noise).resize((260, 180))
    data = encode(im, "JPEG", **options, exif=exif(1), comment=b"SECRET")
    bare = to_jpeg(data, 260)
    assert b"SECRET" not in bare
    assert np.array_equal(np.asarray(opened(bare)), np.asarray(opened(data)))


def test_fill_bytes_between_segments_are_read_over() -> None:
    data = encode(scene(), "JPEG")
    padded = data[:2] + b"\xff\xff\xff" + data[2:-2] + b"\xff\xff" + data[-2:]
    assert np.array_equal(np.asarray(opened(to_jpeg(padded, 99))), np.asarray(opened(data)))


def test_a_thumbnail_in_jfif_goes() -> None:
    data = encode(scene(), "JPEG")
    length = int.from_bytes(data[4:6], "big")
    jfif = segment(0xE0, data[6:18] + bytes([2, 2]) + b"SECRETSECRET")
    assert data[2:4] == b"\xff\xe0"
    bare = to_jpeg(data[:2] + jfif + data[4 + length :], 1024)
    assert b"SECRET" not in bare
    assert corners(opened(bare)) == corners(opened(data))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_applied_and_forgotten(orientation: int) -> None:
    data = to_jpeg(encode(scene(), "JPEG", quality=95, exif=exif(orientation)), 1024)
    shown = decode(encode(scene(), "JPEG", quality=95, exif=exif(orientation)))
    im = opened(data)
    assert "exif" not in im.info
    assert im.size == shown.size
    assert np.abs(np.array(corners(im), int) - np.array(corners(shown), int)).max() <= 6


@pytest.mark.parametrize(("size", "limit", "expected"), [((900, 300), 300, (300, 100)), ((300, 900), 301, (100, 301))])
def test_the_longer_side_is_limited(size: tuple[int, int], limit: int, expected: tuple[int, int]) -> None:
    assert opened(to_jpeg(encode(scene(*size), "JPEG"), limit)).size == expected
    assert opened(to_jpeg(encode(scene(*size), "PNG"), limit)).size == expected


def test_nothing_is_enlarged() -> None:
    for data in (encode(scene(40, 30), "JPEG"), encode(scene(40, 30), "PNG")):
        assert opened(to_jpeg(data, 4000)).size == (40, 30)


def test_comments_of_other_formats_are_not_carried_over() -> None:
    data = encode(scene(), "GIF", comment=b"SECRET")
    assert b"SECRET" in data
    assert b"SECRET" not in to_jpeg(data, 1024)
    turned = encode(scene(), "JPEG", exif=exif(6), comment=b"SECRET")
    assert b"SECRET" not in to_jpeg(turned, 1024)


def test_cmyk_is_converted() -> None:
    im = opened(to_jpeg(samples()["jpeg-cmyk"], 1024))
    assert im.mode == "RGB"
    assert np.abs(np.array(corners(im), int) - np.array(corners(scene()), int)).max() < 60


def test_a_small_jpeg_that_is_cut_is_refused() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8))
    data = encode(noise, "JPEG")
    with pytest.raises(ImageError) as caught:
        to_jpeg(data[: len(data) // 2], 1024)
    assert caught.value.reason == "truncated"

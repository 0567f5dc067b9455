"""Every format comes out as the same upright RGB pixels, and `prepare` places them as it promises."""

from __future__ import annotations

import hashlib
import io
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageOps

from retrieval.errors import ImageError
from retrieval.images.pictures import content_hash, decode, prepare, prepare_decoded, thumbnail
from retrieval.images.preprocessing import Fit, Preprocessing, Resample
from retrieval.images.views import placement
from tests.pictures import (
    BLUE,
    DATA,
    GREEN,
    RED,
    YELLOW,
    box,
    corners,
    deep_gray,
    encode,
    exif,
    png,
    samples,
    scene,
    tiff,
)

COLORS = [RED, GREEN, BLUE, YELLOW]
GRAYS = [(round(0.299 * r + 0.587 * g + 0.114 * b),) * 3 for r, g, b in COLORS]
WHITE = (255, 255, 255)


def near(found: list[tuple[int, ...]], wanted: list[tuple[int, ...]], tolerance: int) -> None:
    assert np.abs(np.array(found) - np.array(wanted)).max() <= tolerance, (found, wanted)


@pytest.mark.parametrize(
    "name",
    [
        n
        for n in samples()
        if n not in {"jpeg-exif", "heic-transparent", "png-bits"} and "gray" not in n and "alpha" not in n
    ],
)
def test_every_format_shows_the_same_scene(name: str) -> None:
    im = decode(samples()[name])
    assert (im.mode, im.size) == ("RGB", (96, 64))
    near(corners(im), COLORS, 6)


@pytest.mark.parametrize("name", ["jpeg-gray", "png-gray-alpha"])
def test_gray_pictures_become_rgb(name: str) -> None:
    im = decode(samples()[name])
    assert im.mode == "RGB"
    near(corners(im), GRAYS, 3)


@pytest.mark.parametrize("name", ["gif-animated", "webp-animated", "png-animated", "avif-sequence"])
def test_only_the_first_frame_counts(name: str) -> None:
    near(corners(decode(samples()[name])), COLORS, 6)


def test_one_bit_pictures_are_black_and_white() -> None:
    found = np.asarray(decode(samples()["png-bits"]))
    assert set(np.unique(found)) == {0, 255}


@pytest.mark.parametrize("name", ["png-gray-16", "tiff-gray-16"])
def test_deep_gray_is_scaled_not_clipped(name: str) -> None:
    found = np.asarray(decode(samples()[name]))
    np.testing.assert_array_equal(found, np.repeat((deep_gray() >> 8)[..., None], 3, axis=2))


@pytest.mark.parametrize("order", ["<", ">"])
def test_deep_color_is_scaled_not_clipped(order: str) -> None:
    values = np.linspace(0, 65535, 16 * 12 * 3).astype(np.uint16).reshape(12, 16, 3)
    raw = values.astype(f"{order}u2").tobytes()
    extra: dict[int, Any] = {258: ("H", (16, 16, 16)), 262: ("H", (2,)), 277: ("H", (3,))}
    found = np.asarray(decode(tiff(16, 12, order=order, pixels=raw, extra=extra)))
    np.testing.assert_array_equal(found, values >> 8)


def test_deep_color_png_is_scaled() -> None:
    values = np.linspace(0, 65535, 16 * 12 * 3).astype(">u2").reshape(12, 16 * 3)
    body = b"".join(b"\x00" + row.tobytes() for row in values)
    found = np.asarray(decode(png(16, 12, 2, 16, body)))
    np.testing.assert_array_equal(found, values.reshape(12, 16, 3) >> 8)


def test_planar_and_tiled_tiff() -> None:
    planes = np.stack([np.full((16, 16), v, np.uint8) for v in RED])
    extra: dict[int, Any] = {
        258: ("H", (8, 8, 8)),
        262: ("H", (2,)),
        273: ("I", (8, 8 + 256, 8 + 512)),
        277: ("H", (3,)),
        279: ("I", (256, 256, 256)),
        284: ("H", (2,)),
    }
    im = decode(tiff(16, 16, pixels=planes.tobytes(), extra=extra))
    assert im.getpixel((8, 8)) == RED


@pytest.mark.parametrize("alpha", [0, 128, 255])
@pytest.mark.parametrize("format_", ["PNG", "TIFF", "WEBP"])
def test_transparency_is_laid_over_white(format_: str, alpha: int) -> None:
    clear = Image.new("RGBA", (32, 32), (*RED, alpha))
    options = {"lossless": True, "exact": True} if format_ == "WEBP" else {}
    wanted = [round(c * alpha / 255 + 255 * (1 - alpha / 255)) for c in RED]
    found = decode(encode(clear, format_, **options)).getpixel((16, 16))
    assert np.abs(np.array(found) - wanted).max() <= 1


def test_transparent_heic_is_laid_over_white() -> None:
    near(corners(decode(samples()["heic-transparent"])), [WHITE, GREEN, BLUE, YELLOW], 6)


@pytest.mark.parametrize(
    ("color", "depth", "key", "pixel", "shown"),
    [
        (0, 8, b"\x00\x07", b"\x07", WHITE),
        (0, 8, b"\x00\x07", b"\x08", (8, 8, 8)),
        (0, 16, b"\x07\x01", b"\x07\x01", WHITE),
        (0, 16, b"\x07\x01", b"\x09\x01", (9, 9, 9)),
        (2, 8, b"\x00\x01\x00\x02\x00\x03", b"\x01\x02\x03", WHITE),
        (2, 16, b"\x01\x01\x02\x02\x03\x03", b"\x01\x01\x02\x02\x03\x03", WHITE),
        (2, 16, b"\x01\x01\x02\x02\x03\x03", b"\x09\x01\x02\x02\x03\x03", (9, 2, 3)),
    ],
)
def test_a_transparent_color_is_white(color: int, depth: int, key: bytes, pixel: bytes, shown: tuple[int, ...]) -> None:
    body = (b"\x00" + pixel * 16) * 16
    assert decode(png(16, 16, color, depth, body, (b"tRNS", key))).getpixel((3, 3)) == shown


def test_a_transparent_palette_entry_is_white() -> None:
    body = (b"\x00" + b"\x00" * 8 + b"\x01" * 8) * 16
    data = png(16, 16, 3, 8, body, (b"PLTE", bytes([*RED, *BLUE])), (b"tRNS", b"\x00\xff"))
    im = decode(data)
    assert [im.getpixel((x, 5)) for x in (3, 12)] == [WHITE, BLUE]


def test_a_gif_frame_smaller_than_its_canvas() -> None:
    small = Image.new("P", (10, 10), 1)
    small.putpalette([255, 255, 255, *RED])
    data = bytearray(encode(small, "GIF", transparency=0))
    data[6:10] = struct.pack("<HH", 20, 12)
    im = decode(bytes(data))
    assert im.size == (20, 12)
    assert im.getpixel((5, 5)) == RED


def test_adobe_cmyk_is_not_negative() -> None:
    near(corners(decode(samples()["jpeg-cmyk"])), COLORS, 6)
    near(corners(decode(samples()["tiff-cmyk"])), COLORS, 1)


# --- orientation ---------------------------------------------------------------------------------


def oriented(format_: str, orientation: int, size: tuple[int, int] = (96, 64)) -> bytes:
    im = scene(*size)
    if format_ == "TIFF":
        return encode(im, format_, tiffinfo={274: orientation})
    options = {"quality": 95} if format_ in ("JPEG", "WEBP", "AVIF") else {}
    return encode(im, format_, exif=exif(orientation), **options)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_exif_orientation_is_applied(format_: str, orientation: int) -> None:
    tagged = scene()
    tagged.getexif()[0x0112] = orientation
    wanted = ImageOps.exif_transpose(tagged)
    im = decode(oriented(format_, orientation))
    assert im.size == wanted.size
    near(corners(im), corners(wanted), 8)


def test_heic_rotation_is_applied_once() -> None:
    im = decode((DATA / "turned.heic").read_bytes())
    assert im.size == (64, 96)
    near(corners(im), [BLUE, RED, YELLOW, GREEN], 6)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("fit", ["squash", "pad", "crop"])
@pytest.mark.parametrize("size", [(800, 600), (600, 800), (100, 80)])
def test_prepare_turns_draft_pictures_and_oblong_inputs_right(
    size: tuple[int, int], fit: Fit, orientation: int
) -> None:
    pre = Preprocessing(height=40, width=72, fit=fit)
    found = prepare(oriented("JPEG", orientation, size), pre)
    plain = decode(oriented("JPEG", orientation, size))
    wanted = prepare(encode(plain, "PNG"), pre)
    assert found.shape == (40, 72, 3)
    assert np.abs(found.astype(int) - wanted).mean() < 2.0


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"Exif",
        b"II*\x00",
        b"II*\x00\xff\xff\xff\xff" + bytes(20),
        b"MM\x00*\x00\x00\x00\x08\xff\xff" + bytes(20),
        b"II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x09\x00\x00\x00",
        b"XX*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00",
        bytes(range(256)) * 4,
    ],
)
def test_broken_exif_leaves_the_picture_as_stored(block: bytes) -> None:
    segment = b"Exif\x00\x00" + block
    data = samples()["jpeg"]
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]
    assert decode(data).size == (96, 64)


# --- prepare -------------------------------------------------------------------------------------


def test_prepare_pads_with_white_and_centers() -> None:
    found = prepare(samples()["png"], Preprocessing(height=96, width=96, fit="pad"))
    assert (found[:16] == 255).all()
    assert (found[-16:] == 255).all()
    assert tuple(found[20, 5]) == RED
    assert tuple(found[75, 90]) == YELLOW


def test_prepare_crops_the_center() -> None:
    found = prepare(samples()["png"], Preprocessing(height=32, width=32, fit="crop", crop_fraction=0.5))
    assert [tuple(found[y, x]) for y, x in ((2, 2), (2, 29), (29, 2), (29, 29))] == COLORS
    rounded = prepare(encode(scene(3532, 2033), "PNG"), Preprocessing(height=393, width=459, fit="crop"))
    assert [tuple(rounded[y, x]) for y, x in ((2, 2), (2, 450), (390, 2), (390, 450))] == COLORS
    edge = Image.new("RGB", (100, 60), WHITE)
    edge.paste(RED, (20, 0, 80, 60))
    cropped = prepare(encode(edge, "PNG"), Preprocessing(height=30, width=30, fit="crop"))
    assert (cropped[:, 1:-1] == np.array(RED)).all()


def test_prepare_squashes() -> None:
    found = prepare(samples()["png"], Preprocessing(height=10, width=50, fit="squash"))
    assert [tuple(found[y, x]) for y, x in ((1, 1), (1, 48), (8, 1), (8, 48))] == COLORS


@pytest.mark.parametrize("resample", ["bilinear", "bicubic", "lanczos", "area"])
def test_draft_mode_stays_near_the_full_decode(resample: Resample) -> None:
    y, x = np.mgrid[0:900, 0:1200]
    waves = 127 + 60 * np.sin(x / 40) + 60 * np.cos(y / 30)
    data = encode(Image.fromarray(waves.astype(np.uint8)).convert("RGB"), "JPEG", quality=92)
    pre = Preprocessing(height=96, width=96, fit="squash", resample=resample)
    full = prepare(encode(decode(data), "PNG"), pre)
    found = prepare(data, pre)
    assert 0 < np.abs(found.astype(int) - full).mean() < 1.5


def test_decode_may_shrink_a_jpeg_but_never_below_the_target() -> None:
    data = encode(scene(1000, 600), "JPEG", exif=exif(6))
    assert decode(data).size == (600, 1000)
    assert decode(data, target=(100, 200)).size == (150, 250)
    assert decode(data, target=(100, 300)).size == (300, 500)
    assert decode(data, target=(600, 1000)).size == (600, 1000)
    assert decode(data, target=(9000, 9000)).size == (600, 1000)


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(8, 400),
    height=st.integers(8, 400),
    orientation=st.integers(1, 8),
    fit=st.sampled_from(["squash", "pad", "crop"]),
    to=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    fraction=st.floats(0.05, 1.0),
)
def test_prepare_gives_the_asked_shape_of_any_picture(
    width: int, height: int, orientation: int, fit: Fit, to: tuple[int, int], fraction: float
) -> None:
    data = encode(Image.new("RGB", (width, height), RED), "JPEG", exif=exif(orientation))
    found = prepare(data, Preprocessing(height=to[0], width=to[1], fit=fit, crop_fraction=fraction))
    assert found.shape == (*to, 3)
    assert found.dtype == np.uint8
    assert found.flags.writeable
    assert (np.abs(found.astype(int) - RED).max(axis=2) <= 4).any()


@settings(max_examples=500, deadline=None)
@given(
    size=st.tuples(st.integers(1, 65_535), st.integers(1, 65_535)),
    want=st.tuples(st.integers(1, 4096), st.integers(1, 4096)),
    fit=st.sampled_from(["squash", "pad", "crop"]),
    fraction=st.floats(1e-3, 1.0),
)
@example(size=(3532, 2033), want=(459, 393), fit="crop", fraction=1.0)
def test_the_box_never_leaves_the_picture(
    size: tuple[int, int], want: tuple[int, int], fit: Fit, fraction: float
) -> None:
    pre = Preprocessing(height=want[1], width=want[0], fit=fit, crop_fraction=fraction)
    (left, top, right, bottom), to = placement(size, want, pre)
    assert 0 <= left < right <= size[0]
    assert 0 <= top < bottom <= size[1]
    assert 1 <= to[0] <= want[0]
    assert 1 <= to[1] <= want[1]


def test_a_ribbon_keeps_at_least_one_pixel() -> None:
    data = encode(Image.new("RGB", (3000, 8), RED), "PNG")
    found = prepare(data, Preprocessing(height=32, width=32))
    assert (found == 255).all(axis=(1, 2)).sum() == 31


def test_prepare_is_the_same_in_many_threads() -> None:
    pre = Preprocessing(height=48, width=48)
    names = [name for name in samples() if name != "heic"] * 4
    alone = {name: prepare(samples()[name], pre) for name in samples()}
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda name: prepare(samples()[name], pre), names))
    for name, found in zip(names, together, strict=True):
        np.testing.assert_array_equal(found, alone[name])


def test_thumbnail_is_upright_and_never_enlarged() -> None:
    data = encode(scene(1000, 600), "JPEG", exif=exif(6))
    small = thumbnail(data, 100)
    assert small.size == (60, 100)
    near(corners(small), [BLUE, RED, YELLOW, GREEN], 8)
    assert thumbnail(samples()["png"], 500).size == (96, 64)


def test_content_hash_is_sha256() -> None:
    assert content_hash(b"abc") == hashlib.sha256(b"abc").hexdigest()


# --- what phones write ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "trailer",
    [
        box(b"ftyp", b"mp42", bytes(4)) + box(b"moov", bytes(400)) + box(b"mdat", bytes(range(256)) * 40),
        b"\x00\x00\x00\x0aImage_UTC_Data1700000000000SEFH" + bytes(24) + b"SEFT",
        samples()["jpeg"],
        bytes(5000),
    ],
    ids=["motion-photo", "samsung", "mpf-preview", "zeros"],
)
def test_trailers_of_phones_are_fine(trailer: bytes) -> None:
    near(corners(decode(samples()["jpeg"] + trailer)), COLORS, 6)


def test_xmp_is_fine() -> None:
    packet = (
        b"http://ns.adobe.com/xap/1.0/\x00<?xpacket begin='\xef\xbb\xbf' id='W5M0MpCehiHzreSzNTczkc9d'?>"
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description GCamera:MotionPhoto="1"/>'
        b"</rdf:RDF></x:xmpmeta><?xpacket end='w'?>"
    )
    data = samples()["jpeg"]
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(packet) + 2) + packet + data[2:]
    assert decode(data).size == (96, 64)
    assert decode(encode(scene(), "WEBP", xmp=packet)).size == (96, 64)
    assert decode(encode(scene(), "AVIF", xmp=packet)).size == (96, 64)


def test_importing_images_and_catalog_is_light() -> None:
    code = (
        "import sys, retrieval.images.pictures, retrieval.catalog.read;"
        "print([m for m in ('PIL', 'pi_heif', 'ctypes', 'rich', 'httpx') if m in sys.modules])"
    )
    # numpy imports ctypes itself.
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert set(eval(out)) <= {"ctypes"}


@pytest.mark.parametrize("fit", ["squash", "pad", "crop"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_decoded_picture_gives_the_pixels_of_its_file(fit: Fit, orientation: int) -> None:
    rng = np.random.default_rng(orientation)
    im = Image.fromarray(rng.integers(0, 256, (60, 90, 3), dtype=np.uint8))
    tags = Image.Exif()
    tags[0x0112] = orientation
    file = io.BytesIO()
    im.save(file, "PNG", exif=tags)
    pre = Preprocessing(32, 48, fit=fit)
    whole = prepare(file.getvalue(), pre)
    opened = Image.open(io.BytesIO(file.getvalue()))
    assert np.array_equal(prepare_decoded(opened, pre), whole)
    if orientation == 1:
        assert np.array_equal(prepare_decoded(np.asarray(im), pre), whole)


def test_a_decoded_picture_stays_as_it_is() -> None:
    im = Image.new("RGBA", (40, 40), (200, 10, 10, 0))
    before = np.asarray(im).copy()
    assert (prepare_decoded(im, Preprocessing(16, 16)) == 255).all()  # transparent is white
    assert np.array_equal(np.asarray(im), before)


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (np.zeros((40, 40), np.uint8), "unsupported-pixels"),
        (np.zeros((40, 40, 4), np.uint8), "unsupported-pixels"),
        (np.zeros((40, 40, 3), np.float32), "unsupported-pixels"),
        (np.zeros((4, 40, 3), np.uint8), "too-small"),
        (Image.new("RGB", (4, 40)), "too-small"),
        (Image.new("F", (40, 40)), "unsupported-pixels"),
        (Image.new("L", (70_000, 8)), "too-many-pixels"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_decoded_picture_is_held_to_the_limits(picture: Image.Image | NDArray[np.uint8], reason: str) -> None:
    with pytest.raises(ImageError) as error:
        prepare_decoded(picture, Preprocessing(16, 16))
    assert error.value.reason == reason

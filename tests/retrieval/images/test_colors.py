"""Colors are those that the file means: other profiles are converted to sRGB, and sRGB ones change no bit."""

from __future__ import annotations

import io
import struct
import zlib
from functools import cache

import numpy as np
import pytest
from PIL import Image, ImageCms

from retrieval.images.formats import read_header
from retrieval.images.formats.color_profile import flawed_note, from_cicp, from_gamma, matrix_profile, noticing, usable
from retrieval.images.perceptual_hash import hamming, miniature, perceptual_hash
from retrieval.images.pictures import decode, prepare, prepare_decoded, thumbnail, to_jpeg
from retrieval.images.preprocessing import Preprocessing
from tests.pictures import encode, png_chunk, samples, scene

P3 = from_cicp(12, 13)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
PRE = Preprocessing(height=48, width=72, fit="squash")


def converted(im: Image.Image, profile: bytes, mode: str = "RGB") -> Image.Image:
    """The pixels that mean, under a profile, what ``im`` means in sRGB."""
    made = ImageCms.profileToProfile(
        im,
        ImageCms.createProfile("sRGB"),
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode=mode,
    )
    assert made is not None
    made.info = {}
    return made


@cache
def wide() -> Image.Image:
    return converted(scene(), P3)


def png_with(*chunks: tuple[bytes, bytes], im: Image.Image | None = None) -> bytes:
    plain = encode(im or wide(), "PNG")
    return plain[:33] + b"".join(png_chunk(*chunk) for chunk in chunks) + plain[33:]


def in_parts(profile: bytes, size: int) -> bytes:
    """A JPEG whose profile travels in many segments, the last one first."""
    plain = encode(wide(), "JPEG", quality=95)
    parts = [profile[at : at + size] for at in range(0, len(profile), size)]
    bodies = [b"ICC_PROFILE\x00" + bytes([n + 1, len(parts)]) + part for n, part in enumerate(parts)]
    segments = [b"\xff\xe2" + struct.pack(">H", len(body) + 2) + body for body in reversed(bodies)]
    return plain[:2] + b"".join(segments) + plain[2:]


def nclx(data: bytes, primaries: int) -> bytes:
    """An AVIF that says other primaries."""
    at = data.index(b"nclx") + 4
    return data[:at] + struct.pack(">H", primaries) + data[at + 2 :]


def heic_with(colors: bytes) -> bytes:
    """The HEIC of the samples with a color box of its own; a profile is put where there was none."""
    from tests.retrieval.images.test_as_viewers_show import derived

    data = derived(b"iden", b"")
    box = struct.pack(">I", 8 + len(colors)) + b"colr" + colors
    at = data.index(b"pixi") - 4
    pixi = data[at : at + int.from_bytes(data[at : at + 4], "big")]
    data = data.replace(pixi, box)
    grown = len(box) - len(pixi)
    for name in (b"meta", b"iprp", b"ipco"):
        start = data.index(name) - 4
        data = (
            data[:start]
            + (int.from_bytes(data[start : start + 4], "big") + grown).to_bytes(4, "big")
            + data[start + 4 :]
        )
    # The one coded item lies behind all that.
    start = data.index(b"iloc") + 12
    place = start + 6
    offset = int.from_bytes(data[place : place + 4], "big") + grown
    return data[:place] + offset.to_bytes(4, "big") + data[place + 4 :]


def carriers() -> dict[str, bytes]:
    im, profile = wide(), P3
    return {
        "jpeg": encode(im, "JPEG", quality=95, icc_profile=profile),
        "jpeg-parts": in_parts(profile, 100),
        "png-iccp": encode(im, "PNG", icc_profile=profile),
        "png-cicp": png_with((b"cICP", bytes([12, 13, 0, 1])), (b"sRGB", b"\x00")),
        "png-chrm": png_with(
            (b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)),
            (b"gAMA", struct.pack(">I", 45455)),
        ),
        "webp": encode(im, "WEBP", lossless=True, icc_profile=profile),
        "tiff": encode(im, "TIFF", icc_profile=profile),
        "tiff-big": encode(im, "TIFF", big_tiff=True, icc_profile=profile),
        "avif": encode(im, "AVIF", quality=95, icc_profile=profile),
        "avif-nclx": nclx(encode(im, "AVIF", quality=95), 12),
    }


@pytest.mark.parametrize("name", sorted(carriers()))
def test_every_way_that_a_profile_travels(name: str) -> None:
    """Each view shows what the sRGB twin of the picture shows."""
    data = carriers()[name]
    header = read_header(data)
    assert header is not None
    assert header.profile != b""
    format_ = {"png": "PNG", "webp": "WEBP", "tiff": "TIFF", "avif": "AVIF", "jpeg": "JPEG"}[name.split("-")[0]]
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95}, "AVIF": {"quality": 95}}.get(format_, {})
    twin = encode(scene(), format_, **options)
    near(prepare(data, PRE), prepare(twin, PRE))
    near(decode(data), decode(twin))
    near(thumbnail(data, 40), thumbnail(twin, 40))
    near(miniature(data), miniature(twin))
    if format_ not in ("JPEG", "AVIF"):  # whose noise decides the bits of so flat a picture
        assert hamming(perceptual_hash(data), perceptual_hash(twin)) <= 2
    with Image.open(io.BytesIO(to_jpeg(data, 1000))) as written:
        assert "icc_profile" not in written.info
        near(written, decode(twin))


def near(one: object, other: object) -> None:
    assert np.abs(np.asarray(one).astype(int) - np.asarray(other).astype(int)).mean() < 4


@pytest.mark.parametrize("colors", [b"prof" + P3, b"rICC" + P3, b"nclx" + struct.pack(">HHHB", 12, 13, 6, 0x80)])
def test_colors_of_a_heic(colors: bytes) -> None:
    header = read_header(heic_with(colors))
    assert header is not None
    assert header.profile == P3
    # The green of Display P3, shown in sRGB, is out of reach: what is red there is redder here.
    plain, shown = decode(samples()["heic"]).getpixel((24, 16)), decode(heic_with(colors)).getpixel((24, 16))
    assert shown[0] > plain[0]  # type: ignore[index]
    assert shown[1] < plain[1]  # type: ignore[index]


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_srgb_changes_no_bit(format_: str) -> None:
    plain, tagged = encode(scene(), format_), encode(scene(), format_, icc_profile=SRGB)
    header = read_header(tagged)
    assert header is not None
    assert header.profile == b""
    np.testing.assert_array_equal(prepare(plain, PRE), prepare(tagged, PRE))
    np.testing.assert_array_equal(np.asarray(decode(plain)), np.asarray(decode(tagged)))


def test_what_counts_as_srgb() -> None:
    primaries = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), (0.3127, 0.3290))
    assert usable(SRGB) == b""
    assert usable(matrix_profile(primaries, None)) == b""
    assert usable(matrix_profile(primaries, 1.8)) != b""
    assert usable(P3) == P3
    assert from_cicp(1, 13) == from_cicp(2, 2) == from_cicp(1, 1) == b""
    assert from_cicp(9, 16) == b""  # PQ needs tone mapping
    assert from_cicp(9, 14) != b""
    assert from_gamma(0.45455, None) == b""
    assert from_gamma(1.0, None) != b""
    assert from_gamma(0.45455, ((0, 0), (0, 0), (0, 0), (0, 0))) == b""


def test_a_linear_png() -> None:
    data = png_with((b"gAMA", struct.pack(">I", 100_000)), im=Image.new("RGB", (32, 32), (55, 55, 55)))
    assert abs(decode(data).getpixel((5, 5))[0] - 128) <= 1  # type: ignore[index]


@pytest.mark.parametrize(
    "profile", [b"x", bytes(500), P3[:200], P3[:128] + b"\xff" * 400, P3[:132] + bytes(len(P3) - 132), SRGB[:400]]
)
def test_damaged_profiles_are_ignored(profile: bytes) -> None:
    plain = encode(scene(), "PNG")
    for format_ in ("PNG", "JPEG", "WEBP", "TIFF"):
        tagged = encode(scene(), format_, icc_profile=profile)
        untagged = encode(scene(), format_)
        np.testing.assert_array_equal(np.asarray(decode(tagged)), np.asarray(decode(untagged)))
    np.testing.assert_array_equal(
        np.asarray(decode(png_with((b"iCCP", b"p\x00\x00no"), im=scene()))), np.asarray(decode(plain))
    )


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_damaged_profiles_are_noticed(format_: str) -> None:
    for profile, noticed in ((P3, False), (SRGB, False), (b"x" * 500, True), (P3[:132] + bytes(len(P3) - 132), True)):
        data = encode(scene(), format_, icc_profile=profile)
        with noticing() as flaws:
            decode(data)
        assert bool(flaws) is noticed
    with noticing() as flaws:
        decode(encode(scene(), format_))
    assert flaws == []
    assert flawed_note(["b.jpg", "a.jpg"]) == (
        "Color profiles that are damaged and were ignored: 2 pictures (first: a.jpg)"
    )


def test_parts_that_are_missing_are_no_profile() -> None:
    plain = encode(wide(), "JPEG", quality=95)
    body = b"ICC_PROFILE\x00\x01\x02" + P3
    data = plain[:2] + b"\xff\xe2" + struct.pack(">H", len(body) + 2) + body + plain[2:]
    np.testing.assert_array_equal(np.asarray(decode(data)), np.asarray(decode(plain)))


def test_a_profile_that_unpacks_to_gigabytes_is_not_unpacked() -> None:
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    data = png_with((b"iCCP", b"p\x00\x00" + bomb), im=scene())
    np.testing.assert_array_equal(np.asarray(decode(data)), np.asarray(scene()))


def test_a_gray_picture_may_carry_a_profile_for_color() -> None:
    gray = scene().convert("L")
    np.testing.assert_array_equal(
        np.asarray(decode(encode(gray, "PNG", icc_profile=P3))), np.asarray(decode(encode(gray, "PNG")))
    )


def test_a_decoded_picture_with_a_profile() -> None:
    with Image.open(io.BytesIO(carriers()["png-iccp"])) as im:
        im.load()
        found = prepare_decoded(im, PRE)
    np.testing.assert_array_equal(found, prepare(carriers()["png-iccp"], PRE))


def test_orientation_and_reduction_together_with_a_profile() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    large = scene(1600, 1200)
    data = encode(converted(large, P3), "JPEG", quality=95, icc_profile=P3, exif=exif.tobytes())
    twin = encode(large, "JPEG", quality=95, exif=exif.tobytes())
    for pre in (PRE, Preprocessing(60, 60, fit="pad"), Preprocessing(60, 60, fit="crop")):
        assert np.abs(prepare(data, pre).astype(int) - prepare(twin, pre)).mean() < 2
    padded = prepare(data, Preprocessing(60, 60, fit="pad"))
    assert (padded[:, 0] == 255).all()

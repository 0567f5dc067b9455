"""Bad files are refused, each for its own reason, without allocating what they ask for."""

from __future__ import annotations

import json
import pickle
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from retrieval.errors import ImageError
from retrieval.images import views
from retrieval.images.pictures import Limits, decode, prepare, read_file, thumbnail
from retrieval.images.preprocessing import Preprocessing
from tests.hostile import bombs, grid, inflated, make_hostile_folder, polyglots, reason, refusal, strangers
from tests.pictures import box, encode, exif, full, png, png_chunk, samples, scene, tiff


def test_a_hostile_folder(tmp_path: Path) -> None:
    root = tmp_path / "h"
    for path, expected in make_hostile_folder(root).items():
        found = refusal(lambda path=path: prepare(read_file(path, root=root), Preprocessing(32, 32)))
        assert found == expected, path


@pytest.mark.parametrize("name", bombs())
def test_bombs(name: str) -> None:
    assert reason(bombs()[name]) == "too-many-pixels"


_LIMITED = """
import pickle, resource, sys
from pathlib import Path
from retrieval.errors import ImageError
from retrieval.images.pictures import decode

bombs, inflated, good = pickle.loads(Path(sys.argv[1]).read_bytes())
for data in good:  # import and start everything that decoding needs
    decode(data)

def peak():  # not by getrusage, which may tell the peak of the process that started this one
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024

used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
limit = used + 48 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    bytearray(64 * 2**20)
    sys.exit("the limit does not hold")
except MemoryError:
    pass
before, report = peak(), {}
for name, data in (bombs | inflated).items():
    try:
        report[name] = decode(data).mode
    except ImageError as error:
        report[name] = error.reason
import json
print(json.dumps({"report": report, "grown": peak() - before}))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux to measure its own memory")
def test_no_bomb_of_any_format_allocates(tmp_path: Path) -> None:
    everything = tmp_path / "bombs.pickle"
    everything.write_bytes(pickle.dumps((bombs(), inflated(), list(samples().values()))))
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(everything)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert {name: result["report"][name] for name in bombs()} == dict.fromkeys(bombs(), "too-many-pixels")
    assert {name: result["report"][name] for name in inflated()} == dict.fromkeys(inflated(), "RGB")
    assert result["grown"] < 16 * 2**20


def test_no_memory_is_a_reason_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(views, "flatten", fail)
    assert reason(samples()["png"]) == "out-of-memory"


@pytest.mark.parametrize("error", [RecursionError, OverflowError, SyntaxError, struct.error, EOFError, KeyError])
def test_any_error_of_a_decoder_is_mapped(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error("with \x1b[31mcolor\nand lines")

    monkeypatch.setattr(views, "flatten", fail)
    for call in (lambda d: decode(d), lambda d: thumbnail(d, 50), lambda d: prepare(d, Preprocessing(8, 8))):
        with pytest.raises(ImageError) as caught:
            call(samples()["png"])
        assert caught.value.reason in {"damaged", "truncated"}
        assert caught.value.message.isprintable()
        assert isinstance(caught.value.__cause__, error)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Memory allocation error: Security limit exceeded: the image is too large", "too-many-pixels"),
        ("Memory allocation error: Unspecified", "out-of-memory"),
        ("Invalid input: Security limit exceeded: Number of tiles exceeds the maximum", "too-many-pixels"),
    ],
)
def test_limits_of_a_decoder_are_no_damage(text: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError(text)

    monkeypatch.setattr(views, "flatten", fail)
    assert reason(samples()["png"]) == expected


def test_pillows_own_cap_stays_untouched_and_unused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host program's setting neither weakens our cap nor warns about what ours lets in."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4_000)
    for name, data in samples().items():
        assert reason(data) is None, name
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert reason(bombs()["png"]) == "too-many-pixels"
    assert Image.MAX_IMAGE_PIXELS is None


def test_sequential_jpegs_have_a_cap_of_their_own() -> None:
    """They are reduced while they are decoded; a progressive one is held whole."""
    limits = Limits(max_pixels=96 * 64 - 1, max_streamed_pixels=96 * 64)
    for name, expected in (("jpeg", None), ("jpeg-progressive", "too-many-pixels"), ("png", "too-many-pixels")):
        assert refusal(lambda name=name: decode(samples()[name], limits=limits)) == expected
    limits = Limits(max_streamed_pixels=96 * 64 - 1)
    assert refusal(lambda: decode(samples()["jpeg"], limits=limits)) == "too-many-pixels"


def test_limits_are_per_call() -> None:
    data = samples()["png"]
    for limits, expected in (
        (Limits(max_pixels=96 * 64), None),
        (Limits(max_pixels=96 * 64 - 1), "too-many-pixels"),
        (Limits(max_side=95), "too-many-pixels"),
        (Limits(min_side=64), None),
        (Limits(min_side=65), "too-small"),
    ):
        assert refusal(lambda limits=limits: decode(data, limits=limits)) == expected, limits


# --- cut files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", samples())
def test_a_cut_file_is_refused_wherever_it_is_cut(name: str) -> None:
    data = samples()[name]
    # The last row of a BMP is padded to four bytes that hold no pixel.
    complete = len(data) - (3 if name.startswith("bmp") else 0)
    for length in {*range(0, complete, max(1, complete // 150)), complete // 2, complete - 1, complete - 2}:
        found = reason(data[:length])
        assert found in {"empty", "unknown-format", "truncated", "damaged"}, (length, complete)
        assert found == "truncated" or length < 40 or name.startswith(("bmp", "tiff")), (length, found)


def test_a_progressive_jpeg_cut_between_scans_is_refused() -> None:
    data = encode(scene(400, 300), "JPEG", progressive=True)
    scans = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xda"]
    assert len(scans) > 3
    for at in scans:
        assert reason(data[:at]) == "truncated"


def test_a_thumbnails_end_marker_does_not_complete_a_cut_jpeg() -> None:
    preview = samples()["jpeg"]
    segment = exif(1) + preview
    data = encode(scene(500, 400), "JPEG")
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]
    assert reason(data) is None
    assert reason(data[: len(data) - 300]) == "truncated"


# --- formats -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", strangers())
def test_other_formats_are_refused_whatever_their_name(name: str) -> None:
    assert reason(strangers()[name]) == "unknown-format"


def test_every_pillow_format_off_the_list_is_refused() -> None:
    Image.init()
    listed = {"JPEG", "MPO", "PNG", "GIF", "WEBP", "AVIF", "TIFF", "BMP"}
    tried = 0
    for format_ in sorted(set(Image.SAVE) - listed):
        for mode in ("RGB", "L", "P", "1"):
            try:
                data = encode(scene(64, 64).convert(mode), format_)
            except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError):
                continue
            tried += 1
            # A DIB is a BMP without its file header, a PDF carries a JPEG: neither is a picture file.
            assert reason(data) == "unknown-format", format_
    assert tried > 15


@pytest.mark.parametrize("mode", ["F", "I"])
def test_pixels_that_are_no_picture_are_refused(mode: str) -> None:
    assert reason(encode(scene().convert(mode), "TIFF")) == "unsupported-pixels"


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_lzma", "zstd"])
def test_rare_tiff_compressions_are_refused(compression: str) -> None:
    data = encode(scene().convert("1"), "TIFF", compression=compression.removeprefix("tiff_"))
    assert reason(data) == "unsupported-pixels"


def test_run_length_bmp_is_refused() -> None:
    data = samples()["bmp-palette"]
    assert reason(data[:30] + struct.pack("<I", 1) + data[34:]) == "unsupported-pixels"


def test_a_heif_of_another_codec_is_refused() -> None:
    data = samples()["heic"].replace(b"hvc1", b"jpeg")
    assert reason(data) == "unsupported-pixels"


# --- costs that are not pixels -------------------------------------------------------------------


def test_a_jpeg_of_a_thousand_scans_is_refused() -> None:
    data = encode(scene(64, 64), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    scan = data[last:-2]
    assert reason(data[:-2] + scan * 5 + b"\xff\xd9") is None
    assert reason(data[:-2] + scan * 1000 + b"\xff\xd9") == "damaged"


def test_a_sequential_jpeg_repeats_no_scan() -> None:
    data = samples()["jpeg"]
    scan = data[data.rindex(b"\xff\xda") : -2]
    assert reason(data[:-2] + scan * 1000 + b"\xff\xd9") == "damaged"


def test_scan_markers_in_a_trailer_are_not_scans() -> None:
    assert reason(samples()["jpeg-progressive"] + b"\xff\xda" * 1000) is None


@pytest.mark.parametrize(
    "make",
    [
        lambda: png(32, 32, 2, 8, bytes(97 * 32), *[(b"tEXt", b"")] * 250_000),
        lambda: samples()["gif"][:-1] + b"!\xfe\x00" * 250_000 + b";",
        lambda: samples()["gif"][:-1] + b"!\xfe" + b"\x01a" * 2_500_000 + b"\x00;",
        lambda: samples()["jpeg"][:2] + b"\xff\xfe\x00\x02" * 250_000 + samples()["jpeg"][2:],
        lambda: samples()["avif"] + box(b"free") * 250_000,
        lambda: _many_extents(),
        lambda: _riff(samples()["webp"], b"JUNK\0\0\0\0" * 250_000),
        lambda: tiff(64, 64, extra={273: ("I", (8,) * 250_000)}),
    ],
    ids=["png", "gif-comments", "gif-blocks", "jpeg", "avif", "avif-extents", "webp", "tiff"],
)
def test_a_file_of_countless_parts_is_refused(make: Callable[[], bytes]) -> None:
    assert reason(make()) == "damaged"


def _many_extents() -> bytes:
    """Locations whose fields take no bytes: a few of them count to billions."""
    data = samples()["avif"]
    at = data.index(b"iloc")
    places = full(b"iloc", struct.pack(">BBH", 0, 0, 9000), struct.pack(">HHH", 1, 0, 65_535) * 9000)
    start = data.index(b"meta") - 4
    size = int.from_bytes(data[start : start + 4], "big")
    box_size = int.from_bytes(data[at - 4 : at], "big")
    body = data[start + 8 : at - 4] + places + data[at - 4 + box_size : start + size]
    return data[:start] + box(b"meta", body) + data[start + size :]


def _riff(data: bytes, extra: bytes) -> bytes:
    return data[:4] + struct.pack("<I", len(data) - 8 + len(extra)) + data[8:] + extra


# --- contradictions ------------------------------------------------------------------------------


def test_contradictions_are_damage() -> None:
    jpeg, good = samples()["jpeg"], samples()["png"]
    sof = jpeg.index(b"\xff\xc0")
    frame = jpeg[sof : sof + 19]
    ihdr = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 32, 32, 8, 2, 0, 0, 0))
    for data in (
        jpeg[:sof] + frame + jpeg[sof:],
        jpeg[:sof] + jpeg[sof + 19 :],
        good[:8] + png_chunk(b"tEXt", b"a\x00b") + good[8:],
        good[:8] + ihdr + good[8:],
        good.replace(b"IDAT", b"IDAU"),
        tiff(64, 64, extra={273: ("I", (8, 9))}),
        tiff(64, 64, extra={256: ("I", (64, 64))}),
        tiff(0, 64),
        samples()["gif"][:13],
        samples()["gif"].replace(b",", b"$", 1),
        grid(samples()["heic"], 5000, 5000),
        samples()["webp"][:12] + b"JUNK" + samples()["webp"][16:],
    ):
        assert reason(data) in {"damaged", "truncated"}


def test_tiff_pixels_must_lie_in_the_file() -> None:
    assert reason(tiff(64, 64, pixels=bytes(4096))) is None
    assert reason(tiff(64, 64, pixels=bytes(4096), extra={273: ("I", (5000,))})) == "truncated"
    assert reason(tiff(64, 64, pixels=bytes(4096), extra={279: ("I", (50_000,))})) == "truncated"


def test_pixels_after_the_end_of_a_png_are_not_read() -> None:
    body = b"".join(b"\x00" + bytes(96) for _ in range(32))
    packer = zlib.compressobj(9)
    tail = b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    assert reason(png(32, 32, 2, 8, body, (b"IDAT", zlib.compress(body) + tail))) is None


# --- polyglots -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", polyglots())
def test_polyglots(name: str) -> None:
    assert reason(polyglots()[name]) == "polyglot"


def test_a_zip_mark_by_chance_is_no_archive() -> None:
    chance = b"PK\x05\x06" + bytes(range(1, 60))
    assert reason(samples()["jpeg"] + chance) is None
    assert reason(samples()["jpeg"] + b"PK\x05\x06") is None

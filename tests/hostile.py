"""Files that must be refused, each with the reason: bombs, polyglots, cut files, things that are no files."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

from retrieval.errors import ImageError
from retrieval.images.pictures import REASONS, prepare
from retrieval.images.preprocessing import Preprocessing
from tests.pictures import box, encode, full, png, png_chunk, redeclare, samples, scene, tiff, unpack

HUGE = 60_000


@cache
def bombs() -> dict[str, bytes]:
    """Small files that claim, or hold, far more pixels than any limit; all are ``too-many-pixels``."""
    jpeg = samples()["jpeg"]
    sof = jpeg.index(b"\xff\xc0")
    progressive = samples()["jpeg-progressive"]
    sof2 = progressive.index(b"\xff\xc2")
    gif, webp, bmp = samples()["gif"], samples()["webp-lossless"], samples()["bmp"]
    frame = gif.index(b",", 13 + (3 << ((gif[10] & 7) + 1)))
    return {
        "jpeg": jpeg[: sof + 5] + struct.pack(">HH", HUGE, HUGE) + jpeg[sof + 9 :],
        "jpeg-progressive": progressive[: sof2 + 5] + struct.pack(">HH", 9_000, 12_000) + progressive[sof2 + 9 :],
        "png": png(HUGE, HUGE, 2, 8, b"\x00" * 1000),
        "png-16-bit": png(HUGE, HUGE, 6, 16, b"\x00" * 1000),
        "png-thin": png(100_000_000, 8, 0, 8, b"\x00" * 1000),
        "gif": gif[:6] + struct.pack("<HH", HUGE, HUGE) + gif[10:],
        "gif-frame": gif[: frame + 5] + struct.pack("<HH", HUGE, HUGE) + gif[frame + 9 :],
        "webp-vp8l": webp[:21] + struct.pack("<I", 0x0FFFFFFF) + webp[25:],
        "webp-vp8x": _webp_canvas(1 << 24, 1 << 24),
        "webp-animation": _webp_animation(16_384, 16_384),
        "tiff": tiff(HUGE, HUGE),
        "tiff-big-endian": tiff(HUGE, HUGE, order=">"),
        "tiff-tile": _tiff_tile(HUGE, HUGE),
        "bmp": bmp[:18] + struct.pack("<ii", HUGE, -HUGE) + bmp[26:],
        "avif": redeclare(samples()["avif"], HUGE, HUGE),
        "avif-coded": redeclare(unpack("132mp.avif.xz"), 64, 64),
        "avif-honest": unpack("132mp.avif.xz"),
        "avif-grid": grid(samples()["avif"], HUGE, HUGE),
        "heic": redeclare(samples()["heic"], HUGE, HUGE),
        "heic-honest": unpack("132mp.heic.xz"),
        "heic-grid": grid(samples()["heic"], HUGE, HUGE),
    }


@cache
def inflated() -> dict[str, bytes]:
    """Good pictures with metadata that unpacks to 256 MiB and more: they decode, and the metadata stays packed."""
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(256)) + packer.flush()
    body = b"".join(b"\x00" + bytes(3 * 32) for _ in range(32))
    return {
        "png-text": png(32, 32, 2, 8, body, (b"zTXt", b"Comment\x00\x00" + bomb)),
        "png-international-text": png(32, 32, 2, 8, body, (b"iTXt", b"Comment\x00\x01\x00\x00\x00" + bomb)),
        "png-profile": png(32, 32, 2, 8, body, (b"iCCP", b"profile\x00\x00" + bomb)),
        "png-many-texts": png(32, 32, 2, 8, body, *[(b"zTXt", b"C\x00\x00" + bomb[:-8])] * 8),
    }


def _webp_canvas(width: int, height: int) -> bytes:
    size = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    picture = samples()["webp-lossless"][12:]
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + size + picture
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _webp_animation(width: int, height: int) -> bytes:
    data = bytearray(samples()["webp-animated"])
    at = data.index(b"VP8X") + 8
    data[at + 4 : at + 10] = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return bytes(data)


def _tiff_tile(width: int, height: int) -> bytes:
    data = tiff(64, 64, extra={322: ("I", (width,)), 323: ("I", (height,)), 324: ("I", (8,)), 325: ("I", (64,))})
    # Tags of strips must go; a private tag is ignored.
    return data.replace(struct.pack("<HH", 273, 4), struct.pack("<HH", 50_273, 4)).replace(
        struct.pack("<HH", 279, 4), struct.pack("<HH", 50_279, 4)
    )


def grid(tile: bytes, width: int, height: int, *, declared: tuple[int, int] = (96, 64)) -> bytes:
    """An AVIF or HEIC of one tile in a grid whose own canvas contradicts the declared size."""
    kind = b"av01" if b"av01" in tile else b"hvc1"
    name = b"av1C" if kind == b"av01" else b"hvcC"
    at = tile.index(name) - 4
    config = tile[at : at + int.from_bytes(tile[at : at + 4], "big")]
    coded = tile[tile.index(b"mdat") + 4 :]
    canvas = struct.pack(">BBBBII", 0, 1, 0, 0, width, height)
    brand = b"avif" if kind == b"av01" else b"heic"
    head = box(b"ftyp", brand, bytes(4), b"mif1", brand, b"miaf")
    pixi = full(b"pixi", bytes([3, 8, 8, 8]))

    def meta(offset: int) -> bytes:
        infos = [full(b"infe", struct.pack(">HH4s", n, 0, k), b"\x00") for n, k in ((1, b"grid"), (2, kind))]
        for index, info in enumerate(infos):
            infos[index] = info[:8] + b"\x02" + info[9:]
        places = [(1, offset, len(canvas)), (2, offset + len(canvas), len(coded))]
        return full(
            b"meta",
            full(b"hdlr", bytes(4), b"pict", bytes(13)),
            full(b"pitm", struct.pack(">H", 1)),
            full(
                b"iloc",
                struct.pack(">BBH", 0x44, 0, 2),
                *(struct.pack(">HHHII", n, 0, 1, start, length) for n, start, length in places),
            ),
            full(b"iinf", struct.pack(">H", 2), *infos),
            full(b"iref", box(b"dimg", struct.pack(">HHH", 1, 1, 2))),
            box(
                b"iprp",
                box(
                    b"ipco",
                    config,
                    full(b"ispe", struct.pack(">II", *declared)),
                    full(b"ispe", struct.pack(">II", 96, 64)),
                    pixi,
                ),
                full(
                    b"ipma",
                    struct.pack(">I", 2),
                    struct.pack(">HBBB", 1, 2, 2, 4),
                    struct.pack(">HBBBB", 2, 3, 0x81, 3, 4),
                ),
            ),
        )

    start = len(head) + len(meta(0)) + 8
    return head + meta(start) + box(b"mdat", canvas, coded)


@cache
def polyglots() -> dict[str, bytes]:
    """Pictures that are something else as well; all are refused as ``polyglot``."""
    jpeg, good_png, gif = samples()["jpeg"], samples()["png"], samples()["gif"]
    archive, noted, empty = io.BytesIO(), io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("payload.txt", "hello")
    with zipfile.ZipFile(noted, "w") as file:
        file.writestr("payload.txt", "hello")
        file.comment = b"x" * 60_000
    with zipfile.ZipFile(empty, "w"):
        pass
    comment = jpeg[:2] + b"\xff\xfe\x00\x1c<script>alert(1)</script>\x00" + jpeg[2:]
    return {
        "jpeg-zip": jpeg + archive.getvalue(),
        "jpeg-zip-comment": jpeg + noted.getvalue(),
        "jpeg-zip-empty": jpeg + empty.getvalue(),
        "png-zip": good_png + archive.getvalue(),
        "jpeg-pdf": jpeg[:2] + b"\xff\xfe\x00\x0c%PDF-1.7\r\n" + jpeg[2:],
        "png-html-tail": good_png + b"\n<HTML><body onload=x()>",
        "gif-php-tail": gif + b"<?php system($_GET['c']); ?>",
        "jpeg-script-comment": comment,
        "bmp-doctype": samples()["bmp"] + b"<!DOCTYPE  html><p>",
    }


@cache
def strangers() -> dict[str, bytes]:
    """Other formats under a picture's name; all are ``unknown-format``."""
    return {
        "text.jpg": b"this is no picture\n" * 20,
        "pdf.jpg": b"%PDF-1.7\n" + bytes(200),
        "svg.png": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
        "eps.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "icon.png": encode(scene(32, 32), "ICO"),
        "pixmap.bmp": encode(scene(), "PPM"),
        "targa.bmp": encode(scene(), "TGA"),
        "jp2.jpg": encode(scene(), "JPEG2000"),
        "photoshop.tif": b"8BPS\x00\x01" + bytes(200),
        "movie.heic": box(b"ftyp", b"isom", bytes(4), b"isomavc1") + box(b"mdat", bytes(64)),
        "zip.jpg": b"PK\x03\x04" + bytes(100),
        "dots.gif": b"GIF90a" + bytes(100),
    }


def make_hostile_folder(root: Path) -> dict[Path, str | None]:
    """Fill a folder with good and bad pictures.

    Returns:
        What `retrieval.images.pictures` must say of each path: a reason, or None for a good picture.
    """
    root.mkdir(parents=True, exist_ok=True)
    expected: dict[Path, str | None] = {}

    def put(name: str, data: bytes, reason: str | None) -> None:
        path = root / name
        path.write_bytes(data)
        expected[path] = reason

    suffixes = {"jpeg": "jpg", "tiff": "tif", "heic": "heic"}
    for name, data in samples().items():
        format_ = name.split("-")[0]
        suffix = suffixes.get(format_, format_)
        put(f"good-{name}.{suffix}", data, None)
        put(f"half-{name}.{suffix}", data[: len(data) // 2], "truncated")
    for name, data in bombs().items():
        format_ = name.split("-")[0]
        put(f"bomb-{name}.{suffixes.get(format_, format_)}", data, "too-many-pixels")
    for name, data in polyglots().items():
        put(f"polyglot-{name}.{name.split('-')[0]}", data, "polyglot")
    for name, data in strangers().items():
        put(f"stranger-{name}", data, "unknown-format")
    put("empty.jpg", b"", "empty")
    put("tiny.png", encode(scene(4, 4), "PNG"), "too-small")
    put("floats.tif", encode(scene().convert("F"), "TIFF"), "unsupported-pixels")
    put("damaged.png", png(32, 32, 2, 8, b"\x00" * 100), "truncated")
    put("checksum.png", samples()["png"].replace(png_chunk(b"IEND", b""), b"\0\0\0\0IENDoops"), "damaged")
    put("png-inside.jpg", samples()["png"], None)
    put("with a space.jpg", samples()["jpeg"], None)
    put("смайлик-😀.jpg", samples()["jpeg"], None)
    put("a\nnewline\x1b[31m.jpg", samples()["jpeg"], None)
    put("half\nnewline.jpg", samples()["jpeg"][:300], "truncated")
    put("UPPER.JPG", samples()["jpeg"], None)
    if hasattr(os, "mkfifo"):
        os.mkfifo(root / "pipe.jpg")
        expected[root / "pipe.jpg"] = "not-a-file"
    (root / "folder.jpg").mkdir()
    expected[root / "folder.jpg"] = "not-a-file"
    outside = root.parent / f"outside-{root.name}.jpg"
    outside.write_bytes(samples()["jpeg"])
    (root / "link-out.jpg").symlink_to(outside)
    expected[root / "link-out.jpg"] = "outside-catalog"
    (root / "link-in.jpg").symlink_to("UPPER.JPG")
    expected[root / "link-in.jpg"] = None
    (root / "link-nowhere.jpg").symlink_to("nothing.jpg")
    expected[root / "link-nowhere.jpg"] = "missing"
    return expected


def reason(data: bytes) -> str | None:
    """Why `prepare` refuses; None if it does not."""
    return refusal(lambda: prepare(data, Preprocessing(height=32, width=32)))


def refusal(call: Callable[[], object]) -> str | None:
    """The reason that a call gives; checks what every refusal promises."""
    try:
        call()
    except ImageError as error:
        refused = error
    else:
        return None
    assert refused.reason in REASONS
    assert refused.message.startswith("expected ")
    assert refused.message.isprintable(), refused.message
    assert refused.hint
    return refused.reason

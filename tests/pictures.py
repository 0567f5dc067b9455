"""Pictures of every format that is read, made at test time (HEIC comes from tests/data)."""

from __future__ import annotations

import io
import lzma
import struct
import zlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

DATA = Path(__file__).parent / "data"

# Tolerance per channel of a lossy encoder on the flat quadrants, away from their edges.
RED, GREEN, BLUE, YELLOW = (220, 30, 30), (30, 200, 30), (30, 30, 220), (230, 220, 30)


def scene(width: int = 96, height: int = 64) -> Image.Image:
    """Four quadrants that tell every orientation apart: red, green / blue, yellow."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[: height // 2, : width // 2] = RED
    pixels[: height // 2, width // 2 :] = GREEN
    pixels[height // 2 :, : width // 2] = BLUE
    pixels[height // 2 :, width // 2 :] = YELLOW
    return Image.fromarray(pixels)


def encode(image: Image.Image, format_: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


def corners(image: Image.Image) -> list[tuple[int, ...]]:
    """The colors in the middle of the quadrants: top left, top right, bottom left, bottom right."""
    w, h = image.size
    places = [(w // 4, h // 4), (3 * w // 4, h // 4), (w // 4, 3 * h // 4), (3 * w // 4, 3 * h // 4)]
    return [image.getpixel(place) for place in places]  # type: ignore[misc]


def exif(orientation: int) -> bytes:
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


def deep_gray() -> np.ndarray[Any, np.dtype[np.uint16]]:
    """A ramp over all of 0..65535, shape (64, 96)."""
    return np.linspace(0, 65535, 96 * 64).astype(np.uint16).reshape(64, 96)


@cache
def samples() -> dict[str, bytes]:
    """One valid picture per format and variant; every one shows `scene` or `deep_gray`."""
    im, turned = scene(), scene().transpose(Image.Transpose.ROTATE_180)
    clear = im.convert("RGBA")
    return {
        "jpeg": encode(im, "JPEG", quality=90),
        "jpeg-progressive": encode(im, "JPEG", quality=90, progressive=True),
        "jpeg-gray": encode(im.convert("L"), "JPEG"),
        "jpeg-cmyk": encode(im.convert("CMYK"), "JPEG"),
        "jpeg-exif": encode(im, "JPEG", exif=exif(6)),
        "png": encode(im, "PNG"),
        "png-palette": encode(im.quantize(8), "PNG"),
        "png-gray-16": encode(Image.fromarray(deep_gray()), "PNG"),
        "png-bits": encode(im.convert("1"), "PNG"),
        "png-alpha": encode(clear, "PNG"),
        "png-gray-alpha": encode(im.convert("LA"), "PNG"),
        "png-animated": encode(im, "PNG", save_all=True, append_images=[turned]),
        "gif": encode(im, "GIF"),
        "gif-animated": encode(im, "GIF", save_all=True, append_images=[turned], duration=50, comment=b"hi"),
        "webp": encode(im, "WEBP", quality=90),
        "webp-lossless": encode(im, "WEBP", lossless=True),
        "webp-alpha": encode(clear.rotate(30), "WEBP"),
        "webp-animated": encode(im, "WEBP", save_all=True, append_images=[turned], duration=50),
        "avif": encode(im, "AVIF", quality=90),
        "avif-alpha": encode(clear.rotate(30), "AVIF"),
        "avif-sequence": encode(im, "AVIF", save_all=True, append_images=[turned]),
        "heic": (DATA / "upright.heic").read_bytes(),
        "heic-transparent": (DATA / "transparent.heic").read_bytes(),
        "heic-10bit": (DATA / "10bit.heic").read_bytes(),
        "tiff": encode(im, "TIFF"),
        "tiff-lzw": encode(im, "TIFF", compression="tiff_lzw"),
        "tiff-deflate": encode(im, "TIFF", compression="tiff_adobe_deflate"),
        "tiff-jpeg": encode(im, "TIFF", compression="jpeg"),
        "tiff-packbits": encode(im, "TIFF", compression="packbits"),
        "tiff-cmyk": encode(im.convert("CMYK"), "TIFF"),
        "tiff-alpha": encode(clear, "TIFF"),
        "tiff-palette": encode(im.quantize(8), "TIFF"),
        "tiff-gray-16": encode(Image.fromarray(deep_gray()), "TIFF"),
        "bmp": encode(im, "BMP"),
        "bmp-palette": encode(im.quantize(8), "BMP"),
    }


def png(width: int, height: int, color: int, depth: int, body: bytes, *extra: tuple[bytes, bytes]) -> bytes:
    """A PNG by hand: color 0 gray, 2 RGB, 3 palette, 6 RGBA; ``body`` is not yet compressed."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)),
        *extra,
        (b"IDAT", zlib.compress(body)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in chunks)


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def mend_png(data: bytes) -> bytes:
    """The same chunks with right checksums, so that damage gets past them to the decoder."""
    out, at = data[:8], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        out += png_chunk(data[at + 4 : at + 8], data[at + 8 : at + 8 + length])
        at += 12 + length
    return out


def box(name: bytes, *parts: bytes) -> bytes:
    """A box of an ISO base media file."""
    body = b"".join(parts)
    return struct.pack(">I", 8 + len(body)) + name + body


def full(name: bytes, *parts: bytes) -> bytes:
    return box(name, bytes(4), *parts)


def redeclare(data: bytes, width: int, height: int) -> bytes:
    """An AVIF or HEIC whose every declared size is replaced; what is coded stays."""
    at = -1
    while (at := data.find(b"ispe", at + 1)) >= 0:
        data = data[: at + 8] + struct.pack(">II", width, height) + data[at + 16 :]
    return data


def unpack(name: str) -> bytes:
    """A huge picture of tests/data; both show 12,000 x 11,000 black pixels."""
    return lzma.decompress((DATA / name).read_bytes())


def tiff(
    width: int,
    height: int,
    *,
    order: str = "<",
    pixels: bytes | None = None,
    extra: dict[int, tuple[str, tuple[int, ...]]] | None = None,
) -> bytes:
    """A TIFF by hand, one strip, 8-bit gray unless ``extra`` replaces tags: {tag: ("H" or "I", values)}.

    Without ``pixels`` the strip is at most 64 bytes, whatever size is declared.
    """
    body = bytes(min(width * height, 64)) if pixels is None else pixels
    tags: dict[int, tuple[str, tuple[int, ...]]] = {
        256: ("I", (width,)),
        257: ("I", (height,)),
        258: ("H", (8,)),
        259: ("H", (1,)),
        262: ("H", (1,)),
        273: ("I", (8,)),
        277: ("H", (1,)),
        278: ("I", (height,)),
        279: ("I", (len(body),)),
    } | (extra or {})
    body += bytes(len(body) % 2)
    entries, after = b"", b""
    values_at = 8 + len(body) + 2 + 12 * len(tags) + 4
    for tag, (code, values) in sorted(tags.items()):
        raw = struct.pack(f"{order}{len(values)}{code}", *values)
        if len(raw) > 4:
            raw, after = struct.pack(f"{order}I", values_at + len(after)), after + raw
        entries += struct.pack(f"{order}HHI", tag, 3 if code == "H" else 4, len(values)) + raw.ljust(4, b"\x00")
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8 + len(body))
    return head + body + struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + after

"""The only place where untrusted image bytes are opened.

``prepare`` is the one function from bytes to the network's pixels, in training and in serving.
Every failure is an `ImageError` with a reason code; `REASONS` lists them.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import ImageError
from retrieval.headers import Header, read_header, sniff
from retrieval.preprocessing import Preprocessing
from retrieval.text import printable

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".heic", ".heif", ".tif", ".tiff", ".bmp", ".gif"}
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What is refused before it costs anything.

    Attributes:
        max_bytes: of a file.
        max_pixels: width x height as stored. The default lets a phone's 108-megapixel mode in
            (12032 x 9024); at 4 bytes a pixel that is 440 MB while it is decoded.
        max_side: longer side, pixels.
        min_side: shorter side, pixels: below it there is nothing to recognize.
    """

    max_bytes: int = 64 * 1024 * 1024
    max_pixels: int = 110_000_000
    max_side: int = 65_535
    min_side: int = 8


DEFAULT_LIMITS = Limits()


def read_file(path: Path, *, root: Path | None = None, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Read a regular file, never blocking on a pipe and never past the byte cap.

    Args:
        path: what to read.
        root: refuse a path that resolves outside this folder.
        limits: the byte cap.

    Raises:
        ImageError: missing, not-a-file, unreadable, empty, too-many-bytes or outside-catalog.
    """
    name = printable(path)
    try:
        if root is not None and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
            raise ImageError(
                f"expected a picture inside the catalog, received a link that leaves it: {name}",
                reason="outside-catalog",
                hint="Copy the picture into the catalog.",
            )
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise ImageError(f"expected a picture, received nothing at {name}", reason="missing") from error
    except (OSError, ValueError) as error:
        raise ImageError(
            f"expected a readable picture, received {getattr(error, 'strerror', error)}: {name}",
            reason="unreadable",
        ) from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(f"expected a regular file, received something else: {name}", reason="not-a-file")
        if status.st_size > limits.max_bytes:
            raise _too_many_bytes(status.st_size, limits)
        try:
            data = file.read(limits.max_bytes + 1)
        except OSError as error:
            raise ImageError(
                f"expected a readable picture, received {error.strerror}: {name}", reason="unreadable"
            ) from error
    if len(data) > limits.max_bytes:
        raise _too_many_bytes(len(data), limits)
    if not data:
        raise _empty()
    return data


def content_hash(data: bytes) -> str:
    """SHA-256 of the bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def decode(data: bytes, *, target: tuple[int, int] | None = None, limits: Limits = DEFAULT_LIMITS) -> Image.Image:
    """Decode the first frame to RGB, upright, alpha over white.

    Args:
        data: the bytes of the file.
        target: the (width, height) that will be needed of the upright picture. A larger picture
            may come back smaller than it is stored, never below the target's scale.
        limits: what is refused.

    Raises:
        ImageError: see its reason.
    """
    with _foreign():
        header = _inspect(data, limits)
        im = _open(header)
        swap = header.orientation >= 5
        if target is not None:
            im.draft(None, target[::-1] if swap else target)
        im.load()
        return _upright(_over_white(_plain(im)), header.orientation)


def prepare(data: bytes, preprocessing: Preprocessing, *, limits: Limits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
    """Bytes to the network's pixels: the one function for training and serving.

    Returns:
        RGB, uint8, shape (height, width, 3).

    Raises:
        ImageError: see its reason.
    """
    from PIL import Image

    resample = Image.Resampling["BOX" if preprocessing.resample == "area" else preprocessing.resample.upper()]
    with _foreign():
        header = _inspect(data, limits)
        im = _open(header)
        swap = header.orientation >= 5
        want = (preprocessing.width, preprocessing.height)
        if swap:
            want = want[::-1]
        box, size = _placement(header.width, header.height, want, preprocessing)
        left, top, right, bottom = box
        scale_x, scale_y = size[0] / (right - left), size[1] / (bottom - top)
        im.draft(None, (math.ceil(header.width * scale_x), math.ceil(header.height * scale_y)))
        im.load()
        im = _plain(im)
        shrink_x, shrink_y = im.width / header.width, im.height / header.height
        box = (left * shrink_x, top * shrink_y, right * shrink_x, bottom * shrink_y)
        im = im.resize(size, resample, box=box, reducing_gap=2.0)
        im = _upright(_over_white(im), header.orientation)
        if im.size != (preprocessing.width, preprocessing.height):
            canvas = Image.new("RGB", (preprocessing.width, preprocessing.height), (255, 255, 255))
            canvas.paste(im, ((canvas.width - im.width) // 2, (canvas.height - im.height) // 2))
            im = canvas
        return np.array(im, dtype=np.uint8)


def thumbnail(data: bytes, size: int, *, limits: Limits = DEFAULT_LIMITS) -> Image.Image:
    """The picture upright in RGB, its longer side at most ``size`` pixels; smaller pictures stay as they are.

    Raises:
        ImageError: see its reason.
    """
    with _foreign():
        im = decode(data, target=(size, size), limits=limits)
        im.thumbnail((size, size), reducing_gap=2.0)
        return im


def _placement(
    width: int, height: int, want: tuple[int, int], preprocessing: Preprocessing
) -> tuple[tuple[float, float, float, float], tuple[int, int]]:
    """Which box of the stored picture is resized to which size."""
    whole = (0.0, 0.0, float(width), float(height))
    if preprocessing.fit == "squash":
        return whole, want
    if preprocessing.fit == "pad":
        scale = min(want[0] / width, want[1] / height)
        return whole, (
            min(want[0], max(1, round(width * scale))),
            min(want[1], max(1, round(height * scale))),
        )
    scale = preprocessing.crop_fraction * min(width / want[0], height / want[1])
    box_width, box_height = want[0] * scale, want[1] * scale
    left, top = (width - box_width) / 2, (height - box_height) / 2
    return (left, top, left + box_width, top + box_height), want


def _inspect(data: bytes, limits: Limits) -> Header:
    if not data:
        raise _empty()
    if len(data) > limits.max_bytes:
        raise _too_many_bytes(len(data), limits)
    kind = sniff(data)
    if kind is None:
        raise ImageError(
            "expected a JPEG, PNG, WebP, AVIF, HEIC, TIFF, BMP or GIF picture, received something else",
            reason="unknown-format",
            hint="Export the picture as JPEG or PNG.",
        )
    header = read_header(data, kind)
    _check_size(header.width, header.height, limits)
    return header


def _check_size(width: int, height: int, limits: Limits) -> None:
    if width * height > limits.max_pixels or max(width, height) > limits.max_side:
        raise ImageError(
            f"expected at most {limits.max_pixels:,} pixels and {limits.max_side:,} a side,"
            f" received {width} x {height}",
            reason="too-many-pixels",
            hint="Scale the picture down.",
        )
    if min(width, height) < limits.min_side:
        raise ImageError(
            f"expected at least {limits.min_side} pixels a side, received {width} x {height}",
            reason="too-small",
            hint="Use a larger picture.",
        )


def _open(header: Header) -> Image.Image:
    """Open with exactly this format's plugin: Pillow's registry and global pixel cap stay out of it."""
    file = io.BytesIO(header.data)
    im: Image.Image
    if header.format == "JPEG":
        from PIL.JpegImagePlugin import JpegImageFile

        im = JpegImageFile(file)
    elif header.format == "PNG":
        from PIL.PngImagePlugin import PngImageFile

        im = PngImageFile(file)
    elif header.format == "WEBP":
        from PIL.WebPImagePlugin import WebPImageFile

        im = WebPImageFile(file)
    elif header.format == "GIF":
        from PIL.GifImagePlugin import GifImageFile

        im = GifImageFile(file)
    elif header.format == "BMP":
        from PIL.BmpImagePlugin import BmpImageFile

        im = BmpImageFile(file)
    elif header.format == "TIFF":
        from PIL.TiffImagePlugin import TiffImageFile

        im = TiffImageFile(file)
    elif header.format == "AVIF":
        from PIL.AvifImagePlugin import AvifImageFile

        im = AvifImageFile(file)
    else:
        from pi_heif import open_heif

        im = open_heif(file, convert_hdr_to_8bit=True).to_pillow()
    return im


def _plain(im: Image.Image) -> Image.Image:
    """To RGB, or RGBA where something is transparent; deep gray is scaled, not clipped."""
    from PIL import Image

    if im.mode.startswith("I;16"):
        pixels = np.asarray(im).astype(np.uint16)
        return Image.fromarray((pixels >> 8).astype(np.uint8)).convert("RGB")
    if im.mode in ("I", "F"):
        raise ImageError(
            f"expected 1, 8 or 16 bits a channel, received mode {im.mode}",
            reason="unsupported-pixels",
            hint="Export the picture as 8-bit JPEG or PNG.",
        )
    if im.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in im.info:
        return im.convert("RGBA")
    return im if im.mode == "RGB" else im.convert("RGB")


def _over_white(im: Image.Image) -> Image.Image:
    if im.mode == "RGB":
        return im
    from PIL import Image

    white = Image.new("RGBA", im.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, im).convert("RGB")


def _upright(im: Image.Image, orientation: int) -> Image.Image:
    if orientation == 1:
        return im
    from PIL.Image import Transpose

    return im.transpose(
        {
            2: Transpose.FLIP_LEFT_RIGHT,
            3: Transpose.ROTATE_180,
            4: Transpose.FLIP_TOP_BOTTOM,
            5: Transpose.TRANSPOSE,
            6: Transpose.ROTATE_270,
            7: Transpose.TRANSVERSE,
            8: Transpose.ROTATE_90,
        }[orientation]
    )


def _too_many_bytes(size: int, limits: Limits) -> ImageError:
    return ImageError(
        f"expected at most {limits.max_bytes:,} bytes, received {size:,}",
        reason="too-many-bytes",
        hint="Export the picture smaller.",
    )


def _empty() -> ImageError:
    return ImageError("expected a picture, received an empty file", reason="empty", hint="Copy it again.")


@contextmanager
def _foreign() -> Iterator[None]:
    """Map every foreign error to `ImageError`, here and nowhere else."""
    try:
        yield
    except ImageError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        cut = isinstance(error, (EOFError, struct.error)) or "truncated" in text
        raise ImageError(
            f"expected an intact picture, received a damaged one ({text or type(error).__name__})",
            reason="truncated" if cut else "damaged",
            hint="Copy or export the picture again.",
        ) from error

"""The only place where untrusted image bytes are opened.

``prepare`` is the one function from bytes to the network's pixels, in training and in serving.
Every failure is an `ImageError` whose ``reason`` is one of `REASONS`. No color management: pixels
are taken as sRGB whatever profile is embedded.
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
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import ImageError, ItemrecError
from retrieval.images.formats import (
    Header,
    bare_jpeg,
    damaged,
    exif_orientation,
    hidden_content,
    read_header,
    truncated,
)
from retrieval.images.formats.decoders import WHITE, flatten, open_header, upright
from retrieval.images.preprocessing import Preprocessing
from retrieval.system.text import printable

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".heic", ".heif", ".tif", ".tiff", ".bmp", ".gif"}
)

"""File name endings, lower-case, of the formats that are read. The content decides, not the ending."""

REASONS = frozenset(
    {
        "missing",  # no file of that name
        "not-a-file",  # a directory, pipe, socket or device
        "unreadable",  # permissions, or the disk failed
        "outside-catalog",  # a link or path that leaves the folder it must stay in
        "empty",  # no bytes
        "too-many-bytes",
        "too-many-pixels",  # as stored, or as a decoder would have to allocate
        "too-small",
        "unknown-format",  # none of the allowed formats, whatever its name says
        "unsupported-pixels",  # an allowed format holding floats, 32-bit integers, rare compressions, …
        "truncated",
        "damaged",
        "polyglot",  # also an archive, a document or a script
        "out-of-memory",
    }
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What is refused before it costs anything.

    The defaults let the usual modes of phones in, 50 and 64 megapixels (9,248 x 6,936), and of their
    108- and 200-megapixel modes (16,320 x 12,240) the JPEGs that they write. A decoder then takes
    about 1 GB at most, of a WebP, and as a rule less than half; `benchmarks/decode.py --memory` prints it.
    Multiply by the number of threads that decode.

    Attributes:
        max_bytes: of a file.
        max_pixels: width x height as stored.
        max_streamed_pixels: the same for a sequential JPEG, which is reduced while it is decoded.
        max_side: longer side, pixels.
        min_side: shorter side, pixels: below it there is nothing to recognize.
    """

    max_bytes: int = 64 * 1024 * 1024
    max_pixels: int = 65_000_000
    max_streamed_pixels: int = 210_000_000
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
        real = os.path.realpath(path)
        if root is not None and not _inside(real, _real_root(os.path.abspath(root))):
            raise ImageError(
                f"expected a picture inside the catalog, received a link that leaves it: {name}",
                reason="outside-catalog",
                hint="Copy the picture into the catalog.",
            )
        # Opening a device can have effects of its own, so ask before; the file can be swapped
        # meanwhile, so ask the open file again, and do not wait if it became a pipe.
        _require_regular(os.stat(real), name)
        descriptor = os.open(real, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            status = os.fstat(descriptor)
            _require_regular(status, name)
            if status.st_size > limits.max_bytes:
                raise _too_many_bytes(status.st_size, limits)
            data = _read(file, limits)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ImageError(
            f"expected a picture, received nothing at {name}", reason="missing", hint="Check the path."
        ) from error
    except (OSError, ValueError) as error:
        raise ImageError(
            f"expected a readable picture, received {getattr(error, 'strerror', None) or error}: {name}",
            reason="unreadable",
            hint="Check the path and its permissions.",
        ) from error
    if not data:
        raise _empty()
    return data


@lru_cache(maxsize=16)
def _real_root(root: str) -> str:
    """Resolved once: the root of a catalog is asked for with every picture in it."""
    return os.path.realpath(root)


def _inside(path: str, root: str) -> bool:
    return path.startswith(root.rstrip(os.sep) + os.sep)


def _require_regular(status: os.stat_result, name: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
        raise ImageError(
            f"expected a regular file, received {kind}: {name}", reason="not-a-file", hint="Name a picture file."
        )


def _read(file: io.FileIO, limits: Limits) -> bytes:
    """All bytes, stopping one past the cap: a file can grow after its size was asked."""
    chunks: list[bytes] = []
    left = limits.max_bytes + 1
    while left and (chunk := file.read(left)):
        chunks.append(chunk)
        left -= len(chunk)
    if not left:
        raise _too_many_bytes(limits.max_bytes + 1, limits)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def content_hash(data: bytes) -> str:
    """SHA-256 of the bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def check(data: bytes, *, limits: Limits = DEFAULT_LIMITS) -> None:
    """Whatever can be refused without decoding a pixel: format, size, completeness, hidden content.

    Raises:
        ImageError: see its reason.
    """
    with _mapped_errors():
        _open(data, limits)


def decode(data: bytes, *, target: tuple[int, int] | None = None, limits: Limits = DEFAULT_LIMITS) -> Image.Image:
    """Decode the first frame to RGB, upright, alpha over white.

    Args:
        data: the bytes of the file.
        target: the (width, height) that will be needed of the upright picture. A JPEG may then
            come back at 1/2, 1/4 or 1/8 of its size, never smaller than the target on any side.
        limits: what is refused.

    Raises:
        ImageError: see its reason.
    """
    with _mapped_errors():
        im, turn, header = _open(data, limits)
        if target is not None:
            im.draft(None, target[::-1] if turn >= 5 else target)
        im.load()
        return upright(flatten(im, header.depth).convert("RGB"), turn)


def prepare(data: bytes, preprocessing: Preprocessing, *, limits: Limits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
    """Bytes to the network's pixels: the one function for training and serving.

    The orientation is applied after the resize, when there is little left to turn.

    Returns:
        RGB, uint8, shape (height, width, 3).

    Raises:
        ImageError: see its reason.
    """
    with _mapped_errors():
        im, turn, header = _open(data, limits)
        (left, top, right, bottom), size = _placement(im.size, _stored(turn, preprocessing), preprocessing)
        width, height = im.size
        gap = _gap(preprocessing)
        draft = im.draft(
            None,
            (
                math.ceil(gap * width * size[0] / (right - left)),
                math.ceil(gap * height * size[1] / (bottom - top)),
            ),
        )
        # A reduced decode covers whole 8 x 8 blocks: its last column and row may stick out of the picture.
        inner = draft[1][2:] if draft else im.size
        across, down = inner[0] / width, inner[1] / height
        im.load()
        im = flatten(im, header.depth)
        box = (left * across, top * down, min(right * across, im.width), min(bottom * down, im.height))
        return _resized(im, box, size, turn, preprocessing)


def prepare_decoded(
    picture: Image.Image | NDArray[np.uint8], preprocessing: Preprocessing, *, limits: Limits = DEFAULT_LIMITS
) -> NDArray[np.uint8]:
    """As `prepare`, for a picture that somebody else decoded: the same resize, from all of its pixels.

    Args:
        picture: a Pillow image (its EXIF orientation is applied), or RGB, uint8, shape (height, width, 3). Stays
            as it is.
        preprocessing: what the network expects.
        limits: what is refused.

    Returns:
        RGB, uint8, shape (height, width, 3).

    Raises:
        ImageError: see its reason.
    """
    from PIL import Image

    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ImageError(
                f"expected RGB pixels, uint8 of shape (height, width, 3), "
                f"received {picture.dtype.name} of shape {picture.shape}",
                reason="unsupported-pixels",
                hint="Scale the values to 0..255, convert them with astype('uint8'), and drop what is not RGB.",
            )
        _check_largest(picture.shape[1], picture.shape[0], limits.max_streamed_pixels, limits.max_side)
        _check_smallest(picture.shape[1], picture.shape[0], limits)
    with _mapped_errors():
        if isinstance(picture, np.ndarray):
            im, turn = Image.fromarray(picture), 1
        else:
            _check_largest(picture.width, picture.height, limits.max_streamed_pixels, limits.max_side)
            _check_smallest(picture.width, picture.height, limits)
            found = picture.getexif().get(_ORIENTATION, 1)
            turn = found if found in range(1, 9) else 1
            im = picture.copy()  # what is transparent becomes white in place
        box, size = _placement(im.size, _stored(turn, preprocessing), preprocessing)
        return _resized(flatten(im), box, size, turn, preprocessing)


def _stored(turn: int, preprocessing: Preprocessing) -> tuple[int, int]:
    """The (width, height) that is wanted of a picture before it is turned upright."""
    wanted = (preprocessing.width, preprocessing.height)
    return wanted[::-1] if turn >= 5 else wanted


def _gap(preprocessing: Preprocessing) -> float:
    """How many decoded pixels the resize needs for each that it makes: Pillow's box filter takes whole ones."""
    return 3.0 if preprocessing.resample == "area" else 1.0


def _resized(
    im: Image.Image,
    box: tuple[float, float, float, float],
    size: tuple[int, int],
    turn: int,
    preprocessing: Preprocessing,
) -> NDArray[np.uint8]:
    """A box of a flat picture at a size, turned upright, on white where it does not fill the input."""
    from PIL import Image

    resample = "BOX" if preprocessing.resample == "area" else preprocessing.resample.upper()
    im = im.resize(size, Image.Resampling[resample], box=box, reducing_gap=1.0 + _gap(preprocessing))
    im = upright(im.convert("RGB"), turn)
    wanted = (preprocessing.width, preprocessing.height)
    if im.size != wanted:
        canvas = Image.new("RGB", wanted, WHITE)
        canvas.paste(im, ((canvas.width - im.width) // 2, (canvas.height - im.height) // 2))
        im = canvas
    return np.array(im, dtype=np.uint8)


def thumbnail(data: bytes, size: int, *, limits: Limits = DEFAULT_LIMITS) -> Image.Image:
    """The picture upright in RGB, its longer side at most ``size`` pixels; smaller pictures stay as they are.

    Raises:
        ImageError: see its reason.
    """
    with _mapped_errors():
        im = decode(data, target=(size, size), limits=limits)
        im.thumbnail((size, size), reducing_gap=2.0)
        return im


def to_png(picture: Image.Image | NDArray[np.uint8]) -> bytes:
    """A picture that somebody decoded as the bytes of a file again, upright, without metadata.

    Raises:
        ImageError: it cannot be written.
    """
    from PIL import Image, ImageOps

    file = io.BytesIO()
    with _mapped_errors():
        im = Image.fromarray(picture) if isinstance(picture, np.ndarray) else ImageOps.exif_transpose(picture)
        flatten(im.copy()).save(file, "PNG")
    return file.getvalue()


_ORIENTATION = 0x0112
"""The EXIF tag."""

JPEG_QUALITY = 95
"""Of pictures that `to_jpeg` encodes."""


def to_jpeg(data: bytes, max_side: int, *, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """The picture as an RGB JPEG without metadata, upright, its longer side at most ``max_side``; never enlarged.

    An upright RGB JPEG that is small enough keeps its coded pixels: only its metadata go. All else is decoded,
    reduced by `thumbnail` and encoded at `JPEG_QUALITY`.

    Args:
        data: the bytes of the file.
        max_side: pixels.
        limits: what is refused.

    Raises:
        ImageError: see its reason.
    """
    with _mapped_errors():
        im, turn, header = _open(data, limits)
        if header.format == "JPEG" and turn == 1 and im.mode == "RGB" and max(im.size) <= max_side:
            im.draft(None, (1, 1))
            im.load()  # what is cut or damaged says so
            return bare_jpeg(data)
        im = thumbnail(data, max_side, limits=limits)
        im.info = {}  # Pillow would carry a comment over
        file = io.BytesIO()
        im.save(file, "JPEG", quality=JPEG_QUALITY)
        return file.getvalue()


def _placement(
    size: tuple[int, int], want: tuple[int, int], preprocessing: Preprocessing
) -> tuple[tuple[float, float, float, float], tuple[int, int]]:
    """Which box of the stored picture is resized to which (width, height)."""
    width, height = size
    whole = (0.0, 0.0, float(width), float(height))
    if preprocessing.fit == "squash":
        return whole, want
    if preprocessing.fit == "pad":
        scale = min(want[0] / width, want[1] / height)
        return whole, (max(1, round(width * scale)), max(1, round(height * scale)))
    scale = preprocessing.crop_fraction * min(width / want[0], height / want[1])
    box_width, box_height = want[0] * scale, want[1] * scale
    # Rounding must not move an edge out of the picture, which Pillow refuses.
    left, top = max(0.0, (width - box_width) / 2), max(0.0, (height - box_height) / 2)
    return (left, top, min(left + box_width, width), min(top + box_height, height)), want


def _open(data: bytes, limits: Limits) -> tuple[Image.Image, int, Header]:
    """Check everything that can be checked without pixels, then open: (picture, orientation, header)."""
    if not data:
        raise _empty()
    if len(data) > limits.max_bytes:
        raise _too_many_bytes(len(data), limits)
    header = read_header(data)
    if header is None:
        raise ImageError(
            "expected a JPEG, PNG, WebP, AVIF, HEIC, TIFF, BMP or GIF picture, received something else",
            reason="unknown-format",
            hint="Export the picture as JPEG or PNG.",
        )
    pixels = limits.max_streamed_pixels if header.streamed else limits.max_pixels
    for width, height in header.sizes:
        _check_largest(width, height, pixels, limits.max_side)
    _check_smallest(*header.sizes[0], limits)
    if (hidden := hidden_content(data)) is not None:
        raise ImageError(
            f"expected a picture and nothing else, received one that is also {hidden}",
            reason="polyglot",
            hint="Export the picture again with an image editor.",
        )
    im = open_header(header)
    if header.format != "HEIF" and im.size != header.sizes[0]:
        raise damaged(f"a header of {header.sizes[0]} pixels over a picture of {im.size}")
    turn = header.orientation
    return im, exif_orientation(im.info.get("exif") or b"") if turn is None else turn, header


def _check_largest(width: int, height: int, pixels: int, side: int) -> None:
    if width * height > pixels or max(width, height) > side:
        raise ImageError(
            f"expected at most {pixels:,} pixels and {side:,} a side, received {width:,} x {height:,}",
            reason="too-many-pixels",
            hint="Scale the picture down.",
        )


def _check_smallest(width: int, height: int, limits: Limits) -> None:
    if min(width, height) < limits.min_side:
        raise ImageError(
            f"expected at least {limits.min_side} pixels a side, received {width} x {height}",
            reason="too-small",
            hint="Use a larger picture.",
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
def _mapped_errors() -> Iterator[None]:
    """Map every error of a decoder to `ImageError`, here and nowhere else."""
    try:
        yield
    except ItemrecError:
        raise
    except MemoryError as error:
        raise ImageError(
            "expected enough memory to decode the picture, received none",
            reason="out-of-memory",
            hint="Scale the picture down, or decode fewer at once.",
        ) from error
    except Exception as error:
        text = printable(" ".join(str(error).split())[:200]) or type(error).__name__
        early = isinstance(error, (EOFError, struct.error, IndexError)) or "truncated" in text
        raise (truncated if early else damaged)(text) from error

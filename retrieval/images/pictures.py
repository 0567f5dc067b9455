"""The only place where untrusted image bytes are opened.

``prepare`` is the one function from bytes to the network's pixels, in training and in serving.
Every failure is an `ImageError` whose ``reason`` is one of `REASONS`. Pixels are sRGB: other colors are
converted by the profile that the file embeds.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import ImageError
from retrieval.images.formats import Header, bare_jpeg, hidden_content, read_header
from retrieval.images.formats.color_profile import notice, usable
from retrieval.images.formats.decoders import (
    flatten,
    is_convertible,
    open_header,
    require_decoder,
    to_srgb,
    upright,
)
from retrieval.images.preprocessing import Preprocessing
from retrieval.images.views import (
    Prepared,
    Thumbnail,
    View,
    Whole,
    mapped_errors,
    placement,
    render,
    resized,
    stored,
)
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
        "decoder-crashed",  # the decoder died of this picture, in a process of its own
        "decoder-hung",  # it took longer than any picture may
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
    views(data, limits=limits)


def size_of(data: bytes, *, limits: Limits = DEFAULT_LIMITS) -> tuple[int, int]:
    """Width and height of a picture as it is stored, in pixels, without decoding any.

    Raises:
        ImageError: see its reason.
    """
    width, height = _checked(data, limits).sizes[0]
    return width, height


def views(data: bytes, *wanted: View, limits: Limits = DEFAULT_LIMITS) -> list[Image.Image]:
    """Several views of one picture, for the price of one decode wherever they can share it.

    Args:
        data: the bytes of the file.
        wanted: what to make of the first frame, each RGB or gray, upright, alpha over white.
        limits: what is refused.

    Returns:
        As many pictures, in their order.

    Raises:
        ImageError: see its reason.
    """
    with mapped_errors():
        return _render(_checked(data, limits), wanted)


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
    return views(data, Whole(target), limits=limits)[0]


def prepare(data: bytes, preprocessing: Preprocessing, *, limits: Limits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
    """Bytes to the network's pixels: the one function for training and serving.

    The orientation is applied after the resize, when there is little left to turn.

    Returns:
        RGB, uint8, shape (height, width, 3).

    Raises:
        ImageError: see its reason.
    """
    return np.array(views(data, Prepared(preprocessing), limits=limits)[0], dtype=np.uint8)


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
    with _flattened(picture, limits) as (flat, turn, profile):
        box, size = placement(flat.size, stored(turn, preprocessing), preprocessing)
        return np.array(resized(flat, box, size, turn, preprocessing, profile), dtype=np.uint8)


def thumbnail_decoded(
    picture: Image.Image | NDArray[np.uint8], size: int, *, limits: Limits = DEFAULT_LIMITS
) -> Image.Image:
    """As `thumbnail`, for a picture that somebody else decoded, see `prepare_decoded`; raises as that does."""
    with _flattened(picture, limits) as (flat, turn, profile):
        whole = upright(flat.copy(), turn)
        whole.thumbnail((size, size), reducing_gap=2.0)
        return to_srgb(whole, profile).convert("RGB")


@contextmanager
def _flattened(picture: Image.Image | NDArray[np.uint8], limits: Limits) -> Iterator[tuple[Image.Image, int, bytes]]:
    """What somebody else decoded, checked and flat: with its EXIF orientation and its color profile."""
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
    with mapped_errors():
        if isinstance(picture, np.ndarray):
            im, turn = Image.fromarray(picture), 1
        else:
            _check_largest(picture.width, picture.height, limits.max_streamed_pixels, limits.max_side)
            _check_smallest(picture.width, picture.height, limits)
            found = picture.getexif().get(_ORIENTATION, 1)
            turn = found if found in range(1, 9) else 1
            im = picture.copy()  # what is transparent becomes white in place
        found = b"" if isinstance(picture, np.ndarray) else picture.info.get("icc_profile")
        profile = usable(found) if isinstance(found, bytes) else b""
        yield flatten(im, inks=profile[16:20] == b"CMYK"), turn, profile


def longer_side(photo: bytes | Image.Image | NDArray[np.uint8]) -> int:
    """Pixels of a photo's longer side as stored; nothing is decoded. Of one that `thumbnail` has read already."""
    if isinstance(photo, np.ndarray):
        return int(max(photo.shape[:2]))
    if not isinstance(photo, bytes):
        return int(max(photo.size))
    header = read_header(photo)
    return max(header.sizes[0]) if header is not None else 0


def thumbnail(data: bytes, size: int, *, limits: Limits = DEFAULT_LIMITS) -> Image.Image:
    """The picture upright in RGB, its longer side at most ``size`` pixels; smaller pictures stay as they are.

    Raises:
        ImageError: see its reason.
    """
    return views(data, Thumbnail(size), limits=limits)[0]


def to_png(picture: Image.Image | NDArray[np.uint8]) -> bytes:
    """A picture that somebody decoded as the bytes of a file again, upright, without metadata.

    Raises:
        ImageError: it cannot be written.
    """
    from PIL import Image, ImageOps

    file = io.BytesIO()
    with mapped_errors():
        im = Image.fromarray(picture) if isinstance(picture, np.ndarray) else ImageOps.exif_transpose(picture)
        flatten(im.copy()).save(file, "PNG")
    return file.getvalue()


_ORIENTATION = 0x0112
"""The EXIF tag."""

_APART = frozenset({"HEIF", "AVIF", "TIFF"})
"""Formats whose decoders are young, or large: docs/decisions/0011-untrusted-pictures.md."""

JPEG_QUALITY = 95
"""Of pictures that `to_jpeg` encodes."""


def to_jpeg(data: bytes, max_side: int, *, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """The picture as an RGB JPEG without metadata, upright, its longer side at most ``max_side``; never enlarged.

    An upright sRGB JPEG that is small enough keeps its coded pixels: only its metadata go. All else is decoded,
    reduced by `thumbnail` and encoded at `JPEG_QUALITY`.

    Args:
        data: the bytes of the file.
        max_side: pixels.
        limits: what is refused.

    Raises:
        ImageError: see its reason.
    """
    with mapped_errors():
        header = _checked(data, limits)
        if (
            header.format == "JPEG"
            and header.orientation == 1
            and not header.profile
            and max(header.sizes[0]) <= max_side
        ):
            im = open_header(header)
            if im.mode == "RGB":
                im.draft(None, (1, 1))
                im.load()  # what is cut or damaged says so
                return bare_jpeg(data)
        [im] = _render(header, (Thumbnail(max_side),))
        im.info = {}  # Pillow would carry a comment over
        file = io.BytesIO()
        im.save(file, "JPEG", quality=JPEG_QUALITY)
        return file.getvalue()


def _checked(data: bytes, limits: Limits) -> Header:
    """Check everything that can be checked without a decoder."""
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
    return header


def _render(header: Header, wanted: Sequence[View]) -> list[Image.Image]:
    """Decode here what decoders of long standing read, elsewhere what may take its process along."""
    if header.format in _APART:
        # Only those who have such a picture pay for the processes.
        from retrieval.images.isolation import pool

        require_decoder(header.format)
        if header.profile and wanted and not is_convertible(header.profile):
            notice("damaged")
        return pool().render(header, wanted)
    return render(header, wanted)


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

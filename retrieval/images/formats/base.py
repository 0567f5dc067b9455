"""What the header readers share: the `Header`, its errors, the EXIF orientation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from retrieval.errors import ImageError

Format = Literal["JPEG", "PNG", "GIF", "WEBP", "AVIF", "HEIF", "TIFF", "BMP"]
ByteOrder = Literal["little", "big"]

MAX_PARTS = 200_000
"""Most chunks, blocks or boxes of one file. Real files have some thousands; a loop over more only costs time."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says about itself.

    Attributes:
        format: by content, never by name.
        sizes: every (width, height) in pixels that a decoder may allocate for: first the stored
            picture before any rotation, then coded frames and tiles that claim another size.
        orientation: EXIF orientation, 1 to 8; None where it is known only after opening.
        data: the bytes that the decoder should see: the picture without what only costs or harms.
        depth: bits of a channel, where the decoder's own account of it is not enough; else 0.
        streamed: the decoder holds some rows at a time and can reduce them as it goes.
        profile: the ICC profile of its colors; empty where they are taken as sRGB.
    """

    format: Format
    sizes: tuple[tuple[int, int], ...]
    orientation: int | None
    data: bytes
    depth: int = 0
    streamed: bool = False
    profile: bytes = b""


def truncated(what: str) -> ImageError:
    """The error for a file that ends before its picture does."""
    return ImageError(
        f"expected a complete picture, received one that ends early: {what}",
        reason="truncated",
        hint="Copy or export the picture again.",
    )


def damaged(what: str) -> ImageError:
    """The error for a file whose fields contradict each other."""
    return ImageError(
        f"expected an intact picture, received a damaged one: {what}",
        reason="damaged",
        hint="Copy or export the picture again.",
    )


def unsupported(what: str) -> ImageError:
    """The error for a picture that is in order but of a kind that is not read."""
    return ImageError(
        f"expected 8- or 16-bit gray, palette, RGB or CMYK pixels, received {what}",
        reason="unsupported-pixels",
        hint="Export the picture as 8-bit JPEG or PNG.",
    )


_INTEGERS = {1: 1, 3: 2, 4: 4, 6: 1, 8: 2, 9: 4}
"""Bytes of a value of each whole-number type of TIFF. Orientations are short by the book, any of these in the wild."""


def find_orientation(exif: bytes) -> int | None:
    """The orientation in a TIFF-structured EXIF block; None when it has none or cannot be read.

    A broken EXIF block does not make the picture broken: every viewer shows it as stored.
    """
    exif = exif.removeprefix(b"Exif\x00\x00")
    if exif[:2] not in (b"II", b"MM"):
        return None
    order: ByteOrder = "little" if exif[:2] == b"II" else "big"
    at = int.from_bytes(exif[4:8], order)
    count = int.from_bytes(exif[at : at + 2], order)
    for entry in range(at + 2, min(at + 2 + 12 * count, len(exif) - 11), 12):
        if int.from_bytes(exif[entry : entry + 2], order) != 0x0112:
            continue
        size = _INTEGERS.get(int.from_bytes(exif[entry + 2 : entry + 4], order), 0)
        number = int.from_bytes(exif[entry + 4 : entry + 8], order)
        where = entry + 8 if size * number <= 4 else int.from_bytes(exif[entry + 8 : entry + 12], order)
        value = int.from_bytes(exif[where : where + size], order)
        if number and 1 <= value <= 8:
            return value
    return None


def exif_orientation(exif: bytes) -> int:
    """As `find_orientation`; 1 where there is none."""
    return find_orientation(exif) or 1


def orientation(value: int) -> int:
    """An EXIF orientation, with values that mean nothing read as upright."""
    return value if 1 <= value <= 8 else 1

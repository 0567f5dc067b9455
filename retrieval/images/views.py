"""What is wanted of a picture, and how one decode gives all of it."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from retrieval.errors import ImageError, ItemrecError
from retrieval.images.formats.base import Header, damaged, exif_orientation, truncated
from retrieval.images.formats.decoders import (
    WHITE,
    flatten,
    is_profile_of,
    open_header,
    to_srgb,
    upright,
)
from retrieval.images.preprocessing import Preprocessing
from retrieval.system.text import printable

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, slots=True)
class Prepared:
    """The network's pixels: RGB, as large as its input.

    Attributes:
        preprocessing: what the network expects.
    """

    preprocessing: Preprocessing


@dataclass(frozen=True, slots=True)
class Whole:
    """The picture upright in RGB.

    Attributes:
        target: the (width, height) that will be needed of it. A JPEG may then come back at 1/2, 1/4 or 1/8 of its
            size, never smaller than the target on any side.
    """

    target: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """The picture upright in RGB and reduced; smaller pictures stay as they are.

    Attributes:
        size: its longer side at most, pixels.
    """

    size: int


@dataclass(frozen=True, slots=True)
class Squashed:
    """The picture upright and averaged into a square, whatever its shape.

    Attributes:
        side: of the square, pixels.
        gray: in gray instead of RGB.
    """

    side: int
    gray: bool = False


View = Prepared | Whole | Thumbnail | Squashed


def render(header: Header, views: Sequence[View]) -> list[Image.Image]:
    """Open a picture and give every view of it; without views it is opened and no pixel is decoded.

    Views that can do with the same decode share it: all of them, except that a JPEG is decoded once for
    each reduction that they ask for.

    Args:
        header: of `retrieval.images.formats.read_header`, held to the limits.
        views: what is wanted.

    Raises:
        ImageError: see its reason.
    """
    with mapped_errors():
        im = _opened(header)
        full, turn = im.size, header.orientation
        if turn is None:
            turn = exif_orientation(im.info.get("exif") or b"")
        decoded: dict[tuple[int, int], Image.Image] = {}
        made: list[Image.Image] = []
        for view in views:
            # What is loaded cannot be reduced any more: a JPEG is opened again, which costs next to nothing.
            if decoded and header.format == "JPEG":
                im = _opened(header)
            draft = im.draft(None, _wanted(view, full, turn)) if _may_reduce(view) else None
            # A reduced decode covers whole 8 x 8 blocks: its last column and row may stick out of the picture.
            inner = draft[1][2:] if draft else full
            if im.size not in decoded:
                im.load()
                decoded[im.size] = flatten(im, header.depth, inks=bool(header.profile))
            made.append(_view(view, decoded[im.size], full, inner, turn, header.profile))
        return made


def _opened(header: Header) -> Image.Image:
    im = open_header(header)
    if header.format != "HEIF" and im.size != header.sizes[0]:
        raise damaged(f"a header of {header.sizes[0]} pixels over a picture of {im.size}")
    return im


def _may_reduce(view: View) -> bool:
    return not (isinstance(view, Whole) and view.target is None)


def _wanted(view: View, size: tuple[int, int], turn: int) -> tuple[int, int]:
    """The (width, height) below which the stored picture must not be reduced."""
    if isinstance(view, Prepared):
        (left, top, right, bottom), want = placement(size, stored(turn, view.preprocessing), view.preprocessing)
        gap = _gap(view.preprocessing)
        width, height = size
        return math.ceil(gap * width * want[0] / (right - left)), math.ceil(gap * height * want[1] / (bottom - top))
    if isinstance(view, Thumbnail):
        return view.size, view.size
    if isinstance(view, Squashed):
        return 2 * view.side, 2 * view.side
    assert view.target is not None
    return view.target[::-1] if turn >= 5 else view.target


def _view(
    view: View, im: Image.Image, full: tuple[int, int], inner: tuple[float, float], turn: int, profile: bytes
) -> Image.Image:
    """One view of a flat decoded picture, which stays as it is.

    Args:
        view: what is wanted.
        im: decoded, perhaps reduced.
        full: the stored (width, height).
        inner: what of ``im`` is the picture: (width, height).
        turn: EXIF orientation.
        profile: of its colors, which are converted once the picture is small.
    """
    if not is_profile_of(profile, im.mode):
        profile, im = b"", im.convert("RGB") if im.mode == "CMYK" else im
    if isinstance(view, Prepared):
        preprocessing = view.preprocessing
        (left, top, right, bottom), size = placement(full, stored(turn, preprocessing), preprocessing)
        across, down = inner[0] / full[0], inner[1] / full[1]
        box = (left * across, top * down, min(right * across, im.width), min(bottom * down, im.height))
        return resized(im, box, size, turn, preprocessing, profile)
    whole = upright(im.copy() if profile else im.convert("RGB"), turn)
    if isinstance(view, Thumbnail):
        whole.thumbnail((view.size, view.size), reducing_gap=2.0)
    elif isinstance(view, Squashed):
        from PIL.Image import Resampling

        whole = whole.convert("L") if view.gray and not profile else whole
        whole = whole.resize((view.side, view.side), Resampling.BOX, reducing_gap=2.0)
    if not profile:
        return whole
    return to_srgb(whole, profile).convert("L" if isinstance(view, Squashed) and view.gray else "RGB")


def stored(turn: int, preprocessing: Preprocessing) -> tuple[int, int]:
    """The (width, height) that is wanted of a picture before it is turned upright."""
    wanted = (preprocessing.width, preprocessing.height)
    return wanted[::-1] if turn >= 5 else wanted


def _gap(preprocessing: Preprocessing) -> float:
    """How many decoded pixels the resize needs for each that it makes: Pillow's box filter takes whole ones."""
    return 3.0 if preprocessing.resample == "area" else 1.0


def resized(
    im: Image.Image,
    box: tuple[float, float, float, float],
    size: tuple[int, int],
    turn: int,
    preprocessing: Preprocessing,
    profile: bytes = b"",
) -> Image.Image:
    """A box of a flat picture at a size in sRGB, turned upright, on white where it does not fill the input."""
    from PIL import Image

    resample = "BOX" if preprocessing.resample == "area" else preprocessing.resample.upper()
    im = im.resize(size, Image.Resampling[resample], box=box, reducing_gap=1.0 + _gap(preprocessing))
    im = upright(to_srgb(im, profile).convert("RGB"), turn)
    wanted = (preprocessing.width, preprocessing.height)
    if im.size != wanted:
        canvas = Image.new("RGB", wanted, WHITE)
        canvas.paste(im, ((canvas.width - im.width) // 2, (canvas.height - im.height) // 2))
        im = canvas
    return im


def placement(
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


@contextmanager
def mapped_errors() -> Iterator[None]:
    """Map every error of a decoder to `ImageError`, here and nowhere else."""
    try:
        yield
    except ItemrecError:
        raise
    except MemoryError as error:
        raise no_memory() from error
    except Exception as error:
        text = printable(" ".join(str(error).split())[:200]) or type(error).__name__
        if "security limit" in text.lower():
            raise ImageError(
                f"expected a picture within the limits of its decoder, received one beyond them: {text}",
                reason="too-many-pixels",
                hint="Scale the picture down, or export it as JPEG or PNG.",
            ) from error
        if "memory allocation" in text.lower():
            raise no_memory() from error
        early = isinstance(error, (EOFError, struct.error, IndexError)) or "truncated" in text
        raise (truncated if early else damaged)(text) from error


def no_memory() -> ImageError:
    """The error for a picture that takes more memory than there is."""
    return ImageError(
        "expected enough memory to decode the picture, received none",
        reason="out-of-memory",
        hint="Scale the picture down, or decode fewer at once.",
    )

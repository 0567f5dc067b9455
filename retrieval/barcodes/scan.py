"""Reads the barcodes of a photo with zxing-cpp (extra: barcode)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from retrieval.barcodes.gtin import normal
from retrieval.barcodes.stripes import Cut, cut_at, cuts
from retrieval.errors import UsageError
from retrieval.types import Quad, ReadCode

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

SIDE = 2000
"""Pixels of a photo's longer side that are searched: half of a phone's twelve megapixels, which a JPEG gives cheaply.

A code is read from about one of these pixels for its thinnest bar on: one that takes a sixteenth of the photo.
"""
GLIMPSED = 1000
"""Pixels of the longer side at which a photo without a place that reads is scanned whole."""
LEAST_READS = 3
"""Reads of a place that must agree on a code."""
_SHARPER = (6, 200, 0)
"""Radius, percent and threshold of the unsharp mask that a magnified cut gets."""


def installed() -> bool:
    """True where the package that reads codes is installed."""
    return find_spec("zxingcpp") is not None


def require_reader() -> None:
    """Refuse to go on without the package that reads codes.

    Raises:
        UsageError: it is not installed.
    """
    if not installed():
        from retrieval.system.installation import install_hint, missing

        raise UsageError(missing("zxing-cpp", "reading barcodes"), hint=install_hint("barcode"))


def read_codes(photo: Image.Image, scale: float = 1.0) -> tuple[ReadCode, ...]:
    """The codes of retail products in a photo, each number once, as they lie from top to bottom.

    Only places with stripes are read (`retrieval.barcodes.stripes`), so that the time is bounded whatever the photo;
    where none reads, one scan of the whole photo says where else to look. A place is read in several ways: one of them
    misreads a blurred code now and then, most of them do not agree on it.

    Args:
        photo: upright, RGB.
        scale: pixels of the whole photo for each pixel of ``photo``, for the corners.

    Returns:
        Only whole codes, whose check digits are right, and of those at one place the one that was read most often.
    """
    gray = photo.convert("L")
    found = _agreed(cuts(gray), scale) or _agreed(_glimpsed(gray), scale)
    return tuple(sorted(found, key=lambda one: (one.quad[0][1], one.quad[0][0])))


def _agreed(places: Iterable[Cut], scale: float) -> list[ReadCode]:
    """The codes that enough reads of a place agree on."""
    reads: dict[str, list[Quad]] = {}
    for cut in places:
        for number, corners in _read_all(cut.pixels):
            quad = tuple(cut.place(x, y) for x, y in corners)
            reads.setdefault(number, []).append(tuple((round(x * scale, 1), round(y * scale, 1)) for x, y in quad))
    found: list[ReadCode] = []
    for number, quads in sorted(reads.items(), key=lambda read: -len(read[1])):
        largest = max(quads, key=_width)
        if len(quads) >= LEAST_READS and not any(_at_one_place(largest, other.quad) for other in found):
            found.append(ReadCode(number, largest))
    return found


def _glimpsed(gray: Image.Image) -> Iterator[Cut]:
    """Places where a scan of the whole photo reads a code: of one that is covered but for a strip, no block is all
    stripes. The scan alone is not believed: its place is read as any other."""
    import zxingcpp
    from PIL import Image

    times = max(1.0, max(gray.size) / GLIMPSED)
    small = gray.resize([max(1, round(side / times)) for side in gray.size], Image.Resampling.BOX)
    for code in zxingcpp.read_barcodes(np.asarray(small), formats=_formats(), try_invert=False, try_downscale=False):
        at = code.position
        corners = (at.top_left, at.top_right, at.bottom_right, at.bottom_left)
        if normal(code.text) is not None:
            yield cut_at(gray, tuple((corner.x * times, corner.y * times) for corner in corners))


def _read_all(pixels: NDArray[np.uint8]) -> list[tuple[str, Quad]]:
    """Every read of a cut: of all of it, and where these do not agree on one code, of parts of its height, too."""
    whole = list(_read(pixels))
    numbers = [number for number, _ in whole]
    if not whole or (len(numbers) >= LEAST_READS and len(set(numbers)) == 1):
        return whole
    half = len(pixels) // 2
    for top in (0, half // 2, half):
        for number, corners in _read(pixels[top : top + half]):
            whole.append((number, tuple((x, y + top) for x, y in corners)))
    return whole


def _read(pixels: NDArray[np.uint8]) -> Iterator[tuple[str, Quad]]:
    """The codes that each way of reading finds. One that is blurred or small is read where black is what is darker
    than the middle gray, not than the neighborhood."""
    import zxingcpp
    from PIL import Image, ImageFilter, ImageOps

    middle, local = zxingcpp.Binarizer.FixedThreshold, zxingcpp.Binarizer.LocalAverage
    plain = ImageOps.autocontrast(Image.fromarray(pixels), cutoff=1)
    sharp = plain.filter(ImageFilter.UnsharpMask(*_SHARPER))
    for picture in (plain, sharp):
        for binarizer in (local, middle):
            for code in zxingcpp.read_barcodes(
                np.ascontiguousarray(picture),
                formats=_formats(),
                binarizer=binarizer,
                text_mode=zxingcpp.TextMode.Plain,
                try_rotate=False,
                try_invert=False,
                try_downscale=False,
            ):
                number = normal(code.text)
                if number is not None:
                    at = code.position
                    corners = (at.top_left, at.top_right, at.bottom_right, at.bottom_left)
                    yield number, tuple((float(corner.x), float(corner.y)) for corner in corners)


def _formats() -> object:
    import zxingcpp

    # Not kept: what is alive when the interpreter ends, the binding complains of.
    return zxingcpp.barcode_formats_from_str("EANUPC|ITF14")


def _width(quad: Quad) -> float:
    return math.dist(quad[0], quad[1])


def _at_one_place(one: Quad, other: Quad) -> bool:
    """True where two codes cannot both lie: their middles are nearer than half of the longer one."""
    middles = (tuple(sum(axis) / 4 for axis in zip(*quad, strict=True)) for quad in (one, other))
    return math.dist(*middles) < 0.5 * max(_width(one), _width(other))

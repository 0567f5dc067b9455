"""Does a picture show anything? A covered lens, a blank wall and noise do not, and are near to some product even so.

A network gives every picture a vector, and against studio pictures on white a gray one lies nearer to some product than
most photos of that product do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CELLS = 16
"""A picture is looked at in so many rows and columns of mean colors: grain and noise are gone then."""
LEAST = 6.0
"""Contrast below which a picture shows nothing (`python benchmarks/blank_photos.py`)."""
_WHITE = 255


def contrast(pixels: NDArray[np.uint8]) -> float:
    """How much the parts of a picture differ: the largest standard deviation of a channel over its cells, of 255.

    White rows and columns at its edges do not count: a network's input has them beside a picture that is not square.

    Args:
        pixels: RGB, shape (height, width, 3).
    """
    seen = (pixels != _WHITE).any(axis=2)
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    if not len(rows):
        return 0.0
    inner = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    cells = np.asarray(Image.fromarray(inner).resize((CELLS, CELLS), Image.Resampling.BOX), np.float32)
    return float(cells.std(axis=(0, 1)).max())


def shows_nothing(pixels: NDArray[np.uint8]) -> bool:
    """True for a picture of nearly one color, or of noise; see `contrast`."""
    return contrast(pixels) < LEAST

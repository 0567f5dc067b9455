"""Is a photo good enough to teach? Small, dark and blurred ones may be labeled, to measure on, and are not taught.

A taught picture is compared with every later photo. One that shows little is near to much.

The limits are where real phone photos end: of 2,936 photos of groceries four are blurred and none is dark or small;
with three tenths of the light .97 are dark, blurred by three pixels of 348 .95 are (`benchmarks/inbox_badges.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from retrieval.images import pictures
from retrieval.images.views import Thumbnail
from retrieval.inbox.entries import Badge

SMALL = 160
"""Shorter side, pixels, below which a photo is small: every network here would have to enlarge it."""
DARK = 40.0
"""Mean brightness, 0 to 255, below which it is dark."""
BLURRED = 0.01
"""Sharpness below which it is blurred."""
_SIDE = 256
_LEAST_SPREAD = 16.0

SEEN = Thumbnail(_SIDE)
"""The view of a photo that is looked at: ask `retrieval.images.pictures.views` for it."""


@dataclass(frozen=True, slots=True)
class Shot:
    """What a photo is like.

    Attributes:
        width: pixels, as it came.
        height: the same.
        brightness: mean of its gray values, 0 to 255.
        sharpness: variance of its Laplacian over the variance of its gray values, both at 256 pixels of the longer
            side: a photo that is dark or of little contrast is not blurred for that.
    """

    width: int
    height: int
    brightness: float
    sharpness: float

    @property
    def badges(self) -> tuple[Badge, ...]:
        """Why it is not taught; empty for a good one."""
        found: list[Badge] = []
        if min(self.width, self.height) < SMALL:
            found.append("small")
        if self.brightness < DARK:
            found.append("dark")
        if self.sharpness < BLURRED:
            found.append("blurred")
        return tuple(found)


def look_at(data: bytes) -> Shot:
    """What the photo in a file is like.

    Raises:
        ImageError: the bytes are no picture we accept.
    """
    [seen] = pictures.views(data, SEEN)
    width, height = pictures.size_of(data)
    return shot_of(seen, width, height)


def shot_of(seen: Image.Image, width: int, height: int) -> Shot:
    """As `look_at`, of the view `SEEN` of a photo of that size, in pixels."""
    gray = np.asarray(seen.convert("L"), np.float32)
    spread = max(float(gray.var()), _LEAST_SPREAD)
    return Shot(width, height, float(gray.mean()), float(_laplacian(gray).var()) / spread)


def _laplacian(gray: NDArray[np.float32]) -> NDArray[np.float32]:
    if min(gray.shape) < 3:
        return np.zeros((1, 1), np.float32)
    around = gray[:-2, 1:-1] + gray[2:, 1:-1] + gray[1:-1, :-2] + gray[1:-1, 2:]
    edges: NDArray[np.float32] = 4 * gray[1:-1, 1:-1] - around
    return edges

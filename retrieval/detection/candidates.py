"""How alike a catalog picture and its place in a photo are, and which of several products at one place it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.detection.instances import Box
from retrieval.verification.alignment import correlation
from retrieval.verification.geometry import Place
from retrieval.verification.opencv import opencv

SIDE = 96
"""Pixels of the longer side at which a place is compared: small items of blurred photos show no more."""
PIXELS, COLORS = 0.3, -0.1
"""Correlations that an item has at least."""
BOTH, CLEAR = 0.8, 0.6
"""And either their sum, or that of the pixels alone: a package of one color has no colors to compare."""
OVERLAP = 0.3
"""Boxes that overlap by more of their union are one item."""
CLOSE = 0.1
"""Two products at one place whose likeness differs by less cannot be told apart."""

_FEWEST = 200
_BLUR = 1.5


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A catalog picture at a place of a photo.

    Attributes:
        number: of the picture among those that were tried.
        place: where.
        box: around it, within the photo: left, top, right, bottom.
        pixels: correlation of what is seen there, all channels together, in [-1, 1].
        colors: of its colors without brightness, in [-1, 1].
        seen: part of the item that lies within the photo, in [0, 1].
    """

    number: int
    place: Place
    box: tuple[float, float, float, float]
    pixels: float
    colors: float
    seen: float

    @property
    def likeness(self) -> float:
        """What decides between several at one place, in [-2, 2]."""
        return self.pixels + self.colors


def content_box(pixels: NDArray[np.uint8]) -> Box:
    """What an item fills of its picture: all of it, or where a plain background ends.

    Args:
        pixels: RGB, uint8, shape (height, width, 3).
    """
    height, width = pixels.shape[:2]
    values = pixels.astype(np.int16)
    rim = np.concatenate([part.reshape(-1, 3) for part in (values[:3], values[-3:], values[:, :3], values[:, -3:])])
    ground = np.median(rim, axis=0)
    if (np.abs(rim - ground).max(axis=1) <= 12).mean() < 0.5:
        return 0, 0, width, height
    item = np.abs(values - ground).max(axis=2) > 24
    rows, columns = np.flatnonzero(item.mean(axis=1) > 0.01), np.flatnonzero(item.mean(axis=0) > 0.01)
    if len(rows) < 8 or len(columns) < 8:
        return 0, 0, width, height
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def look_alike(
    number: int, picture: NDArray[np.uint8], photo: NDArray[np.uint8], place: Place, box: Box
) -> Candidate | None:
    """How alike a picture and its place are; None where it is no item, or too little of it lies in the photo.

    Args:
        number: of the picture.
        picture: in the pixels that its keypoints were found in, RGB, uint8, shape (height, width, 3).
        photo: likewise.
        place: of the picture in the photo.
        box: of the picture, what the item fills of it.
    """
    cv2 = opencv()
    left, top, right, bottom = box
    scale = SIDE / max(right - left, bottom - top)
    size = (max(8, round((right - left) * scale)), max(8, round((bottom - top) * scale)))
    small = cv2.resize(np.ascontiguousarray(picture[top:bottom, left:right]), size, interpolation=cv2.INTER_AREA)
    stretch = np.array([[(right - left) / size[0], 0, left], [0, (bottom - top) / size[1], top], [0, 0, 1.0]])
    to_photo = place.homography @ stretch
    flags = cv2.WARP_INVERSE_MAP
    there = cv2.warpPerspective(photo, to_photo, size, flags=cv2.INTER_LINEAR | flags)
    inside = np.ones(photo.shape[:2], np.uint8)
    mask = cv2.warpPerspective(inside, to_photo, size, flags=cv2.INTER_NEAREST | flags).astype(bool)
    if mask.sum() < _FEWEST:
        return None
    one, other = (cv2.GaussianBlur(im, (0, 0), _BLUR) for im in (small, there))
    tints = [cv2.cvtColor(im, cv2.COLOR_RGB2LAB)[mask][:, 1:].astype(np.float32) for im in (one, other)]
    pixels = correlation(one[mask].astype(np.float32), other[mask].astype(np.float32))
    colors = correlation(*tints)
    if pixels < PIXELS or colors < COLORS or (pixels + colors < BOTH and pixels < CLEAR):
        return None
    (x0, y0), (x1, y1) = place.quad.min(axis=0), place.quad.max(axis=0)
    height, width = photo.shape[:2]
    around = (max(0.0, float(x0)), max(0.0, float(y0)), min(float(width), float(x1)), min(float(height), float(y1)))
    return Candidate(number, place, around, pixels, colors, float(mask.mean()))


def settle(candidates: Sequence[Candidate]) -> list[list[Candidate]]:
    """The items: of candidates that overlap, the one that looks most alike, and behind it those that it displaced."""
    items: list[list[Candidate]] = []
    for candidate in sorted(candidates, key=lambda c: (-c.likeness, c.number)):
        home = next((item for item in items if overlap(item[0].box, candidate.box) > OVERLAP), None)
        if home is None:
            items.append([candidate])
        else:
            home.append(candidate)
    return items


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes, in [0, 1]."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    if wide <= 0 or high <= 0:
        return 0.0
    both = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return wide * high / (both - wide * high)

"""Where a photo has stripes that may be a barcode's: upright, magnified cuts of these places, for a reader to read.

Readers scan a whole photo along its rows and columns. A code that lies askew, is blurred or small is read only when it
is cut out, turned and magnified. Its place is where all gradients point along one line, found by the structure tensor
of blocks; blocks of one direction that touch are one place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from retrieval.system.union_find import Sets
from retrieval.types import Quad

BLOCK = 10
"""Side of a block, pixels of the picture that is looked at."""
LOOKED_AT = {1000: 6, 350: 3}
"""Longer sides of the pictures that are looked at, pixels, and how many places are cut out after each look: those with
the strongest stripes first, since text, blinds and grids have stripes, too. In the first, the bars of a code that can
just be read are told apart; in the second those of one that fills the photo touch in every block."""
COHERENT = 0.55
"""How much of a block's gradient lies along one line, 0 to 1."""
CONTRAST = 6.0
"""Gray levels a pixel that a block's gradients have at least."""
ASKEW = np.radians(12.0)
"""By how much the directions of neighboring blocks of one place may differ."""
LEAST = 5
"""Blocks of a place at least."""
WIDE, HIGH = 900, 130
"""Pixels of a cut at most."""
MAGNIFIED = 3.0
"""Pixels of a cut for each of the photo, at most."""

_QUIET = 0.06
"""Half of the blank that a code needs at either end, as a part of its length."""


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """A place of a photo with stripes, turned so that they stand upright.

    Attributes:
        pixels: gray, uint8, shape (height, width).
        to_photo: the affine map (a, b, c, d, e, f) from a pixel (x, y) of the cut to (ax + by + c, dx + ey + f) of the
            photo.
    """

    pixels: NDArray[np.uint8]
    to_photo: tuple[float, float, float, float, float, float]

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the cut lies in the photo."""
        a, b, c, d, e, f = self.to_photo
        return a * x + b * y + c, d * x + e * y + f


def cuts(photo: Image.Image) -> Iterator[Cut]:
    """The places of a photo with stripes, the strongest first; as many as `LOOKED_AT` says at most.

    Args:
        photo: gray.
    """
    for longer_side, most in LOOKED_AT.items():
        scale = max(1.0, max(photo.size) / longer_side)
        size = max(1, round(photo.width / scale)), max(1, round(photo.height / scale))
        small = photo.resize(size, Image.Resampling.BOX)
        for blocks, angle in _places(np.asarray(small, np.float32))[:most]:
            yield _cut(photo, (blocks + 0.5) * BLOCK * scale, angle, BLOCK * scale)


def cut_at(photo: Image.Image, quad: Quad) -> Cut:
    """The place of a code that was read, as `cuts` gives places.

    Args:
        photo: gray.
        quad: corners of the code, clockwise from its own upper left one.
    """
    corners = np.array(quad, np.float64)
    along = corners[1] + corners[2] - corners[0] - corners[3]
    return _cut(photo, corners, float(np.arctan2(along[1], along[0])), _QUIET * float(np.linalg.norm(along)) / 2)


def _places(gray: NDArray[np.floating[Any]]) -> list[tuple[NDArray[np.float64], float]]:
    """Places as block coordinates (x, y), shape (n, 2), and the direction of their gradients; strongest first."""
    across, down = np.diff(gray, axis=1), np.diff(gray, axis=0)
    # Both where four pixels meet: half a pixel apart, they would disagree about thin bars that lie askew.
    across, down = 0.5 * (across[:-1] + across[1:]), 0.5 * (down[:, :-1] + down[:, 1:])
    xx, yy, xy = (_blocks(part) for part in (across * across, down * down, across * down))
    energy = xx + yy
    along = np.hypot(xx - yy, 2 * xy)
    strong = (energy > CONTRAST**2) & (along > COHERENT * energy)
    rows, columns = np.nonzero(strong)
    if len(rows) < LEAST:
        return []
    angles = 0.5 * np.arctan2(2 * xy, xx - yy)[rows, columns]
    number = np.full(strong.shape, -1)
    number[rows, columns] = np.arange(len(rows))
    joined = Sets(len(rows))
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        near_rows, near_columns = rows + dy, columns + dx
        inside = (near_rows < strong.shape[0]) & (near_columns >= 0) & (near_columns < strong.shape[1])
        ours = np.flatnonzero(inside)
        theirs = number[near_rows[inside], near_columns[inside]]
        ours, theirs = ours[theirs >= 0], theirs[theirs >= 0]
        apart = np.abs((angles[ours] - angles[theirs] + np.pi / 2) % np.pi - np.pi / 2)
        for one, other in zip(ours[apart < ASKEW], theirs[apart < ASKEW], strict=True):
            joined.join(int(one), int(other))
    weight = np.sqrt(energy[rows, columns])
    large = [np.array(members) for members in joined.members().values() if len(members) >= LEAST]
    large.sort(key=lambda members: -float(weight[members].sum()))
    found = []
    for members in large[: max(LOOKED_AT.values())]:
        at = rows[members], columns[members]
        angle = 0.5 * float(np.arctan2(2 * xy[at].sum(), (xx[at] - yy[at]).sum()))
        found.append((np.stack([columns[members], rows[members]], axis=1).astype(np.float64), angle))
    return found


def _blocks(values: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """The mean of each whole block; what does not fill one at the right and below is left out."""
    high, wide = (side // BLOCK for side in values.shape)
    rows = values[: high * BLOCK, : wide * BLOCK].reshape(high, BLOCK, wide * BLOCK).sum(axis=1)
    blocks: NDArray[np.floating[Any]] = rows.reshape(high, wide, BLOCK).sum(axis=2) / BLOCK**2
    return blocks


def _cut(photo: Image.Image, centers: NDArray[np.float64], angle: float, block: float) -> Cut:
    """A place, cut out with room for the quiet zones at both ends, its bars upright."""
    axis = np.array([np.cos(angle), np.sin(angle)])
    side = np.array([-axis[1], axis[0]])
    along, beside = centers @ axis, centers @ side
    length = float(np.ptp(along)) + 4 * block
    height = min(float(np.ptp(beside)) + block, length)
    zoom = min(MAGNIFIED, WIDE / length)
    wide, high = max(8, round(length * zoom)), max(8, min(HIGH, round(height * zoom)))
    middle = axis * (along.min() + along.max()) / 2 + side * (beside.min() + beside.max()) / 2
    corner = middle - axis * length / 2 - side * height / 2
    (a, d), (b, e) = axis * length / wide, side * height / high
    to_photo = (float(a), float(b), float(corner[0]), float(d), float(e), float(corner[1]))
    cut = photo.transform(
        (wide, high), Image.Transform.AFFINE, to_photo, resample=Image.Resampling.BILINEAR, fillcolor=255
    )
    return Cut(np.asarray(cut), to_photo)

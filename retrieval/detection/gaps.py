"""Places of a shelf that no item explains: between and beside the items of a row, where something is printed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

WIDE = 0.6
"""Width of a gap, as a part of that of the row's items, from which on something can stand in it."""
DENSE = 0.5
"""Points in a gap for its size, as a part of those in the row's items, from which on something does."""
FEWEST = 2
"""Items of a row at least: one alone says little of where its row goes."""

Box = tuple[float, float, float, float]


def unexplained(rows: Sequence[Sequence[Box]], points: NDArray[np.float32], size: tuple[int, int]) -> list[Box]:
    """Boxes of what stands in rows and is none of their items, row by row from left to right.

    Args:
        rows: boxes of items (left, top, right, bottom), each row from left to right, in pixels.
        points: where anything is printed, shape (n, 2), pixels.
        size: width and height of the photo.
    """
    found: list[Box] = []
    taken = [box for row in rows for box in row]
    for row in rows:
        if len(row) < FEWEST:
            continue
        width = float(np.median([right - left for left, _, right, _ in row]))
        density = float(np.median([_density(points, box) for box in row]))
        edges = [(0.0, row[0]), *((row[n][2], row[n + 1]) for n in range(len(row) - 1)), (row[-1][2], None)]
        for number, (start, following) in enumerate(edges):
            end = float(size[0]) if following is None else following[0]
            neighbors = row[max(0, number - 1) : number + 1]
            top = float(np.mean([box[1] for box in neighbors]))
            bottom = float(np.mean([box[3] for box in neighbors]))
            gap = (start, top, end, bottom)
            if end - start < WIDE * width or bottom - top < 8 or any(_covers(box, gap) for box in taken):
                continue
            if _density(points, gap) >= DENSE * density > 0:
                found.append(gap)
    return found


def _density(points: NDArray[np.float32], box: Box) -> float:
    left, top, right, bottom = box
    x, y = points[:, 0], points[:, 1]
    inside = (left <= x) & (x < right) & (top <= y) & (y < bottom)
    return float(inside.sum()) / max((right - left) * (bottom - top), 1.0)


def _covers(box: Box, gap: Box) -> bool:
    """True where an item of another row reaches over a good part of a gap."""
    wide = min(box[2], gap[2]) - max(box[0], gap[0])
    high = min(box[3], gap[3]) - max(box[1], gap[1])
    return wide > 0 and high > 0 and wide * high > 0.3 * (gap[2] - gap[0]) * (gap[3] - gap[1])

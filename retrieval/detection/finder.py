"""Looks for catalog pictures in a photo, and says what lies where."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from retrieval.detection.candidates import CLOSE, Candidate, look_alike, settle
from retrieval.detection.instances import find_places
from retrieval.detection.known import CONTRAST, KnownPicture
from retrieval.system.threads import ordered_map
from retrieval.verification.keypoints import Keypoints, find_keypoints
from retrieval.verification.matching import unit

PHOTO_SIDE, LARGE_PHOTO_SIDE = 1280, 1920
"""Pixels of a photo's longer side at which points are found; the second where it has more than the first."""
PHOTO_POINTS = 6000
MOST_PLACES = 3000
"""Places in one photo that are compared: a catalog of one texture would have many more, and none of them is an item."""
RIVALS = 3
"""Products that an item names at most."""


def photo_points(photo: NDArray[np.uint8]) -> Keypoints:
    """The points of a photo of many items.

    Args:
        photo: RGB, uint8, shape (height, width, 3).

    Raises:
        UsageError: OpenCV is not installed.
    """
    side = PHOTO_SIDE if max(photo.shape[:2]) <= PHOTO_SIDE else LARGE_PHOTO_SIDE
    return find_keypoints(photo, side=side, most=PHOTO_POINTS, contrast=CONTRAST)


def look_for(
    pictures: Iterable[KnownPicture], photo: NDArray[np.uint8], points: Keypoints, *, threads: int = 1
) -> list[list[Candidate]]:
    """The items of a photo: each a list of candidates at one place, the most alike first.

    Args:
        pictures: what to look for; candidates name them by their number.
        photo: RGB, uint8, shape (height, width, 3).
        points: of it, as `photo_points` finds them.
        threads: that look at once.

    Raises:
        UsageError: OpenCV is not installed.
    """

    compared, units = 0, unit(points.descriptors)

    def look(numbered: tuple[int, KnownPicture]) -> list[Candidate]:
        nonlocal compared
        if compared >= MOST_PLACES:
            return []
        number, picture = numbered
        places = find_places(picture.keypoints, points, picture.box, units)
        compared += len(places)
        seen = (look_alike(number, picture.pixels, photo, place, picture.box) for place in places)
        return [candidate for candidate in seen if candidate is not None]

    found = ordered_map(look, enumerate(pictures), threads)
    return settle([candidate for several in found for candidate in several])


def rivals(item: Sequence[Candidate], product_of: Callable[[int], str]) -> tuple[list[Candidate], bool]:
    """The best candidate of each product at one place, and whether the second is as good as the first.

    Args:
        item: candidates at one place, the most alike first.
        product_of: the product of a picture's number.
    """
    best: dict[str, Candidate] = {}
    for candidate in item:
        best.setdefault(product_of(candidate.number), candidate)
    ranked = list(best.values())[:RIVALS]
    close = len(ranked) > 1 and ranked[0].likeness - ranked[1].likeness < CLOSE
    return ranked, close

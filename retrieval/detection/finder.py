"""Looks for catalog pictures in a photo, and says what lies where."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from retrieval.detection.candidates import CLOSE, Candidate, look_alike, settle
from retrieval.detection.instances import find_places
from retrieval.detection.known import CONTRAST, KnownPicture
from retrieval.detection.siblings import Difference, lay, tell
from retrieval.system.threads import ordered_map
from retrieval.verification.keypoints import Keypoints, find_keypoints
from retrieval.verification.matching import unit

PHOTO_SIDE, LARGE_PHOTO_SIDE = 1280, 1920
"""Pixels of a photo's longer side at which points are found; the second where it has more than the first."""
PHOTO_POINTS = 6000
MOST_PLACES = 3000
"""Places in one photo that are compared: a catalog of one texture would have many more, and none of them is an item."""
WITHIN, COMPARED = 0.6, 6
"""Products at one place that are compared with each other: how much less alike than the first, and how many."""
MOST_TOLD = 200
"""Places at which products are compared with each other: it takes a tenth of a second, and more places are a mosaic."""
CLEARLY, AT_MOST, STRONG = 0.1, 1.5, 20.0
"""What `retrieval.detection.siblings.Difference` says where one of them is told from another: how far towards it at
least, at most (more is something that stands before the item), and how strongly at least."""
SURE = 1.15
"""Likeness at least of what is sure: what looks less like it is mostly a product that the catalog lacks."""
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


def rivals(
    item: Sequence[Candidate],
    product_of: Callable[[int], str],
    pictures: Sequence[KnownPicture],
    photo: NDArray[np.uint8],
    *,
    told: bool = True,
) -> tuple[list[Candidate], bool]:
    """The best candidate of each product at one place, the right one first, and whether that is not sure.

    Args:
        item: candidates at one place, the most alike first.
        product_of: the product of a picture's number.
        pictures: those that were looked for, by number.
        photo: RGB, uint8, shape (height, width, 3).
        told: compare the products with each other; else the most alike comes first, and is not sure beside a second
            that is about as alike.
    """
    best: dict[str, Candidate] = {}
    for candidate in item:
        best.setdefault(product_of(candidate.number), candidate)
    ranked = list(best.values())
    near = [one for one in ranked if one.likeness > ranked[0].likeness - WITHIN][:COMPARED]
    if told and len(near) > 1:
        first, unsure = _told_apart([pictures[one.number] for one in near], near, photo)
    else:
        first, unsure = 0, any(ranked[0].likeness - one.likeness < CLOSE for one in ranked[1:])
    chosen = near[first]
    ordered = [chosen, *(one for one in ranked if one is not chosen)]
    return ordered[:RIVALS], unsure or chosen.likeness < SURE


def _told_apart(
    pictures: Sequence[KnownPicture], near: Sequence[Candidate], photo: NDArray[np.uint8]
) -> tuple[int, bool]:
    """Which of several candidates no other one beats, and whether that is not sure."""
    laid = lay([(known, one.place.homography) for known, one in zip(pictures, near, strict=True)], photo)
    towards: dict[tuple[int, int], Difference] = {}
    for one, other in combinations(range(len(near)), 2):
        found = tell(laid, one, other)
        if found is not None:
            towards[one, other] = found
            towards[other, one] = Difference(-found.towards, found.strength)
    worst = [min((d.towards for (a, _), d in towards.items() if a == one), default=None) for one in range(len(near))]
    told = [one for one, value in enumerate(worst) if value is not None]
    first = max(told, key=lambda one: (worst[one], -one), default=0)
    others = [one for one in range(len(near)) if one != first]
    unsure = False
    for one in others:
        found = towards.get((first, one))
        if found is None:
            unsure |= near[first].likeness - near[one].likeness < CLOSE
        else:
            unsure |= not (CLEARLY <= found.towards <= AT_MOST and found.strength >= STRONG)
    return first, unsure

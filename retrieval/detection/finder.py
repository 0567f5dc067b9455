"""Looks for catalog pictures in photos, and keeps what it knows of the pictures for the next photo."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.detection.candidates import CLOSE, Candidate, content_box, look_alike, settle
from retrieval.detection.instances import Box, find_places
from retrieval.system.threads import ordered_map
from retrieval.verification.keypoints import Keypoints, find_keypoints
from retrieval.verification.opencv import opencv

LOOKS = ((384, 0.0), (192, 2.5))
"""Pixels of a catalog picture's longer side at which its points are found, and how far it is blurred before: 192 pixels
are about as large as an item is on a shelf, and what a blurred photo shows is found in a picture as blurred."""
PICTURE_SIDE = 384
"""Pixels of the longer side of a picture that is looked at."""
PICTURE_POINTS = 300
CONTRAST = 0.004
"""Of a point at least: a fifth of the usual, since photos of shelves are blurred."""
PHOTO_SIDE, LARGE_PHOTO_SIDE = 1280, 1920
"""Pixels of a photo's longer side at which points are found; the second where it has more than the first."""
PHOTO_POINTS = 6000
KEPT = 4000
"""Pictures that are kept in memory, about 100 KB each at most."""
MOST_PLACES = 3000
"""Places in one photo that are compared: a catalog of one texture would have many more, and none of them is an item."""
RIVALS = 3
"""Products that an item names at most."""


@dataclass(frozen=True, slots=True, eq=False)
class KnownPicture:
    """A catalog picture, ready to be looked for.

    Attributes:
        pixels: RGB, uint8, shape (height, width, 3), as it is compared.
        box: what the item fills of it.
        keypoints: of it, for each of `LOOKS`.
    """

    pixels: NDArray[np.uint8]
    box: Box
    keypoints: tuple[Keypoints, ...]

    @classmethod
    def of(cls, pixels: NDArray[np.uint8]) -> KnownPicture:
        """Looks at a picture once.

        Raises:
            UsageError: OpenCV is not installed.
        """
        cv2 = opencv()
        times = max(pixels.shape[:2]) / PICTURE_SIDE
        looks = []
        for side, blur in LOOKS:
            far = blur * times * PICTURE_SIDE / side
            seen = cv2.GaussianBlur(pixels, (0, 0), far) if blur else pixels
            looks.append(find_keypoints(seen, side=side, most=PICTURE_POINTS, contrast=CONTRAST))
        return cls(pixels, content_box(pixels), tuple(looks))

    @property
    def plain(self) -> bool:
        """Whether it shows an item before a plain background, which is cut off."""
        left, top, right, bottom = self.box
        height, width = self.pixels.shape[:2]
        return bool((right - left) * (bottom - top) < width * height)


class KnownPictures:
    """The pictures that were looked for last. Thread-safe."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, KnownPicture | None] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, content_hash: str, read: Callable[[], NDArray[np.uint8] | None]) -> KnownPicture | None:
        """A picture, looked at when it is asked for first; None for one that cannot be read.

        Args:
            content_hash: of its bytes.
            read: gives its pixels, RGB, uint8, shape (height, width, 3), or None.
        """
        with self._lock:
            if content_hash in self._kept:
                self._kept.move_to_end(content_hash)
                return self._kept[content_hash]
        pixels = read()
        known = None if pixels is None else KnownPicture.of(pixels)
        with self._lock:
            self._kept[content_hash] = known
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return known


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

    compared = 0

    def look(numbered: tuple[int, KnownPicture]) -> list[Candidate]:
        nonlocal compared
        if compared >= MOST_PLACES:
            return []
        number, picture = numbered
        places = find_places(picture.keypoints, points, picture.box)
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

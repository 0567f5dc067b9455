"""A photo laid under a catalog picture, and how alike the two are there, pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.verification.geometry import Place, moved
from retrieval.verification.opencv import opencv

SIDE = 160
"""Pixels of the longer side that is compared: small prints blur, which a homography some pixels off needs."""

_FEWEST = 400
"""Pixels that must be seen in both."""
_FEWEST_DIFFERING = 200
"""The same where two pictures are compared with a photo, between points that agree."""
_FLAT = 4.0
"""Of a channel that varies less, noise is not made a difference."""
_MOST_LEANING = 0.7


@dataclass(frozen=True, slots=True)
class Alike:
    """How alike a catalog picture and a photo of it are, where both show the same.

    Attributes:
        correlation: of their brightness, normalized, in [-1, 1]; light and contrast do not matter.
        color: of their colors without brightness, in [-1, 1]; the tint of the light does not matter.
        seen: part of the catalog picture that lies within the photo, in [0, 1].
    """

    correlation: float
    color: float
    seen: float


def align(
    picture: NDArray[np.uint8], photo: NDArray[np.uint8], place: Place, *, side: int = SIDE
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_]]:
    """The catalog picture, the photo as if it had been taken from where that was, and where there is a photo.

    Args:
        picture: of the catalog, in the pixels that its keypoints were found in: uint8, shape (height, width, 3).
        photo: likewise.
        place: of the picture in the photo.
        side: pixels of the longer side of what is returned.

    Returns:
        Two pictures, uint8, shape (h, w, 3), and a mask of shape (h, w).

    Raises:
        UsageError: OpenCV is not installed.
    """
    cv2 = opencv()
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    to_photo = place.homography @ np.diag([width / size[0], height / size[1], 1.0])
    photo, to_photo = _reduced(photo, to_photo, place, size)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpPerspective(photo, to_photo, size, flags=flags)
    mask = cv2.warpPerspective(
        np.ones(photo.shape[:2], np.uint8), to_photo, size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    )
    return small, warped, mask.astype(bool)


def compare(
    picture: NDArray[np.uint8],
    photo: NDArray[np.uint8],
    place: Place,
    *,
    printed: NDArray[np.float32] | None = None,
) -> Alike | None:
    """How alike they are; None where too little of the picture lies in the photo, or there is nothing to see on it.

    Args:
        picture: see `align`.
        photo: see `align`.
        place: of the picture in the photo.
        printed: points of the picture, shape (n, 2): only what lies between them is compared, which leaves out the
            wall behind a product. None compares all of the picture.

    Raises:
        UsageError: OpenCV is not installed.
    """
    cv2 = opencv()
    one, other, mask = align(picture, photo, place)
    seen = float(mask.mean())
    if printed is not None and len(printed) > 2:
        mask = mask & between(printed, (picture.shape[1], picture.shape[0]), mask.shape)
    if mask.sum() < _FEWEST:
        return None
    a, b = (cv2.cvtColor(cv2.GaussianBlur(im, (0, 0), 1.0), cv2.COLOR_RGB2LAB) for im in (one, other))
    x, y = a[mask].astype(np.float32), b[mask].astype(np.float32)
    return Alike(
        correlation=correlation(x[:, :1], y[:, :1]),
        color=correlation(x[:, 1:], y[:, 1:]),
        seen=seen,
    )


def leaning(
    picture: NDArray[np.uint8],
    other: NDArray[np.uint8],
    photo: NDArray[np.uint8],
    places: tuple[Place, Place],
    *,
    printed: NDArray[np.float32],
) -> float | None:
    """Which of two pictures a photo in which both were found is more like, only where the two differ.

    Two packages of one brand agree nearly everywhere, and what they agree in says nothing.

    Args:
        picture: see `align`.
        other: another picture that was found in the photo, likewise.
        photo: see `align`.
        places: of the picture in the photo, and of the other.
        printed: see `compare`, at least three points.

    Returns:
        About 0.5 where the photo looks there like the picture, -0.5 where it looks like the other, within [-0.7, 0.7];
        None where too little of both is seen, or the two do not differ.

    Raises:
        UsageError: OpenCV is not installed.
    """
    cv2 = opencv()
    height, width = picture.shape[:2]
    try:
        to_other = np.linalg.inv(places[1].homography) @ places[0].homography
    except np.linalg.LinAlgError:
        return None
    quad = moved(to_other, np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float64))
    if not np.isfinite(quad).all():
        return None
    one, seen, mask = align(picture, photo, places[0])
    _, rival, there = align(picture, other, Place(to_other, quad, places[0].inliers))
    mask = mask & there & between(printed, (width, height), mask.shape)
    if mask.sum() < _FEWEST_DIFFERING:
        return None

    def standardized(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        values = cv2.cvtColor(cv2.GaussianBlur(pixels, (0, 0), 2.0), cv2.COLOR_RGB2LAB)[mask].astype(np.float32)
        whole: NDArray[np.float32] = (values - values.mean(axis=0)) / np.maximum(values.std(axis=0), _FLAT)
        return whole

    a, b, c = standardized(one), standardized(rival), standardized(seen)
    apart = a - b
    differ = float(np.square(apart).sum())
    if differ < 1e-3 * len(a):
        return None
    return float(np.clip(((c - (a + b) / 2) * apart).sum() / differ, -_MOST_LEANING, _MOST_LEANING))


def between(points: NDArray[np.float32], size: tuple[int, int], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """What lies between points of a picture, in the mask of a picture of another size.

    Args:
        points: shape (n, 2), at least three.
        size: (width, height) of the picture that they are of.
        shape: (height, width) of the mask.
    """
    cv2 = opencv()
    inside = np.zeros(shape[:2], np.uint8)
    scale = np.array([shape[1] / size[0], shape[0] / size[1]])
    cv2.fillConvexPoly(inside, cv2.convexHull(np.rint(points * scale).astype(np.int32)), 1)
    return inside.astype(bool)


def correlation(x: NDArray[np.float32], y: NDArray[np.float32]) -> float:
    """Of all channels together, each about its own mean; 0 where one of the two is flat."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    norm = float(np.sqrt(np.square(x).sum() * np.square(y).sum()))
    return float(np.clip((x * y).sum() / norm, -1.0, 1.0)) if norm > 1e-3 * len(x) else 0.0


def _reduced(
    photo: NDArray[np.uint8], to_photo: NDArray[np.float64], place: Place, size: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """A photo that is much larger than what is made of it, reduced first: taking every fifth pixel shows noise."""
    sides = np.linalg.norm(np.roll(place.quad, -1, axis=0) - place.quad, axis=1)
    times = min(float(sides[::2].mean()) / size[0], float(sides[1::2].mean()) / size[1])
    if times <= 1.5:
        return photo, to_photo
    cv2 = opencv()
    height, width = photo.shape[:2]
    smaller = (max(1, round(width / times)), max(1, round(height / times)))
    reduced = cv2.resize(photo, smaller, interpolation=cv2.INTER_AREA)
    return reduced, np.diag([smaller[0] / width, smaller[1] / height, 1.0]) @ to_photo

"""Where a flat picture lies in a photo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.verification.keypoints import Keypoints
from retrieval.verification.opencv import opencv

FEWEST = 8
"""Pairs that must agree: of fewer, chance makes a homography now and then."""

_TOLERANCE = 0.02
"""How far a point may lie from where the homography puts it, as a part of the photo's longer side."""
_TRIES = 1000
_SURE = 0.995
_SMALLEST = 0.05
"""The shortest side of a picture in the photo, as a part of the photo's shorter side: below it nothing can be read."""
_SLIMMEST = 0.2
"""The shorter side of the quadrilateral over the longer one, each as a part of the picture's own."""
_STEEPEST = 3.0
"""How much larger one edge of a picture may be than the opposite one: more is no package held up to a camera."""


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where a picture lies in a photo.

    Attributes:
        homography: from pixels of the picture to pixels of the photo, float64, shape (3, 3).
        quad: the picture's corners in the photo, clockwise from its upper left one, float64, shape (4, 2).
        inliers: the pairs that agree, as rows of those that were given, shape (m,).
    """

    homography: NDArray[np.float64]
    quad: NDArray[np.float64]
    inliers: NDArray[np.intp]


def locate(
    picture: Keypoints, photo: Keypoints, pairs: NDArray[np.intp], *, fewest: int = FEWEST, steady: bool = False
) -> Place | None:
    """The place that most of the pairs agree on; None where too few do, or where it is no place for a flat thing.

    The same pairs always give the same place.

    Args:
        picture: of the catalog.
        photo: which may show it.
        pairs: as `retrieval.verification.matching.match` gives them, picture first, shape (k, 2).
        fewest: pairs that must agree, at least 4.
        steady: where the homography is no such place, try an affine map, which few and noisy pairs bend less. It is
            right about curved and small things more often, and about absent ones wrong more often.

    Raises:
        UsageError: OpenCV is not installed.
    """
    if len(pairs) < max(fewest, 4):
        return None
    from_points, to_points = picture.points[pairs[:, 0]], photo.points[pairs[:, 1]]
    for estimate in (_homography, _affine)[: 1 + steady]:
        found, agree = estimate(from_points, to_points, _TOLERANCE * max(photo.size))
        if found is None or agree.sum() < fewest:
            continue
        quad = _quad(found, picture.size)
        if quad is not None and _sane(quad, picture.size, photo.size):
            return Place(found, quad, np.flatnonzero(agree))
    return None


_Estimate = tuple[NDArray[np.float64] | None, NDArray[np.bool_]]


def _homography(one: NDArray[np.float32], other: NDArray[np.float32], tolerance: float) -> _Estimate:
    cv2 = opencv()
    try:
        found, mask = cv2.findHomography(one, other, cv2.USAC_MAGSAC, tolerance, maxIters=_TRIES, confidence=_SURE)
    except cv2.error:  # of points on a line, say
        return None, np.zeros(0, bool)
    if found is None or mask is None:
        return None, np.zeros(0, bool)
    return np.asarray(found, np.float64), mask.ravel().astype(bool)


def _affine(one: NDArray[np.float32], other: NDArray[np.float32], tolerance: float) -> _Estimate:
    cv2 = opencv()
    found, mask = cv2.estimateAffine2D(
        one, other, method=cv2.RANSAC, ransacReprojThreshold=tolerance, maxIters=_TRIES, confidence=_SURE
    )
    if found is None or mask is None:
        return None, np.zeros(0, bool)
    return np.vstack([found, [0.0, 0.0, 1.0]]), mask.ravel().astype(bool)


def moved(homography: NDArray[np.float64], points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Points of a picture in the photo, shape (n, 2); inf where they lie on or beyond the horizon."""
    whole = np.column_stack([points, np.ones(len(points))]) @ homography.T
    behind = whole[:, 2] <= 1e-9
    whole[behind, 2] = 1.0
    found: NDArray[np.float64] = whole[:, :2] / whole[:, 2:]
    found[behind] = np.inf
    return found


def _quad(homography: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64] | None:
    width, height = size
    if not np.isfinite(homography).all():
        return None
    # The sign of a homography means nothing: the picture's center shall be before the camera.
    if homography[2] @ (width / 2, height / 2, 1.0) < 0.0:
        homography *= -1.0
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float64)
    quad = moved(homography, corners)
    return quad if np.isfinite(quad).all() else None


def _sane(quad: NDArray[np.float64], picture: tuple[int, int], photo: tuple[int, int]) -> bool:
    """Convex, not mirrored, neither a speck nor a sliver, and not tilted out of sight."""
    sides = np.roll(quad, -1, axis=0) - quad
    following = np.roll(sides, -1, axis=0)
    if (sides[:, 0] * following[:, 1] - sides[:, 1] * following[:, 0] <= 0.0).any():
        return False
    lengths = np.hypot(sides[:, 0], sides[:, 1])
    if lengths.min() < _SMALLEST * min(photo) or lengths.max() > 20.0 * max(photo):
        return False
    across, down = lengths[::2], lengths[1::2]
    if across.max() > _STEEPEST * across.min() or down.max() > _STEEPEST * down.min():
        return False
    scales = sorted((float(across.mean()) / picture[0], float(down.mean()) / picture[1]))
    return scales[0] >= _SLIMMEST * scales[1]

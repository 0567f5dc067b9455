"""Where a catalog picture lies in a photo, each time that it does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from retrieval.verification.geometry import Place, moved
from retrieval.verification.keypoints import Keypoints
from retrieval.verification.matching import nearest_in, unit
from retrieval.verification.opencv import opencv

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels of a picture; right and bottom are outside."""

RATIO = 0.9
"""How near the most similar point of a picture must be, as a part of the distance of its second: a point of the photo
looks for its like in the picture, so that it does not matter how often the picture is in the photo."""
ALIKE = 0.75
"""Scalar product of two descriptors at least."""
VOTES = 5
"""Points that vote for one place at least."""
FEWEST = 6
"""Points that a homography must agree with."""
MOST = 60
"""Places of one picture in one photo: more is a mosaic, and ends the search."""
MOST_PAIRS = 3000
"""Pairs of one picture that vote, the most similar ones."""

_OCTAVES, _DEGREES, _PART = 0.6, 30.0, 0.35
"""Bins of votes: in octaves of size, degrees of direction, and parts of the item's size for where its middle is."""
_OFFSETS = np.array(np.meshgrid(*[[0.0, 0.5]] * 4)).reshape(4, 16)
"""A heap of votes on the edge of a bin lies in the middle of a shifted one."""
_TOLERANCE = 0.03
"""How far a point may lie from where the homography puts it, as a part of the item's size."""
_STEEPEST, _SLIMMEST, _SMALLEST = 2.0, 0.4, 12.0
"""How much longer an edge may be than the opposite one; how squeezed a picture may be; pixels of an edge at least."""


def find_places(
    looks: Sequence[Keypoints], photo: Keypoints, box: Box, units: NDArray[np.float32] | None = None
) -> list[Place]:
    """The places of a picture in a photo.

    Args:
        looks: points of the picture, with frames, as it is sharp and as it is blurred: all in its own pixels.
        photo: points of the photo, with frames.
        box: of the picture, what the item fills of it: its corners are those of the places.
        units: the photo's descriptors, as `retrieval.verification.matching.unit` makes them; whoever looks for many
            pictures makes them once.

    Raises:
        UsageError: OpenCV is not installed.
    """
    there = unit(photo.descriptors) if units is None else units
    # Each look for itself: the same corner, sharp and blurred, would be its own rival.
    pairs = [_pairs(look, there) for look in looks]
    if sum(map(len, pairs)) < VOTES:
        return []
    votes = _Votes(looks, photo, pairs, box)
    found: list[Place] = []
    for _ in range(MOST):
        heap = votes.largest()
        if heap is None:
            break
        place, near = votes.fitted(heap)
        if place is None:
            votes.drop(heap)
        else:
            found.append(place)
            votes.drop(np.union1d(near, place.inliers))
    return found


def _pairs(picture: Keypoints, photo: NDArray[np.float32]) -> NDArray[np.intp]:
    """Pairs of points, picture first, the most similar ones."""
    pairs, alike = nearest_in(photo, unit(picture.descriptors), ratio=RATIO, least=ALIKE)
    kept: NDArray[np.intp] = pairs[np.argsort(-alike, kind="stable")[:MOST_PAIRS], ::-1]
    return kept


class _Votes:
    """What each pair says of the item: where its middle is in the photo, its size and its direction."""

    def __init__(
        self, looks: Sequence[Keypoints], photo: Keypoints, pairs: Sequence[NDArray[np.intp]], box: Box
    ) -> None:
        each = list(zip(looks, pairs, strict=True))
        frames = [look.frames for look in looks if look.frames is not None]
        assert len(frames) == len(looks)
        assert photo.frames is not None
        there = np.concatenate(pairs)[:, 1]
        self._from = np.concatenate([look.points[own[:, 0]] for look, own in each])
        self._to = photo.points[there]
        starts = np.cumsum([0, *map(len, looks)])
        self._which = np.concatenate([own[:, 0] + start for own, start in zip(pairs, starts, strict=False)])
        self._box = box
        left, top, right, bottom = box
        self._side = float(np.sqrt((right - left) * (bottom - top)))
        one = np.concatenate([own[pair[:, 0]] for own, pair in zip(frames, pairs, strict=True)])
        other = photo.frames[there]
        times = other[:, 0] / one[:, 0]
        self._octave = np.log2(times)
        self._turn = (other[:, 1] - one[:, 1]) % 360.0
        turn = np.deg2rad(self._turn)
        across, down = ((left + right) / 2 - self._from[:, 0], (top + bottom) / 2 - self._from[:, 1])
        self._x = self._to[:, 0] + times * (np.cos(turn) * across - np.sin(turn) * down)
        self._y = self._to[:, 1] + times * (np.sin(turn) * across + np.cos(turn) * down)
        self._alive = np.ones(len(there), bool)
        self._bins, number = self._binned()
        self._counts = np.bincount(self._bins.ravel(), minlength=number)

    def _binned(self) -> tuple[NDArray[np.intp], int]:
        """The bin of each vote in each of 16 shifted ways of binning, shape (16, n), and how many there are."""
        keys = []
        for way, (a, b, c, d) in enumerate(_OFFSETS.T):
            octave = np.floor(self._octave / _OCTAVES + a)
            grid = _PART * self._side * np.exp2((octave - a + 0.5) * _OCTAVES)
            turn = np.floor(self._turn / _DEGREES + b) % (360.0 / _DEGREES)
            x, y = np.floor(self._x / grid + c), np.floor(self._y / grid + d)
            key = np.full(len(x), way, np.int64)
            for value, room in ((octave + 64, 128), (turn, 16), (x + 4096, 8192), (y + 4096, 8192)):
                key = key * room + np.clip(value, 0, room - 1).astype(np.int64)
            keys.append(key)
        _, bins = np.unique(np.concatenate(keys), return_inverse=True)
        bins = bins.reshape(len(_OFFSETS.T), -1)
        return bins, int(bins.max()) + 1

    def largest(self) -> NDArray[np.intp] | None:
        """The votes of the fullest bin; None where no bin has enough."""
        fullest = int(self._counts.argmax())
        if self._counts[fullest] < VOTES:
            return None
        return np.flatnonzero(self._alive & (self._bins == fullest).any(axis=0))

    def fitted(self, heap: NDArray[np.intp]) -> tuple[Place | None, NDArray[np.intp]]:
        """The place that a heap and what lies around it agree on, and those votes; None where they do not."""
        x, y, octave = (float(np.median(values[heap])) for values in (self._x, self._y, self._octave))
        middle = float(np.rad2deg(np.angle(np.exp(1j * np.deg2rad(self._turn[heap])).mean())))
        size = self._side * 2.0**octave
        turned = np.abs((self._turn - middle + 180.0) % 360.0 - 180.0) < 35.0
        around = np.hypot(self._x - x, self._y - y) < 0.4 * size
        near = np.flatnonzero(self._alive & turned & around & (np.abs(self._octave - octave) < 0.7))
        if len(np.unique(self._which[near])) < FEWEST - 1:
            return None, near
        tolerance = max(2.0, _TOLERANCE * size)
        homography = self._homography(near, tolerance)
        if homography is None:
            return None, near
        away = np.linalg.norm(moved(homography, self._from) - self._to, axis=1)
        inliers = np.flatnonzero(self._alive & (away < tolerance) & (np.abs(self._octave - octave) < 1.0))
        if len(inliers) < FEWEST or len(np.unique(self._which[inliers])) < FEWEST - 1:
            return None, near
        finer, _ = opencv().findHomography(self._from[inliers], self._to[inliers], 0)
        homography = homography if finer is None else np.asarray(finer, np.float64)
        left, top, right, bottom = self._box
        corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64)
        quad = moved(homography, corners)
        if not _sane(quad, right - left, bottom - top):
            return None, near
        return Place(homography, quad, inliers), near

    def _homography(self, votes: NDArray[np.intp], tolerance: float) -> NDArray[np.float64] | None:
        if len(votes) < 4:
            return None
        cv2 = opencv()
        try:
            found, _ = cv2.findHomography(
                self._from[votes], self._to[votes], cv2.USAC_MAGSAC, tolerance, maxIters=500, confidence=0.99
            )
        except cv2.error:  # of points on a line, say
            return None
        return np.asarray(found, np.float64) if found is not None and np.isfinite(found).all() else None

    def drop(self, votes: NDArray[np.intp]) -> None:
        """Take votes out of the count."""
        gone = votes[self._alive[votes]]
        self._alive[gone] = False
        np.subtract.at(self._counts, self._bins[:, gone].ravel(), 1)


def _sane(quad: NDArray[np.float64], width: float, height: float) -> bool:
    """Convex, not mirrored, not tilted out of sight, and not squeezed."""
    if not np.isfinite(quad).all():
        return False
    sides = np.roll(quad, -1, axis=0) - quad
    following = np.roll(sides, -1, axis=0)
    if (sides[:, 0] * following[:, 1] - sides[:, 1] * following[:, 0] <= 0.0).any():
        return False
    lengths = np.hypot(sides[:, 0], sides[:, 1])
    across, down = lengths[::2], lengths[1::2]
    if lengths.min() < _SMALLEST or max(across.max() / across.min(), down.max() / down.min()) > _STEEPEST:
        return False
    times = sorted((float(across.mean()) / width, float(down.mean()) / height))
    return times[0] >= _SLIMMEST * times[1]

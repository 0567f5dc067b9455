"""Points of a picture that are found again in another one: corners and blobs of what is printed on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.verification.opencv import opencv

SIDE = 384
"""Pixels of the longer side of the picture that points are looked for in: what is larger is reduced."""
MOST = 300
"""Points of a picture that are kept, the strongest ones."""
LARGEST = 2048
"""The largest ``side`` that may be asked for: it bounds time and memory, whatever the photo."""

CONTRAST = 0.02
_SMALLEST = 16
"""Below so many pixels a side a picture has no points."""
_ENLARGED = 2.0
"""A small picture is enlarged so many times at most: more shows nothing more."""
_SCALE = 512.0
"""RootSIFT values lie in [0, 1], nearly all of them below a half: so many steps to 1 fill a byte."""


@dataclass(frozen=True, slots=True, eq=False)
class Keypoints:
    """The points of one picture, n of them.

    Attributes:
        size: (width, height) of the picture in pixels.
        points: x and y of each, in pixels of that picture, float32, shape (n, 2).
        descriptors: what each looks like, uint8, shape (n, 128): RootSIFT, the square root of a SIFT descriptor of
            sum 1, so that a scalar product of two is how alike they are.
        frames: size in pixels of that picture and direction in degrees of each, float32, shape (n, 2); None where
            they were not kept.
    """

    size: tuple[int, int]
    points: NDArray[np.float32]
    descriptors: NDArray[np.uint8]
    frames: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.points)


def find_keypoints(
    pixels: NDArray[np.uint8], *, side: int = SIDE, most: int = MOST, contrast: float = CONTRAST
) -> Keypoints:
    """The strongest points of a picture; a blank one has none.

    Args:
        pixels: upright, RGB, uint8, shape (height, width, 3).
        side: pixels of the longer side at which points are looked for, up to `LARGEST`. A larger picture is reduced,
            a smaller one enlarged, to twice its size at most. Time and memory grow with its square.
        most: how many points are kept.
        contrast: of a point at least; where little is printed or the picture is blurred, less finds more.

    Raises:
        UsageError: OpenCV is not installed.
        ValueError: ``side`` is too large, or the array is no picture.
    """
    if not 0 < side <= LARGEST:
        raise ValueError(f"expected a side of 1 to {LARGEST} pixels, received {side}")
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"expected RGB pixels, uint8, (height, width, 3), received {pixels.dtype}, {pixels.shape}")
    cv2 = opencv()
    height, width = pixels.shape[:2]
    nothing = Keypoints(
        (width, height), np.zeros((0, 2), np.float32), np.zeros((0, 128), np.uint8), np.zeros((0, 2), np.float32)
    )
    if min(width, height) < _SMALLEST:
        return nothing
    scale = min(side / max(width, height), _ENLARGED)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if min(size) < _SMALLEST:
        return nothing
    # Reduced before it is made gray: of a photo of 50 megapixels nothing else is copied.
    how = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_CUBIC
    small = pixels if size == (width, height) else cv2.resize(pixels, size, interpolation=how)
    gray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    found, descriptors = cv2.SIFT_create(nfeatures=most, contrastThreshold=contrast).detectAndCompute(gray, None)
    if descriptors is None or not found:
        return nothing
    # Points of equal strength are all kept: a mosaic of a thousand equal tiles has thousands.
    order = np.argsort([-point.response for point in found], kind="stable")[:most]
    points = np.array([found[i].pt for i in order], np.float32)
    points *= np.array([width / size[0], height / size[1]], np.float32)
    frames = np.array([(found[i].size / scale, found[i].angle) for i in order], np.float32)
    return Keypoints((width, height), points, _root(descriptors[order]), frames)


def _root(descriptors: NDArray[np.float32]) -> NDArray[np.uint8]:
    total = np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-6)
    scaled = np.rint(np.sqrt(descriptors / total) * _SCALE)
    whole: NDArray[np.uint8] = np.minimum(scaled, 255.0).astype(np.uint8)
    return whole

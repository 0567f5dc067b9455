"""Where a photo differs from a catalog picture that was laid over it, drawn for people."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from retrieval.verification.geometry import Place
from retrieval.verification.opencv import opencv

SIDE = 256
"""Pixels of the longer side that is drawn."""
_MUCH = 60.0
"""A distance in Lab from which on a place is drawn in full color."""


def place_of(quad: NDArray[np.float64], size: tuple[int, int]) -> Place:
    """The place whose corners are known.

    Args:
        quad: corners in the photo, clockwise from the picture's upper left one, shape (4, 2).
        size: (width, height) of the picture.
    """
    cv2 = opencv()
    width, height = size
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    homography = cv2.getPerspectiveTransform(corners, np.asarray(quad, np.float32)).astype(np.float64)
    return Place(homography, np.asarray(quad, np.float64), np.zeros(0, np.intp))


def differences(picture: NDArray[np.uint8], photo: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The photo in gray, with a red that is the stronger the more it differs; light and tint do not count.

    Args:
        picture: the catalog picture, uint8, shape (height, width, 3), as `retrieval.verification.align` gives it.
        photo: likewise.
        mask: where the two are compared, shape (height, width).
    """
    cv2 = opencv()
    one, other = (
        cv2.cvtColor(cv2.GaussianBlur(im, (0, 0), 2.0), cv2.COLOR_RGB2LAB).astype(np.float32) for im in (picture, photo)
    )
    gray = np.repeat(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)[:, :, None], 3, axis=2).astype(np.float32)
    if not mask.any():
        return gray.astype(np.uint8)
    mean, spread = one[mask].mean(axis=0), one[mask].std(axis=0)
    as_lit = (other - other[mask].mean(axis=0)) / np.maximum(other[mask].std(axis=0), 4.0) * spread + mean
    apart = np.where(mask, np.sqrt(np.square(one - as_lit).sum(axis=2)), 0.0)
    part = np.clip((apart - 0.25 * _MUCH) / (0.75 * _MUCH), 0.0, 1.0)[:, :, None]
    drawn = (1.0 - 0.85 * part) * (0.45 * gray + 130.0) + 0.85 * part * np.array([215.0, 25.0, 15.0], np.float32)
    return np.clip(drawn, 0, 255).astype(np.uint8)


def outlined(photo: NDArray[np.uint8], quad: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The photo with a quadrilateral drawn into it.

    Args:
        photo: uint8, shape (height, width, 3); stays as it is.
        quad: corners, in its pixels, shape (4, 2).
    """
    cv2 = opencv()
    drawn = photo.copy()
    corners = np.rint(np.clip(quad, -1e4, 1e4)).astype(np.int32)
    cv2.polylines(drawn, [corners], True, (255, 255, 255), 5, cv2.LINE_AA)
    cv2.polylines(drawn, [corners], True, (11, 98, 196), 3, cv2.LINE_AA)
    return drawn

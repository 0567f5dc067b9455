"""Printed things, drawn: a flat picture of words and colors, and photos of it from any side."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from retrieval.verification.opencv import opencv

Pixels = NDArray[np.uint8]


WORDS = ("MILK", "fresh 1,5 %", "one liter")


def label(
    seed: int,
    size: tuple[int, int] = (200, 260),
    band: tuple[int, int, int] = (200, 40, 40),
    words: tuple[str, ...] = WORDS,
) -> Pixels:
    """A label full of marks, with one band of color across it."""
    cv2 = opencv()
    random = np.random.default_rng(seed)
    width, height = size
    picture = np.full((height, width, 3), 235, np.uint8)
    for _ in range(40):
        x, y = (int(random.integers(limit)) for limit in size)
        w, h = (int(n) for n in random.integers(6, 40, 2))
        cv2.rectangle(picture, (x, y), (x + w, y + h), [int(c) for c in random.integers(0, 255, 3)], -1)
    cv2.rectangle(picture, (0, height * 2 // 3), (width, height * 5 // 6), band, -1)
    for number, word in enumerate(words):
        cv2.putText(picture, word, (10, 40 + 60 * number), cv2.FONT_HERSHEY_DUPLEX, 1.1, (20, 20, 20), 2)
    return picture


def photo_of(picture: Pixels, quad: list[tuple[int, int]], size: tuple[int, int] = (400, 360), seed: int = 0) -> Pixels:
    """The picture held into a photo with its corners at a quadrilateral, before a wall, with noise and in dim light."""
    cv2 = opencv()
    height, width = picture.shape[:2]
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    to_photo = cv2.getPerspectiveTransform(corners, np.array(quad, np.float32))
    photo = np.full((size[1], size[0], 3), 120, np.uint8)
    cv2.warpPerspective(picture, to_photo, size, dst=photo, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_TRANSPARENT)
    noisy = 0.8 * photo.astype(np.float32) + np.random.default_rng(seed).normal(0.0, 4.0, photo.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)

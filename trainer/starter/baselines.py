"""What the starter has to beat: a color histogram, and the same network untrained."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from retrieval.images.preprocessing import Preprocessing

Embed = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Prepared pictures, uint8 (n, h, w, 3), to unit vectors, float32 (n, d)."""

_BINS = 8


def color_histogram(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The square root of each picture's RGB histogram of 8 x 8 x 8 bins.

    Square roots of shares are unit vectors, and their squared L2 is twice the squared
    Hellinger distance of the histograms.

    Args:
        pixels: RGB, uint8, shape (n, h, w, 3).

    Returns:
        Unit vectors, shape (n, 512).
    """
    levels = (pixels >> 5).astype(np.int64)  # (n, h, w, 3), 0..7
    bins = (levels[..., 0] * _BINS + levels[..., 1]) * _BINS + levels[..., 2]  # (n, h, w)
    counts = [np.bincount(picture.ravel(), minlength=_BINS**3) for picture in bins]
    shares = np.stack(counts) / (pixels.shape[1] * pixels.shape[2])
    roots: NDArray[np.float32] = np.sqrt(shares).astype(np.float32)
    return roots


def untrained(preprocessing: Preprocessing, *, seed: int) -> Embed:
    """The starter's network with random weights."""
    import keras

    from trainer.networks.export import embed
    from trainer.starter.recipe import build_network

    keras.utils.set_random_seed(seed)
    network = build_network()
    return lambda pixels: embed(network, pixels, preprocessing)

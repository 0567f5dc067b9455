"""What shows nothing, and what does."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from retrieval.images.blank import contrast, shows_nothing
from tests.fakes import picture

GRAY = np.full((90, 120, 3), 128, np.uint8)
NOISE = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)


@pytest.mark.parametrize("pixels", [GRAY, GRAY * 0, GRAY | 255, GRAY[:1, :1], NOISE])
def test_one_color_and_noise_show_nothing(pixels: NDArray[np.uint8]) -> None:
    assert shows_nothing(pixels)


def test_the_white_beside_a_picture_that_is_not_square_does_not_count() -> None:
    padded = np.full((120, 120, 3), 255, np.uint8)
    padded[15:105] = GRAY
    assert contrast(padded) == 0.0


def test_what_shows_something_shows_it_also_in_a_corner() -> None:
    assert not shows_nothing(np.asarray(picture(1)))
    spot = GRAY.copy()
    spot[:30, :30] = (200, 30, 30)
    assert not shows_nothing(spot)

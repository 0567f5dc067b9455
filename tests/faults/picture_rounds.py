"""One round of damaging a picture: it is pixels or an `ImageError` of one line, and the process lives."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from random import Random

import numpy as np

from retrieval.errors import ImageError
from retrieval.images.pictures import Limits, prepare
from retrieval.images.preprocessing import Preprocessing
from tests.faults.forked import forked
from tests.faults.mutations import mutate
from tests.pictures import samples

LIMITS = Limits(max_pixels=1_000_000, max_streamed_pixels=1_000_000)
TRIES = 25
"""Pictures in one process."""


def picture_round(place: Path, seed: int) -> None:
    """Damage pictures of every format and prepare them for a network."""

    wholes = samples()  # made once, not in each process

    def look() -> None:
        random = Random(seed)
        for _ in range(TRIES):
            data = wholes[random.choice(sorted(wholes))]
            with suppress(ImageError):
                pixels = prepare(mutate(data, random), Preprocessing(height=24, width=24), limits=LIMITS)
                assert (pixels.shape, pixels.dtype) == ((24, 24, 3), np.uint8)

    try:
        forked(look)
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}") from error

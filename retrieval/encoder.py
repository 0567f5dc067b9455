"""Photos in, unit vectors out: the `Encoder` protocol and the light runtimes behind it."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.preprocessing import Preprocessing


class Encoder(Protocol):
    """An embedding model ready to run. One instance per thread; instances are cheap beside the model."""

    @property
    def dimension(self) -> int:
        """Length d of its vectors."""
        ...

    @property
    def preprocessing(self) -> Preprocessing:
        """What it expects of its input."""
        ...

    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed pictures that `retrieval.images` prepared.

        Args:
            pixels: RGB, uint8, shape (n, height, width, 3), n >= 1.

        Returns:
            Unit vectors, float32, shape (n, d).

        Raises:
            EncoderError: the runtime failed, or a vector is not finite or has norm 0.
        """
        ...

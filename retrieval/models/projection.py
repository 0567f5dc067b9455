"""A projection behind a network: what was learned from a user's photos on top of a frozen encoder, in numpy.

Of an encoder's unit vector ``u`` it makes ``(u - mean) @ matrix``, which is made unit length again. It is a file in the
bundle, ``projection.f32``: the mean and then the matrix row by row, little-endian float32, and nothing else.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MAX_BYTES = 256 << 20

_STORED = np.dtype("<f4")


# A plain class: a query would feel the making of a dataclass.
class Projection:
    """A mean and a matrix.

    Attributes:
        mean: of the unit vectors that it was learned from, float32, shape (c,).
        matrix: float32, shape (c, d).
    """

    __slots__ = ("matrix", "mean")

    def __init__(self, mean: NDArray[np.float32], matrix: NDArray[np.float32]) -> None:
        if matrix.ndim != 2 or mean.shape != matrix.shape[:1] or not matrix.size:
            raise ValueError(
                f"expected a mean (c,) and a matrix (c, d), received shapes {mean.shape} and {matrix.shape}"
            )
        if not (np.isfinite(mean).all() and np.isfinite(matrix).all()):
            raise ValueError("expected finite values in the projection, received others")
        self.mean = mean
        self.matrix = matrix

    def __call__(self, unit: NDArray[np.float32]) -> NDArray[np.float32]:
        """Project unit vectors, float32, shape (n, c); returns shape (n, d), not yet of unit length."""
        # One by one: a product of matrices may round a row otherwise in other company (docs/decisions/0005-models.md).
        return np.stack([(row - self.mean) @ self.matrix for row in unit]).astype(np.float32, copy=False)

    def to_bytes(self) -> bytes:
        """The content of its file."""
        return self.mean.astype(_STORED).tobytes() + self.matrix.astype(_STORED).tobytes()

    @classmethod
    def read(cls, file: Path, features: int, dimension: int) -> Projection:
        """Read what `to_bytes` gave.

        Args:
            file: whose size and hash were checked.
            features: c.
            dimension: d.

        Raises:
            ValueError: the file holds something else.
            OSError: it cannot be read.
        """
        values = np.frombuffer(file.read_bytes(), _STORED).astype(np.float32, copy=False)
        return cls(values[:features], values[features:].reshape(features, dimension))


def size_of(features: int, dimension: int) -> int:
    """Bytes of the file of a projection from c ``features`` to d ``dimension`` values."""
    return _STORED.itemsize * features * (dimension + 1)

"""What every runtime offers: one network file open, what its tensors are, and arrays in, arrays out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Runtime = Literal["litert", "onnx"]


@dataclass(frozen=True, slots=True)
class Tensor:
    """An input or output of a network.

    Attributes:
        name: as the file calls it.
        shape: sizes; None where the file leaves one open.
        dtype: numpy's name of the element type.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str

    def __str__(self) -> str:
        sizes = ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.name} ({sizes}) {self.dtype}"


class Network(Protocol):
    """A network ready to run, for one thread at a time."""

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """Its inputs, in the file's order."""
        ...

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """Its outputs, in the file's order."""
        ...

    @property
    def chunk(self) -> int:
        """How many pictures a call takes best."""
        ...

    def run(self, x: NDArray[np.float32], output: int) -> NDArray[np.float32]:
        """One output for one input batch.

        Args:
            x: shape (n, height, width, 3) or (n, 3, height, width), as the network wants it.
            output: index into `outputs`.

        Returns:
            float32, shape (n, ...). A copy that stays valid.

        Raises:
            EncoderError: the runtime failed.
        """
        ...

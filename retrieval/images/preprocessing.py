"""How pixels become the network's input; stored in the bundle, one function for training and serving."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Fit = Literal["squash", "pad", "crop"]
Layout = Literal["NHWC", "NCHW"]
Resample = Literal["bilinear", "bicubic", "lanczos", "area"]


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Everything between a decoded RGB picture and the input tensor.

    Attributes:
        height: input rows, pixels.
        width: input columns, pixels.
        fit: ``squash`` stretches to the input; ``pad`` fits inside it on white; ``crop`` covers it
            and keeps the center.
        crop_fraction: for ``crop``: the part of the shorter side that is kept, in (0, 1].
        resample: the interpolation of the resize.
        scale: multiplies the 0..255 values first (1/255 gives 0..1).
        mean: subtracted per channel after scaling.
        std: divides per channel after subtracting.
        layout: ``NHWC`` or ``NCHW``.
    """

    height: int
    width: int
    fit: Fit = "pad"
    crop_fraction: float = 1.0
    resample: Resample = "bilinear"
    scale: float = 1.0 / 255.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    layout: Layout = "NHWC"

    def __post_init__(self) -> None:
        if type(self.height) is not int or type(self.width) is not int:
            raise TypeError(
                f"expected whole pixels, received a height of {self.height!r} and a width of {self.width!r}"
            )
        if not (1 <= self.height <= 4096 and 1 <= self.width <= 4096):
            raise ValueError(f"expected an input of 1 to 4096 pixels a side, received {self.height}x{self.width}")
        if self.fit not in ("squash", "pad", "crop"):
            raise ValueError(f"expected fit squash, pad or crop, received {self.fit!r}")
        if self.layout not in ("NHWC", "NCHW"):
            raise ValueError(f"expected layout NHWC or NCHW, received {self.layout!r}")
        if self.resample not in ("bilinear", "bicubic", "lanczos", "area"):
            raise ValueError(f"expected resample bilinear, bicubic, lanczos or area, received {self.resample!r}")
        if not 0.0 < self.crop_fraction <= 1.0:
            raise ValueError(f"expected a crop fraction in (0, 1], received {self.crop_fraction}")
        if len(self.mean) != 3 or len(self.std) != 3 or 0.0 in self.std:
            raise ValueError("expected three channel means and three non-zero channel deviations")
        if not all(math.isfinite(v) for v in (self.scale, *self.mean, *self.std)):
            raise ValueError("expected a finite scale, finite means and finite deviations")

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back."""
        return asdict(self) | {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Preprocessing:
        """Read what `to_json` wrote; raises ValueError or TypeError on anything else."""
        values = dict(data)
        values["mean"] = tuple(float(v) for v in values.get("mean", (0.0, 0.0, 0.0)))
        values["std"] = tuple(float(v) for v in values.get("std", (1.0, 1.0, 1.0)))
        values |= {key: float(values[key]) for key in ("scale", "crop_fraction") if key in values}
        return cls(**values)

    def tensor(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Normalize pictures already resized to the input.

        Args:
            pixels: RGB, uint8, shape (n, height, width, 3).

        Returns:
            float32, shape (n, height, width, 3) or (n, 3, height, width).
        """
        _, height, width, channels = pixels.shape
        x = np.empty(pixels.shape, dtype=np.float32)
        # Channels repeated along a whole row: numpy's loops over 3 values at a time are 5 times slower.
        mean = np.tile(np.asarray(self.mean, dtype=np.float32), width)
        std = np.tile(np.asarray(self.std, dtype=np.float32), width)
        for source, target in zip(pixels, x, strict=True):
            rows = target.reshape(height, width * channels)
            np.multiply(source.reshape(height, width * channels), np.float32(self.scale), out=rows, dtype=np.float32)
            rows -= mean
            rows /= std
        return np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if self.layout == "NCHW" else x

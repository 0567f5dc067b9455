"""Photos as the trainer holds them: small, decoded, labeled, in one array on disk or in memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class PhotoSet:
    """Labeled pictures of one size.

    Attributes:
        pixels: RGB, uint8, shape (n, h, w, 3); may be a memory map.
        labels: the product of each picture, 0..c-1, shape (n,).
        products: the product ids, length c.
        families: the family of each product, shape (c,): products that look alike share one.
        studio: which pictures are catalog pictures rather than photos, shape (n,).
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    products: tuple[str, ...]
    families: NDArray[np.int64]
    studio: NDArray[np.bool_]

    def __post_init__(self) -> None:
        n = len(self.labels)
        if len(self.pixels) != n or len(self.studio) != n:
            raise ValueError(
                f"expected one label and one studio flag a picture, received {len(self.pixels)} "
                f"pictures, {n} labels, {len(self.studio)} flags"
            )
        if len(self.families) != len(self.products):
            raise ValueError(f"expected one family a product, received {len(self.families)} and {len(self.products)}")

"""Photos as the trainer holds them: small, decoded, labeled, in one array on disk or in memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import CatalogError
from retrieval.images.pictures import prepare, read_file
from retrieval.images.preprocessing import Preprocessing

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".avif", ".heic", ".heif", ".tif", ".tiff", ".bmp", ".gif"})


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


def read_photos(folder: Path, preprocessing: Preprocessing) -> PhotoSet:
    """The pictures of ``folder/<product_id>/*``, prepared as serving prepares them.

    Raises:
        CatalogError: there are no product folders with pictures.
        ImageError: a picture is not one we accept.
    """
    files = sorted(file for file in folder.glob("*/*") if file.suffix.lower() in _SUFFIXES and file.is_file())
    if not files:
        raise CatalogError(
            f"expected product folders with pictures in {folder}, received none",
            hint="name a folder that holds one folder of pictures a product",
        )
    products = sorted({file.parent.name for file in files})
    numbers = {product: i for i, product in enumerate(products)}
    with ThreadPoolExecutor(2) as pool:
        pixels = list(pool.map(lambda file: prepare(read_file(file), preprocessing), files))
    return PhotoSet(
        pixels=np.stack(pixels),
        labels=np.array([numbers[file.parent.name] for file in files], dtype=np.int64),
        products=tuple(products),
        families=np.arange(len(products)),
        studio=np.zeros(len(files), dtype=np.bool_),
    )

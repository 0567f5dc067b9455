"""Catalogs of drawn pictures whose views of a product differ, as photos do; for the tests of the audit."""

from __future__ import annotations

import functools
import io
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 64


def view(product: int, number: int, side: int = SIDE) -> Image.Image:
    """A soft pattern of colors in the product's own hand, seen through a window that moves from view to view."""
    pattern = np.random.default_rng([7, product]).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    wide = Image.fromarray(pattern).resize((120, 120), Image.Resampling.BICUBIC)
    chance = np.random.default_rng([11, product, number])
    left, top = (int(v) for v in chance.integers(0, 120 - 96, 2))
    seen = np.asarray(wide.crop((left, top, left + 96, top + 96)).resize((side, side)), np.float64)
    noise = chance.normal(0, 6, seen.shape)
    return Image.fromarray(np.clip(seen * chance.uniform(0.85, 1.1) + noise, 0, 255).astype(np.uint8))


@functools.cache
def view_file(product: int, number: int) -> bytes:
    """`view` as a PNG: many tests write the same ones."""
    file = io.BytesIO()
    view(product, number).save(file, "PNG")
    return file.getvalue()


def write_views(root: Path, products: int, views: int, *, table: bool = True) -> Path:
    """``root/p000/0.png`` and so on, with a products.csv that names every product."""
    for product in range(products):
        folder = root / f"p{product:03}"
        folder.mkdir(parents=True)
        for number in range(views):
            (folder / f"{number}.png").write_bytes(view_file(product, number))
    if table:
        rows = ["product_id,name", *(f"p{p:03},Product {p}" for p in range(products))]
        (root / "products.csv").write_text("\n".join(rows) + "\n")
    return root

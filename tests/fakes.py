"""A deterministic encoder without a network, and small drawn catalogs, for tests of what lies around it."""

from __future__ import annotations

import colorsys
import functools
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from retrieval.distance import normalize
from retrieval.images.preprocessing import Preprocessing
from retrieval.models.bundle import Bundle, Calibration, write_bundle

SIDE = 16
DIMENSION = 48
THRESHOLD = 0.05


class PixelEncoder:
    """The 4 x 4 grid of mean colors, as a unit vector of 48 values."""

    calls = 0

    def __init__(self) -> None:
        self.preprocessing = Preprocessing(SIDE, SIDE, fit="squash")
        self.dimension = DIMENSION

    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        type(self).calls += len(pixels)
        cells = pixels.reshape(len(pixels), 4, SIDE // 4, 4, SIDE // 4, 3).mean(axis=(2, 4), dtype=np.float64)
        return normalize(cells.reshape(len(pixels), -1) + 1.0)


def fake_bundle(
    path: Path, *, name: str = "pixels", encoder: bytes = b"pixels", threshold: float = THRESHOLD
) -> Bundle:
    """A bundle whose encoder file is never opened: `use_pixel_encoder` stands in for it."""
    return write_bundle(
        path,
        name=name,
        encoder=encoder,
        runtime="litert",
        preprocessing=PixelEncoder().preprocessing,
        dimension=DIMENSION,
        calibration=Calibration.given(threshold),
    )


def tiny_model(path: Path, **changes: Any) -> Bundle:
    """A real bundle of two kilobytes, which embeds as the built-in model does in a hundredth of the time.

    It tells the products of `picture` by their colors: views of one are at most 0.05 apart, its threshold. Its
    vectors have 48 values, and it looks at 16 x 16 pixels.
    """
    values: dict[str, Any] = {
        "name": path.name,
        "encoder": Path(__file__).parent / "fixtures" / "networks" / "colors.tflite",
        "runtime": "litert",
        "preprocessing": Preprocessing(SIDE, SIDE, fit="squash"),
        "dimension": DIMENSION,
        "calibration": Calibration.given(THRESHOLD),
    }
    return write_bundle(path, **(values | changes))


def use_pixel_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make indexing and querying use `PixelEncoder` for every bundle; counts pictures from zero."""
    PixelEncoder.calls = 0
    for module in ("models.embedding", "doctor"):
        monkeypatch.setattr(f"retrieval.{module}.load_encoder", lambda bundle, threads=1: PixelEncoder())


def picture(product: int, view: int = 0, side: int = 40) -> Image.Image:
    """Two bands in the product's own hues with a spot that moves from view to view."""
    color = [round(255 * c) for c in colorsys.hsv_to_rgb(product * 0.618 % 1, 0.9, 0.9)]
    other = [round(255 * c) for c in colorsys.hsv_to_rgb((product * 0.37 + 0.3) % 1, 0.8, 0.6)]
    pixels = np.empty((side, side, 3), dtype=np.uint8)
    pixels[: side // 2], pixels[side // 2 :] = color, other
    at = (view * 7) % (side - 6)
    pixels[at : at + 4, at : at + 4] = 255 - pixels[at : at + 4, at : at + 4]
    return Image.fromarray(pixels)


@functools.cache
def picture_file(product: int, view: int = 0) -> bytes:
    """`picture` as a PNG: hundreds of tests write the same ones."""
    file = io.BytesIO()
    picture(product, view).save(file, "PNG")
    return file.getvalue()


def write_catalog(root: Path, products: int, views: int) -> Path:
    """A catalog of drawn pictures with a products.csv of name, category and price."""
    rows = ["product_id,name,category,price"]
    for product in range(products):
        folder = root / f"p{product:03}"
        folder.mkdir(parents=True)
        for view in range(views):
            (folder / f"{view}.png").write_bytes(picture_file(product, view))
        rows.append(f"p{product:03},Product {product},{'Milk' if product % 2 else 'Juice'},{product}.50")
    (root / "products.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root

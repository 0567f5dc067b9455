"""Photos of drawn barcodes."""

from __future__ import annotations

import numpy as np
import zxingcpp
from PIL import Image, ImageFilter


def code_picture(number: str, *, kind: str = "EAN13", width: int = 300) -> Image.Image:
    """A printed code on white, RGB."""
    code = zxingcpp.create_barcode(number, zxingcpp.barcode_format_from_str(kind))
    im = Image.fromarray(np.array(code.to_image(scale=4, add_quiet_zones=True))).convert("RGB")
    return im.resize((width, width // 2), Image.Resampling.LANCZOS)


def photo_of(
    *numbers: str,
    kind: str = "EAN13",
    width: int = 300,
    angle: float = 0.0,
    blur: float = 0.0,
    covered: float = 0.0,
    size: tuple[int, int] = (1000, 750),
    background: Image.Image | None = None,
) -> Image.Image:
    """A photo with codes side by side on a noisy or given background.

    Args:
        width: of a code, pixels.
        angle: degrees that each is turned by.
        blur: standard deviation of a Gaussian blur, pixels.
        covered: part of each code's height that something gray covers, from its top.
    """
    canvas = (background or Image.effect_noise(size, 50).convert("RGB")).resize(size)
    for place, number in enumerate(numbers):
        drawn = code_picture(number, kind=kind, width=width)
        drawn.paste((128, 120, 110), (0, 0, drawn.width, round(covered * drawn.height)))
        turned = drawn.convert("RGBA").rotate(angle, expand=True, resample=Image.Resampling.BICUBIC)
        at = (40 + place * size[0] // max(len(numbers), 1), size[1] // 3 if abs(angle) < 45 else 60)
        canvas.paste(turned, at, turned)
    return canvas.filter(ImageFilter.GaussianBlur(blur)) if blur else canvas

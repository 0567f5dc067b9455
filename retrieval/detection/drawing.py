"""A photo with its items drawn in."""

from __future__ import annotations

import io

from PIL import Image, ImageDraw, ImageFont

from retrieval.detection.found import FoundItems
from retrieval.images import pictures
from retrieval.system.text import printable

SIDE = 1600
"""Pixels of the longer side of what is drawn, at most."""
_COLORS = ("#16c784", "#3b82f6", "#f97316", "#e11d90", "#a855f7", "#eab308", "#06b6d4", "#84cc16")
"""Of products, in the order in which they are the most frequent."""
_UNKNOWN = "#d1d5db"


def draw_items(photo: bytes, found: FoundItems) -> Image.Image:
    """The photo, reduced, with the outline and the product of each item.

    Args:
        photo: the bytes of its file.
        found: what was found in it.

    Raises:
        ImageError: it cannot be read.
    """
    picture = pictures.thumbnail(photo, SIDE)
    scale = picture.width / found.size[0]
    pen = ImageDraw.Draw(picture)
    size = max(10, round(max(picture.size) / 80))
    font = ImageFont.load_default(size)
    colors = {product_id: _COLORS[place % len(_COLORS)] for place, product_id in enumerate(found.counts)}
    width = max(2, round(max(picture.size) / 400))
    for item in found.items:
        corners = [(x * scale, y * scale) for x, y in item.quad]
        color = colors[item.product_id]
        pen.line([*corners, corners[0]], fill=color, width=width)
        # The names of items side by side shall not cover each other: as much of one as its item is wide.
        name = printable(item.product_id) + ("?" if item.verdict == "ambiguous" else "")
        room = (item.box[2] - item.box[0]) * scale
        while len(name) > 4 and pen.textlength(name, font=font) > room:
            name = name[:-2].rstrip("…") + "…"
        left, top = item.box[0] * scale, item.box[1] * scale
        pen.rectangle([left, top, left + pen.textlength(name, font=font) + 4, top + size * 1.3], fill=color)
        pen.text((left + 2, top), name, fill="white", font=font)
    for region in found.regions:
        left, top, right, bottom = (value * scale for value in region.box)
        pen.rectangle([left, top, right - 1, bottom - 1], outline=_UNKNOWN, width=width)
        name = printable(region.matches[0].product_id) + "?" if region.matches else "unknown"
        pen.text((left + 4, bottom - size * 1.4), name, fill="white", font=font, stroke_width=2, stroke_fill="black")
    return picture


def to_bytes(picture: Image.Image, suffix: str) -> bytes:
    """A drawn picture as the bytes of a file.

    Args:
        picture: RGB.
        suffix: ``.png``, else a JPEG is made.
    """
    file = io.BytesIO()
    if suffix.lower() == ".png":
        picture.save(file, "PNG", optimize=True)
    else:
        picture.save(file, "JPEG", quality=88)
    return file.getvalue()

"""The files of a projection as TensorBoard's projector plugin reads them: vectors, metadata, a sprite of pictures.

What the plugin and its page take was read in their source, version 2.21: `plugins/projector/projector_plugin.py`
and `projector_binary.js`.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from retrieval.system.text import printable

MAX_SPRITE = 8192
"""Pixels a side: the page refuses a larger sprite."""

MAX_POINTS = 100_000
"""The page asks for no more vectors."""

SMALLEST_THUMBNAIL = 24
"""Pixels a side: below it nobody recognizes a product, so points are left out instead."""

Cell = str | int | float


def columns_of(n: int) -> int:
    """Columns, and rows, of a sprite of n pictures."""
    return math.isqrt(n - 1) + 1


def vectors_tsv(vectors: NDArray[np.float32]) -> bytes:
    """Tab-separated, with the 9 digits that bring every float32 back exactly.

    Text, since TensorBoard tries to read text first and takes bytes for vectors only where that fails.
    """
    out = io.BytesIO()
    np.savetxt(out, vectors, fmt="%.9g", delimiter="\t")
    return out.getvalue()


def metadata_tsv(table: Mapping[str, Sequence[Cell]], kept: NDArray[np.int64]) -> bytes:
    """A line of column names, which the page expects where there are two columns or more, and one a point.

    Args:
        table: at least two columns.
        kept: which of their rows.
    """
    rows = ["\t".join(_text(column) for column in table)]
    rows += ["\t".join(_cell(values[i]) for values in table.values()) for i in kept]
    return ("\n".join(rows) + "\n").encode("utf-8", "backslashreplace")


# What JavaScript's Number() takes: the page would show the product 00123 as 123.
_NUMBER = re.compile(
    r"\s*([+-]?(Infinity|[0-9]+\.?[0-9]*(e[+-]?[0-9]+)?|\.[0-9]+(e[+-]?[0-9]+)?)|0x[0-9a-f]+|0o[0-7]+|0b[01]+)\s*",
    re.IGNORECASE,
)
_WORD_JOINER = "\u2060"


def _cell(value: Cell) -> str:
    if not isinstance(value, str):
        return f"{value:.6g}" if isinstance(value, float) else str(value)
    text = _text(value)
    return text + _WORD_JOINER if _NUMBER.fullmatch(text) else text


def _text(value: str) -> str:
    """One cell: tabs, line breaks and other control characters escaped."""
    return printable(value)


def sprite_png(thumbnails: NDArray[np.uint8], kept: NDArray[np.int64], side: int) -> bytes:
    """All pictures in one PNG of as many rows as columns: the page finds a row by the number of rows.

    Args:
        thumbnails: shape (n, s, s, 3).
        kept: which of them.
        side: pixels a side of each; they are scaled if it is not s.
    """
    from PIL import Image

    columns = columns_of(len(kept))
    sheet = Image.new("RGB", (columns * side, columns * side), (255, 255, 255))
    for place, i in enumerate(kept):
        picture = Image.fromarray(thumbnails[i])
        if picture.width != side:
            picture = picture.resize((side, side), Image.Resampling.LANCZOS)
        sheet.paste(picture, (place % columns * side, place // columns * side))
    out = io.BytesIO()
    sheet.save(out, "PNG")
    return out.getvalue()

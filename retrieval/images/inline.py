"""Thumbnails that travel inside HTML, for pages and notebooks that fetch nothing."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from markupsafe import Markup

from retrieval.errors import ImageError
from retrieval.images import pictures

THUMBNAIL = 224
"""Longer side of a thumbnail, pixels: sharp on a phone at the width that the pages give it."""

_QUALITY = 74
_SIDE = 112


def data_uri(data: bytes, size: int = THUMBNAIL) -> str:
    """A thumbnail as a ``data:`` URI of a JPEG, whatever the format of the file.

    Args:
        data: the bytes of an untrusted picture.
        size: its longer side at most, pixels.

    Raises:
        ImageError: the bytes are not a picture we accept.
    """
    out = io.BytesIO()
    pictures.thumbnail(data, size).save(out, "JPEG", quality=_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode("ascii")


def figure(picture: bytes | Path, caption: str, *, root: Path | None = None, side: int = _SIDE) -> Markup:
    """A thumbnail with its caption, for `retrieval.system.html`; a picture that is gone leaves an empty frame.

    Args:
        picture: the bytes of an untrusted picture, or its file.
        caption: under it, and what a reader who cannot see it is told.
        root: the folder that a file must not lead out of.
        side: the longer side that it is shown at, CSS pixels.
    """
    try:
        data = pictures.read_file(picture, root=root) if isinstance(picture, Path) else picture
        shown = Markup('<img src="{}" alt="{}" style="max-width:{}px;max-height:{}px">').format(
            data_uri(data, 2 * side), caption, side, side
        )
    except ImageError:
        shown = Markup(
            '<div role="img" aria-label="{}" style="width:{}px;height:{}px;border:1px dashed"></div>'
        ).format(caption, side, side)
    return Markup(
        '<figure style="margin:0;width:{}px;overflow-wrap:anywhere;font-size:small">{}'
        "<figcaption>{}</figcaption></figure>"
    ).format(side, shown, caption)

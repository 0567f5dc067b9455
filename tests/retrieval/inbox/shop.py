"""A small shop with an index, photos of its products and of others, and an inbox that was asked about them."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from retrieval.images.pictures import content_hash
from retrieval.inbox.inbox import Inbox
from retrieval.inbox.stacks import is_held_out
from retrieval.indexing.run import index as index_catalog
from retrieval.recognition.api import Recognizer
from tests.fakes import fake_bundle, picture, write_catalog

SIDE = 200
"""Pixels: a photo of less would get the badge for small ones."""


def make_shop(root: Path) -> Path:
    bundle = fake_bundle(root / "bundle")
    catalog = write_catalog(root / "catalog", products=3, views=2)
    index_catalog(catalog, root / "index", model=bundle.path)
    return root


def photo(product: int, view: int = 1, *, held_out: bool = False, side: int = SIDE) -> bytes:
    """A photo of a product that is, or is not, one of the fifth that is held out; those differ in bytes alone."""
    return _dealt(picture(product, view).resize((side, side), 0), held_out)


def scene(number: int, *, held_out: bool = False, side: int = SIDE) -> bytes:
    """A photo of something else than any other number: no two are near-equal."""
    blocks = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return _dealt(Image.fromarray(blocks).resize((side, side), 0), held_out)


def _dealt(im: Image.Image, held_out: bool) -> bytes:
    for quality in range(60, 96):
        file = io.BytesIO()
        im.save(file, "JPEG", quality=quality)
        if is_held_out(content_hash(file.getvalue())) == held_out:
            return file.getvalue()
    raise AssertionError("no such photo")


def ask(inbox: Inbox, shop: Recognizer, photos: Iterable[bytes], *, tenant: str = "") -> list[str]:
    return [
        inbox.keep(data, shop.recognize(data), request=f"r{place}", name=f"{place}.jpg", tenant=tenant)
        for place, data in enumerate(photos)
    ]


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}

"""Pure: pictures, and which of them are the same, to a whole dataset."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from retrieval.types import Metadata
from trainer.prepare.split import assign
from trainer.prepare.types import Findings, Options, Picture, Placed, Plan

_MAX_NAME = 180
_TAG = 8


def make_plan(findings: Findings, options: Options, metadata: Mapping[str, Metadata]) -> Plan:
    """Decide the dataset.

    Args:
        findings: what `trainer.prepare.likeness` found.
        options: how to split.
        metadata: what the source's table says of each product.
    """
    splits = assign(findings.groups, options)
    names = file_names(picture for group in findings.groups for picture in group)
    images = sorted(
        (
            Placed(picture, split, f"{split}/{picture.product_id}/{names[picture.product_id, picture.source]}")
            for group, split in zip(findings.groups, splits, strict=True)
            for picture in group
        ),
        key=lambda image: image.path,
    )
    views = Counter(image.picture.product_id for image in images)
    held_out = options.by == "product" or options.keep_splits
    return Plan(
        tuple(images),
        findings,
        _tables(images, metadata),
        {product: n for product, n in sorted(views.items()) if n < options.min_views},
        () if held_out else tuple(sorted(product for product, n in views.items() if n == 1)),
    )


def file_names(pictures: Iterable[Picture]) -> dict[tuple[str, str], str]:
    """A file name for each picture, by its product and source.

    Subfolders become part of the name (``front/1.heic``: ``front_1.jpg``). Where names of one product
    would meet, also on a file system that ignores case, each gets a tag made of its source's path, so that it does
    not depend on the order.
    """
    stems: dict[str, dict[str, list[tuple[str, str]]]] = {}
    for picture in pictures:
        stem = _stem(picture.name)
        alike = unicodedata.normalize("NFC", stem.casefold())
        stems.setdefault(picture.product_id, {}).setdefault(alike, []).append((picture.source, stem))
    names: dict[tuple[str, str], str] = {}
    for product, by_name in stems.items():
        taken = set(by_name)
        for alike, found in by_name.items():
            for source, stem in sorted(found):
                name = stem
                if len(found) > 1:
                    digest = hashlib.sha256(source.encode()).hexdigest()
                    length = _TAG
                    while (tagged := f"{alike}-{digest[:length]}") in taken and length < len(digest):
                        length += _TAG
                    taken.add(tagged)
                    name = f"{stem}-{digest[:length]}"
                names[product, source] = name + ".jpg"
    return names


def _stem(name: str) -> str:
    """A path without its ending as one file name that is neither hidden nor too long for any disk."""
    flat = str(PurePosixPath(name).with_suffix("")).replace("/", "_").lstrip(".") or "picture"
    encoded = unicodedata.normalize("NFC", flat).encode()
    if len(encoded) > _MAX_NAME:
        tag = hashlib.sha256(encoded).hexdigest()[:_TAG]
        encoded = encoded[: _MAX_NAME - _TAG - 1].decode(errors="ignore").encode() + f"-{tag}".encode()
    return encoded.decode()


def _tables(images: Sequence[Placed], metadata: Mapping[str, Metadata]) -> dict[str, bytes]:
    """``<split>/products.jsonl`` for the products in it that have metadata."""
    products: dict[str, set[str]] = {}
    for image in images:
        if metadata.get(image.picture.product_id):
            products.setdefault(image.split, set()).add(image.picture.product_id)
    return {
        f"{split}/products.jsonl": "".join(
            json.dumps({"product_id": product, **metadata[product]}, ensure_ascii=False) + "\n"
            for product in sorted(found)
        ).encode()
        for split, found in sorted(products.items())
    }

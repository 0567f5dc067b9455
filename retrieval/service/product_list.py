"""The products of an index, for a page that lists them and searches them as somebody types."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from retrieval.index.manifest import Manifest
from retrieval.indexing.teach import is_taught
from retrieval.recognition.api import Recognizer
from retrieval.types import IndexedImage, Metadata

NAMES = ("title", "name")
"""Columns that hold what people call a product, in this order."""


@dataclass(slots=True)
class IndexedProduct:
    """A product as the index holds it.

    Attributes:
        product_id: which.
        metadata: what its table says.
        images: paths of its pictures in the catalog, sorted.
    """

    product_id: str
    metadata: Metadata
    images: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What people call it; empty where no column says."""
        return next((str(self.metadata[key]) for key in NAMES if self.metadata.get(key)), "")

    def to_json(self) -> dict[str, Any]:
        """One entry of ``products``."""
        return {"product_id": self.product_id, "metadata": dict(self.metadata), "images": self.images}


class ProductList:
    """All products of the live generation, read once a generation. Thread-safe."""

    def __init__(self, shop: Recognizer) -> None:
        """Read nothing yet."""
        self._shop = shop
        self._lock = threading.Lock()
        self._of: tuple[str, int] | None = None
        self._products: dict[str, IndexedProduct] = {}
        self._folded: list[tuple[str, str]] = []

    def get(self, product_id: str) -> IndexedProduct | None:
        """One product; None where the index has none of that id.

        Raises:
            StoreError: the index cannot be read.
        """
        return self._current().get(product_id)

    def all(self) -> list[IndexedProduct]:
        """Every product, by id.

        Raises:
            StoreError: the index cannot be read.
        """
        return list(self._current().values())

    def find(self, text: str, *, limit: int, after: int = 0, taught: bool = False) -> tuple[list[IndexedProduct], int]:
        """Products whose id or name holds every word of a text, whatever its case and accents, and how many there are.

        Args:
            text: what was typed; empty for all.
            limit: how many at most.
            after: how many to leave out before.
            taught: only products with pictures that were taught.

        Raises:
            StoreError: the index cannot be read.
        """
        products = self._current()
        words = _folded(text).split()
        found = [ident for ident, folded in self._folded if all(word in folded for word in words)]
        if taught:
            found = [ident for ident in found if any(map(is_taught, products[ident].images))]
        return [products[ident] for ident in found[after : after + limit]], len(found)

    def _current(self) -> dict[str, IndexedProduct]:
        with self._lock:
            manifest = self._shop.live()
            if self._of != (stamp := _stamp(manifest)):
                self._products = _grouped(self._shop.records())
                self._folded = [(p.product_id, _folded(f"{p.product_id} {p.name}")) for p in self._products.values()]
                self._of = stamp
            return self._products


def _stamp(manifest: Manifest) -> tuple[str, int]:
    return manifest.created, manifest.generation


def _grouped(records: Iterable[IndexedImage]) -> dict[str, IndexedProduct]:
    found: dict[str, IndexedProduct] = {}
    for record in records:
        product = found.setdefault(record.product_id, IndexedProduct(record.product_id, record.metadata))
        product.images.append(record.image)
    for product in found.values():
        product.images.sort()
    return dict(sorted(found.items()))


def _folded(text: str) -> str:
    """Text without case and accents, for searching."""
    plain = unicodedata.normalize("NFKD", text)
    return "".join(c for c in plain if not unicodedata.combining(c)).casefold()

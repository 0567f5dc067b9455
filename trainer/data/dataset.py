"""A dataset as the trainer reads it: labeled picture files, opened where they are needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.catalog.fetched import locate
from retrieval.catalog.read import Refusal, read_catalog
from retrieval.errors import CatalogError, ImageError
from retrieval.images.pictures import content_hash, prepare, read_file
from retrieval.images.preprocessing import Preprocessing
from retrieval.system.progress import Progress, Silent
from retrieval.system.text import printable
from retrieval.system.threads import default_threads, ordered_map
from retrieval.types import CatalogImage

_SPLIT_HINT = "A split is a folder that holds one folder of pictures a product: train/<product_id>/*.jpg"


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """Labeled picture files, n of them, all of which could be opened.

    Attributes:
        roots: for each, the folder that its file is relative to and must not leave.
        files: path of each, with forward slashes; or its address.
        labels: the product of each, 0..c-1, shape (n,).
        products: the product ids, length c, sorted.
        hashes: SHA-256 of each file.
        refused: the files that are not pictures we accept, with their reasons.
        notes: what was understood of the folders and a person may want to know, a line each.
    """

    roots: tuple[Path, ...]
    files: tuple[str, ...]
    labels: NDArray[np.int64]
    products: tuple[str, ...]
    hashes: tuple[str, ...]
    refused: tuple[Refusal, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.files)

    def read(self, number: int, preprocessing: Preprocessing) -> NDArray[np.uint8]:
        """One picture as `retrieval.images.pictures.prepare` gives it to serving: uint8, shape (height, width, 3)."""
        file, root = locate(self.roots[number], self.files[number])
        return prepare(read_file(file, root=root), preprocessing)

    def pixels(self, preprocessing: Preprocessing, rows: Sequence[int] | None = None) -> NDArray[np.uint8]:
        """Some pictures (all by default), uint8, shape (m, height, width, 3)."""
        numbers = range(len(self)) if rows is None else rows
        return np.stack(list(ordered_map(lambda i: self.read(i, preprocessing), numbers, default_threads())))

    def names(self) -> NDArray[np.str_]:
        """The product of each picture by its name, shape (n,)."""
        return np.array(self.products)[self.labels]

    def of(self, products: Sequence[str]) -> Pictures:
        """The same pictures with labels that number another list of products, which has all of theirs."""
        numbers = {product: i for i, product in enumerate(products)}
        table = np.array([numbers[product] for product in self.products], dtype=np.int64)
        return replace(self, labels=table[self.labels], products=tuple(products))

    def joined(self, other: Pictures) -> Pictures:
        """These and then the others, of the products of both."""
        products = sorted({*self.products, *other.products})
        one, two = self.of(products), other.of(products)
        return Pictures(
            one.roots + two.roots,
            one.files + two.files,
            np.concatenate([one.labels, two.labels]),
            one.products,
            one.hashes + two.hashes,
            one.refused + two.refused,
        )

    def without(self, products: Collection[str]) -> Pictures:
        """Those of other products, which alone stay listed."""
        left = [i for i, product in enumerate(self.products) if product not in products]
        kept = self.only(np.flatnonzero(np.isin(self.labels, left)).tolist())
        numbers = np.searchsorted(left, kept.labels).astype(np.int64)
        return replace(kept, labels=numbers, products=tuple(self.products[i] for i in left))

    def only(self, rows: Sequence[int]) -> Pictures:
        """Some of them, by number; every product stays listed."""
        return Pictures(
            tuple(self.roots[i] for i in rows),
            tuple(self.files[i] for i in rows),
            self.labels[np.asarray(rows, np.int64)],
            self.products,
            tuple(self.hashes[i] for i in rows),
            self.refused,
        )

    def spread(self, most: int) -> list[int]:
        """At most ``most`` numbers, evenly over the products: something of everything."""
        turn = np.zeros(len(self), dtype=np.int64)
        seen: dict[int, int] = {}
        for i, label in enumerate(self.labels.tolist()):
            turn[i] = seen.get(label, 0)
            seen[label] = turn[i] + 1
        order = np.lexsort((self.labels, turn))
        return sorted(order[:most].tolist())


def count_pictures(folder: Path) -> Counter[str]:
    """How many pictures each product has, by their names alone: none is opened, so some may turn out unreadable.

    Raises:
        CatalogError: it is no folder of product folders, or none of them has a picture.
    """
    found = Counter(entry.product_id for entry in read_catalog(folder).entries() if isinstance(entry, CatalogImage))
    if not found:
        raise CatalogError(
            f"expected product folders with pictures in {printable(folder)}, received none", hint=_SPLIT_HINT
        )
    return found


def read_pictures(folder: Path, *, progress: Progress = Silent(), stage: str = "Reading") -> Pictures:
    """Every picture of ``folder/<product_id>/**``, hashed and opened once, so that training meets no surprise.

    Args:
        folder: of product folders, or with a table, as `retrieval.catalog.read.read_catalog` takes it.
        progress: told how far it is.
        stage: what the progress calls it.

    Raises:
        CatalogError: there are no product folders with a readable picture.
    """
    progress.stage(stage)
    catalog = read_catalog(folder)
    catalog.fetch(progress)
    found: list[CatalogImage] = []
    refused: list[Refusal] = []
    for entry in catalog.entries():
        if isinstance(entry, Refusal):
            refused.append(entry)
        else:
            found.append(entry)

    progress.known(len(found))
    small = Preprocessing(32, 32)

    def look(picture: CatalogImage) -> str | ImageError:
        try:
            data = catalog.read(picture)
            prepare(data, small)
        except ImageError as error:
            return error
        return content_hash(data)

    kept: list[CatalogImage] = []
    hashes: list[str] = []
    for picture, result in zip(found, ordered_map(look, found, default_threads()), strict=True):
        if isinstance(result, ImageError):
            refused.append(Refusal.of(picture, result))
        else:
            kept.append(picture)
            hashes.append(result)
        progress.advance()
    if not kept:
        raise CatalogError(
            f"expected product folders with pictures in {printable(folder)}, received none"
            + (f"; the first of {len(refused)} refused files is {refused[0].path}" if refused else ""),
            hint=_SPLIT_HINT,
        )
    products = tuple(sorted({picture.product_id for picture in kept}))
    numbers = {product: i for i, product in enumerate(products)}
    return Pictures(
        (catalog.root,) * len(kept),
        tuple(picture.image for picture in kept),
        np.array([numbers[picture.product_id] for picture in kept], dtype=np.int64),
        products,
        tuple(hashes),
        tuple(refused),
        catalog.notes,
    )

"""The pictures that a dataset is made from: product folders, a table of pictures, or splits of either."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from retrieval.catalog.columns import AS_FOUND, Reading
from retrieval.catalog.fetched import address_name, is_address
from retrieval.catalog.ignored import is_dir, is_ignored, is_text
from retrieval.catalog.read import Catalog, Refusal, read_catalog
from retrieval.errors import UsageError
from retrieval.system.progress import Progress
from retrieval.system.text import printable
from retrieval.types import SPLITS, CatalogImage, Metadata

_SPLIT_NAMES = {split: split for split in SPLITS} | {"valid": "val", "validation": "val"}
_MAX_FOLDER_NAME = 255


@dataclass(frozen=True, slots=True)
class Found:
    """A picture of the source, not yet opened; see `trainer.prepare.types.Picture`."""

    product_id: str
    source: str
    name: str
    split: str | None
    file: Path
    root: Path


@dataclass(frozen=True, slots=True)
class Part:
    """A catalog of the source: all of it, or one split."""

    split: str | None
    prefix: str
    catalog: Catalog


@dataclass(frozen=True, slots=True)
class Source:
    """Where the pictures are.

    Attributes:
        root: absolute path.
        layout: ``folders``, ``table`` or ``splits``.
        parts: its catalogs.
        no_splits: top-level folders of a divided source that are no split.
    """

    root: Path
    layout: str
    parts: tuple[Part, ...]
    no_splits: tuple[str, ...] = ()

    def entries(self) -> Iterator[Found | Refusal]:
        """Every picture, and everything that is none."""
        for part in self.parts:
            for entry in part.catalog.entries():
                if isinstance(entry, Refusal):
                    yield Refusal(part.prefix + entry.path, entry.reason, entry.code)
                elif (refusal := _bad_folder_name(entry, part.prefix)) is not None:
                    yield refusal
                else:
                    # Of an address only what a browser would save it as: the rest can stand in no file's name.
                    name = address_name(entry.image) if is_address(entry.image) else entry.image
                    if entry.folder and entry.product_id not in part.catalog.spread:
                        name = name.removeprefix(entry.folder + "/")
                    root = entry.home or part.catalog.root
                    yield Found(entry.product_id, part.prefix + entry.image, name, part.split, entry.file, root)
        for name in self.no_splits:
            yield Refusal(printable(name), "expected train, val or test, received another folder", "not-a-split")

    def fetch(self, progress: Progress) -> None:
        """See `retrieval.catalog.read.Catalog.fetch`."""
        for part in self.parts:
            part.catalog.fetch(progress)

    def notes(self) -> tuple[str, ...]:
        """What was understood of its folders, a line each."""
        return tuple(printable(part.prefix) + note for part in self.parts for note in part.catalog.notes)

    def products(self) -> set[str]:
        """Every product with a folder or a row."""
        return {product for part in self.parts for product in part.catalog.products}

    def metadata(self) -> Mapping[str, Metadata]:
        """What the tables say, by product."""
        return {
            product: part.catalog.metadata(product)
            for part in self.parts
            if part.catalog.metadata_keys
            for product in part.catalog.products
        }


def open_source(
    path: Path,
    *,
    keep_splits: bool,
    product_level: int | None = None,
    reading: Reading = AS_FOUND,
) -> Source:
    """Read the source's layout.

    Args:
        path: a folder of product folders, a folder or table of a ``product_id,image`` table, or a folder with
            train/, val/ and test/ of these.
        keep_splits: the last is meant.
        product_level, reading: see `retrieval.catalog.read.read_catalog`.

    Raises:
        CatalogError: there is no catalog.
        UsageError: it is divided already and ``keep_splits`` was not given, or the other way round.
    """

    def read(folder: Path, level: int | None) -> Catalog:
        return read_catalog(folder, product_level=level, reading=reading)

    path = Path(os.path.abspath(path))
    folders = _folders(path) if path.is_dir() else []
    splits = sorted(
        (name for name in folders if name.lower() in _SPLIT_NAMES),
        key=lambda name: SPLITS.index(_SPLIT_NAMES[name.lower()]),
    )
    if not keep_splits:
        # What is divided is no question of levels.
        catalog = read(path, 1 if splits else product_level)
        # One product of a hundred may be called "test"; two such names, or nothing else, are splits.
        nested = sum(bool(_folders(path / name)) for name in splits)
        if catalog.kind == "folders" and splits and (len(splits) == len(folders) or nested > 1):
            raise UsageError(
                f"expected product folders in {printable(path)}, received a source that is divided already:"
                f" {' and '.join(f'{name}/' for name in splits)}",
                hint=f"Keep its splits with --keep-splits, or prepare one of them: {printable(path / splits[0])}",
            )
        if splits:
            catalog = read(path, product_level)
        return Source(catalog.root, catalog.kind, (Part(None, "", catalog),))
    if not splits:
        raise UsageError(
            f"expected train/, val/ or test/ in {printable(path)} to keep, received none of them",
            hint="Without --keep-splits, itemrec prepare divides the pictures itself.",
        )
    by_split = {_SPLIT_NAMES[name.lower()]: name for name in splits}
    if len(by_split) < len(splits):
        raise UsageError(
            f"expected each split once in {printable(path)}, received {' and '.join(f'{name}/' for name in splits)}",
            hint="Merge or remove one of them.",
        )
    parts: list[Part] = []
    for split in (split for split in SPLITS if split in by_split):
        # All have the shape of the first, which is the largest.
        known = next((part.catalog.level for part in parts if part.catalog.kind == "folders"), product_level)
        name = by_split[split]
        parts.append(Part(split, f"{name}/", read(path / name, known)))
    parts.sort(key=lambda part: part.split or "")
    return Source(path, "splits", tuple(parts), tuple(name for name in folders if name not in splits))


def _folders(path: Path) -> list[str]:
    try:
        with os.scandir(path) as found:
            return sorted(e.name for e in found if is_text(e.name) and not is_ignored(e.name) and is_dir(e))
    except OSError:
        return []  # reading the catalog says why


def _bad_folder_name(entry: CatalogImage, prefix: str) -> Refusal | None:
    """A table may call a product what no folder can be called."""
    name = entry.product_id
    if "/" in name or "\\" in name or "\0" in name or is_ignored(name) or len(name.encode()) > _MAX_FOLDER_NAME:
        return Refusal(
            printable(prefix + entry.image),
            f"expected a product id that can name a folder, received {printable(name)}",
            "bad-product-id",
        )
    return None

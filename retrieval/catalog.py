"""Read a catalog: product folders with an optional table, or a table of pictures.

``catalog/<product_id>/**/*.jpg`` is the folder layout; ``products.csv`` or ``products.jsonl`` at its
root adds metadata. A table with an ``image`` column (``images.csv``, or ``products.csv`` itself)
is the flat layout. Nothing is skipped silently: what is neither a picture nor well-known litter
comes out of the walk as a `Refusal`.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Literal

from retrieval.errors import CatalogError, ImageError
from retrieval.images import SUFFIXES
from retrieval.tables import MAX_PRODUCT_ID, read_rows
from retrieval.text import printable
from retrieval.types import CatalogImage, JsonScalar, Metadata, Product

Kind = Literal["folders", "table"]

_TABLE_SUFFIXES = (".csv", ".jsonl")
_LITTER = frozenset({"thumbs.db", "desktop.ini", "@eadir", "__macosx"})
_LAYOUT_HINT = (
    "A catalog is a folder of product folders with pictures (catalog/<product_id>/*.jpg),"
    " or a table images.csv with the columns product_id,image."
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something in the catalog that is not indexed, and why.

    Attributes:
        path: relative to the root, escaped for printing.
        reason: one line.
        code: short and stable, such as ``not-a-picture`` or one of `retrieval.images`' reasons.
    """

    path: str
    reason: str
    code: str

    @classmethod
    def of(cls, picture: CatalogImage, error: ImageError) -> Refusal:
        """A picture that could not be opened."""
        return cls(printable(picture.image), error.message, error.reason)


@dataclass(frozen=True, slots=True)
class _Listed:
    """A picture that a table names."""

    product_id: str
    image: str
    line: int


class Catalog:
    """A catalog that can be walked any number of times; made by `read_catalog`.

    Attributes:
        root: absolute path of the folder that picture paths are relative to.
        kind: ``folders`` or ``table``.
        products: every product that has a folder or a row, by id.
        metadata_keys: the columns of the table, in its order.
        ignored: litter (hidden files, ``Thumbs.db`` and the like) seen by the last complete walk.
    """

    def __init__(
        self,
        root: Path,
        kind: Kind,
        products: Mapping[str, Product],
        metadata_keys: tuple[str, ...],
        tables: frozenset[str],
        listed: tuple[_Listed, ...] = (),
        *,
        walk_unlisted: bool = False,
    ) -> None:
        self.root = root
        self.kind: Kind = kind
        self.products: Mapping[str, Product] = MappingProxyType(dict(products))
        self.metadata_keys = metadata_keys
        self.ignored = 0
        self._tables = tables
        self._listed = listed
        self._walk_unlisted = walk_unlisted
        self._pictured: frozenset[str] | None = None

    def metadata(self, product_id: str) -> Metadata:
        """What the table says about a product; empty without a row."""
        product = self.products.get(product_id)
        return product.metadata if product else {}

    def entries(self) -> Iterator[CatalogImage | Refusal]:
        """Walk the catalog afresh, in a stable order. Holds one directory's names at a time."""
        walk = _Walk(self.root, self._tables)
        source = walk.folders() if self.kind == "folders" else walk.listed(self._listed, unlisted=self._walk_unlisted)
        pictured: set[str] = set()
        for entry in source:
            if isinstance(entry, CatalogImage):
                pictured.add(entry.product_id)
            yield entry
        self.ignored = walk.ignored
        self._pictured = frozenset(pictured)

    def count(self) -> int:
        """How many pictures a walk finds now."""
        return sum(isinstance(entry, CatalogImage) for entry in self.entries())

    def products_without_pictures(self) -> tuple[str, ...]:
        """Products with a folder or a row but no picture, as of the last complete walk."""
        if self._pictured is None:
            self.count()
        pictured = self._pictured or frozenset()
        return tuple(product_id for product_id in self.products if product_id not in pictured)


def read_catalog(path: Path) -> Catalog:
    """Read a catalog's layout and table; pictures are found by `Catalog.entries`.

    Args:
        path: the folder, or a table in it.

    Raises:
        CatalogError: the path is missing, holds no catalog, or its table is wrong.
    """
    path = Path(os.path.abspath(path))
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise CatalogError(
            f"expected a catalog folder or table, received nothing at {printable(path)}"
            if isinstance(error, FileNotFoundError)
            else f"expected a readable catalog, received {error}",
            hint=_LAYOUT_HINT,
        ) from error
    if stat.S_ISDIR(mode):
        root = path
        images, products = _one_table(root, "images"), _one_table(root, "products")
    elif stat.S_ISREG(mode) and path.suffix.lower() in _TABLE_SUFFIXES:
        root, images, products = path.parent, None, path
    else:
        raise CatalogError(
            f"expected a catalog folder or a .csv or .jsonl table, received {printable(path)}",
            hint=_LAYOUT_HINT,
        )
    tables = tuple(table for table in (products, images) if table is not None)
    content = _Content()
    for table in tables:
        content.read(table, must_list=table == images)
    names = frozenset(table.name for table in tables)
    keys = tuple(content.keys)
    if content.has_images:
        return Catalog(
            root,
            "table",
            content.products,
            keys,
            names,
            tuple(content.listed),
            walk_unlisted=stat.S_ISDIR(mode),
        )
    return Catalog(root, "folders", _with_folders(root, content.products), keys, names)


def _one_table(root: Path, stem: str) -> Path | None:
    found = [root / (stem + suffix) for suffix in _TABLE_SUFFIXES if (root / (stem + suffix)).is_file()]
    if len(found) > 1:
        raise CatalogError(
            f"expected one table, received both {found[0].name} and {found[1].name} in {printable(root)}",
            hint="Keep the one that is right and remove the other.",
        )
    return found[0] if found else None


class _Content:
    """What the tables say, gathered row by row."""

    def __init__(self) -> None:
        self.products: dict[str, Product] = {}
        self.keys: dict[str, None] = {}
        self.listed: list[_Listed] = []
        self.has_images = False
        self._lines: dict[str, str] = {}
        self._images: dict[tuple[str, str], int] = {}

    def read(self, table: Path, *, must_list: bool) -> None:
        lists: bool | None = True if must_list else None
        for row in read_rows(table):
            where = f"{table.name}, line {row.line}"
            if lists is None:
                lists = "image" in row.values
            if must_list and "image" not in row.values:
                raise CatalogError(f"{where}: expected an image, received none", hint=_LAYOUT_HINT)
            image = row.values.pop("image", None) if lists else None
            if lists:
                self._list(row.product_id, image, where, row.line)
            elif row.product_id in self._lines:
                raise CatalogError(
                    f"{where}: expected every product_id once, received {row.product_id!r}"
                    f" also at {self._lines[row.product_id]}",
                    hint="Keep one of the two rows.",
                )
            self._merge(row.product_id, row.values, where)
            self._lines[row.product_id] = where
            self.keys |= dict.fromkeys(row.values)
        self.has_images |= bool(lists)

    def _list(self, product_id: str, image: JsonScalar, where: str, line: int) -> None:
        if image is None or image == "":
            return
        if not isinstance(image, str):
            raise CatalogError(f"{where}: expected the path of a picture, received {image!r}")
        earlier = self._images.setdefault((product_id, image), line)
        if earlier != line:
            raise CatalogError(
                f"{where}: expected every picture once, received {printable(image)} also at line {earlier}",
                hint="Keep one of the two rows.",
            )
        self.listed.append(_Listed(product_id, image, line))

    def _merge(self, product_id: str, values: dict[str, JsonScalar], where: str) -> None:
        known = self.products.get(product_id)
        if known is None:
            self.products[product_id] = Product(product_id, values)
            return
        merged = dict(known.metadata)
        for key, value in values.items():
            before = merged.get(key)
            if before in (None, ""):
                merged[key] = value
            elif value not in (None, "") and value != before:
                raise CatalogError(
                    f"{where}: expected one {key} for product {product_id!r}, received {value!r}"
                    f" and {before!r} (at {self._lines[product_id]})",
                    hint="Every row of a product carries the same metadata, or none.",
                )
        self.products[product_id] = replace(known, metadata=merged)


def _with_folders(root: Path, table: Mapping[str, Product]) -> dict[str, Product]:
    """Products of the folders, matched to rows under Unicode NFC, then rows without a folder."""
    rows = {unicodedata.normalize("NFC", product_id): product for product_id, product in table.items()}
    try:
        with os.scandir(root) as found:
            names = sorted(e.name for e in found if not _litter(e.name) and _is_dir(e))
    except OSError as error:
        raise CatalogError(f"expected a readable catalog, received {error.strerror}: {root}") from error
    if not names:
        raise CatalogError(f"expected product folders in {printable(root)}, received none", hint=_LAYOUT_HINT)
    products: dict[str, Product] = {}
    folders: dict[str, str] = {}
    for name in names:
        key = unicodedata.normalize("NFC", name)
        if key in folders:
            raise CatalogError(
                f"expected every product once, received two folders both named {printable(name)}"
                " in different Unicode forms",
                hint="Merge the two folders.",
            )
        folders[key] = name
        row = rows.pop(key, None)
        products[name] = Product(name, row.metadata if row else {})
    return products | {product.product_id: product for product in rows.values()}


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _litter(name: str) -> bool:
    return name.startswith(".") or name.lower() in _LITTER


def _utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


class _Walk:
    """One walk over a catalog's files."""

    def __init__(self, root: Path, tables: frozenset[str]) -> None:
        self.root = root
        self.tables = tables
        self.ignored = 0
        self._real_root = os.path.realpath(root)

    def folders(self) -> Iterator[CatalogImage | Refusal]:
        """The folder layout: one product a folder."""
        for entry in self._scan(""):
            if isinstance(entry, Refusal):
                yield entry
            elif _is_dir(entry):
                if len(entry.name) > MAX_PRODUCT_ID:
                    yield self._refuse(entry.name, "bad-name", f"a product id of {len(entry.name)} characters")
                    continue
                yield from self._folder(entry, entry.name, entry.name, os.path.realpath(entry.path), set())
            elif entry.name in self.tables:
                continue
            elif _suffix(entry.name) in SUFFIXES:
                yield self._refuse(entry.name, "outside-product", "a picture outside any product folder")
            else:
                yield self._refuse(entry.name, "not-a-picture", "a file that is no picture")

    def listed(self, listed: tuple[_Listed, ...], *, unlisted: bool) -> Iterator[CatalogImage | Refusal]:
        """The flat layout: pictures in the table's order, then those in the folder that it does not name."""
        seen: set[str] = set()
        for row in listed:
            entry = self._row(row)
            if isinstance(entry, CatalogImage):
                seen.add(entry.image)
            yield entry
        if unlisted:
            for found in self._tree("", set()):
                if isinstance(found, Refusal):
                    yield found
                elif found not in seen:
                    yield self._refuse(found, "not-in-table", "a picture that the table does not name")

    def _row(self, row: _Listed) -> CatalogImage | Refusal:
        image = str(PurePosixPath(os.path.normpath(row.image)))
        if os.path.isabs(image) or image.startswith(".."):
            return self._refuse(row.image, "outside-catalog", "a path that leaves the catalog")
        candidates = [image, *(unicodedata.normalize(form, image) for form in ("NFC", "NFD"))]
        image = next((c for c in candidates if os.path.lexists(self.root / c)), image)
        return self._picture(row.product_id, image)

    def _tree(self, relative: str, visited: set[tuple[int, int]]) -> Iterator[str | Refusal]:
        for entry in self._scan(relative):
            if isinstance(entry, Refusal):
                yield entry
                continue
            path = f"{relative}/{entry.name}" if relative else entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from self._tree(path, visited)
            elif relative or entry.name not in self.tables:
                if _suffix(entry.name) in SUFFIXES:
                    yield path
                else:
                    yield self._refuse(path, "not-a-picture", "a file that is no picture")

    def _folder(
        self, entry: os.DirEntry[str], product_id: str, relative: str, home: str, visited: set[tuple[int, int]]
    ) -> Iterator[CatalogImage | Refusal]:
        try:
            real, status = os.path.realpath(entry.path), entry.stat()
        except OSError as error:
            yield self._refuse(relative, "unreadable", f"a folder that cannot be read ({error.strerror})")
            return
        if entry.is_symlink():
            if not self._inside(real):
                yield self._refuse(relative, "outside-catalog", "a link that leaves the catalog")
                return
            nested = relative != product_id
            loops = _contains(real, home) or (nested and _contains(home, real))
            if (nested and loops) or real == self._real_root or (status.st_dev, status.st_ino) in visited:
                yield self._refuse(relative, "link-loop", "a link to a folder that is part of this product already")
                return
        visited.add((status.st_dev, status.st_ino))
        for child in self._scan(relative):
            if isinstance(child, Refusal):
                yield child
                continue
            path = f"{relative}/{child.name}"
            if _is_dir(child):
                yield from self._folder(child, product_id, path, home, visited)
            elif _suffix(child.name) not in SUFFIXES:
                yield self._refuse(path, "not-a-picture", "a file that is no picture")
            elif child.is_file(follow_symlinks=False):
                yield CatalogImage(product_id, path, self.root / path)
            else:
                yield self._picture(product_id, path)

    def _picture(self, product_id: str, image: str) -> CatalogImage | Refusal:
        file = self.root / image
        if _suffix(image) not in SUFFIXES:
            return self._refuse(image, "not-a-picture", "a file that is no picture")
        try:
            if not self._inside(os.path.realpath(file)):
                return self._refuse(image, "outside-catalog", "a link that leaves the catalog")
            mode = file.stat().st_mode
        except (OSError, ValueError) as error:
            if isinstance(error, FileNotFoundError):
                return self._refuse(image, "missing", "no file of that name")
            return self._refuse(image, "unreadable", f"a file that cannot be read ({error})")
        if not stat.S_ISREG(mode):
            return self._refuse(image, "not-a-file", "something that is not a regular file")
        return CatalogImage(product_id, image, file)

    def _inside(self, real: str) -> bool:
        return _contains(self._real_root, real)

    def _scan(self, relative: str) -> Iterator[os.DirEntry[str] | Refusal]:
        """One directory in order of names, without litter; undecodable names are refused."""
        try:
            with os.scandir(self.root / relative) as found:
                entries = sorted(found, key=lambda e: e.name)
        except OSError as error:
            yield self._refuse(relative, "unreadable", f"a folder that cannot be read ({error.strerror})")
            return
        for entry in entries:
            if _litter(entry.name):
                self.ignored += 1
            elif not _utf8(entry.name):
                path = f"{relative}/{entry.name}" if relative else entry.name
                yield self._refuse(path, "bad-name", "a name that is not valid UTF-8")
            else:
                yield entry

    def _refuse(self, relative: str, code: str, received: str) -> Refusal:
        return Refusal(printable(relative), f"expected a picture, received {received}", code)


def _contains(folder: str, path: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()

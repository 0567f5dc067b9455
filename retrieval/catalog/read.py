"""Read a catalog: product folders with an optional table, or a table of pictures.

``catalog/<product_id>/**/*.jpg`` is the folder layout; ``products.csv`` (``.jsonl``, ``.xlsx``, ``.xml``) at its root
adds metadata. A table with a column of pictures (``images.csv``, ``products.csv`` itself, or the export of a shop
system) is a layout of its own, and so is a folder of pictures that are named by product. Nothing is skipped silently:
what is neither a picture nor a file that systems leave everywhere comes out of the walk as a `Refusal`.
"""

from __future__ import annotations

import os
import posixpath
import stat
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from retrieval.barcodes.gtin import are_codes, is_code_column, normal
from retrieval.catalog.columns import ADDRESS, AS_FOUND, Meaning, Reading, clears, pictures_in, plain
from retrieval.catalog.fetched import Fetched, fetch_pictures, is_address
from retrieval.catalog.flat import Names, names_rows, understand_names
from retrieval.catalog.ignored import Ignores, is_ignored, is_text, read_ignore_file
from retrieval.catalog.objects import local_copy
from retrieval.catalog.shape import (
    Shape,
    files_name_rows,
    find_level,
    flat_home,
    has_pictures_below,
    only_folder,
    stems,
)
from retrieval.catalog.tables import SUFFIXES, BadRow, Row, read_table
from retrieval.catalog.walk import Listed, Refusal, Walk
from retrieval.errors import CatalogError, UsageError
from retrieval.images.pictures import read_file
from retrieval.system.files import unfit_in
from retrieval.system.progress import Progress, Silent
from retrieval.system.text import name_as_text, one_form, plural, printable
from retrieval.types import MAX_COLUMNS, SPLITS, CatalogImage, JsonValue, Metadata, Product

__all__ = ["Catalog", "Refusal", "read_catalog"]

Kind = Literal["folders", "table", "flat"]

CODE = "gtin"
"""The column that holds what products are called by where that is their barcode."""

_NAMES_SEEN = 500
_SHOWN_MERGED = 5
_LOOKED_AT = 50
_LAYOUT_HINT = (
    "A catalog is a folder of product folders with pictures (catalog/<product_id>/*.jpg),"
    " a folder of pictures named by product (4711.jpg, 4711_2.jpg),"
    " or a table of products and their pictures (product_id,image)."
)


@dataclass(frozen=True, slots=True)
class Join:
    """What a table and the folders beside it do not have in common.

    Attributes:
        rows: products with a row and no folder.
        folders: products with a folder and no row.
        pairs: one of each that differ only in case, zeros in front, blanks or Unicode form: probably one product.
    """

    rows: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, rows: Collection[str], folders: Collection[str]) -> Join:
        """Compare the ids of a table with those of folders; nothing without a table."""
        if not rows:
            return cls()
        lonely = tuple(row for row in rows if row not in folders)
        alone = tuple(folder for folder in folders if folder not in rows)
        alike = {_loosely(folder): folder for folder in alone}
        pairs = tuple((row, alike[_loosely(row)]) for row in lonely if _loosely(row) in alike)
        return cls(lonely, alone, pairs)


def _loosely(name: str) -> str:
    return "".join(unicodedata.normalize("NFKC", name).casefold().split()).lstrip("0")


class Catalog:
    """A catalog that can be walked any number of times; made by `read_catalog`.

    Attributes:
        root: absolute path of the folder that picture paths are relative to.
        kind: ``folders``, ``table``, or ``flat`` for a folder of pictures that are named by product.
        products: every product that has a folder or a row, by id.
        metadata_keys: the columns of the table, in its order.
        coded: whether products are called by their barcodes: `metadata` has each one's as `CODE`, then.
        level: which level of folders holds the products, from 1; 1 for a table.
        notes: what was understood and a person may want to know, a line each.
        spread: products that lie in several folders.
        join: what a table and the folders beside it do not have in common.
        refused_rows: rows of the tables that cannot be used; the first of `entries`.
        ignored: what is no part of a catalog (hidden files, ``Thumbs.db``, recycle bins, what ``.itemrecignore``
            names) in the last whole walk.
    """

    def __init__(
        self,
        root: Path,
        kind: Kind,
        products: Mapping[str, Product],
        metadata_keys: tuple[str, ...],
        tables: frozenset[str],
        listed: tuple[Listed, ...] = (),
        *,
        walk_unlisted: bool = False,
        level: int = 1,
        notes: tuple[str, ...] = (),
        spread: frozenset[str] = frozenset(),
        refused: tuple[Refusal, ...] = (),
        join: Join = Join(),
        ignores: Ignores = lambda path, folder: False,
        home: str | None = "",
        names: Names | None = None,
        allow_private: bool = False,
    ) -> None:
        self.root = root
        self.level = level
        self.notes = notes
        self.spread = spread
        self.refused_rows = refused
        self.join = join
        self.kind: Kind = kind
        self.products: Mapping[str, Product] = MappingProxyType(dict(products))
        self.metadata_keys = metadata_keys
        step = max(1, len(self.products) // _NAMES_SEEN)
        self.coded = are_codes(list(islice(self.products, 0, None, step)))
        if self.coded:
            self.notes = (*self.notes, f"Products are called by their barcodes: {CODE} holds them")
        self.ignored = 0
        self._tables = tables
        self._listed = listed
        self._walk_unlisted = walk_unlisted
        self._ignores = ignores
        self._pictured: frozenset[str] | None = None
        self._home = home
        self._names = names or Names({})
        self._allow_private = allow_private
        self._fetched: Fetched | None = None

    def fetch(self, progress: Progress = Silent()) -> None:
        """Bring the pictures that are named by address into the cache, once; nothing where there are none.

        `entries` does it where nobody did; a command that shows its progress does it before.

        Args:
            progress: told how far it is, as a stage of its own.

        Raises:
            DownloadError: too many of them cannot be had (see `retrieval.catalog.fetched.fetch_pictures`).
        """
        if self._fetched is not None:
            return
        images = list(dict.fromkeys(row.image for row in self._listed if is_address(row.image)))
        if not images:
            self._fetched = Fetched()
            return
        self._fetched = fetch_pictures(images, allow_private=self._allow_private, progress=progress)
        self.notes = (*self.notes, self._fetched.note())

    def read(self, picture: CatalogImage) -> bytes:
        """The bytes of one of its pictures.

        Raises:
            ImageError: see `retrieval.images.pictures.read_file`.
        """
        return read_file(picture.file, root=picture.home or self.root)

    def metadata(self, product_id: str) -> Metadata:
        """What the table says about a product; empty without a row."""
        product = self.products.get(product_id)
        said = product.metadata if product else {}
        if not self.coded or len(said) >= MAX_COLUMNS or normal(product_id) is None:
            return said
        own = any(said[column] for column in said if is_code_column(plain(column)))
        return said if own else {**said, CODE: product_id}

    def entries(self) -> Iterator[CatalogImage | Refusal]:
        """Walk the catalog afresh, in a stable order. Holds one directory's names at a time.

        Raises:
            DownloadError: as `fetch`.
        """
        self.fetch()
        walk = Walk(self.root, self._tables, self._ignores)
        source = (
            walk.folders(self.level)
            if self.kind == "folders"
            else walk.flat(self._home, self._names)
            if self.kind == "flat"
            else walk.listed(
                self._listed,
                unlisted=self._walk_unlisted,
                unreachable=self._fetched.unreachable if self._fetched else {},
            )
        )
        pictured: set[str] = set()
        yield from self.refused_rows
        for entry in source:
            if isinstance(entry, CatalogImage):
                pictured.add(entry.product_id)
            yield entry
        self.ignored = walk.ignored
        self._pictured = frozenset(pictured)

    def count(self) -> int:
        """How many pictures a walk finds now; of those named by address, as many as are named: none is fetched."""
        if self._fetched is None and (addresses := sum(is_address(row.image) for row in self._listed)):
            walk = Walk(self.root, self._tables, self._ignores)
            files = [row for row in self._listed if not is_address(row.image)]
            found = walk.listed(files, unlisted=False, unreachable={})
            return addresses + sum(isinstance(entry, CatalogImage) for entry in found)
        return sum(isinstance(entry, CatalogImage) for entry in self.entries())

    def products_without_pictures(self) -> tuple[str, ...]:
        """Products with a folder or a row but no picture, as of the last complete walk."""
        if self._pictured is None:
            for _ in self.entries():
                pass
        pictured = self._pictured or frozenset()
        return tuple(product_id for product_id in self.products if product_id not in pictured)


def read_catalog(
    path: str | Path,
    *,
    product_level: int | None = None,
    reading: Reading = AS_FOUND,
    progress: Progress = Silent(),
) -> Catalog:
    """Read a catalog's layout and table; pictures are found by `Catalog.entries`.

    Args:
        path: the folder, or a table in it; or the address of one in an object store (``s3://bucket/folder``).
        product_level: which level of folders holds the products, from 1; by default the tree tells.
        reading: what else a user says of how it is to be read.
        progress: told how far the copy of a catalog in a store is.

    Raises:
        CatalogError: the path is missing, holds no catalog, or its table is wrong; or it is not clear which level of
            folders, or which part of a file's name, tells the products.
        UsageError: the level is below 1, or that is no separator.
        DownloadError: the store does not answer.
    """
    if product_level is not None and product_level < 1:
        raise UsageError(f"expected a level of folders from 1 on, received --product-level {product_level}")
    stored, fetched_note = local_copy(path, progress=progress)
    path = Path(os.path.abspath(stored))
    root, tables, alone = _tables_of(path, reading)
    ignores = read_ignore_file(root)
    content = _Content(root, ignores, reading, alone=alone)
    content.notes += fetched_note
    for table in tables:
        content.read(table, must_list=table.stem.lower() == "images" and not alone)
    names = frozenset(table.name for table in tables)
    keys = tuple(content.keys)
    if content.has_images:
        if not content.listed:
            first = f"; {content.refused[0].path}: {content.refused[0].reason}" if content.refused else ""
            raise CatalogError(
                f"expected a table that names pictures, received none in {tables[-1].name}{first}", hint=_LAYOUT_HINT
            )
        return Catalog(
            root,
            "table",
            content.products,
            keys,
            names,
            tuple(content.listed),
            walk_unlisted=not alone and not all(is_address(row.image) for row in content.listed),
            notes=(*content.notes, *_level_unused(tables[-1].name, product_level)),
            refused=tuple(content.refused),
            ignores=ignores,
            allow_private=reading.allow_private,
        )
    _require_folders(root)
    rows = content.products.keys()
    home = flat_home(root, ignores, rows) if product_level is None else None
    if home is not None:
        flat = stems(root, home, ignores)
    elif product_level is None and (named_by_rows := files_name_rows(root, ignores, rows)) is not None:
        flat = named_by_rows
    else:
        flat = []
    if flat:
        where = printable(root / (home or ""))
        ids = rows or _ids_of_training(root)
        understood = understand_names(flat, ids, split=reading.split_names, where=where)
        named = set(understood.products.values())
        return Catalog(
            root,
            "flat",
            {name: content.products.get(name, Product(name)) for name in sorted(named)}
            | {name: product for name, product in content.products.items() if name not in named},
            keys,
            names,
            notes=(*content.notes, understood.note),
            refused=tuple(content.refused),
            join=Join.of(rows, named),
            ignores=ignores,
            home=home,
            names=understood,
        )
    shape = Shape(product_level) if product_level is not None else _find_level(root, ignores, rows)
    found, several, folders = _with_folders(Walk(root, names, ignores), shape.level, content.products)
    return Catalog(
        root,
        "folders",
        found,
        keys,
        names,
        level=shape.level,
        notes=(*content.notes, *((shape.note,) if shape.note else ()), *_say_merged(several)),
        spread=frozenset(several),
        join=Join.of(rows, folders),
        refused=tuple(content.refused),
        ignores=ignores,
    )


def _tables_of(path: Path, reading: Reading) -> tuple[Path, tuple[Path, ...], bool]:
    """The folder of a catalog, its tables, and whether the table was named itself."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise CatalogError(
            f"expected a catalog folder or table, received nothing at {printable(path)}"
            if isinstance(error, FileNotFoundError)
            else f"expected a readable catalog, received {error}",
            hint=_LAYOUT_HINT,
        ) from error
    if stat.S_ISREG(mode) and path.suffix.lower() in (*SUFFIXES, ".txt"):
        return path.parent, (path,), True
    if not stat.S_ISDIR(mode):
        raise CatalogError(
            f"expected a catalog folder or a table ({', '.join(SUFFIXES)}), received {printable(path)}",
            hint=_LAYOUT_HINT,
        )
    images, products = _one_table(path, "images"), _one_table(path, "products")
    tables = tuple(table for table in (products, images) if table is not None)
    return path, tables or _only_table(path, reading), False


def _only_table(root: Path, reading: Reading) -> tuple[Path, ...]:
    """The one table of a folder, whatever it is called (``wc-3.csv``, say); beside pictures one that speaks of them."""
    ignores = read_ignore_file(root)
    try:
        with os.scandir(root) as entries:
            found = sorted(
                entry.name
                for entry in entries
                if os.path.splitext(entry.name)[1].lower() in SUFFIXES
                and not is_ignored(entry.name)
                and is_text(entry.name)
                and not ignores(entry.name, False)
                and not unfit_in(root, root / entry.name)
            )
    except OSError:
        return ()  # whoever lists the folders says why
    names = stems(root, "", ignores) if found else []
    if found and (names or has_pictures_below(root, ignores)):
        if not names and (home := only_folder(root, ignores)) is not None:
            names = stems(root, home, ignores)
        tables = [root / name for name in found]
        speak = tuple(table for table in tables if _speaks_of(table, names, reading))
        return speak if len(speak) == 1 else ()
    if len(found) > 1:
        raise CatalogError(
            f"expected one table in {printable(root)}, received {' and '.join(map(printable, found[:3]))}",
            hint=f"Name the one that is meant: {printable(root / found[0])}",
        )
    return (root / found[0],) if found else ()


def _speaks_of(table: Path, names: Collection[str], reading: Reading) -> bool:
    """Whether a table's rows speak of the pictures beside it: by their paths, by folders, or by the files' names.

    Args:
        table: of any name.
        names: of the pictures in its folder, without endings.
        reading: what the user says of its columns.
    """
    try:
        read = read_table(table, reading=reading)
    except CatalogError:
        return False
    rows = [row for row in read.rows if isinstance(row, Row)][:_LOOKED_AT]
    images = [
        image for row in rows for one in read.meaning.images for image in pictures_in(row.values.get(one), ours=False)
    ]
    there = sum(os.path.lexists(table.parent / image) for image in images if not ADDRESS.match(image))
    folders = sum((table.parent / row.product_id).is_dir() for row in rows)
    known = names_rows(names, {row.product_id for row in read.rows if isinstance(row, Row)}) if names else 0
    return bool(rows) and (2 * there > len(images) or 2 * folders > len(rows) or 2 * known > len(names) > 0)


def _level_unused(table: str, product_level: int | None) -> tuple[str, ...]:
    return () if product_level is None else (f"--product-level has no meaning here: {table} names the pictures",)


def has_pictures_table(root: Path) -> bool:
    """True for a folder whose pictures a table names, as far as its name tells."""
    return any((root / f"images{suffix}").is_file() for suffix in SUFFIXES)


def _find_level(root: Path, ignores: Ignores, rows: Collection[str]) -> Shape:
    """The products' level; the splits of a dataset have that of its train/, so that a small one need not tell."""
    if root.name in SPLITS[1:] and (train := root.parent / SPLITS[0]).is_dir() and not has_pictures_table(train):
        return find_level(train, read_ignore_file(train))
    return find_level(root, ignores, rows)


def _ids_of_training(root: Path) -> Collection[str]:
    """The products of a dataset's train/, for its other splits: there ``4711_2.jpg`` may lie without ``4711.jpg``."""
    train = root.parent / SPLITS[0]
    if root.name not in SPLITS[1:] or not train.is_dir():
        return ()
    ignores = read_ignore_file(train)
    home = flat_home(train, ignores)
    if home is None:
        return ()
    return set(understand_names(stems(train, home, ignores), where=printable(train)).products.values())


def _require_folders(root: Path) -> None:
    try:
        os.scandir(root).close()
    except OSError as error:
        raise CatalogError(f"expected a readable catalog, received {error.strerror}: {root}") from error


def _one_table(root: Path, stem: str) -> Path | None:
    names = {stem + suffix for suffix in SUFFIXES}
    try:
        with os.scandir(root) as entries:
            named = sorted(root / entry.name for entry in entries if entry.name.lower() in names)
    except OSError:
        return None  # whoever lists the folders says why
    for table in named:
        # A folder of that name is a product.
        if (unfit := unfit_in(root, table)) and not table.is_dir():
            raise CatalogError(
                f"expected {table.name} as a file in {printable(root)}, received {unfit}",
                hint="Copy the table itself there, or name it: itemrec index TABLE.",
            )
    found = [table for table in named if table.is_file()]
    if len(found) > 1:
        raise CatalogError(
            f"expected one table, received both {found[0].name} and {found[1].name} in {printable(root)}",
            hint="Keep the one that is right and remove the other.",
        )
    return found[0] if found else None


class _RowError(Exception):
    """A row contradicts another; its message says how."""


class _Content:
    """What the tables say, gathered row by row."""

    def __init__(self, root: Path, ignores: Ignores, reading: Reading, *, alone: bool) -> None:
        self.products: dict[str, Product] = {}
        self.keys: dict[str, None] = {}
        self.listed: list[Listed] = []
        self.has_images = False
        self.refused: list[Refusal] = []
        self.notes: list[str] = []
        self._root = root
        self._ignores = ignores
        self._reading = reading
        self._alone = alone
        self._lines: dict[str, str] = {}
        self._images: dict[tuple[str, str], int] = {}

    def read(self, table: Path, *, must_list: bool) -> None:
        """Take in a table; it lists pictures when it must, or when it has a column of pictures that are meant."""
        rows: list[Row] = []
        bad: list[tuple[int, str]] = []
        read = read_table(table, self.notes.append, self._reading)
        for row in read.rows:
            if isinstance(row, BadRow):
                bad.append((row.line, row.reason))
            else:
                rows.append(row)
        lists = must_list or self._names_pictures(table, rows, read.meaning)
        if note := read.meaning.note(table.name, pictures=lists):
            self.notes.append(note)
        for row in rows:
            try:
                self._take(f"{table.name}, {read.unit}", row, read.meaning, lists=lists, must_list=must_list)
            except _RowError as error:
                bad.append((row.line, str(error)))
        self.refused += (
            Refusal(f"{printable(table.name)}, {read.unit} {line}", printable(reason), "bad-row")
            for line, reason in sorted(bad)
        )
        self.has_images |= lists

    def _names_pictures(self, table: Path, rows: Sequence[Row], meaning: Meaning) -> bool:
        """Whether a column names pictures: addresses, or files that are not there, beside pictures at hand do not."""
        if not meaning.images or meaning.chosen:
            return meaning.chosen
        column = meaning.images[0]
        ours = column == "image"
        named = [row for row in rows if row.values.get(column) not in (None, "", [])][:_LOOKED_AT]
        if not named:
            return ours and any(column in row.values for row in rows) and not self._at_hand(rows)
        values = [value for row in named for value in pictures_in(row.values[column], ours=ours)[:1]]
        addresses = sum(map(bool, map(ADDRESS.match, values))) * 2 > len(values)
        paths = [value for value in values if not ADDRESS.match(value)]
        there = any(os.path.lexists(self._root / path) for value in paths for path in (value, value.replace("\\", "/")))
        if there or not self._at_hand(rows):
            return ours or addresses or there or meaning.merges
        what = "addresses" if addresses else "files that are not there"
        if ours or addresses:
            self.notes.append(
                f"{table.name}: {column} holds {what} and is metadata; the pictures are those in the folders"
                + (f" (--image-column {column} takes the addresses)" if addresses else "")
            )
        return False

    def _at_hand(self, rows: Sequence[Row]) -> bool:
        """Whether the folder holds the products' pictures: folders with any, or files that the table's ids name."""
        if any((self._root / row.product_id).is_dir() for row in rows[:_LOOKED_AT]):
            return True
        ids = {row.product_id for row in rows}
        if names_rows(stems(self._root, "", self._ignores), ids):
            return True
        # A table that was named lies beside anything, in a folder of downloads, say.
        return not self._alone and has_pictures_below(self._root, self._ignores)

    def _take(self, where: str, row: Row, meaning: Meaning, *, lists: bool, must_list: bool) -> None:
        images: list[str] = []
        values = {key: value for key, value in row.values.items() if not clears(meaning.source, key)}
        if lists:
            if must_list and not any(column in values for column in meaning.images):
                raise _RowError("expected an image, received none")
            for column in meaning.images:
                named = values.pop(column, None) or ""
                ours = column == "image"
                if not isinstance(named, (str, list) if not ours else str):
                    raise _RowError(f"expected the path of a picture, received {named!r:.80}")
                images += pictures_in(named, ours=ours)
        elif row.product_id in self._lines and not meaning.merges:
            raise _RowError(
                f"expected every product_id once, received {row.product_id} also at {self._lines[row.product_id]}"
            )
        images = list(dict.fromkeys(image if ADDRESS.match(image) else posixpath.normpath(image) for image in images))
        known = {image for image in images if (row.product_id, one_form(image)) in self._images}
        if known and not meaning.merges:
            image = min(known)
            earlier = self._images[row.product_id, one_form(image)]
            raise _RowError(f"expected every picture once, received {image} also at line {earlier}")
        self._merge(row.product_id, values, several=meaning.merges)
        for image in images:
            if image not in known:
                self._images[row.product_id, one_form(image)] = row.line
                self.listed.append(Listed(row.product_id, image, row.line))
        self._lines.setdefault(row.product_id, f"{where} {row.line}")
        self.keys |= dict.fromkeys(values)

    def _merge(self, product_id: str, values: dict[str, JsonValue], *, several: bool) -> None:
        known = self.products.get(product_id)
        if known is None:
            self.products[product_id] = Product(product_id, values)
            return
        merged = dict(known.metadata)
        for key, value in values.items():
            before = merged.get(key)
            if before in (None, ""):
                merged[key] = value
            elif several and value not in (None, ""):
                # The variants of a product differ: a filter finds any of their values.
                merged[key] = _together(before, value)
            elif value not in (None, "") and value != before:
                raise _RowError(
                    f"expected one {key} for product {product_id}, received {value!r:.80}"
                    f" and in an earlier row {before!r:.80}"
                )
        self.products[product_id] = replace(known, metadata=merged)


def _together(before: JsonValue, value: JsonValue) -> JsonValue:
    both = [*(before if isinstance(before, list) else [before]), *(value if isinstance(value, list) else [value])]
    found = list(dict.fromkeys(both))[:MAX_COLUMNS]
    return found[0] if len(found) == 1 else found


def _with_folders(
    walk: Walk, level: int, table: Mapping[str, Product]
) -> tuple[dict[str, Product], dict[str, list[str]], Collection[str]]:
    """Products of the folders with their rows, then rows without a folder; folders that are one product; all with one.

    Text has one form: ``crème`` composed, ``crème`` with its accent apart and ``crème `` with a blank are one product.
    """
    folders: dict[str, list[str]] = {}
    for path in walk.product_folders(level):
        folders.setdefault(one_form(name_as_text(posixpath.basename(path))), []).append(path)
    folders.pop("", None)
    if not folders:
        raise CatalogError(f"expected product folders in {printable(walk.root)}, received none", hint=_LAYOUT_HINT)
    products = {name: table.get(name, Product(name)) for name in folders}
    several = {name: paths for name, paths in folders.items() if len(paths) > 1}
    return (
        products | {name: product for name, product in table.items() if name not in products},
        several,
        folders.keys(),
    )


def _say_merged(several: Mapping[str, list[str]]) -> tuple[str, ...]:
    lines = tuple(
        f"{plural(len(paths), 'folder')} are one product, {printable(name)}: {', '.join(map(ascii, paths[:3]))}"
        for name, paths in list(several.items())[:_SHOWN_MERGED]
    )
    more = len(several) - len(lines)
    return (*lines, f"{more:,} more products lie in several folders") if more else lines

"""The catalog follows what was said of photos: taught, refused, or taken back.

A label and the note that something is to be done are one transaction. What is done can be done twice: the next start
carries out whatever a killed process left, and finds its own traces. In order:

1. what will be written is written down, with what was there before: undo removes exactly what was added;
2. the catalog's folder, then the index in one switch, and the refusals;
3. the note goes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from retrieval.barcodes.gtin import is_code_column
from retrieval.catalog.columns import plain
from retrieval.catalog.product_table import ProductTable
from retrieval.catalog.read import Catalog, read_catalog
from retrieval.errors import ImageError, IndexBusyError, UsageError
from retrieval.inbox.inbox import Inbox
from retrieval.index.manifest import Manifest
from retrieval.index.protocols import Index
from retrieval.index.refusals import refusal_id_of
from retrieval.indexing.teach import Taught, picture_name, remove_picture, update_index, write_picture
from retrieval.models.bundle import Bundle
from retrieval.recognition.api import Recognizer
from retrieval.system.locks import Lock
from retrieval.types import Metadata, image_id

BATCH = 100
"""Photos that reach the index in one switch."""
_LOCK = "follow-up"
_PATIENCE = 120.0


@dataclass(frozen=True, slots=True)
class Shelf:
    """What is known of a catalog's products.

    Attributes:
        images: paths of a product's pictures in the catalog, also of those on their way; empty where there is none.
        changing: held while the folder changes.
    """

    images: Callable[[str], Sequence[str]]
    changing: AbstractContextManager[object] = field(default_factory=nullcontext)


@dataclass(frozen=True, slots=True)
class Followed:
    """What was carried out.

    Attributes:
        done: photos whose labels the catalog follows now.
        failed: photos that could not be taught, and why.
    """

    done: int
    failed: dict[str, str]


def shelf_of(shop: Recognizer) -> Shelf:
    """The products of an index, read once."""
    found: dict[str, list[str]] = {}
    for record in shop.records():
        found.setdefault(record.product_id, []).append(record.image)
    return Shelf(lambda product_id: sorted(found.get(product_id, [])))


def follow(inbox: Inbox, shop: Recognizer, shelf: Callable[[], Shelf], *, again: bool = False) -> Followed:
    """Carry out what labels and undos ask for, until nothing waits.

    Args:
        inbox: where they are.
        shop: the index, its catalog and its model.
        shelf: what is known of the products now; asked before each batch.
        again: also try what failed before.

    Raises:
        IndexBusyError: an index run is under way, or another process carries out already; what waits stays noted.
        StoreError, EncoderError: the catalog or the index cannot be written; what waits stays noted.
    """
    lock = Lock(inbox.folder / f".{_LOCK}.lock", inbox.folder / f".{_LOCK}.json")
    if again:
        with inbox.database.write() as rows:
            rows.execute("UPDATE todo SET problem = ''")
    done, failed = 0, dict[str, str]()
    while waiting(inbox, 1):
        with lock.hold(_PATIENCE, lambda holder: IndexBusyError(f"The inbox is in use by {holder}"), "teaching"):
            batch = waiting(inbox, BATCH)
            problems = _Batch(inbox, shop, shelf()).carry_out(batch)
            with inbox.database.write() as rows:
                for photo, version in batch:
                    noted = (photo, version)
                    if photo in problems:
                        rows.execute(
                            "UPDATE todo SET problem = ? WHERE photo = ? AND version = ?", (problems[photo], *noted)
                        )
                    else:
                        rows.execute("DELETE FROM todo WHERE photo = ? AND version = ?", noted)
        failed |= problems
        done += len(batch) - len(problems)
    return Followed(done, failed)


def waiting(inbox: Inbox, limit: int = -1) -> list[tuple[str, int]]:
    """Photos whose labels the catalog does not follow yet, and which version of them."""
    rows = inbox.database.rows("SELECT photo, version FROM todo WHERE problem = '' ORDER BY rowid LIMIT ?", (limit,))
    return [(row["photo"], row["version"]) for row in rows]


@dataclass(frozen=True, slots=True)
class _Wish:
    """What a label asks for: a picture of a product, or with the kind ``refusal`` none of ours."""

    kind: str
    product_id: str = ""
    name: str = ""
    gtin: str = ""
    note: str = ""

    @property
    def key(self) -> tuple[str, str]:
        return self.kind, self.product_id


class _Batch:
    """Some photos on their way."""

    def __init__(self, inbox: Inbox, shop: Recognizer, shelf: Shelf) -> None:
        self._inbox = inbox
        self._shop = shop
        self._shelf = shelf
        self._images: dict[str, list[str]] = {}
        self._table: Catalog | None = None
        self._added: dict[str, tuple[Taught, Metadata]] = {}
        self._removed: list[str] = []
        self._gone: list[tuple[str, str, str]] = []

    def carry_out(self, batch: Iterable[tuple[str, int]]) -> dict[str, str]:
        """All of them; returns why some could not be taught."""
        catalog = Path(self._shop.live().catalog)
        problems: dict[str, str] = {}
        with self._shelf.changing:
            wishes = {photo: self._wish(photo) for photo, _ in batch}
            there = self._begin(catalog, wishes)
            for photo, wish in wishes.items():
                try:
                    for row in there[photo]:
                        if wish is None or (row["kind"], row["product_id"]) != wish.key:
                            self._take_back(catalog, photo, row)
                    if wish is not None:
                        begun = [row for row in there[photo] if (row["kind"], row["product_id"]) == wish.key]
                        made = not all(row["row_there"] for row in begun)
                        self._add(catalog, photo, wish, made=made)
                except (UsageError, ImageError) as error:
                    problems[photo] = error.message
        if self._added or self._removed:
            added, removed = list(self._added.values()), [i for i in self._removed if i not in self._added]

            def change(index: Index, bundle: Bundle, live: Manifest) -> Manifest:
                return update_index(index, bundle, live, added=added, removed=removed)

            self._shop.update(change)
        if self._gone:
            with self._inbox.database.write() as rows:
                rows.executemany("DELETE FROM taught WHERE photo = ? AND kind = ? AND product_id = ?", self._gone)
        return problems

    def _wish(self, photo: str) -> _Wish | None:
        """What the photo's label asks for; None where it has none, or is not to be taught."""
        rows = self._inbox.database.rows(
            "SELECT labels.*, photos.held_out, photos.badges"
            " FROM labels LEFT JOIN photos ON photos.photo = labels.photo"
            " WHERE labels.n = (SELECT MAX(n) FROM labels WHERE photo = ? AND undone IS NULL)",
            (photo,),
        )
        if not rows:
            return None
        row = rows[0]
        if row["kind"] == "skip" or row["held_out"] or row["badges"]:
            return None
        if row["kind"] == "not-ours":
            return _Wish("refusal", note=row["note"])
        product_id = row["product_id"]
        name, gtin = (row[column] or self._said(product_id, column) for column in ("name", "gtin"))
        return _Wish("picture", product_id, name, gtin)

    def _said(self, product_id: str, column: str) -> str:
        """What labels say of a product that they make: the first name or GTIN."""
        rows = self._inbox.database.rows(
            f"SELECT {column} FROM labels WHERE product_id = ? AND {column} != '' AND undone IS NULL"
            " ORDER BY n LIMIT 1",
            (product_id,),
        )
        return str(rows[0][column]) if rows else ""

    def _begin(self, catalog: Path, wishes: Mapping[str, _Wish | None]) -> dict[str, list[sqlite3.Row]]:
        """Write down what will be there, and what was there before; returns what is written down, by photo."""
        refused = {known.refusal_id for known in self._shop.refusals()}
        table = read_catalog(catalog)
        with self._inbox.database.write() as rows:
            for photo, wish in wishes.items():
                with suppress(ImageError):  # whoever adds it says so
                    if wish is None:
                        continue
                    data = self._inbox.picture(photo)
                    name = refusal_id_of(data) if wish.kind == "refusal" else picture_name(data)
                    names = {PurePosixPath(image).name for image in self._of(wish.product_id)}
                    owned = name not in (refused if wish.kind == "refusal" else names)
                    row_there = wish.product_id in table.products
                    # What an earlier try wrote down stays: it saw the catalog as it was before.
                    rows.execute(
                        "INSERT OR IGNORE INTO taught (photo, kind, product_id, image, owned, row_there)"
                        " VALUES (?, ?, ?, ?, ?, ?)",
                        (photo, *wish.key, name, owned, row_there),
                    )
            found = "SELECT * FROM taught WHERE photo = ?"
            return {photo: rows.execute(found, (photo,)).fetchall() for photo in wishes}

    def _add(self, catalog: Path, photo: str, wish: _Wish, *, made: bool) -> None:
        """Teach or refuse a photo; ``made`` where labels make its product."""
        data = self._inbox.picture(photo)
        if wish.kind == "refusal":
            self._shop.refuse(data, note=wish.note, name=self._called(photo))
            return
        images = self._of(wish.product_id)
        table = self._table = self._table or read_catalog(catalog)
        name = picture_name(data)
        known = [image for image in images if PurePosixPath(image).name != name]
        # Its folder or row may be there already, of a process that died after it wrote them.
        new = not known and wish.product_id not in table.products
        taught = write_picture(catalog, data, wish.product_id, known, name=wish.name, new=new)
        if taught.image not in images:
            images.append(taught.image)
        coded = made and bool(wish.gtin)
        if coded:
            _write_code(catalog, wish.product_id, wish.gtin)
        if new or coded:
            table = self._table = read_catalog(catalog)
        self._added[image_id(wish.product_id, taught.image)] = (taught, table.metadata(wish.product_id))

    def _take_back(self, catalog: Path, photo: str, row: sqlite3.Row) -> None:
        product_id = row["product_id"]
        if row["owned"] and row["kind"] == "refusal":
            if row["image"] in {known.refusal_id for known in self._shop.refusals()}:
                self._shop.remove_refusals(row["image"])
        elif row["owned"]:
            images = self._of(product_id)
            for image in [image for image in images if PurePosixPath(image).name == row["image"]]:
                if not row["row_there"] and len(images) == 1:
                    self._clear_code(catalog, product_id)
                remove_picture(catalog, product_id, image, images, keep_row=bool(row["row_there"]))
                images.remove(image)
                self._table = None
                self._removed.append(image_id(product_id, image))
                self._added.pop(image_id(product_id, image), None)
        self._gone.append((photo, row["kind"], product_id))

    def _clear_code(self, catalog: Path, product_id: str) -> None:
        """Take a barcode that a label said out of the row that goes: a row that holds more than was said stays."""
        rows = self._inbox.database.rows("SELECT gtin FROM labels WHERE product_id = ? AND gtin != ''", (product_id,))
        said = {row["gtin"] for row in rows}
        if said:
            table = ProductTable(catalog)
            values = table.values(product_id)
            table.set(product_id, {column: "" for column in _codes(table) if values.get(column) in said})
            table.save()

    def _of(self, product_id: str) -> list[str]:
        if product_id not in self._images:
            self._images[product_id] = list(self._shelf.images(product_id))
        return self._images[product_id]

    def _called(self, photo: str) -> str:
        entry = self._inbox.entry(photo)
        return (entry.name if entry else "") or photo


def _codes(table: ProductTable) -> list[str]:
    """The columns of a table that hold barcodes."""
    return [column for column in table.columns if is_code_column(plain(column))]


def _write_code(catalog: Path, product_id: str, gtin: str) -> None:
    """Write a new product's barcode where the catalog has a column for it."""
    table = ProductTable(catalog)
    if columns := _codes(table):
        table.set(product_id, {columns[0]: gtin})
        table.save()

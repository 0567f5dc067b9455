"""Products of a catalog changed and removed, in a way that can be undone.

What a change takes out of the catalog is moved into ``.itemrec-undo/<id>/`` in it, where no index run looks, beside a
record of what was done; a process that dies in the middle leaves a record that says how to go on. As with
`retrieval.indexing.teach`, the folder is written first and the index follows.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from retrieval.catalog.product_table import ProductTable
from retrieval.catalog.read import Catalog, read_catalog
from retrieval.errors import UsageError
from retrieval.indexing.teach import COVER, is_taught, product_folder, require_known
from retrieval.system.files import move_file, os_errors, remove_tree, replace_file, sync_directory
from retrieval.system.text import one_form, printable

Action = Literal["edit", "remove-product", "remove-picture"]

UNDO = ".itemrec-undo"
"""In the catalog's folder: what changes took out of it."""
KEPT = timedelta(days=30)
"""For how long a change can be undone."""

_RECORD = "change.json"
_SCHEMA = "itemrec.change/1"
_ID = re.compile(r"\d{8}T\d{12}-[0-9a-f]{8}")
_TIME = "%Y%m%dT%H%M%S%f"
_LONGEST_COVER = 4096


@dataclass(frozen=True, slots=True)
class TableChange:
    """What happens to a product's row.

    Attributes:
        header: the table's first line before; None where there was no table.
        row: the row before, as it was written; None where there was none.
        place: where it stood, from 0.
        values: what is written into it; None removes the row.
        written: the row after; None where there is none.
    """

    header: str | None
    row: str | None
    place: int
    values: Mapping[str, str] | None
    written: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the catalog, as its record says.

    Attributes:
        id: names it; begins with when it was made.
        action: what was done.
        product_id: with which product.
        images: paths of the pictures that it took out, in the catalog.
        moved: files and folders that it moved, relative to the catalog; the n-th lies in the record's folder as ``n``.
        table: what happened to the product's row; None for nothing.
        undone: it is being taken back.
        applied: the folder is as the record says; else a process died, and `resume` goes on. What happens to the
            folder afterwards is its owner's.
    """

    id: str
    action: Action
    product_id: str
    images: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()
    table: TableChange | None = None
    undone: bool = False
    applied: bool = False

    @property
    def created(self) -> datetime:
        """When it was made, UTC."""
        return datetime.strptime(self.id[:21], _TIME).replace(tzinfo=UTC)


def describe_product(
    catalog: Path, product_id: str, images: Sequence[str], values: Mapping[str, str], *, new: bool = False
) -> Change:
    """Write what the table says of a product; durable when this returns.

    Args:
        catalog: the catalog's folder, whose table is ``products.csv`` or none.
        product_id: which.
        images: its pictures in the index.
        values: text by column; columns that are not named stay, empty ones are cleared. ``name`` is the column that
            the table has for it.
        new: the product is not in the catalog yet. It has a row then, and a folder with its first picture.

    Raises:
        UsageError: there is no such product, or there is and it was to be new; its id cannot name a folder; the table
            is not of our form; or a column or value cannot be.
        DiskFullError, StoreError: the folder cannot be written.
    """
    found = read_catalog(catalog)
    require_known(found, product_id, images, new=new)
    product_folder(found, product_id, images)
    with os_errors("change a product", catalog):
        table = ProductTable(catalog)
        _require_only(found)
        named = {table.name_column if column == "name" else column: one_form(text) for column, text in values.items()}
        place, row = table.row(product_id) or (0, None)
        header = table.header
        table.set(product_id, named)  # a value that cannot be is refused before anything is written
        written = table.row(product_id)
        assert written is not None
        was = TableChange(header, row, place, named, written[1])
        return _carry_out(catalog, Change(_new_id(), "edit", product_id, table=was))


def remove_product(catalog: Path, product_id: str, images: Sequence[str]) -> Change:
    """Take a product out of the catalog: its folders and its row; durable when this returns.

    Args:
        catalog: the catalog's folder.
        product_id: which.
        images: its pictures in the index.

    Raises:
        UsageError: there is no such product, or its pictures lie in no folders of its own.
        DiskFullError, StoreError: the folder cannot be written.
    """
    found = read_catalog(catalog)
    require_known(found, product_id, images, new=False)
    with os_errors("remove a product", catalog):
        folders = {product_folder(found, product_id, [image]).relative_to(found.root).as_posix() for image in images}
        own = found.root / product_id
        if not images and own.name == product_id and own.is_dir():
            folders.add(product_id)
        table = ProductTable(catalog)
        place, row = table.row(product_id) or (0, None)
        was = TableChange(table.header, row, place, None, None) if row is not None else None
        if was is None:
            _require_only(found, product_id)
        change = Change(
            _new_id(), "remove-product", product_id, images=tuple(images), moved=tuple(sorted(folders)), table=was
        )
        return _carry_out(catalog, change)


def remove_any_picture(catalog: Path, product_id: str, image: str, images: Sequence[str]) -> Change:
    """Take one picture out of the catalog, whoever put it there; durable when this returns.

    Args:
        catalog: the catalog's folder.
        product_id: what it shows.
        image: its path in the catalog.
        images: paths of all pictures of the product.

    Raises:
        UsageError: it is no picture of this product, or its last one.
        DiskFullError, StoreError: the folder cannot be written.
    """
    require_picture(product_id, image, images)
    if len(images) == 1:
        raise UsageError(
            f"expected a product with further pictures, received the last one of {printable(product_id)}",
            hint="Remove the product, or add another picture first.",
        )
    product_folder(read_catalog(catalog), product_id, [image])
    change = Change(_new_id(), "remove-picture", product_id, images=(image,), moved=(image,))
    with os_errors("remove a picture", catalog):
        return _carry_out(catalog, change)


def undo(catalog: Path, change: Change) -> Change:
    """Put back what a change took out; durable when this returns. Its record stays until `drop`.

    Raises:
        UsageError: something else lies in its place by now, or the product's row was changed since.
        DiskFullError, StoreError: the folder cannot be written.
    """
    for place, path in enumerate(change.moved):
        if (_home(catalog, change) / str(place)).exists() and (catalog / path).exists():
            raise UsageError(
                f"expected nothing at {printable(path)}, received something that was made since",
                hint="Remove or rename it first; what was taken out is kept.",
            )
    with os_errors("undo a change", catalog):
        if change.table is not None:
            now = ProductTable(catalog).row(change.product_id)
            if (now[1].rstrip("\r\n") if now else None) != (
                change.table.written and change.table.written.rstrip("\r\n")
            ):
                raise UsageError(
                    f"expected the row of {printable(change.product_id)} as this change left it, received another",
                    hint="Undo the later change first.",
                )
        return _carry_out(catalog, replace(change, undone=True, applied=False))


def drop(catalog: Path, change: Change) -> None:
    """Forget a change; what it took out is gone then.

    Raises:
        StoreError: it cannot be removed.
    """
    with os_errors("forget a change", catalog):
        remove_tree(_home(catalog, change))
        with suppress(OSError):  # others are kept
            (catalog / UNDO).rmdir()


def read_changes(catalog: Path) -> list[Change]:
    """The changes whose records are kept, newest first; what is no record of ours is left out."""
    try:
        names = sorted((name for name in os.listdir(catalog / UNDO) if _ID.fullmatch(name)), reverse=True)
    except OSError:
        return []
    return list(_read(catalog, names))


def resume(catalog: Path, change: Change) -> Change:
    """Complete a change whose process died in the middle, in the direction that its record says.

    Raises:
        DiskFullError, StoreError: the folder cannot be written.
    """
    with os_errors("complete a change", catalog):
        return change if change.applied else _carry_out(catalog, change)


def sweep(catalog: Path, *, now: datetime | None = None) -> None:
    """Forget the changes that are older than `KEPT`."""
    before = f"{(now or datetime.now(UTC)) - KEPT:{_TIME}}"
    try:
        old = [name for name in os.listdir(catalog / UNDO) if _ID.fullmatch(name) and name < before]
    except OSError:
        return
    for change in _read(catalog, old):
        if change.applied and not change.undone:
            drop(catalog, change)


def set_cover(catalog: Path, product_id: str, image: str, images: Sequence[str]) -> None:
    """Choose the picture that is shown for a product; durable when this returns. The index does not change.

    Args:
        catalog: the catalog's folder.
        product_id: which.
        image: path of the picture in the catalog; empty takes the choice back, and so does the one that is shown
            without a choice.
        images: paths of all pictures of the product.

    Raises:
        UsageError: it is no picture of this product, or the product has no folder of its own.
        DiskFullError, StoreError: the folder cannot be written.
    """
    if image:
        require_picture(product_id, image, images)
    found = read_catalog(catalog)
    require_known(found, product_id, images, new=False)
    folder = product_folder(found, product_id, [image] if image else images)
    if image == _first(images):
        image = ""
    with os_errors("choose a cover", catalog):
        if image:
            replace_file(folder / COVER, PurePosixPath(image).relative_to(folder.relative_to(found.root)).as_posix())
        else:
            (folder / COVER).unlink(missing_ok=True)
            sync_directory(folder)


def cover_of(catalog: Path, images: Sequence[str]) -> str:
    """The picture that is shown for a product: the one chosen, else the first that was not taught.

    Args:
        catalog: the catalog's folder.
        images: paths of its pictures in the catalog; at least one.
    """
    for folder in dict.fromkeys(parent for image in images for parent in PurePosixPath(image).parents):
        if folder.name:
            try:
                with (catalog / folder / COVER).open("rb") as file:
                    name = file.read(_LONGEST_COVER).decode()
            except (OSError, ValueError):
                continue
            if (chosen := (folder / name).as_posix()) in images:
                return chosen
    return _first(images)


def _first(images: Sequence[str]) -> str:
    return next((image for image in sorted(images) if not is_taught(image)), min(images))


def require_picture(product_id: str, image: str, images: Sequence[str]) -> None:
    """Refuse what is no picture of a product.

    Raises:
        UsageError: see above.
    """
    if image not in images:
        raise UsageError(f"expected a picture of {printable(product_id)}, received {printable(image)}")


def _require_only(found: Catalog, product_id: str = "") -> None:
    """Refuse a catalog whose products another table describes."""
    if found.metadata_keys and not (found.root / "products.csv").is_file():
        if product_id and not found.metadata(product_id):
            return
        raise UsageError(
            "expected products.csv, received a catalog with a table of another kind",
            hint="Change the product in that table, then run itemrec index.",
        )


def _carry_out(catalog: Path, change: Change) -> Change:
    """Write down what is to be done, do it, and write down that it is done."""
    _write(catalog, change)
    _apply(catalog, change)
    done = replace(change, applied=True)
    _write(catalog, done)
    return done


def _apply(catalog: Path, change: Change) -> None:
    """Bring the folder to what a record says, wherever an earlier try ended."""
    home = _home(catalog, change)
    for place, path in enumerate(change.moved):
        inside, outside = home / str(place), catalog / path
        source, target = (inside, outside) if change.undone else (outside, inside)
        if source.exists() and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            move_file(source, target)
            sync_directory(source.parent)
    if change.table is None:
        return
    table = ProductTable(catalog)
    if change.undone:
        table.put(change.product_id, change.table.row, change.table.place)
        table.put_header(change.table.header)
    elif change.table.values is None:
        table.put(change.product_id, None, 0)
    else:
        table.set(change.product_id, change.table.values)
    table.save()


def _write(catalog: Path, change: Change) -> None:
    home = _home(catalog, change)
    home.mkdir(parents=True, exist_ok=True)
    sync_directory(catalog)
    text = json.dumps({"schema": _SCHEMA, **asdict(change)}, ensure_ascii=True)
    replace_file(home / _RECORD, text)


def _read(catalog: Path, names: Sequence[str]) -> Iterator[Change]:
    for name in names:
        try:
            read: dict[str, Any] = json.loads((catalog / UNDO / name / _RECORD).read_bytes())
            if read.pop("schema") != _SCHEMA or read["id"] != name:
                continue
            table = TableChange(**read["table"]) if read["table"] else None
            images, moved = tuple(map(str, read["images"])), tuple(map(str, read["moved"]))
            flags = read["undone"] is True, read["applied"] is True
            change = Change(name, read["action"], read["product_id"], images, moved, table, *flags)
            if all(_inside(path) for path in change.moved):
                yield change
        except (OSError, ValueError, KeyError, TypeError):
            continue


def _inside(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return bool(parts) and not PurePosixPath(path).is_absolute() and ".." not in parts


def _home(catalog: Path, change: Change) -> Path:
    return catalog / UNDO / change.id


def _new_id() -> str:
    return f"{datetime.now(UTC):{_TIME}}-{secrets.token_hex(4)}"

"""Photos that people confirmed become pictures of the catalog, and can be taken back.

The catalog's folder is written first, durably, then the index: an index run from the folder gives the same index, also
where this process died in between. `write_picture` and `remove_picture` change the folder, `update_index` brings the
index after it, without listing the catalog.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from retrieval.catalog.read import read_catalog
from retrieval.errors import IndexDamagedError, UsageError
from retrieval.images import pictures
from retrieval.index.checks import require_sound
from retrieval.index.manifest import Manifest
from retrieval.index.protocols import Index, VectorStore
from retrieval.indexing.indexer import index_catalog
from retrieval.models.bundle import Bundle
from retrieval.models.embedding import Embedded, Look, embed_pictures
from retrieval.system.files import os_errors, replace_file
from retrieval.system.text import one_form, printable
from retrieval.types import IndexedImage, Metadata, Point, image_id

MAX_SIDE = 1024
"""Longer side of a taught picture, pixels."""
MOST_TAUGHT = 20
"""Taught pictures of one product: more of the same shelf would drown the others."""

_TAUGHT = re.compile(r"taught-[0-9a-f]{16}\.jpg")
_TABLE = "products.csv"
_NAMES = ("name", "title")
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\/]')
_MAX_ID = 128


@dataclass(frozen=True, slots=True)
class Taught:
    """A picture that somebody's photo became.

    Attributes:
        product_id: what it shows.
        image: its path in the catalog, with forward slashes.
        new: the catalog did not have it before.
    """

    product_id: str
    image: str
    new: bool


def is_taught(image: str) -> bool:
    """True for the path of a picture that `write_picture` wrote."""
    return bool(_TAUGHT.fullmatch(PurePosixPath(image).name))


def write_picture(
    catalog: Path, photo: bytes, product_id: str, images: Sequence[str], *, name: str = "", new: bool = False
) -> Taught:
    """Write a photo into a product's folder, without metadata and at most `MAX_SIDE` pixels; durable when this returns.

    Args:
        catalog: the catalog's folder.
        photo: the bytes of an untrusted picture.
        product_id: what it shows.
        images: paths of the pictures that the product has, in the catalog.
        name: what a new product is called; goes into ``products.csv``.
        new: make the product. Its folder lies at the catalog's first level.

    Raises:
        ImageError: the photo cannot be read.
        UsageError: there is no such product, or there is and it was to be new; its id cannot be a folder's name; it was
            taught enough; or the catalog's table names its pictures, so that a folder does not.
        DiskFullError, StoreError: the folder cannot be written.
    """
    if bool(images) == new:
        known = "one that exists" if new else "one that the catalog does not have"
        raise UsageError(
            f"expected {'a new product' if new else 'a product of the catalog'}, received {known}: "
            f"{printable(product_id)}",
            hint="Choose another id." if new else "Make it a new product, or choose one that exists.",
        )
    folder = _folder(catalog, product_id, images)
    if sum(map(is_taught, images)) >= MOST_TAUGHT:
        raise UsageError(
            f"expected fewer than {MOST_TAUGHT} taught pictures, received another one of {printable(product_id)}",
            hint="Remove some first; more of the same would drown its other pictures.",
        )
    data = pictures.to_jpeg(photo, MAX_SIDE)
    image = f"{folder.relative_to(catalog).as_posix()}/taught-{hashlib.sha256(data).hexdigest()[:16]}.jpg"
    if image in images:
        return Taught(product_id, image, new=False)
    with os_errors("write a picture", catalog):
        if new and name:
            _add_row(catalog / _TABLE, product_id, one_form(name))
        folder.mkdir(exist_ok=True)
        replace_file(catalog / image, data)
    return Taught(product_id, image, new=True)


def remove_picture(catalog: Path, product_id: str, image: str, images: Sequence[str]) -> None:
    """Take a taught picture out of the folder again; with the last one of a taught product its folder and row go, too.

    Args:
        catalog: the catalog's folder.
        product_id: what it shows.
        image: its path in the catalog.
        images: paths of all pictures of the product.

    Raises:
        UsageError: it is no taught picture of this product.
        DiskFullError, StoreError: the folder cannot be written.
    """
    if not is_taught(image) or image not in images:
        raise UsageError(
            f"expected a taught picture of {printable(product_id)}, received {printable(image)}",
            hint="Pictures that the catalog came with are removed in its folder.",
        )
    with os_errors("remove a picture", catalog):
        (catalog / image).unlink(missing_ok=True)
        if all(map(is_taught, images)) and len(images) == 1:
            with suppress(OSError):  # something of its owner's lies there
                (catalog / image).parent.rmdir()
                _remove_row(catalog / _TABLE, product_id)


def update_index(
    index: Index,
    bundle: Bundle,
    manifest: Manifest,
    *,
    added: Iterable[tuple[Taught, Metadata]] = (),
    removed: Iterable[str] = (),
    threads: int | None = None,
) -> Manifest:
    """Bring an index after what was taught, in one switch.

    Where an index run was interrupted, the catalog is indexed as a whole: what that run left is completed, never made
    live half.

    Args:
        index: which.
        bundle: the model that built it.
        manifest: of its live generation.
        added: pictures that were written, with what the catalog says of their products.
        removed: image ids of pictures that were taken out.
        threads: worker threads; default one per core.

    Returns:
        What is live now.

    Raises:
        IndexBusyError: somebody is writing; try again.
        ModelMismatchError, DiskFullError, StoreError: see `retrieval.index.protocols.Index.writer`.
    """
    catalog = Path(manifest.catalog)
    points = _points(catalog, bundle, list(added), threads)
    gone = list(removed)
    keys = sorted({*manifest.metadata_keys, *(key for point in points for key in point.record.metadata)})
    with index.writer(bundle.identity) as build:
        if not build.resumed:
            if points:
                build.store.upsert(points)
            if gone:
                build.store.delete(gone)
            expected = build.store.count()

            def check(store: VectorStore, written: Manifest) -> None:
                if written.images != expected:
                    raise IndexDamagedError(
                        f"expected {expected:,} pictures in the index, received {written.images:,}",
                        hint="The live generation stays.",
                    )
                require_sound(store, written)

            order = [*manifest.metadata_keys, *(key for key in keys if key not in manifest.metadata_keys)]
            return build.commit(catalog=manifest.catalog, metadata_keys=order, check=check)
    index_catalog(read_catalog(catalog), index, bundle, threads=threads)
    live = index.manifest()
    assert live is not None
    return live


def _points(
    catalog: Path, bundle: Bundle, added: Sequence[tuple[Taught, Metadata]], threads: int | None
) -> list[Point]:
    def look(item: tuple[Taught, Metadata]) -> Look[str]:
        data = pictures.read_file(catalog / item[0].image, root=catalog)
        return Look(pictures.content_hash(data), pictures.prepare(data, bundle.preprocessing))

    points = []
    for seen in embed_pictures(added, bundle, look, threads=threads):
        if not isinstance(seen, Embedded):
            continue  # its owner removed it meanwhile
        taught, metadata = seen.item
        assert seen.vector is not None
        record = IndexedImage(
            image_id(taught.product_id, taught.image), taught.product_id, taught.image, seen.facts, metadata
        )
        points.append(Point(record, np.asarray(seen.vector, dtype=np.float32)))
    return points


def _folder(catalog: Path, product_id: str, images: Sequence[str]) -> Path:
    """The folder that a product's pictures lie in."""
    found = read_catalog(catalog)
    if found.kind != "folders" or found.level < 1:
        raise UsageError(
            "expected a catalog of product folders, received one whose pictures lie otherwise",
            hint="Add the picture and its row to the table, then run itemrec index.",
        )
    if not images:
        return catalog / _folder_name(product_id, found.level)
    level = found.level
    for image in images:
        parts = PurePosixPath(image).parts
        if len(parts) > level and one_form(parts[level - 1]) == product_id:
            return catalog.joinpath(*parts[:level])
    raise UsageError(
        f"expected a product with a folder of its own, received {printable(product_id)}",
        hint="Add the picture to the catalog, then run itemrec index.",
    )


def _folder_name(product_id: str, level: int) -> str:
    if level > 1:
        raise UsageError(
            f"expected a catalog with products at its first level of folders, received one with them at level {level}",
            hint="Make the product's folder in its category, then run itemrec index.",
        )
    wrong = (
        product_id != one_form(product_id)
        or not product_id
        or len(product_id.encode()) > _MAX_ID
        or _FORBIDDEN.search(product_id)
        or product_id[0] in ".#$@~"
        or product_id[-1] in ". "
    )
    if wrong:
        raise UsageError(
            f"expected an id that can name a folder, received {printable(product_id)[:80]!r}",
            hint="Use letters, digits, dashes and underscores.",
        )
    return product_id


def _read_table(file: Path) -> tuple[list[str], str]:
    """The header of a CSV table and its delimiter; empty where there is none.

    Raises:
        UsageError: it is one that a row cannot be added to.
    """
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return [], ","
    except UnicodeDecodeError:
        text = ""
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    header = [cell.strip().lower() for cell in next(csv.reader([first], delimiter=delimiter), [])]
    if "product_id" not in header or not set(header) & set(_NAMES):
        raise UsageError(
            f"expected {_TABLE} in UTF-8 with columns product_id and name, received another",
            hint="Leave the name out, and add the product's row to the table yourself.",
        )
    return header, delimiter


def _add_row(file: Path, product_id: str, name: str) -> None:
    header, delimiter = _read_table(file)
    row = io.StringIO()
    writer = csv.writer(row, delimiter=delimiter, lineterminator="\n")
    if not header:
        header = ["product_id", "name"]
        writer.writerow(header)
    column = next(key for key in _NAMES if key in header)
    writer.writerow([product_id if key == "product_id" else name if key == column else "" for key in header])
    before = file.read_bytes() if file.exists() else b""
    joint = b"" if not before or before.endswith(b"\n") else b"\n"
    replace_file(file, before + joint + row.getvalue().encode())


def _remove_row(file: Path, product_id: str) -> None:
    """Take back the row that `_add_row` added: the last line of this product that holds its name and nothing else."""
    with suppress(UsageError, OSError):
        header, delimiter = _read_table(file)
        lines = file.read_bytes().splitlines(keepends=True)
        for place in range(len(lines) - 1, 0, -1):
            cells = next(csv.reader([lines[place].decode().rstrip("\r\n")], delimiter=delimiter), [])
            values: Mapping[str, str] = dict(zip(header, cells, strict=False))
            if values.get("product_id") == product_id and sum(map(bool, values.values())) <= 2:
                left = b"".join(lines[:place] + lines[place + 1 :])
                if left.strip() == b"product_id,name":
                    os.unlink(file)
                else:
                    replace_file(file, left)
                return

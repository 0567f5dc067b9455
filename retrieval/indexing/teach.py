"""Photos that people confirmed become pictures of the catalog, and can be taken back.

The catalog's folder is written first, durably, then the index: an index run from the folder gives the same index, also
where this process died in between. `write_picture` and `remove_picture` change the folder, `update_index` brings the
index after it, without listing the catalog.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from retrieval.catalog.product_table import ProductTable
from retrieval.catalog.read import Catalog, read_catalog
from retrieval.errors import IndexDamagedError, UsageError
from retrieval.images import pictures
from retrieval.images.studio import prepared
from retrieval.index.checks import require_sound
from retrieval.index.manifest import Manifest
from retrieval.index.protocols import Index, VectorStore
from retrieval.indexing.indexer import index_catalog
from retrieval.indexing.kinds import look_at_kinds
from retrieval.models.bundle import Bundle
from retrieval.models.embedding import Embedded, Look, embed_pictures
from retrieval.system.files import os_errors, replace_file
from retrieval.system.text import one_form, printable
from retrieval.types import IndexedImage, Metadata, PictureKind, Point, image_id

MAX_SIDE = 1024
"""Longer side of a taught picture, pixels."""
MOST_TAUGHT = 20
"""Taught pictures of one product: more of the same shelf would drown the others."""
COVER = ".cover"
"""In a product's folder: the name of the picture that is shown for it."""

_TAUGHT = re.compile(r"taught-[0-9a-f]{16}\.jpg")
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
    found = read_catalog(catalog)
    require_known(found, product_id, images, new=new)
    folder = product_folder(found, product_id, images)
    if sum(map(is_taught, images)) >= MOST_TAUGHT:
        raise UsageError(
            f"expected fewer than {MOST_TAUGHT} taught pictures, received another one of {printable(product_id)}",
            hint="Remove some first; more of the same would drown its other pictures.",
        )
    data = pictures.to_jpeg(photo, MAX_SIDE)
    image = f"{folder.relative_to(found.root).as_posix()}/{_name_of(data)}"
    if image in images:
        return Taught(product_id, image, new=False)
    with os_errors("write a picture", catalog):
        if new and name:
            table = ProductTable(catalog)
            table.set(product_id, {table.name_column: one_form(name)})
            table.save()
        folder.mkdir(exist_ok=True)
        replace_file(catalog / image, data)
    return Taught(product_id, image, new=True)


def picture_name(photo: bytes) -> str:
    """The name of the file that `write_picture` makes of a photo.

    Raises:
        ImageError: the photo cannot be read.
    """
    return _name_of(pictures.to_jpeg(photo, MAX_SIDE))


def remove_picture(
    catalog: Path, product_id: str, image: str, images: Sequence[str], *, keep_row: bool = False
) -> None:
    """Take a taught picture out of the folder again; with the last one of a taught product its folder and row go, too.

    Args:
        catalog: the catalog's folder.
        product_id: what it shows.
        image: its path in the catalog.
        images: paths of all pictures of the product.
        keep_row: the table had the product's row before it was taught.

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
        cover = (catalog / image).with_name(COVER)
        with suppress(FileNotFoundError, UnicodeDecodeError):
            if cover.read_text("utf-8") == PurePosixPath(image).name:
                cover.unlink()
        if all(map(is_taught, images)) and len(images) == 1:
            with suppress(OSError):  # something of its owner's lies there
                (catalog / image).parent.rmdir()
                if not keep_row:
                    _forget_name(catalog, product_id)


def update_index(
    index: Index,
    bundle: Bundle,
    manifest: Manifest,
    *,
    added: Iterable[tuple[Taught, Metadata]] = (),
    removed: Iterable[str] = (),
    described: Mapping[str, Metadata] | None = None,
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
        described: what the catalog says now of products whose pictures stay, by image id.
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
    told = [*(point.record.metadata for point in points), *(described or {}).values()]
    keys = dict.fromkeys([*manifest.metadata_keys, *(key for metadata in told for key in metadata)])
    with index.writer(bundle.identity) as build:
        if not build.resumed:
            if points:
                build.store.upsert(points)
            if gone:
                build.store.delete(gone)
            if described:
                build.store.set_metadata(described)
            expected = build.store.count()

            def check(store: VectorStore, written: Manifest) -> None:
                if written.images != expected:
                    raise IndexDamagedError(
                        f"expected {expected:,} pictures in the index, received {written.images:,}",
                        hint="The live generation stays.",
                    )
                require_sound(store, written)

            gap = look_at_kinds(build.store, catalog, points).gap if points else None
            return build.commit(catalog=manifest.catalog, metadata_keys=list(keys), check=check, gap=gap)
    index_catalog(read_catalog(catalog), index, bundle, threads=threads)
    live = index.manifest()
    assert live is not None
    # A whole run takes along what was added and described; what is gone stays until somebody says so.
    return update_index(index, bundle, live, removed=gone, threads=threads) if gone else live


def _points(
    catalog: Path, bundle: Bundle, added: Sequence[tuple[Taught, Metadata]], threads: int | None
) -> list[Point]:
    def look(item: tuple[Taught, Metadata]) -> Look[tuple[str, PictureKind]]:
        data = pictures.read_file(catalog / item[0].image, root=catalog)
        pixels, kind = prepared(data, bundle.preprocessing)
        return Look((pictures.content_hash(data), kind), pixels)

    points = []
    for seen in embed_pictures(added, bundle, look, threads=threads):
        if not isinstance(seen, Embedded):
            continue  # its owner removed it meanwhile
        taught, metadata = seen.item
        assert seen.vector is not None
        content_hash, kind = seen.facts
        name = image_id(taught.product_id, taught.image)
        record = IndexedImage(name, taught.product_id, taught.image, content_hash, metadata, kind)
        points.append(Point(record, np.asarray(seen.vector, dtype=np.float32)))
    return points


def _name_of(jpeg: bytes) -> str:
    return f"taught-{hashlib.sha256(jpeg).hexdigest()[:16]}.jpg"


def require_known(catalog: Catalog, product_id: str, images: Sequence[str], *, new: bool) -> None:
    """Refuse a product that is not there, or one that is where it is to be new.

    Args:
        catalog: as it is now; a product of its table need not have pictures.
        product_id: which.
        images: its pictures in the index.
        new: whether it is to be new.

    Raises:
        UsageError: see above.
    """
    if (bool(images) or product_id in catalog.products) == new:
        known = "one that exists" if new else "one that the catalog does not have"
        raise UsageError(
            f"expected {'a new product' if new else 'a product of the catalog'}, received {known}: "
            f"{printable(product_id)}",
            hint="Choose another id." if new else "Make it a new product, or choose one that exists.",
        )


def product_folder(catalog: Catalog, product_id: str, images: Sequence[str]) -> Path:
    """The folder that a product's pictures lie in, or will lie in.

    Args:
        catalog: whose.
        product_id: which.
        images: paths of its pictures, if it has any.

    Raises:
        UsageError: the catalog is not one of folders, or the id cannot be a folder's name.
    """
    if catalog.kind != "folders" or catalog.level < 1:
        raise UsageError(
            "expected a catalog of product folders, received one whose pictures lie otherwise",
            hint="Change its table or files, then run itemrec index.",
        )
    if not images:
        return catalog.root / _folder_name(product_id, catalog.level)
    for image in images:
        parts = PurePosixPath(image).parts
        if len(parts) > catalog.level and one_form(parts[catalog.level - 1]) == product_id:
            return catalog.root.joinpath(*parts[: catalog.level])
    raise UsageError(
        f"expected a product with a folder of its own, received {printable(product_id)}",
        hint="Add the picture to the catalog, then run itemrec index.",
    )


def require_new_id(product_id: str) -> None:
    """Refuse an id that cannot name a folder.

    Raises:
        UsageError: it is one.
    """
    wrong = (
        product_id != one_form(product_id)
        or not product_id
        or len(product_id.encode("utf-8", "surrogateescape")) > _MAX_ID
        or _FORBIDDEN.search(product_id)
        or product_id[0] in ".#$@~"
        or product_id[-1] in ". "
    )
    if wrong:
        raise UsageError(
            f"expected an id that can name a folder, received {printable(product_id)[:80]!r}",
            hint="Use letters, digits, dashes and underscores.",
        )


def _folder_name(product_id: str, level: int) -> str:
    if level > 1:
        raise UsageError(
            f"expected a catalog with products at its first level of folders, received one with them at level {level}",
            hint="Make the product's folder in its category, then run itemrec index.",
        )
    require_new_id(product_id)
    return product_id


def _forget_name(catalog: Path, product_id: str) -> None:
    """Take back the row that a new product's name made: one that holds nothing else."""
    with suppress(UsageError, OSError):
        table = ProductTable(catalog)
        found = table.row(product_id)
        if found is None or sum(map(bool, table.values(product_id).values())) > 1:
            return
        table.put(product_id, None, found[0])
        if table.columns == ["product_id", "name"]:
            table.put_header(None)
        table.save()

"""Bring together what an evaluation measures: a split's photos, and the gallery they are compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.calibration.gap import scales
from retrieval.catalog.fetched import locate
from retrieval.catalog.read import Refusal, read_catalog
from retrieval.errors import CatalogError, ImageError, UsageError
from retrieval.evaluation.photos import Photos
from retrieval.images.perceptual_hash import HASHED, hash_of, perceptual_hash
from retrieval.images.pictures import content_hash, read_file, views
from retrieval.images.studio import SMALL, is_studio, kind_of
from retrieval.images.views import Prepared
from retrieval.index.manifest import Manifest
from retrieval.index.protocols import Index, VectorStore
from retrieval.models.bundle import Bundle
from retrieval.models.embedding import Embedded, Look, embed_pictures
from retrieval.system.progress import Progress, Silent
from retrieval.system.text import printable
from retrieval.system.threads import default_threads, ordered_map
from retrieval.types import SPLITS, CatalogImage, IndexedImage, Point


def split_folder(data: Path, split: str) -> Path:
    """The folder of one split of a dataset.

    Args:
        data: the dataset: a folder with a folder for each split, as `itemrec prepare` writes it.
        split: its name.

    Raises:
        UsageError: there is none; names those that are there.
    """
    folder = data / split
    if folder.is_dir() and split and Path(split).name == split:
        return folder
    if not data.is_dir():
        raise UsageError(
            f"expected a dataset, a folder with train/, val/ and test/, received nothing at {printable(data)}",
            hint="Name it with --data DIR; itemrec prepare makes one from a catalog.",
        )
    there = [name for name in SPLITS if (data / name).is_dir()]
    raise UsageError(
        f"expected the split {printable(split)!r} in {printable(data)}, received a folder with "
        f"{', '.join(there) if there else 'none of train/, val/ and test/'}",
        hint=f"Choose one of them: --split {there[-1]}" if there else "A dataset is data/<split>/<product_id>/*.jpg",
    )


def gather_folder(
    folder: Path,
    bundle: Bundle,
    *,
    known: Mapping[str, NDArray[np.float32]] | None = None,
    progress: Progress = Silent(),
    stage: str = "Embedding",
    as_gallery: bool = False,
) -> Photos:
    """Embed every photo of a folder of product folders (or of a table, as `read_catalog` reads them).

    Args:
        folder: a split, or a catalog.
        bundle: the model.
        known: embeddings (d,) that the model is known to give, by the SHA-256 of the file; the rest is embedded.
        progress: told how far it is.
        stage: what the progress calls it.
        as_gallery: weigh pictures of two kinds as an index of them would, see `Photos.factors`.

    Raises:
        CatalogError: it holds no catalog, or no readable photo.
        EncoderError: the model failed.
    """
    # Until the folder is listed nobody knows how many photos there are.
    progress.stage(stage)
    catalog = read_catalog(folder)
    catalog.fetch(progress)
    pictures: list[CatalogImage] = []
    refused: list[Refusal] = []
    for entry in catalog.entries():
        if isinstance(entry, Refusal):
            refused.append(entry)
        else:
            pictures.append(entry)
    progress.known(len(pictures))

    def look(entry: CatalogImage) -> Look[tuple[str, int, bool]]:
        data = catalog.read(entry)
        sha256 = content_hash(data)
        if known and sha256 in known:
            return Look((sha256, perceptual_hash(data), as_gallery and is_studio(data)), None)
        pixels, hashed, *small = views(data, Prepared(bundle.preprocessing), HASHED, *([SMALL] if as_gallery else []))
        facts = (sha256, hash_of(hashed), as_gallery and kind_of(small[0]) == "studio")
        return Look(facts, np.array(pixels, dtype=np.uint8))

    kept: list[tuple[CatalogImage, tuple[str, int, bool], NDArray[np.float32]]] = []
    for result in embed_pictures(pictures, bundle, look):
        if isinstance(result, Embedded):
            vector = result.vector
            if vector is None and known:
                vector = known[result.facts[0]]
            if vector is not None:
                kept.append((result.item, result.facts, vector))
        elif isinstance(result.error, ImageError):
            refused.append(Refusal.of(result.item, result.error))
        progress.advance()
    if not kept:
        raise CatalogError(
            f"expected at least one readable photo in {printable(folder)}, received none"
            + (f"; the first of {len(refused)} refused files is {refused[0].path}" if refused else ""),
            hint="Photos lie in one folder for each product: <split>/<product_id>/*.jpg",
        )
    photos = Photos(
        catalog.root,
        tuple(entry.image for entry, _, _ in kept),
        np.array([entry.product_id for entry, _, _ in kept]),
        np.stack([vector for _, _, vector in kept]),
        tuple(content for _, (content, _, _), _ in kept),
        np.array([picture for _, (_, picture, _), _ in kept], np.uint64),
        np.ones(len(kept), bool),
        {product_id: catalog.metadata(product_id) for product_id in sorted({e.product_id for e, _, _ in kept})},
        tuple(refused),
        tuple(f"{printable(folder)}: {note}" for note in catalog.notes),
    )
    return photos.as_gallery(np.array([studio for _, (_, _, studio), _ in kept])) if as_gallery else photos


def gather_index(index: Index, bundle: Bundle, *, progress: Progress = Silent()) -> Photos:
    """The gallery that an index holds, from its own vectors; opened once, read, and closed.

    Its pictures are read again for their perceptual hashes only. Those that are gone or have changed
    since are not `Photos.hashed`.

    Raises:
        IndexNotFoundError, IndexBusyError, IndexDamagedError: as `Index.reader`.
        ModelMismatchError: another model built it.
    """
    progress.stage("Reading the index")
    with index.reader() as (store, manifest):
        manifest.require(bundle.identity, index.location)
        points = [point for batch in store.points() for point in batch]
    return _gallery(points, manifest, progress)


def gather_store(store: VectorStore, manifest: Manifest) -> Photos:
    """As `gather_index`, from a generation that is open already: one that is not live yet, say."""
    return _gallery([point for batch in store.points() for point in batch], manifest, Silent())


def _gallery(points: Sequence[Point], manifest: Manifest, progress: Progress) -> Photos:
    progress.known(len(points))
    records = [point.record for point in points]
    order = sorted(range(len(records)), key=lambda i: (records[i].product_id, records[i].image))
    records = [records[i] for i in order]
    root = Path(manifest.catalog)
    hashes = _picture_hashes(root, records, progress)
    found = scales(manifest.studio, manifest.gap)
    return Photos(
        root,
        tuple(record.image for record in records),
        np.array([record.product_id for record in records]),
        np.stack([points[i].vector for i in order]),
        tuple(record.content_hash for record in records),
        np.array([value or 0 for value in hashes], np.uint64),
        np.array([value is not None for value in hashes], bool),
        {record.product_id: record.metadata for record in records},
        factors=None if found is None else np.array([found.of(record.kind) for record in records], np.float32),
    )


def _picture_hashes(root: Path, records: Sequence[IndexedImage], progress: Progress) -> list[int | None]:
    """The perceptual hash of each picture; None where the file is not there, or not the one indexed."""

    def work(record: IndexedImage) -> int | None:
        try:
            file, home = locate(root, record.image)
            data = read_file(file, root=home)
            return perceptual_hash(data) if content_hash(data) == record.content_hash else None
        except ImageError:
            return None

    hashes: list[int | None] = []
    for value in ordered_map(work, records, default_threads()):
        hashes.append(value)
        progress.advance()
    return hashes

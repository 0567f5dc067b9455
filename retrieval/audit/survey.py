"""Look at every file of a catalog once: readable or not, how large, which hash, which embedding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.catalog.read import Catalog, Refusal
from retrieval.errors import EncoderError, ImageError
from retrieval.images.formats import read_header
from retrieval.images.formats.color_profile import flawed_note, noticing
from retrieval.images.perceptual_hash import HASHED, hash_of
from retrieval.images.pictures import content_hash, views
from retrieval.images.views import Prepared, Thumbnail
from retrieval.models.bundle import Bundle
from retrieval.models.embedding import Embedded, Look, embed_pictures
from retrieval.system.progress import Progress, Silent
from retrieval.types import CatalogImage, Metadata

_BATCH = 8
_GLANCE = 64


@dataclass(frozen=True, slots=True)
class Surveyed:
    """A readable picture and what was measured on it.

    Attributes:
        product_id: the product it lies in.
        image: its path relative to the catalog's root.
        content_hash: SHA-256 of the file.
        perceptual_hash: see `retrieval.images.perceptual_hash`.
        width: pixels, as stored.
        height: pixels, as stored.
        size: bytes of the file.
        contrast: standard deviation of its gray values, of 255.
    """

    product_id: str
    image: str
    content_hash: str
    perceptual_hash: int
    width: int
    height: int
    size: int
    contrast: float


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that is not looked at further; ``product_id`` is empty when it belongs to none."""

    image: str
    product_id: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """A catalog as an audit sees it.

    Attributes:
        pictures: readable pictures, in the catalog's order.
        vectors: their embeddings, unit vectors, shape (n, d).
        refused: files that are not pictures we can use.
        products: every product with a folder, a row or a picture, with what the table says of it.
        has_table: whether there is a table with columns beside ``product_id``.
        notes: what was found in the pictures and is no finding, a line each.
    """

    pictures: tuple[Surveyed, ...]
    vectors: NDArray[np.float32]
    refused: tuple[Refused, ...]
    products: Mapping[str, Metadata]
    has_table: bool
    notes: tuple[str, ...] = ()


def survey(
    catalog: Catalog,
    bundle: Bundle,
    *,
    threads: int | None = None,
    progress: Progress = Silent(),
) -> Survey:
    """Read, measure and embed every picture.

    Memory grows by the vectors and a record a picture; pixels are dropped at once.

    Args:
        catalog: what `retrieval.catalog.read.read_catalog` read.
        bundle: the model.
        threads: worker threads; default one per core.
        progress: told how far it is.

    Raises:
        EncoderError: the model cannot embed a single picture.
    """
    # Until the catalog is listed nobody knows how many pictures there are.
    progress.stage("Auditing")
    catalog.fetch(progress)
    refused: list[Refused] = []
    found: list[CatalogImage] = []
    for entry in catalog.entries():
        if isinstance(entry, Refusal):
            refused.append(Refused(entry.path, "", entry.code, entry.reason))
        else:
            found.append(entry)
    progress.known(len(found))
    pictures: list[Surveyed] = []
    vectors: NDArray[np.float32] | None = None
    failure: EncoderError | None = None
    flawed: list[str] = []

    def look(entry: CatalogImage) -> Look[Surveyed]:
        with noticing() as flaws:
            looked = _look(entry, catalog, bundle)
        if flaws:
            flawed.append(entry.image)
        return looked

    # One picture that the model cannot embed must not take the others with it.
    for result in embed_pictures(found, bundle, look, threads=threads, batch=_BATCH, alone=True):
        entry = result.item
        if isinstance(result, Embedded):
            assert result.vector is not None  # `_look` leaves none out
            if vectors is None:
                vectors = np.empty((len(found), len(result.vector)), np.float32)
            vectors[len(pictures)] = result.vector
            pictures.append(result.facts)
        elif isinstance(result.error, ImageError):
            refused.append(Refused(entry.image, entry.product_id, result.error.reason, result.error.message))
        else:
            failure = failure or result.error
            refused.append(Refused(entry.image, entry.product_id, "not-embeddable", result.error.message))
        progress.advance()
    if failure is not None and not pictures:
        raise failure
    products: dict[str, Metadata] = {p: catalog.metadata(p) for p in catalog.products}
    products |= {p.product_id: {} for p in pictures if p.product_id not in products}
    return Survey(
        pictures=tuple(pictures),
        vectors=np.zeros((0, 1), np.float32) if vectors is None else vectors[: len(pictures)],
        refused=tuple(refused),
        products=products,
        has_table=bool(catalog.metadata_keys),
        notes=(flawed_note(flawed),) if flawed else (),
    )


def _look(entry: CatalogImage, catalog: Catalog, bundle: Bundle) -> Look[Surveyed]:
    data = catalog.read(entry)
    pixels, glance, hashed = views(data, Prepared(bundle.preprocessing), Thumbnail(_GLANCE), HASHED)
    gray = np.asarray(glance.convert("L"), dtype=np.float32)
    header = read_header(data)
    assert header is not None  # `views` opened it
    width, height = header.sizes[0]
    picture = Surveyed(
        product_id=entry.product_id,
        image=entry.image,
        content_hash=content_hash(data),
        perceptual_hash=hash_of(hashed),
        width=width,
        height=height,
        size=len(data),
        contrast=float(gray.std()),
    )
    return Look(picture, np.array(pixels, dtype=np.uint8))

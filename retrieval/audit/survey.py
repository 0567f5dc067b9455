"""Look at every file of a catalog once: readable or not, how large, which hash, which embedding."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.catalog.read import Catalog, Refusal
from retrieval.errors import EncoderError, ImageError
from retrieval.images.formats import read_header
from retrieval.images.perceptual_hash import perceptual_hash
from retrieval.images.pictures import content_hash, prepare, read_file, thumbnail
from retrieval.models.encoder import Encoder
from retrieval.system.progress import Progress, Silent
from retrieval.system.threads import default_threads, per_thread
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
    """

    pictures: tuple[Surveyed, ...]
    vectors: NDArray[np.float32]
    refused: tuple[Refused, ...]
    products: Mapping[str, Metadata]
    has_table: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    picture: Surveyed
    pixels: NDArray[np.uint8]


def survey(
    catalog: Catalog,
    make_encoder: Callable[[], Encoder],
    *,
    threads: int | None = None,
    progress: Progress = Silent(),
) -> Survey:
    """Read, measure and embed every picture.

    Memory grows by the vectors and a record a picture; pixels are dropped at once.

    Args:
        catalog: what `retrieval.catalog.read.read_catalog` read.
        make_encoder: makes an encoder; called once in every worker thread.
        threads: worker threads; default one per core.
        progress: told how far it is.

    Raises:
        EncoderError: the model cannot embed a single picture.
    """
    # Until the catalog is listed nobody knows how many pictures there are.
    progress.stage("Auditing")
    refused: list[Refused] = []
    found: list[CatalogImage] = []
    for entry in catalog.entries():
        if isinstance(entry, Refusal):
            refused.append(Refused(entry.path, "", entry.code, entry.reason))
        else:
            found.append(entry)
    progress.known(len(found))
    workers = threads or default_threads()
    encoder = per_thread(make_encoder)
    pictures: list[Surveyed] = []
    vectors: NDArray[np.float32] | None = None
    failure: EncoderError | None = None
    for entry, result in _results(found, catalog, encoder, workers):
        if isinstance(result, ImageError):
            refused.append(Refused(entry.image, entry.product_id, result.reason, result.message))
        elif isinstance(result, EncoderError):
            failure = failure or result
            refused.append(Refused(entry.image, entry.product_id, "not-embeddable", result.message))
        else:
            picture, vector = result
            if vectors is None:
                vectors = np.empty((len(found), len(vector)), np.float32)
            vectors[len(pictures)] = vector
            pictures.append(picture)
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
    )


_Result = tuple[Surveyed, NDArray[np.float32]] | ImageError | EncoderError


def _results(
    found: Sequence[CatalogImage], catalog: Catalog, encoder: Callable[[], Encoder], workers: int
) -> Iterator[tuple[CatalogImage, _Result]]:
    """In the catalog's order, with a bounded number of pictures under way."""

    def work(batch: Sequence[CatalogImage]) -> list[_Result]:
        looks = [_look(picture, catalog, encoder()) for picture in batch]
        return _embedded(looks, encoder())

    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="itemrec-audit") as pool:
        waiting: deque[tuple[Sequence[CatalogImage], Future[list[_Result]]]] = deque()
        try:
            for start in range(0, len(found), _BATCH):
                batch = found[start : start + _BATCH]
                waiting.append((batch, pool.submit(work, batch)))
                if len(waiting) >= 4 * workers:
                    done, future = waiting.popleft()
                    yield from zip(done, future.result(), strict=True)
            while waiting:
                done, future = waiting.popleft()
                yield from zip(done, future.result(), strict=True)
        finally:
            for _, future in waiting:
                future.cancel()


def _look(entry: CatalogImage, catalog: Catalog, encoder: Encoder) -> _Look | ImageError:
    try:
        data = read_file(entry.file, root=catalog.root)
        pixels = prepare(data, encoder.preprocessing)
        gray = np.asarray(thumbnail(data, _GLANCE).convert("L"), dtype=np.float32)
        header = read_header(data)
        assert header is not None  # `prepare` opened it
        width, height = header.sizes[0]
        picture = Surveyed(
            product_id=entry.product_id,
            image=entry.image,
            content_hash=content_hash(data),
            perceptual_hash=perceptual_hash(data),
            width=width,
            height=height,
            size=len(data),
            contrast=float(gray.std()),
        )
    except ImageError as error:
        return error
    return _Look(picture, pixels)


def _embedded(looks: Sequence[_Look | ImageError], encoder: Encoder) -> list[_Result]:
    """Embed a batch; one picture that the model cannot embed must not take the others with it."""
    good = [look for look in looks if isinstance(look, _Look)]
    vectors: list[NDArray[np.float32] | EncoderError] = []
    try:
        if good:
            vectors = list(encoder.encode(np.stack([look.pixels for look in good])))
    except EncoderError:
        vectors = [_alone(look, encoder) for look in good]
    by_look = iter(zip(good, vectors, strict=True))
    results: list[_Result] = []
    for look in looks:
        if isinstance(look, ImageError):
            results.append(look)
            continue
        _, vector = next(by_look)
        results.append(vector if isinstance(vector, EncoderError) else (look.picture, vector))
    return results


def _alone(look: _Look, encoder: Encoder) -> NDArray[np.float32] | EncoderError:
    try:
        vector: NDArray[np.float32] = encoder.encode(look.pixels[np.newaxis])[0]
    except EncoderError as error:
        return error
    return vector

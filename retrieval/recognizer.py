"""Photo -> Recognition: embed, find the neighbors within the threshold, let them vote."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval import images, votes
from retrieval.bundle import Bundle
from retrieval.distance import MAX_DISTANCE
from retrieval.encoder import Encoder, load_encoder
from retrieval.errors import ImageError, UsageError
from retrieval.store import Manifest, VectorStore
from retrieval.types import JsonScalar, Neighbor, Recognition, Where
from retrieval.workers import default_threads, per_thread

FIRST_LIMIT = 64
WIDEN = 4


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedPhoto:
    """A photo after the network: its unit vector, shape (d,), and what it took, in ms."""

    source: str
    vector: NDArray[np.float32]
    decode_ms: float
    embed_ms: float


def embed_photo(data: bytes, source: str, encoder: Encoder) -> EmbeddedPhoto:
    """Decode and embed one photo.

    Raises:
        ImageError: the bytes are not a picture we accept.
        EncoderError: the network failed on it.
    """
    start = time.perf_counter()
    pixels = images.prepare(data, encoder.preprocessing)
    decoded = time.perf_counter()
    vector = encoder.encode(pixels[np.newaxis])[0]
    done = time.perf_counter()
    return EmbeddedPhoto(source, vector, (decoded - start) * 1e3, (done - decoded) * 1e3)


def find(
    store: VectorStore,
    vector: NDArray[np.float32],
    *,
    threshold: float,
    products: int,
    where: Where | None = None,
    exact: bool = False,
) -> list[Neighbor]:
    """Neighbors within the threshold, enough for the best ``products`` products to be scored in full.

    The search widens until that many distinct products are seen or the threshold ends it, so
    that many pictures of one product cannot crowd out the others. Where the list was cut, each
    leading product's own nearest pictures are fetched too: its score must not depend on how
    many pictures other products have.

    Args:
        store: the gallery.
        vector: unit vector of the photo, shape (d,).
        threshold: squared L2; inclusive.
        products: how many distinct products to look for.
        where: keep only products whose metadata match.
        exact: scan every vector even where an HNSW graph exists.
    """
    limit = FIRST_LIMIT
    while True:
        neighbors = store.search(vector, limit=limit, max_distance=threshold, where=where, exact=exact)
        cut = len(neighbors) == limit
        if not cut or len({n.product_id for n in neighbors}) >= products:
            break
        limit *= WIDEN
    if not cut:
        return neighbors
    found = {n.image_id: n for n in neighbors}
    for match in votes.rank(neighbors, threshold=threshold)[: 2 * products]:
        if match.votes < votes.EVIDENCE:
            own = store.search(
                vector,
                limit=votes.EVIDENCE,
                max_distance=threshold,
                where=where,
                product_id=match.product_id,
                exact=exact,
            )
            found.update((n.image_id, n) for n in own)
    return list(found.values())


def recognize(
    photo: EmbeddedPhoto,
    store: VectorStore,
    *,
    threshold: float,
    top: int = 5,
    where: Where | None = None,
    fingerprint: str,
) -> Recognition:
    """Answer one photo.

    Args:
        photo: what `embed_photo` made.
        store: the gallery, built by the same model.
        threshold: squared L2, in [0, 4]; inclusive.
        top: how many products to return at most; at least 2 are compared for the verdict.
        where: keep only products whose metadata match.
        fingerprint: the model's, for the record.
    """
    start = time.perf_counter()
    neighbors = find(store, photo.vector, threshold=threshold, products=max(top, 2), where=where)
    matches = votes.rank(neighbors, threshold=threshold)
    search_ms = (time.perf_counter() - start) * 1e3
    return Recognition(
        source=photo.source,
        verdict=votes.verdict(matches),
        matches=tuple(matches[:top]),
        threshold=threshold,
        fingerprint=fingerprint,
        timings_ms={
            "decode": round(photo.decode_ms, 3),
            "embed": round(photo.embed_ms, 3),
            "search": round(search_ms, 3),
        },
    )


def parse_where(terms: list[str], manifest: Manifest) -> Where | None:
    """Read ``key=value`` filters; several values of a key are alternatives, several keys must all hold.

    Args:
        terms: as typed: ``category=Milk`` or ``category=Milk,Juice``… one term per entry.
        manifest: names the columns that exist.

    Raises:
        UsageError: a term has no ``=``, or names a column that the catalog does not have.
    """
    wanted: dict[str, tuple[JsonScalar, ...]] = {}
    for term in terms:
        key, equals, value = term.partition("=")
        key = key.strip()
        if not equals or not key:
            raise UsageError(
                f"expected --where KEY=VALUE, received {term!r}", hint="For example: --where category=Milk"
            )
        if key not in manifest.metadata_keys:
            columns = ", ".join(manifest.metadata_keys) or "none: the catalog has no products table"
            raise UsageError(
                f"expected a metadata column of the catalog in --where, received {key!r}",
                hint=f"The columns are: {columns}",
            )
        wanted[key] = (*wanted.get(key, ()), value)
    return wanted or None


@dataclass(frozen=True, slots=True)
class RefusedPhoto:
    """A photo that could not be read, and why."""

    source: str
    error: ImageError


Read = Callable[[], bytes]


def embed_photos(
    photos: Sequence[tuple[str, Read]], bundle: Bundle, *, threads: int | None = None, chunk: int = 64
) -> Iterator[list[EmbeddedPhoto | RefusedPhoto]]:
    """Embed many photos, in order, a chunk at a time; decoding and inference overlap across threads.

    Args:
        photos: a name for each photo and a function that reads its bytes.
        bundle: the model.
        threads: worker threads; default one per core. A single photo gets them all inside the network.
        chunk: how many photos are yielded together.
    """
    cores = threads or default_threads()
    workers = min(cores, len(photos))
    encoders = per_thread(lambda: load_encoder(bundle, threads=cores if workers == 1 else 1))

    def work(photo: tuple[str, Read]) -> EmbeddedPhoto | RefusedPhoto:
        source, read = photo
        try:
            return embed_photo(read(), source, encoders())
        except ImageError as error:
            return RefusedPhoto(source, error)

    if workers == 1:
        for photo in photos:
            yield [work(photo)]
        return
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="itemrec-query") as pool:
        for start in range(0, len(photos), chunk):
            yield list(pool.map(work, photos[start : start + chunk]))


def query_threshold(given: float | None, bundle: Bundle) -> float:
    """The threshold for queries: what the user gave, else what the bundle was calibrated to.

    Raises:
        UsageError: neither exists: without a threshold every photo would "match" something.
    """
    if given is not None:
        if not 0.0 <= given <= MAX_DISTANCE:
            raise UsageError(f"expected a threshold in [0, 4] (squared L2), received {given}")
        return float(given)
    if bundle.calibration is None:
        raise UsageError(
            f"expected a calibrated model, received {bundle.name}, which does not say when a photo is unknown",
            hint="Give --threshold D (squared L2 in [0, 4]; often 0.5 to 1.2), or import the model with one.",
        )
    return bundle.calibration.threshold

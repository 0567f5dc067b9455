"""Catalog -> plan -> decode -> embed -> upsert: resumable, idempotent, flat in memory.

Worker threads each take a small batch of pictures through reading, hashing, decoding and
the network (all of which release the GIL), while the main thread writes finished vectors.
Only a bounded number of batches is in flight, whatever the size of the catalog.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from retrieval.catalog.read import Catalog, Refusal
from retrieval.errors import CatalogError, ImageError, IndexDamagedError
from retrieval.images import pictures
from retrieval.index.checks import require_sound
from retrieval.index.protocols import Build, Check, Index, Manifest, VectorStore
from retrieval.index.sharding import Shard
from retrieval.indexing.plan import Action, Known, metadata_digest
from retrieval.indexing.report import IndexReport
from retrieval.models.bundle import Bundle
from retrieval.models.encoder import Encoder, load_encoder
from retrieval.system.text import printable
from retrieval.system.threads import default_threads, per_thread
from retrieval.types import CatalogImage, IndexedImage, Metadata, Point

BATCH = 8
WRITE_CHUNK = 512
WRITE_SECONDS = 1.0
"""However slow the network, a killed run loses no more work than this."""

__all__ = ["IndexReport", "index_catalog", "process"]

Notify = Callable[[int, str], None]


@dataclass(slots=True)
class _Outcome:
    """One picture after its worker is done with it."""

    image: CatalogImage
    action: Action | None
    content_hash: str = ""
    vector: NDArray[np.float32] | None = None
    refusal: Refusal | None = None


def index_catalog(
    catalog: Catalog,
    index: Index,
    bundle: Bundle,
    *,
    prune: bool = False,
    rebuild: bool = False,
    dry_run: bool = False,
    threads: int | None = None,
    check: Check | None = None,
    shard: Shard | None = None,
    notify: Notify = lambda done, note: None,
) -> IndexReport:
    """Bring an index up to date with a catalog.

    Args:
        catalog: what should be findable.
        index: where it goes.
        bundle: the model; must be the index's own unless ``rebuild``.
        prune: remove pictures that left the catalog.
        rebuild: start from an empty generation; the old one serves until the new one is complete.
        dry_run: only report the plan: reads, hashes and checks headers, decodes and writes nothing. Damage
            that only decoding finds is therefore not in it.
        threads: worker threads; default one per core.
        check: looks at the complete generation before it goes live, after the checks made here: its count
            is what the catalog says, and sampled pictures find themselves. Raises to keep the old one.
        shard: the part of the catalog that this worker takes; None for all of it.
        notify: called with the number of pictures done and a short note.

    Raises:
        ModelMismatchError, IndexBusyError, DiskFullError, StoreError: see `retrieval.index.protocols.Index.writer`.
        CatalogError: not one picture of the catalog can be indexed.
        IndexDamagedError: the generation did not pass its checks; the old one stays live.
    """
    start = time.perf_counter()
    report = IndexReport(fingerprint=bundle.fingerprint, dry_run=dry_run)
    if dry_run:
        _plan_only(
            catalog, index, bundle, report, prune=prune, rebuild=rebuild, threads=threads, shard=shard, notify=notify
        )
    else:
        with index.writer(bundle.identity, rebuild=rebuild, shard=shard) as build:
            report.resumed = build.resumed
            known = Known(build.store.records(), shard)
            _run(catalog, bundle, known, build, report, threads=threads, notify=notify)
            departed = _departed(known, build.store, report.refused)
            report.departed = len(departed)
            if prune:
                for chunk in _chunks(departed, WRITE_CHUNK):
                    build.store.delete(chunk)
                report.removed, report.departed = len(departed), 0
            notify(report.done, "committing")
            expected = len(known) + report.added - report.removed
            manifest = _commit(build, catalog, report, _checks(expected, check, shard), shard)
            report.shard, report.waiting = str(shard) if shard else "", build.waiting
            report.images, report.products = manifest.images, manifest.products
    report.refused.sort(key=lambda refusal: refusal.path)
    report.ignored = catalog.ignored
    report.products_without_pictures = tuple(catalog.products_without_pictures())
    report.seconds = time.perf_counter() - start
    return report


def _plan_only(
    catalog: Catalog,
    index: Index,
    bundle: Bundle,
    report: IndexReport,
    *,
    prune: bool,
    rebuild: bool,
    threads: int | None,
    shard: Shard | None,
    notify: Notify,
) -> None:
    manifest = None if rebuild else index.manifest()
    known, products, gone = Known(shard=shard), set[str](), list[str]()
    if manifest is not None:
        manifest.require(bundle.identity, index.location)
        with index.reader() as (store, _):
            known = Known(store.records(), shard)
    _run(catalog, bundle, known, None, report, threads=threads, notify=notify, products=products)
    if manifest is not None:
        with index.reader() as (store, _):
            departed = set(_departed(known, store, report.refused))
            for record in store.records():
                if record.image_id in departed:
                    gone.append(record.image)
                if not (prune and record.image_id in departed):
                    products.add(record.product_id)
    report.removed, report.departed = (len(gone), 0) if prune else (0, len(gone))
    report.planned += [("remove" if prune else "departed", image) for image in sorted(gone)]
    report.images = len(known) + report.added - report.removed
    report.products = len(products)


def _run(
    catalog: Catalog,
    bundle: Bundle,
    known: Known,
    build: Build | None,
    report: IndexReport,
    *,
    threads: int | None,
    notify: Notify,
    products: set[str] | None = None,
) -> None:
    """Take every picture of the catalog through its workers; write results unless ``build`` is None.

    Args:
        products: gathers the products that have a picture to index; None does not.
    """
    digests: dict[str, bytes] = {}
    points: list[Point] = []
    metadata: dict[str, Metadata] = {}
    total = catalog.count() if build is not None else 0

    written = time.monotonic()

    def write() -> None:
        nonlocal written
        written = time.monotonic()
        if build is None:
            return
        if points:
            build.store.upsert(points)
        if metadata:
            build.store.set_metadata(metadata)
        points.clear()
        metadata.clear()
        build.report(report.done, total)

    def digest(product_id: str) -> bytes:
        if product_id not in digests:
            digests.clear()
            digests[product_id] = metadata_digest(catalog.metadata(product_id))
        return digests[product_id]

    try:
        for outcome in _outcomes(catalog, bundle, known, digest, report, embed=build is not None, threads=threads):
            picture = outcome.image
            report.done += 1
            if outcome.refusal is not None:
                report.refused.append(outcome.refusal)
            elif outcome.action is Action.KEEP:
                report.unchanged += 1
            elif outcome.action is Action.METADATA:
                report.metadata_updated += 1
                metadata[picture.image_id] = catalog.metadata(picture.product_id)
            else:
                if outcome.action is Action.ADD:
                    report.added += 1
                else:
                    report.replaced += 1
                if outcome.vector is not None:
                    record = IndexedImage(
                        image_id=picture.image_id,
                        product_id=picture.product_id,
                        image=picture.image,
                        content_hash=outcome.content_hash,
                        metadata=catalog.metadata(picture.product_id),
                    )
                    points.append(Point(record, outcome.vector))
            if products is not None and outcome.refusal is None:
                products.add(picture.product_id)
            if report.dry_run and outcome.action not in (None, Action.KEEP):
                report.planned.append((outcome.action.value if outcome.action else "", picture.image))
            if max(len(points), len(metadata)) >= WRITE_CHUNK or time.monotonic() - written >= WRITE_SECONDS:
                write()
            notify(report.done, "")
    except KeyboardInterrupt:
        # What the network has finished is worth keeping: the next run need not repeat it.
        write()
        raise
    write()


def _outcomes(
    catalog: Catalog,
    bundle: Bundle,
    known: Known,
    digest: Callable[[str], bytes],
    report: IndexReport,
    *,
    embed: bool,
    threads: int | None,
) -> Iterator[_Outcome]:
    """Outcomes in the catalog's order. Refusals of the walk itself go to the report directly."""
    workers = threads or default_threads()
    encoder = per_thread(lambda: load_encoder(bundle, threads=1))

    def work(batch: Sequence[tuple[CatalogImage, bytes]]) -> list[_Outcome]:
        return process(batch, catalog, known, encoder if embed else None, bundle)

    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="itemrec-index") as pool:
        pending: deque[Future[list[_Outcome]]] = deque()
        try:
            for batch in _batches(catalog, known, digest, report):
                pending.append(pool.submit(work, batch))
                if len(pending) >= 4 * workers:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _departed(known: Known, store: VectorStore, refused: Sequence[Refusal]) -> list[str]:
    """Ids of pictures that left the catalog; what lies in a refused folder may still be there.

    A folder that cannot be read, a share that dropped out for a moment, say, must not cost its
    pictures their points.
    """
    departed = list(known.departed())
    if not departed or not refused:
        return departed
    closed, gone = {r.path for r in refused}, set(departed)
    for record in store.records():
        if record.image_id in gone:
            path = PurePosixPath(printable(record.image))
            if any(str(place) in closed for place in (path, *path.parents)):
                gone.discard(record.image_id)
    return [image_id for image_id in departed if image_id in gone]


def _batches(
    catalog: Catalog, known: Known, digest: Callable[[str], bytes], report: IndexReport
) -> Iterator[list[tuple[CatalogImage, bytes]]]:
    batch: list[tuple[CatalogImage, bytes]] = []
    for entry in catalog.entries():
        if isinstance(entry, Refusal):
            report.refused.append(entry)
            continue
        if not known.takes(entry.image_id):
            continue
        known.see(entry.image_id)
        batch.append((entry, digest(entry.product_id)))
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def process(
    batch: Sequence[tuple[CatalogImage, bytes]],
    catalog: Catalog,
    known: Known,
    encoder: Callable[[], Encoder] | None,
    bundle: Bundle,
) -> list[_Outcome]:
    """Read, hash, and where the picture is new or changed, decode and embed one batch. Runs in a worker.

    Args:
        batch: pictures with the digest of their product's metadata.
        encoder: gives this thread's encoder; None plans: headers are checked, nothing is decoded.
    """
    outcomes: list[_Outcome] = []
    waiting: list[_Outcome] = []
    pixels: list[NDArray[np.uint8]] = []
    for picture, digest in batch:
        outcome = _Outcome(picture, None)
        outcomes.append(outcome)
        try:
            data = pictures.read_file(picture.file, root=catalog.root)
            outcome.content_hash = pictures.content_hash(data)
            action = known.action(picture.image_id, outcome.content_hash, digest)
            if action in (Action.ADD, Action.REPLACE):
                if encoder is None:
                    pictures.check(data)
                else:
                    pixels.append(pictures.prepare(data, bundle.preprocessing))
                    waiting.append(outcome)
            outcome.action = action
        except ImageError as error:
            outcome.refusal = Refusal.of(picture, error)
    if waiting and encoder is not None:
        vectors = encoder().encode(np.stack(pixels))
        for outcome, vector in zip(waiting, vectors, strict=True):
            outcome.vector = vector
    return outcomes


def _checks(expected: int, further: Check | None, shard: Shard | None) -> Check:
    def check(store: VectorStore, manifest: Manifest) -> None:
        # Other workers count their own parts.
        if manifest.images < expected or (manifest.images > expected and shard is None):
            raise IndexDamagedError(
                f"expected {expected:,} pictures by the catalog's count, received {manifest.images:,} in the index",
                hint="The live generation stays. Run the same command again; --rebuild starts from the catalog alone",
            )
        require_sound(store, manifest)
        if further is not None:
            further(store, manifest)

    return check


def _commit(build: Build, catalog: Catalog, report: IndexReport, check: Check, shard: Shard | None) -> Manifest:
    if shard is None and build.store.count() == 0:
        build.discard()
        first = report.refused[0] if report.refused else None
        reason = f"; of {len(report.refused)} refused files the first is {first.path}: {first.reason}" if first else ""
        raise CatalogError(
            f"expected at least one readable picture in {catalog.root}, received none{reason}",
            hint="A catalog is a folder of product folders with pictures: catalog/<product_id>/*.jpg",
        )
    return build.commit(catalog=str(catalog.root), metadata_keys=catalog.metadata_keys, check=check)


def _chunks(ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), size):
        yield ids[start : start + size]

"""Catalog -> plan -> decode -> embed -> upsert: resumable, idempotent, flat in memory.

The catalog is listed once, by a thread that runs ahead; worker threads take small batches of pictures through
reading, hashing, decoding and the network, while the main thread writes finished vectors. Only a bounded number
of batches is in flight, whatever the size of the catalog.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import PurePosixPath

from retrieval.catalog.listing import Listing
from retrieval.catalog.read import CODE, Catalog, Refusal
from retrieval.errors import CatalogError, ImageError, IndexDamagedError
from retrieval.images import pictures
from retrieval.images.formats.color_profile import flawed_note, noticing
from retrieval.images.studio import prepared
from retrieval.index.checks import require_sound
from retrieval.index.manifest import Manifest
from retrieval.index.protocols import Build, Check, Index, VectorStore
from retrieval.index.sharding import Shard
from retrieval.indexing.kinds import NOBODY_LOOKED, Kinds, look_at_kinds
from retrieval.indexing.plan import Action, IndexSnapshot, metadata_digest
from retrieval.indexing.report import IndexReport
from retrieval.models.bundle import Bundle
from retrieval.models.embedding import Embedded, Look, Refused, embed_pictures
from retrieval.system.progress import Progress, Silent
from retrieval.system.text import printable
from retrieval.types import CatalogImage, IndexedImage, Metadata, PictureKind, Point

BATCH = 8
WRITE_CHUNK = 512
WRITE_SECONDS = 1.0
"""However slow the network, a killed run loses no more work than this."""

_TELLING = 100
"""New pictures that tell how far the kinds lie apart."""
_CHANGED = 0.1
"""Part of the pictures that came or went from which on it is looked at anew what kind they are."""

__all__ = ["IndexReport", "index_catalog"]

_Job = tuple[CatalogImage, bytes]
"""A picture, and the digest of what the catalog says about its product."""
_Plan = tuple[Action, str, PictureKind | None]
"""What is to be done with a picture, its content hash, and its kind where it was decoded."""


def index_catalog(
    catalog: Catalog,
    index: Index,
    bundle: Bundle,
    *,
    prune: bool = False,
    keep_moved: bool = False,
    rebuild: bool = False,
    dry_run: bool = False,
    threads: int | None = None,
    check: Check | None = None,
    shard: Shard | None = None,
    listing: Listing | None = None,
    progress: Progress | None = None,
) -> IndexReport:
    """Bring an index up to date with a catalog.

    Args:
        catalog: what should be findable.
        index: where it goes.
        bundle: the model; must be the index's own unless ``rebuild``.
        prune: remove pictures that left the catalog.
        keep_moved: without ``prune``, leave those, too, whose bytes the catalog has under another product or path.
        rebuild: start from an empty generation; the old one serves until the new one is complete.
        dry_run: only report the plan: reads, hashes and checks headers, decodes and writes nothing. Damage
            that only decoding finds is therefore not in it.
        threads: worker threads; default one per core.
        check: looks at the complete generation before it goes live, after the checks made here: its count
            is what the catalog says, and sampled pictures find themselves. Raises to keep the old one.
        shard: the part of the catalog that this worker takes; None for all of it.
        listing: the catalog's entries where somebody lists them already; by default it is listed here, once.
        progress: told how far it is. How many pictures there are is known when the catalog has been listed.

    Raises:
        ModelMismatchError, IndexBusyError, DiskFullError, StoreError: see `retrieval.index.protocols.Index.writer`.
        CatalogError: not one picture of the catalog can be indexed.
        IndexDamagedError: the generation did not pass its checks; the old one stays live.
    """
    start = time.perf_counter()
    report = IndexReport(
        fingerprint=bundle.fingerprint,
        dry_run=dry_run,
        catalog=str(catalog.root),
        index=index.location,
        model=bundle.name,
        product_level=catalog.level,
        notes=catalog.notes,
        join=catalog.join,
    )
    shown = progress or Silent()
    with nullcontext(listing) if listing is not None else Listing(catalog) as entries:
        if dry_run:
            _plan_only(
                entries,
                index,
                bundle,
                report,
                prune=prune,
                keep_moved=keep_moved,
                rebuild=rebuild,
                threads=threads,
                shard=shard,
                shown=shown,
            )
        else:
            live = None if rebuild else index.manifest()
            with index.writer(bundle.identity, rebuild=rebuild, shard=shard) as build:
                report.resumed = build.resumed
                known = IndexSnapshot(build.store.records(), shard)
                written: list[Point] = []
                _run(entries, bundle, known, build, report, threads=threads, shown=shown, written=written)
                departed = _departed(known, build.store, report.refused, catalog)
                # Other workers know what is left of their own parts only.
                report.moved = _moved(departed, build.store, {}) if shard is None else {}
                gone = departed if prune else [] if keep_moved else list(report.moved)
                for chunk in _chunks(gone, WRITE_CHUNK):
                    build.store.delete(chunk)
                report.removed, report.departed = len(gone), len(departed) - len(gone)
                if index.refusals.version():
                    from retrieval.refusals import embed_missing

                    # Of another model, before the first query would have to.
                    embed_missing(index.refusals, bundle)
                shown.advance(0, note="committing")
                expected = len(known) + report.added - report.removed
                before = None if rebuild else live
                fresh = before is None or before.studio is None
                untold = before is not None and before.gap is None and report.added + report.replaced > 0
                looked = fresh or untold or report.added + report.replaced + report.removed > _CHANGED * len(known)
                kinds = look_at_kinds(build.store, catalog.root, written) if looked else NOBODY_LOOKED
                manifest = _commit(build, catalog, report, _checks(expected, check, shard), shard, kinds)
                report.shard, report.waiting = str(shard) if shard else "", build.waiting
                report.images, report.products = manifest.images, manifest.products
    report.refused.sort(key=lambda refusal: refusal.path)
    report.ignored = catalog.ignored
    flawed = (flawed_note(report.flawed_profiles),) if report.flawed_profiles else ()
    report.notes = (*catalog.notes, *flawed)
    report.products_without_pictures = tuple(catalog.products_without_pictures())
    report.seconds = time.perf_counter() - start
    return report


def _plan_only(
    entries: Listing,
    index: Index,
    bundle: Bundle,
    report: IndexReport,
    *,
    prune: bool,
    keep_moved: bool,
    rebuild: bool,
    threads: int | None,
    shard: Shard | None,
    shown: Progress,
) -> None:
    manifest = None if rebuild else index.manifest()
    known, products, gone = IndexSnapshot(shard=shard), set[str](), list[str]()
    if manifest is not None:
        manifest.require(bundle.identity, index.location)
        with index.reader() as (store, _):
            known = IndexSnapshot(store.records(), shard)
    _run(entries, bundle, known, None, report, threads=threads, shown=shown, products=products)
    if manifest is not None:
        with index.reader() as (store, _):
            departed = _departed(known, store, report.refused, entries.catalog)
            report.moved = _moved(departed, store, report.fresh) if shard is None else {}
            leaving = set(departed if prune else () if keep_moved else report.moved)
            for record in store.records():
                if record.image_id in leaving:
                    gone.append(record.image)
                else:
                    products.add(record.product_id)
            staying = set(departed) - leaving
            report.planned += sorted(("departed", r.image) for r in store.records() if r.image_id in staying)
            report.removed, report.departed = len(gone), len(staying)
    report.planned += [("remove", image) for image in sorted(gone)]
    report.images = len(known) + report.added - report.removed
    report.products = len(products)


def _run(
    entries: Listing,
    bundle: Bundle,
    known: IndexSnapshot,
    build: Build | None,
    report: IndexReport,
    *,
    threads: int | None,
    shown: Progress,
    products: set[str] | None = None,
    written: list[Point] | None = None,
) -> None:
    """Take every picture of the catalog through its workers; write results unless ``build`` is None.

    Args:
        products: gathers the products that have a picture to index; None does not.
        written: gathers some of the pictures that are written; None does not.
    """
    catalog = entries.catalog
    points: list[Point] = []
    metadata: dict[str, Metadata] = {}
    total: int | None = None
    shown.stage("Planning" if build is None else "Indexing")
    last_write = time.monotonic()

    def write() -> None:
        nonlocal last_write
        last_write = time.monotonic()
        if build is None:
            return
        if points:
            build.store.upsert(points)
            if written is not None:
                written.extend(points[: max(0, _TELLING - len(written))])
        if metadata:
            build.store.set_metadata(metadata)
        points.clear()
        metadata.clear()
        build.report(report.done, total or 0)

    def look(job: _Job) -> Look[_Plan]:
        with noticing() as flaws:
            looked = opened(job)
        if flaws:
            report.flawed_profiles.append(job[0].image)
        return looked

    def opened(job: _Job) -> Look[_Plan]:
        picture, digest = job
        data = catalog.read(picture)
        content_hash = pictures.content_hash(data)
        action = known.action(picture.image_id, content_hash, digest)
        if action not in (Action.ADD, Action.REPLACE):
            return Look((action, content_hash, None), None)
        if build is None:
            pictures.check(data)
            return Look((action, content_hash, None), None)
        pixels, kind = prepared(data, bundle.preprocessing)
        return Look((action, content_hash, kind), pixels)

    try:
        for result in embed_pictures(_jobs(entries, known, report), bundle, look, threads=threads, batch=BATCH):
            picture = result.item[0]
            report.done += 1
            if isinstance(result, Refused):
                report.refused.append(_refusal(picture, result))
            else:
                _take(picture, result, catalog, report, points, metadata)
                if products is not None:
                    products.add(picture.product_id)
            if max(len(points), len(metadata)) >= WRITE_CHUNK or time.monotonic() - last_write >= WRITE_SECONDS:
                write()
            if total is None and entries.total is not None:
                total = known.share(entries.total)
                shown.known(total)
            shown.advance()
    except KeyboardInterrupt:
        # What the network has finished is worth keeping: the next run need not repeat it.
        write()
        raise
    write()


def _take(
    picture: CatalogImage,
    result: Embedded[_Job, _Plan],
    catalog: Catalog,
    report: IndexReport,
    points: list[Point],
    metadata: dict[str, Metadata],
) -> None:
    """Count what is done with a picture, and put what is to be written where it is written from."""
    action, content_hash, kind = result.facts
    if action is Action.KEEP:
        report.unchanged += 1
    elif action is Action.METADATA:
        report.metadata_updated += 1
        metadata[picture.image_id] = catalog.metadata(picture.product_id)
    elif action is Action.ADD:
        report.added += 1
    else:
        report.replaced += 1
    if result.vector is not None:
        record = IndexedImage(
            image_id=picture.image_id,
            product_id=picture.product_id,
            image=picture.image,
            content_hash=content_hash,
            metadata=catalog.metadata(picture.product_id),
            kind=kind,
        )
        points.append(Point(record, result.vector))
    if report.dry_run and action in (Action.ADD, Action.REPLACE):
        report.fresh[content_hash] = picture.image
    if report.dry_run and action is not Action.KEEP:
        report.planned.append((action.value, picture.image))


def _refusal(picture: CatalogImage, refused: Refused[_Job]) -> Refusal:
    assert isinstance(refused.error, ImageError)  # the network's failures end the run
    return Refusal.of(picture, refused.error)


def _departed(known: IndexSnapshot, store: VectorStore, refused: Sequence[Refusal], catalog: Catalog) -> list[str]:
    """Ids of pictures that left the catalog; what lies in a refused folder, or a bad row names, may still be there.

    A folder that cannot be read, a share that dropped out for a moment, say, must not cost its
    pictures their points.
    """
    if catalog.kind == "table" and catalog.refused_rows:
        return []
    departed = list(known.departed())
    if not departed or not refused:
        return departed
    closed, gone = {r.path for r in refused}, set(departed)
    for record in store.records():
        if record.image_id in gone:
            shown = printable(record.image)
            path = PurePosixPath(shown)
            # A path with its slashes set right is no address any more.
            if any(str(place) in closed for place in (shown, path, *path.parents)):
                gone.discard(record.image_id)
    return [image_id for image_id in departed if image_id in gone]


def _moved(departed: Sequence[str], store: VectorStore, fresh: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Of pictures that left the catalog those whose bytes are still in it: from where to where, by image id.

    Two products with one picture are an ambiguous answer; a folder that was renamed is one product.

    Args:
        departed: ids of what left.
        store: the index, with what the run added.
        fresh: of a dry run: what would be added, path by content hash.
    """
    if not departed:
        return {}
    gone, left = set(departed), dict[str, tuple[str, str]]()
    for record in store.records():
        if record.image_id in gone:
            left[record.image_id] = (record.content_hash, record.image)
    hashes = {content_hash for content_hash, _ in left.values()}
    found = {content_hash: image for content_hash, image in fresh.items() if content_hash in hashes}
    for record in store.records():
        if record.content_hash in hashes and record.image_id not in gone:
            found[record.content_hash] = record.image
    return {
        image_id: (image, found[content_hash])
        for image_id, (content_hash, image) in left.items()
        if content_hash in found
    }


def _jobs(entries: Listing, known: IndexSnapshot, report: IndexReport) -> Iterator[_Job]:
    """The pictures that this run deals with. Refusals of the listing itself go to the report directly."""
    product, digest = "", b""
    for entry in entries:
        if isinstance(entry, Refusal):
            report.refused.append(entry)
            continue
        if not known.takes(entry.image_id):
            continue
        known.see(entry.image_id)
        if entry.product_id != product or not digest:
            product, digest = entry.product_id, metadata_digest(entries.catalog.metadata(entry.product_id))
        yield entry, digest


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


def _commit(
    build: Build, catalog: Catalog, report: IndexReport, check: Check, shard: Shard | None, kinds: Kinds
) -> Manifest:
    if shard is None and build.store.count() == 0:
        build.discard()
        first = report.refused[0] if report.refused else None
        reason = f"; of {len(report.refused)} refused files the first is {first.path}: {first.reason}" if first else ""
        raise CatalogError(
            f"expected at least one readable picture in {catalog.root}, received none{reason}",
            hint="A catalog is a folder of product folders with pictures: catalog/<product_id>/*.jpg",
        )
    keys = tuple(dict.fromkeys((*catalog.metadata_keys, CODE))) if catalog.coded else catalog.metadata_keys
    return build.commit(catalog=str(catalog.root), metadata_keys=keys, check=check, studio=kinds.studio, gap=kinds.gap)


def _chunks(ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), size):
        yield ids[start : start + size]

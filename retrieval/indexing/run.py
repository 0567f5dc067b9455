"""A whole index run: a catalog's folder, an index's place and a model's name in; what was done out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.catalog.columns import AS_FOUND, Reading
from retrieval.catalog.listing import Listing
from retrieval.catalog.read import read_catalog
from retrieval.errors import IndexDamagedError
from retrieval.index.open import open_index
from retrieval.index.protocols import Check, Index
from retrieval.index.sharding import Shard
from retrieval.indexing.indexer import index_catalog
from retrieval.indexing.report import IndexReport
from retrieval.models.bundle import Bundle
from retrieval.models.installed import resolve_model
from retrieval.system.progress import Progress, Silent

if TYPE_CHECKING:
    from retrieval.index.server.layout import Layout


def index(
    catalog: str | Path,
    index: str | Path = ".itemrec",
    *,
    model: str | Path | None = None,
    prune: bool = False,
    keep_moved: bool = False,
    rebuild: bool = False,
    dry_run: bool = False,
    check: Callable[[Bundle], Check] | None = None,
    shard: Shard | None = None,
    expect: int | None = None,
    nodes: int | None = None,
    layout: Mapping[str, int | bool | None] | None = None,
    threads: int | None = None,
    product_level: int | None = None,
    reading: Reading = AS_FOUND,
    progress: Progress | None = None,
    notify: Callable[[str], None] | None = None,
    verify: bool | None = None,
) -> IndexReport:
    """Make a catalog findable: one point per picture, with the product's metadata.

    Run it again whenever the catalog changed: only new and changed pictures are embedded. Queries see the last
    complete state until the new one is complete.

    Args:
        catalog: a folder of product folders (``catalog/<product_id>/*.jpg``, optionally ``products.csv``), or the
            folder or table of a ``product_id,image`` table; or the address of one of these in an object store,
            ``s3://bucket/folder`` or ``gs://bucket/folder``.
        index: a directory, made if missing, or the URL of a Qdrant server, ``http://HOST:6333/NAME``.
        model: an installed model's name or a bundle's path; by default the index's own, else the built-in one.
        prune: remove pictures that left the catalog.
        keep_moved: without ``prune``, leave those, too, whose bytes the catalog has under another product or path.
        rebuild: start from the catalog alone: for another model, or a damaged index.
        dry_run: only report the plan; embed and write nothing.
        check: given the model, what looks at the new generation before it goes live; raises to keep the old one.
        shard: be one of several workers at one index on a server.
        expect: about how many pictures a new index on a server will hold; by default as many as the catalog has.
        nodes: nodes of the cluster, where it shall not be asked.
        layout: fields of `retrieval.index.server.layout.Layout` given by hand, for a server.
        threads: worker threads; default one per core.
        product_level: which level of folders holds the products, from 1; by default as the tree tells.
        reading: what else is said of how the catalog is to be read; by default it tells itself.
        progress: told how far it is.
        notify: told what the index has to say that is no error; by default such lines are logged.
        verify: also make the keypoints that close calls are looked at with, which takes longer than embedding; by
            default where the index has some already and OpenCV is installed.

    Returns:
        What was added, updated, removed and refused, and what the index holds now.

    Raises:
        CatalogError: there is no catalog, or not one picture of it can be indexed.
        DownloadError: too many pictures that a table names by address cannot be fetched.
        ModelNotFoundError, BundleError: the model is not there, or is damaged.
        ModelMismatchError: another model built the index, and ``rebuild`` is false.
        IndexBusyError, IndexDamagedError, DiskFullError, StoreError: see `retrieval.index.protocols.Index.writer`.

    Example:
        >>> report = index("catalog", "shop.index")  # doctest: +SKIP
        >>> print(report.images, report.products, len(report.refused))  # doctest: +SKIP
        240 40 0
    """
    if verify:
        from retrieval.verification.opencv import opencv

        opencv()  # said before anything is indexed
    shown = progress or Silent()
    source = read_catalog(catalog, product_level=product_level, reading=reading, progress=shown)
    source.fetch(shown)
    with Listing(source) as listing:
        target = open_index(str(index), notify=notify, expected=expect or listing.wait, layout=layout, nodes=nodes)
        bundle = _model(target, model, forgiving=rebuild)
        report = index_catalog(
            source,
            target,
            bundle,
            prune=prune,
            keep_moved=keep_moved,
            rebuild=rebuild,
            dry_run=dry_run,
            threads=threads,
            check=check(bundle) if check is not None else None,
            shard=shard,
            listing=listing,
            progress=progress,
        )
        if not dry_run and not report.waiting and _to_look(target.location, verify):
            from retrieval.indexing.keypoints_of_index import make_keypoints

            report.keypoints = make_keypoints(target, threads=threads, progress=progress)
        return report


def _to_look(location: str, verify: bool | None) -> bool:
    """Whether keypoints are to be made."""
    if verify is not None:
        return verify
    from retrieval.verification.kept import KeptLooks
    from retrieval.verification.opencv import available

    return KeptLooks(location).there() and available()


def plan_layout(
    catalog: str | Path,
    index: str,
    *,
    model: str | Path | None = None,
    expect: int | None = None,
    nodes: int | None = None,
    layout: Mapping[str, int | bool | None] | None = None,
    product_level: int | None = None,
    reading: Reading = AS_FOUND,
) -> Layout:
    """How a server would lay out an index of a catalog, with estimates; nothing is indexed.

    Args:
        catalog: see `index`, as all that follow.
        index: the URL of a server; or a directory, which has one node.

    Raises:
        CatalogError, ModelNotFoundError, BundleError, StoreError: as `index`.
    """
    from retrieval.index.server.layout import Layout

    source = read_catalog(catalog, product_level=product_level, reading=reading)
    target = open_index(index)
    bundle = _model(target, model, forgiving=False)
    images = expect or source.count()
    return Layout.choose(images, bundle.dimension, target.nodes() if nodes is None else nodes, dict(layout or {}))


def _model(target: Index, model: str | Path | None, *, forgiving: bool) -> Bundle:
    """The named model, else the index's own, else the built-in one."""
    try:
        manifest = target.manifest()
    except IndexDamagedError:
        # A rebuild must work on an index whose manifest cannot be read any more.
        if not forgiving:
            raise
        manifest = None
    named = str(model) if model is not None else None
    return resolve_model(named, index_model=manifest.model if manifest else None)

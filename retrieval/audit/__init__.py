"""Find the problems of a catalog before users do.

`audit_catalog` reads every file once (`survey`), looks at who is near whom (`neighbors`), and
turns that into ranked findings (`rules`, pure). How to show them is not decided here.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from retrieval.audit import rules
from retrieval.audit.common import summarized
from retrieval.audit.findings import (
    KINDS,
    AuditReport,
    Finding,
    Kind,
    Settings,
    Severity,
    Shown,
    ThresholdSource,
    advice,
    ranked,
)
from retrieval.audit.neighbors import surroundings
from retrieval.audit.survey import Refused, Survey, Surveyed, survey
from retrieval.catalog.columns import AS_FOUND, Reading
from retrieval.catalog.read import Catalog, read_catalog
from retrieval.distance import MAX_DISTANCE
from retrieval.errors import UsageError
from retrieval.images.perceptual_hash import near_duplicates_within
from retrieval.index.open import open_index
from retrieval.metrics import threshold_at_far
from retrieval.models.bundle import Bundle
from retrieval.models.installed import resolve_model
from retrieval.system.progress import Progress, Silent

__all__ = [
    "KINDS",
    "AuditReport",
    "Finding",
    "Kind",
    "Refused",
    "Settings",
    "Severity",
    "Shown",
    "Survey",
    "Surveyed",
    "advice",
    "audit_catalog",
    "find_problems",
    "survey",
]

CATALOG_FAR = 0.01
"""Without a calibrated model, the threshold is that of FAR 1 % over this catalog's pairs."""


def audit_catalog(
    catalog: Catalog | str | Path,
    model: Bundle | str | Path | None = None,
    *,
    index: str | Path | None = None,
    threshold: float | None = None,
    min_views: int = 2,
    product_level: int | None = None,
    reading: Reading = AS_FOUND,
    threads: int | None = None,
    progress: Progress = Silent(),
) -> AuditReport:
    """Audit a catalog with a model.

    Args:
        catalog: a folder of product folders, a table, or what `retrieval.catalog.read.read_catalog` read.
        model: the model that will search it: a bundle, its path, or an installed model's name; by default that of the
            index, else the built-in starter.
        index: a directory, or the URL of a collection on a Qdrant server; only asked which model built it.
        threshold: squared L2, in [0, 4]; default: the model's calibration, else FAR 1 % on this catalog.
        min_views: fewer readable pictures of a product are too few.
        product_level: see `retrieval.catalog.read.read_catalog`, where ``catalog`` is a path.
        reading: likewise.
        threads: worker threads; default one per core.
        progress: told how far it is.

    Raises:
        UsageError: the threshold or ``min_views`` is out of range.
        CatalogError: there is no catalog.
        ModelNotFoundError, BundleError: the model is not there, or damaged.
        EncoderError: the model cannot embed a single picture.
    """
    start = time.perf_counter()
    if threshold is not None and not 0.0 <= threshold <= MAX_DISTANCE:
        raise UsageError(f"expected a threshold in [0, 4] (squared L2), received {threshold}")
    if min_views < 1:
        raise UsageError(f"expected at least 1 view, received {min_views}")
    if not isinstance(catalog, Catalog):
        catalog = read_catalog(catalog, product_level=product_level, reading=reading, progress=progress)
    bundle = model if isinstance(model, Bundle) else _resolve(model, index)
    seen = survey(catalog, bundle, threads=threads, progress=progress)
    chosen, source = _threshold(threshold, bundle, seen)
    settings = Settings(
        threshold=chosen,
        threshold_source=source,
        min_views=min_views,
        min_side=min(bundle.preprocessing.height, bundle.preprocessing.width),
        model=bundle.name,
    )
    return AuditReport(
        catalog=str(catalog.root),
        model=bundle.name,
        fingerprint=bundle.fingerprint,
        settings=settings,
        pictures=len(seen.pictures),
        products=len(seen.products),
        findings=find_problems(seen, settings),
        seconds=time.perf_counter() - start,
        product_level=catalog.level,
        notes=(*catalog.notes, *seen.notes),
    )


def _resolve(model: str | Path | None, index: str | Path | None) -> Bundle:
    if model is not None:
        return resolve_model(str(model))
    manifest = None if index is None else open_index(str(index)).manifest()
    return resolve_model(None, index_model=manifest.model if manifest else None)


def find_problems(seen: Survey, settings: Settings) -> tuple[Finding, ...]:
    """All findings of a survey, ranked. Pure.

    Args:
        seen: what was seen.
        settings: what counts as a problem.
    """
    findings = [
        *rules.refused_files(seen.refused),
        *rules.poor_pictures(seen.pictures, settings),
        *rules.few_views(seen, settings),
        *rules.without_metadata(seen),
        *rules.repeated(seen.pictures, _near(seen.pictures, settings), settings),
    ]
    # A copy beside its original would be its nearest neighbor and vouch for it; a blank picture is near nothing.
    kept: dict[tuple[str, str], int] = {}
    for i, picture in enumerate(seen.pictures):
        if picture.contrast >= settings.min_contrast:
            kept.setdefault((picture.product_id, picture.content_hash), i)
    rows = np.array(list(kept.values()), dtype=np.int64)
    names = np.array([seen.pictures[i].product_id for i in rows], dtype=object)
    codes = np.unique(names.astype(str), return_inverse=True)[1].astype(np.int64)
    if len(rows):
        around = surroundings(seen.vectors[rows], codes)
        twins = list(rules.indistinguishable(seen, rows, codes, around, settings))
        findings += [finding for _, finding in twins]
        findings += rules.mislabeled(seen, rows, codes, around, settings, {pair for pair, _ in twins})
        findings += rules.lone_neighbors(seen, rows, codes, settings)
    return ranked(summarized(findings, len(seen.products), len(seen.pictures), settings))


def _threshold(given: float | None, bundle: Bundle, seen: Survey) -> tuple[float, ThresholdSource]:
    if given is not None:
        return given, "given"
    if bundle.calibration is not None:
        return bundle.calibration.threshold, "model"
    labels = [picture.product_id for picture in seen.pictures]
    if len(set(labels)) < 2:
        return 0.0, "catalog"
    return threshold_at_far(seen.vectors, labels, CATALOG_FAR).threshold or 0.0, "catalog"


def _near(pictures: tuple[Surveyed, ...], settings: Settings) -> list[tuple[int, int, int]]:
    """Pairs of different files whose perceptual hashes are near; copies of a file count once."""
    first: dict[str, int] = {}
    for i, picture in enumerate(pictures):
        # Pictures without structure are all alike; they are findings of their own.
        if picture.contrast >= settings.min_contrast and picture.perceptual_hash:
            first.setdefault(picture.content_hash, i)
    members = list(first.values())
    hashes = [pictures[i].perceptual_hash for i in members]
    return [(members[i], members[j], bits) for i, j, bits in near_duplicates_within(hashes, settings.near_bits)]

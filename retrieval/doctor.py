"""Is everything healthy? Versions, runtime, the index's contents against its manifest, disk."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from retrieval.catalog.fetched import locate
from retrieval.distance import squared_l2
from retrieval.errors import ImageError, IndexDamagedError, IndexNotFoundError, ItemrecError
from retrieval.images import pictures
from retrieval.index.checks import keywords, lost_pictures, misfiled
from retrieval.index.checksum import Checksum
from retrieval.index.commands import index_command
from retrieval.index.manifest import Manifest
from retrieval.index.protocols import Index, VectorStore
from retrieval.models.bundle import Bundle
from retrieval.models.encoder import load_encoder
from retrieval.models.installed import resolve_model
from retrieval.recognition.expectations import beyond_the_fit, operating_point
from retrieval.recognition.recognizer import calibration_in_force
from retrieval.system.installation import install_hint
from retrieval.system.text import plural
from retrieval.types import Point

PACKAGES = (
    "itemrec",
    "numpy",
    "pillow",
    "pi-heif",
    "ai-edge-litert",
    "qdrant-edge-py",
    "typer",
    "rich",
    "httpx",
)
PICTURES = 24
PICTURE_DISTANCE = 1e-3
"""Squared L2. Another release of a decoder or of the runtime may move a vector, but not by more."""
TURN = 200
"""Searches for which the index is held at a time, so that queries get their turns."""
LOW_DISK_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Check:
    """One question and its answer.

    Attributes:
        name: of the question.
        healthy: False where something is wrong.
        detail: the answer.
        hint: what to do.
        facts: for scripts.
        warns: nothing is wrong, and yet somebody should know.
    """

    name: str
    healthy: bool
    detail: str
    hint: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    warns: bool = False

    @property
    def state(self) -> Literal["ok", "warn", "fail"]:
        """The answer in one word."""
        return ("warn" if self.warns else "ok") if self.healthy else "fail"

    def to_json(self) -> dict[str, Any]:
        """One entry of ``checks`` in ``itemrec.doctor/1``."""
        return {
            "name": self.name,
            "healthy": self.healthy,
            "state": self.state,
            "detail": self.detail,
            "hint": self.hint,
            "facts": self.facts,
        }


def examine(index: Index, model: str | None, *, sample: int | None = 200) -> Iterator[Check]:
    """Run every check that applies, in order; a failing one never stops the others.

    Args:
        index: the index to look at.
        model: a bundle's name or path; None for the index's own.
        sample: how many pictures must find themselves; None for all.
    """
    yield _versions()
    manifest: Manifest | None = None
    try:
        manifest = index.manifest()
    except ItemrecError as error:
        yield Check("index manifest", False, error.message, error.hint)
    bundle: Bundle | None = None
    try:
        bundle = resolve_model(model, index_model=manifest.model if manifest else None)
        yield _runtime(bundle)
    except ItemrecError as error:
        yield Check("model", False, error.message, error.hint)
    yield from _index(index, bundle, sample)
    if "://" not in index.location:
        yield _disk(index.location)


@functools.cache  # it stays as it is while a process runs, and reading it takes longer than some of the checks
def _versions() -> Check:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "missing"
    missing = [p for p, v in found.items() if v == "missing"]
    python = platform.python_version()
    return Check(
        "versions",
        not missing and sys.version_info >= (3, 11),
        f"Python {python}, " + ", ".join(f"{p} {v}" for p, v in found.items()),
        install_hint() if missing else "",
        {"python": python, "platform": platform.platform(), **found},
    )


def _runtime(bundle: Bundle) -> Check:
    start = time.perf_counter()
    encoder = load_encoder(bundle)
    p = bundle.preprocessing
    pixels = np.random.default_rng(0).integers(0, 256, (2, p.height, p.width, 3), dtype=np.uint8)
    first = encoder.encode(pixels)
    opened = time.perf_counter()
    second = encoder.encode(pixels)
    ms = (time.perf_counter() - opened) * 1e3 / len(pixels)
    steady = bool(np.allclose(first, second, atol=1e-6))
    return Check(
        "model",
        steady and first.shape == (2, bundle.dimension),
        f"{bundle.name} ({bundle.fingerprint[:12]}), {bundle.dimension}-d, {bundle.runtime}, {ms:.1f} ms a picture, "
        f"files match their hashes{_trained_on(bundle)}",
        "" if steady else "The same picture gave two different vectors: do not trust this runtime.",
        {
            "path": str(bundle.path),
            "fingerprint": bundle.fingerprint,
            "embed_ms": round(ms, 3),
            "open_ms": round((opened - start) * 1e3, 1),
            "calibrated": bundle.calibration is not None,
        },
    )


def _trained_on(bundle: Bundle) -> str:
    """What the model learned from, as its bundle says; empty where it does not."""
    seen = bundle.training.get("trained_on")
    if not isinstance(seen, Mapping):
        return ""
    counts = [f"{seen[key]:,} {key.replace('_', ' ')}" for key in ("photos", "catalog_pictures") if seen.get(key)]
    return f"; trained on {' and '.join(counts)} of {seen.get('products', 0):,} products" if counts else ""


def _index(index: Index, bundle: Bundle | None, sample: int | None) -> Iterator[Check]:
    """Checks of the committed generation. Queries wait while it is open: it is opened in short turns."""
    try:
        with index.reader() as (store, manifest):
            contents = _contents(store, manifest, index)
            points = store.sample(sample) if sample is not None else [p for batch in store.points() for p in batch]
        yield contents
        if sample is None:
            yield _checksum(points, manifest, index)
        if bundle is not None:
            same = bundle.fingerprint == manifest.model.fingerprint
            used = f"{bundle.name} ({bundle.fingerprint[:12]})"
            rebuild = index_command(manifest.catalog, index.location, model=str(bundle.path))
            yield Check(
                "fingerprint",
                same,
                f"index built by {manifest.model.name} ({manifest.model.fingerprint[:12]})"
                + ("" if same else f", but the model in use is {used}"),
                "" if same else f"Leave --model out, or rebuild: {rebuild}",
            )
            if same:
                yield _pictures(points, manifest, index.location, bundle)
                yield _calibration(bundle, manifest)
        yield _self_retrieval(index, points, manifest)
        if sample is None:
            yield _filters(index, points, manifest)
        if index.refusals.version():
            yield _refusals(index, manifest)
    except IndexNotFoundError as error:
        yield Check("index", True, error.message, error.hint)
    except ItemrecError as error:
        yield Check("index", False, error.message, error.hint)


def _refusals(index: Index, manifest: Manifest) -> Check:
    """A refused picture that cannot be read is lost with the next model, and nobody would notice."""
    damaged: list[str] = []
    embedded = 0
    found = index.refusals.read()
    for refusal in found:
        embedded += manifest.model.fingerprint in refusal.vectors
        try:
            pictures.check(index.refusals.picture(refusal.refusal_id))
        except (ImageError, IndexDamagedError):
            damaged.append(refusal.short)
    rest = "" if embedded == len(found) else f", {len(found) - embedded:,} of them not yet with this model's vector"
    return Check(
        "refusals",
        not damaged,
        f"{plural(len(found), 'picture')} of what is not ours{rest}"
        + (f"; {len(damaged):,} cannot be read: {', '.join(damaged[:8])}" if damaged else ""),
        f"Remove them, and add their photos again: itemrec refuse remove {damaged[0]}" if damaged else "",
        {"pictures": len(found), "embedded": embedded, "damaged": damaged},
    )


def _contents(store: VectorStore, manifest: Manifest, index: Index) -> Check:
    """Every point is read: a damaged segment may still answer its own count."""
    count, read, products, bad = store.count(), 0, set(), 0
    for batch in store.points():
        read += len(batch)
        products |= {p.record.product_id for p in batch}
        norms = np.linalg.norm(np.stack([p.vector for p in batch]), axis=1)
        bad += int((~(np.abs(norms - 1.0) < 1e-3)).sum())
    healthy = count == read == manifest.images and len(products) == manifest.products and not bad
    return Check(
        "index",
        healthy,
        f"generation {manifest.generation}: {read:,} images of {len(products):,} products"
        + (
            ""
            if healthy
            else f"; the manifest promises {manifest.images:,} of {manifest.products:,}, {bad:,} bad vectors"
        ),
        ""
        if healthy
        else f"Rebuild it from the catalog: {index_command(manifest.catalog, index.location)}"
        if index.staged or bad
        else "An index run goes on, or was not finished; finish it: "
        + index_command(manifest.catalog, index.location, rebuild=False),
        {
            "generation": manifest.generation,
            "images": read,
            "products": len(products),
            "manifest_images": manifest.images,
            "bad_vectors": bad,
            "hnsw": manifest.hnsw,
            "engine": manifest.engine,
            "created": manifest.created,
        },
    )


def _checksum(points: Sequence[Point], manifest: Manifest, index: Index) -> Check:
    """Bits that a disk changed: vectors stay of unit length, and near enough to find themselves."""
    found = Checksum()
    for point in points:
        found.add(point)
    same = found.hex() == manifest.checksum
    return Check(
        "checksum",
        same or not manifest.checksum,
        "not checked: "
        + (
            "an older release committed it, and its next change will say what was committed"
            if index.staged
            else "it was written by an older release, by several workers, or by a run that was interrupted, and only a "
            "rebuild says again what was committed"
        )
        if not manifest.checksum
        else f"vectors and records are what was committed ({found.hex()[:12]})"
        if same
        else f"expected vectors and records of checksum {manifest.checksum[:12]}, as they were committed, "
        f"received {found.hex()[:12]}: the disk changed them",
        ""
        if same or not manifest.checksum
        else f"Rebuild it from the catalog: {index_command(manifest.catalog, index.location)}",
        {"committed": manifest.checksum or None, "found": found.hex()},
    )


def _filters(index: Index, points: Sequence[Point], manifest: Manifest) -> Check:
    """Filters are answered from an index of keywords, which the engine keeps beside the records."""
    expected = sorted(keywords(points).items())
    wrong: list[str] = []
    for start in range(0, len(expected), TURN):
        with index.reader(manifest) as (store, current):
            if current.generation != manifest.generation:
                break
            wrong += misfiled(store, dict(expected[start : start + TURN]))
    return Check(
        "filters",
        not wrong,
        f"{len(expected) - len(wrong):,} of {len(expected):,} product ids and metadata values find their pictures"
        + (f"; not {', '.join(wrong[:3])}" if wrong else ""),
        f"Rebuild it from the catalog: {index_command(manifest.catalog, index.location)}" if wrong else "",
        {"keywords": len(expected), "wrong": len(wrong)},
    )


def _pictures(points: Sequence[Point], manifest: Manifest, location: str, bundle: Bundle) -> Check:
    """A few catalog pictures are embedded again: an index can be whole and hold vectors of something else."""
    root, encoder = Path(manifest.catalog), load_encoder(bundle)
    tried, off = 0, list[str]()
    for point in points[:: max(1, len(points) // PICTURES)][:PICTURES]:
        try:
            file, home = locate(root, point.record.image)
            data = pictures.read_file(file, root=home)
            if pictures.content_hash(data) != point.record.content_hash:
                continue
            vector = encoder.encode(pictures.prepare(data, bundle.preprocessing)[np.newaxis])
        except ImageError:
            continue  # The catalog may have changed or moved since; that is no fault of the index.
        tried += 1
        if float(squared_l2(vector, point.vector[np.newaxis])[0, 0]) > PICTURE_DISTANCE:
            off.append(point.record.image)
    return Check(
        "pictures",
        not off,
        f"{tried - len(off):,} of {tried:,} catalog pictures embed to what the index holds"
        if tried
        else f"none of the sampled pictures is in {manifest.catalog} as it was indexed: not compared",
        f"Rebuild it from the catalog: {index_command(manifest.catalog, location)}" if off else "",
        {"tried": tried, "off": off},
    )


def _calibration(bundle: Bundle, manifest: Manifest) -> Check:
    """Which operating point decides, and whether it was measured for a catalog like this one."""
    found = calibration_in_force(bundle, manifest)
    if found is None:
        detail = f"{bundle.name} is not calibrated: queries need --threshold"
        return Check("calibration", True, detail, "Calibrate it: itemrec calibrate --data DIR", warns=True)
    point = operating_point(found.calibration, own=manifest.calibration is not None)
    why_not = found.why_not or beyond_the_fit(found, manifest.products)
    return Check(
        "calibration",
        True,
        point + (f". {why_not}" if why_not else ""),
        "Photos of your own tell what holds here: itemrec calibrate --data DIR" if why_not else "",
        {
            "operating_point": found.calibration.chosen,
            "threshold": found.calibration.threshold,
            "by_probability": found.calibration.sureness is not None,
            "gallery": found.kind,
            "fits": found.fits,
            "own": manifest.calibration is not None,
        },
        warns=bool(why_not),
    )


def _self_retrieval(index: Index, points: Sequence[Point], manifest: Manifest) -> Check:
    """Every indexed picture must find itself, by the search that queries use."""
    tried, lost, replaced = 0, list[str](), False
    for start in range(0, len(points), TURN):
        with index.reader(manifest) as (store, current):
            replaced = current.generation != manifest.generation
            if replaced:
                break
            found = lost_pictures(store, points[start : start + TURN])
            tried, lost = tried + found[0], lost + found[1]
    return Check(
        "self-retrieval",
        not lost and (tried > 0 or replaced),
        f"{tried - len(lost):,} of {tried:,} sampled pictures find themselves"
        + (f"; lost: {', '.join(lost[:3])}" if lost else "")
        + ("; then an index run replaced the index" if replaced else ""),
        f"Rebuild it from the catalog: {index_command(manifest.catalog, index.location)}" if lost else "",
        {"tried": tried, "lost": len(lost)},
    )


def _disk(location: str) -> Check:
    folder = Path(location).absolute()
    used = sum(f.stat().st_blocks * 512 for f in folder.rglob("*") if f.is_file()) if folder.is_dir() else 0
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    healthy = free >= LOW_DISK_BYTES
    return Check(
        "disk",
        healthy,
        f"index takes {used / 1e6:,.1f} MB, {free / 1e9:,.1f} GB free",
        "" if healthy else "Free some space: an index run needs about 2 KB a picture and 128 MB of reserve.",
        {"index_bytes": used, "free_bytes": free},
    )

"""``manifest.json``: what a dataset holds, what it was made from, and what was left out.

A dataset without it is no dataset: it is written last. While a run changes files, a second document beside
the waiting pictures names every file that may be ours, so that an interrupted run is continued and nobody
else's file is touched.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrieval.catalog.read import Refusal
from retrieval.errors import StoreError, UsageError
from retrieval.images.pictures import JPEG_QUALITY
from retrieval.system.files import os_errors
from retrieval.system.text import json_bytes, printable
from retrieval.types import SPLITS
from trainer.prepare.source import Source
from trainer.prepare.staging import FOLDER, Staging
from trainer.prepare.types import Converted, Options, Picture, Plan

SCHEMA = "itemrec.dataset/1"
MANIFEST = "manifest.json"
_PENDING_SCHEMA = "itemrec.dataset-pending/1"
PENDING = f"{FOLDER}/pending.json"

Document = dict[str, Any]


def document(
    plan: Plan, source: Source, options: Options, dropped: Sequence[Refusal], lost: Sequence[str], version: str
) -> Document:
    """The manifest of a plan: the same whenever and wherever it is made, but for the source's path.

    Args:
        plan: what the dataset will hold.
        source: what it is made from.
        options: how.
        dropped: files that could not be used.
        lost: products without a picture in the dataset.
        version: of itemrec.
    """
    findings = plan.findings
    images = [
        {"path": image.path, "split": image.split, **_picture(image.picture), **_made(image.picture.made)}
        for image in plan.images
    ]
    duplicates: list[Document] = [
        {**_picture(d.picture), "kept": d.kept.source, "kind": d.kind, "bits": d.bits, "leak": d.leak}
        for d in findings.duplicates
    ]
    conflicts: list[Document] = [
        {"kind": c.kind, "bits": c.bits, "kept": c.kept, "pictures": [_picture(p) for p in c.pictures]}
        for c in findings.conflicts
    ]
    alike = [{"bits": a.bits, "pictures": [_picture(a.one), _picture(a.other)]} for a in findings.look_alikes]
    return {
        "schema": SCHEMA,
        "itemrec": version,
        "digest": _digest(plan),
        "source": {"path": printable(source.root), "layout": source.layout},
        "options": {
            "by": options.by,
            "ratios": str(options.ratios),
            "seed": options.seed,
            "max_side": options.max_side,
            "jpeg_quality": JPEG_QUALITY,
            "near_bits": options.near_bits,
            "keep_conflicts": options.keep_conflicts,
            "keep_splits": options.keep_splits,
            "min_views": options.min_views,
        },
        "counts": _counts(plan)
        | {
            "dropped": len(dropped),
            "duplicates": len(duplicates),
            "leaks": sum(d.leak for d in findings.duplicates),
            "conflicts": len(conflicts),
            "conflicting_images": sum(len(c["pictures"]) for c in conflicts),
            "look_alikes": len(alike),
            "few_views": len(plan.few_views),
            "single_view": len(plan.single),
            "lost_products": len(lost),
        },
        "few_views": [{"product": product, "images": n} for product, n in plan.few_views.items()],
        "single_view": list(plan.single),
        "lost_products": list(lost),
        "dropped": [{"path": r.path, "code": r.code, "reason": r.reason} for r in dropped],
        "duplicates": duplicates,
        "conflicts": conflicts,
        "look_alikes": alike,
        "tables": [{"path": path, "sha256": _sha256(content)} for path, content in plan.tables.items()],
        "images": images,
    }


def _picture(picture: Picture) -> Document:
    split = {} if picture.split is None else {"source_split": picture.split}
    return {
        "product": picture.product_id,
        "source": picture.source,
        **split,
        "source_sha256": picture.source_sha256,
        "source_bytes": picture.source_bytes,
        "source_size": list(picture.made.source_size),
    }


def _made(made: Converted) -> Document:
    return {
        "sha256": made.sha256,
        "bytes": made.bytes,
        "size": list(made.size),
        "perceptual_hash": f"{made.perceptual_hash:016x}",
    }


def _converted(image: Document) -> Converted:
    """The other way round."""
    (width, height), (source_width, source_height) = image["size"], image["source_size"]
    size, source_size = (width, height), (source_width, source_height)
    return Converted(image["sha256"], size, image["bytes"], int(image["perceptual_hash"], 16), source_size)


def _counts(plan: Plan) -> Document:
    images = Counter(image.split for image in plan.images)
    products = Counter(split for split, _ in {(image.split, image.picture.product_id) for image in plan.images})
    return {
        "images": len(plan.images),
        "products": len({image.picture.product_id for image in plan.images}),
        "splits": {split: {"images": images[split], "products": products[split]} for split in SPLITS},
    }


def _digest(plan: Plan) -> str:
    """SHA-256 over the files of the dataset: equal datasets, equal digests."""
    lines = [f"{path}\0{sha256}\n" for path, sha256 in sorted(plan.wanted().items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def encoded(content: Document) -> bytes:
    """As it is written: one picture a line, so that versions can be compared line by line."""
    lines = ["{"]
    for key, value in content.items():
        if isinstance(value, list) and value:
            rows = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in value)
            lines.append(f" {json.dumps(key)}: [\n{rows}\n ],")
        else:
            lines.append(f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)},")
    lines[-1] = lines[-1].removesuffix(",")
    return json_bytes("\n".join([*lines, "}", ""]))


@dataclass(frozen=True, slots=True)
class State:
    """What earlier runs left.

    Attributes:
        manifest: of the last complete run; None before it.
        pending: of a run that was interrupted while it changed files.
        owned: the hashes of every file that may be ours, by path.
    """

    manifest: Document | None
    pending: Document | None
    owned: Mapping[str, frozenset[str]]

    def converted(self, options: Options, present: Mapping[str, str]) -> dict[str, Converted]:
        """What need not be converted again: made in the same way, and still there.

        Args:
            options: how pictures are converted now.
            present: the hash of every file of ours that is there, by path.
        """
        there = set(present.values())
        return {
            image["source_sha256"]: _converted(image)
            for earlier in (self.manifest, self.pending)
            if earlier
            and (earlier["options"]["max_side"], earlier["options"]["jpeg_quality"]) == (options.max_side, JPEG_QUALITY)
            for image in earlier["images"]
            if image["sha256"] in there
        }


def read_state(dataset: Path) -> State:
    """What is in the dataset's folder, which may be missing.

    Raises:
        UsageError: it holds something else, or was written by a newer itemrec.
        StoreError: the manifest cannot be read.
    """
    manifest = _read(dataset / MANIFEST, SCHEMA)
    pending = _read(dataset / PENDING, _PENDING_SCHEMA)
    owned: dict[str, set[str]] = {}
    for path, sha256 in files(manifest):
        owned.setdefault(path, set()).add(sha256)
    for path, hashes in (pending["owned"] if pending else {}).items():
        owned.setdefault(path, set()).update(hashes)
    return State(
        manifest,
        pending["manifest"] if pending else None,
        {path: frozenset(hashes) for path, hashes in owned.items() if _is_inside(path)},
    )


def write_pending(dataset: Path, manifest: Document, owned: Mapping[str, frozenset[str]], staging: Staging) -> None:
    """Note what is about to be written, and every file that may be ours until it is; raises OSError."""
    hashes = {path: set(known) for path, known in owned.items()}
    for path, sha256 in files(manifest):
        hashes.setdefault(path, set()).add(sha256)
    content = {
        "schema": _PENDING_SCHEMA,
        "owned": {path: sorted(known) for path, known in sorted(hashes.items())},
        "manifest": manifest,
    }
    staging.write(dataset / PENDING, json.dumps(content).encode(), durable=True)


def write_manifest(dataset: Path, manifest: Document, staging: Staging) -> None:
    """Complete a dataset; raises OSError."""
    staging.write(dataset / MANIFEST, encoded(manifest), durable=True)
    (dataset / PENDING).unlink(missing_ok=True)


def files(manifest: Document | None) -> Iterator[tuple[str, str]]:
    """The path and the hash of every file of a dataset but the manifest."""
    entries: Iterable[Document] = [*manifest["images"], *manifest["tables"]] if manifest else ()
    for entry in entries:
        yield entry["path"], entry["sha256"]


def _is_inside(path: str) -> bool:
    """A manifest that somebody wrote by hand must not make us remove files elsewhere."""
    parts = path.split("/")
    return parts[0] in SPLITS and not {"", ".", ".."} & set(parts) and "\0" not in path


def _read(file: Path, schema: str) -> Document | None:
    with os_errors("read the manifest", file.parent):
        try:
            data = file.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
    try:
        content = json.loads(data)
        found = content["schema"]
        if found == schema:
            _check(content["manifest"] if schema == _PENDING_SCHEMA else content)
            return dict(content)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise StoreError(
            f"expected a manifest of schema {schema}, received a damaged file: {printable(file)}",
            hint="Put it back from a copy, or prepare into another folder.",
        ) from error
    raise UsageError(
        f"expected a dataset of schema {schema}, received {str(found)[:80]!r} in {printable(file)}",
        hint="Another program or a newer itemrec wrote it: prepare into another folder.",
    )


def _check(manifest: Document) -> None:
    """Touch whatever is used of a manifest; raises ValueError, TypeError or KeyError."""
    options = manifest["options"]["max_side"], manifest["options"]["jpeg_quality"]
    for image in manifest["images"]:
        _converted(image)
    texts = [text for pair in files(manifest) for text in pair]
    if not all(isinstance(text, str) for text in texts) or not all(isinstance(value, int) for value in options):
        raise ValueError("a path or a hash that is no text")

"""Product folders, as they come, to a dataset that training and evaluation can trust.

Gather, plan, apply: `source` and `gather` read and convert every picture, `likeness`, `split` and `plan`
(pure) decide what is the same, what goes where and under which name, `apply` changes files, and
`manifest` says what is there. What was decided and why: docs/decisions/0013-preparing.md.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrieval.catalog.columns import AS_FOUND, Reading
from retrieval.catalog.objects import local_copy
from retrieval.catalog.read import Refusal
from retrieval.errors import CatalogError, StoreError, UsageError
from retrieval.images.formats.color_profile import flawed_note
from retrieval.system import html
from retrieval.system.files import os_errors
from retrieval.system.locks import Holder, Lock
from retrieval.system.progress import Progress, Silent
from retrieval.system.text import plural, printable
from retrieval.system.threads import default_threads
from trainer.prepare import dataset_manifest as manifest
from trainer.prepare.apply import Changes, apply, compare, present_files, require_free, settle
from trainer.prepare.likeness import Likeness
from trainer.prepare.plan import make_plan
from trainer.prepare.reader import Reader
from trainer.prepare.source import Found, Source, open_source
from trainer.prepare.staging import FOLDER, Staging
from trainer.prepare.types import Findings, Options, Picture, Ratios

__all__ = ["Options", "PrepareReport", "Ratios", "prepare"]

SCHEMA = "itemrec.prepare/1"
_AT_ONCE = 0.0


@dataclass(frozen=True, slots=True)
class PrepareReport:
    """What a run did, or would do.

    Attributes:
        dataset: the folder.
        manifest: the ``itemrec.dataset/1`` document.
        changes: which files.
        rewritten: whether the manifest changed.
        dry_run: nothing was written.
        resumed: an earlier run had been interrupted.
        read: pictures of the source that were opened.
        ignored: hidden and system files in the source, which are not pictures.
        seconds: it took.
    """

    dataset: Path
    manifest: dict[str, Any]
    changes: Changes
    rewritten: bool
    dry_run: bool
    resumed: bool
    read: int
    ignored: int
    seconds: float
    notes: tuple[str, ...] = ()

    @property
    def up_to_date(self) -> bool:
        """Whether there was nothing to do."""
        return self.changes.none and not self.rewritten

    def planned(self) -> list[tuple[str, str]]:
        """(action, path) for every file that changes, in the order of paths."""
        actions = [("add", path) for path in self.changes.added]
        actions += [("move", path) for path in self.changes.moved]
        actions += [("replace", path) for path in self.changes.replaced]
        actions += [("remove", path) for path in self.changes.removed]
        return sorted(actions, key=lambda action: action[1])

    def to_json(self) -> dict[str, Any]:
        """The ``itemrec.prepare/1`` document: the manifest without its pictures, and what was done."""
        changes = self.changes
        plan = [{"action": action, "path": path} for action, path in self.planned()] if self.dry_run else None
        return {
            "schema": SCHEMA,
            "dataset": str(self.dataset),
            "dry_run": self.dry_run,
            "up_to_date": self.up_to_date,
            "resumed": self.resumed,
            "added": len(changes.added),
            "moved": len(changes.moved),
            "replaced": len(changes.replaced),
            "removed": len(changes.removed),
            "unchanged": len(changes.kept),
            "left_alone": list(changes.left),
            **({} if plan is None else {"plan": plan}),
            **{key: value for key, value in self.manifest.items() if key not in ("schema", "images", "tables")},
            "read": self.read,
            "ignored": self.ignored,
            "notes": list(self.notes),
            "seconds": round(self.seconds, 3),
        }

    def _repr_html_(self) -> str:
        """What a notebook shows: the splits, and what was not taken."""
        counts = self.manifest["counts"]
        rows = [(split, f"{n['images']:,}", f"{n['products']:,}") for split, n in counts["splits"].items()]
        rest = [(key, f"{counts[key]:,}") for key in ("dropped", "duplicates", "conflicts") if counts[key]]
        return html.fragment(
            f"{self.dataset}: {plural(counts['images'], 'picture')} of {plural(counts['products'], 'product')}"
            + (" (nothing written)" if self.dry_run else ""),
            html.table(("split", "pictures", "products"), rows, numeric=(1, 2)),
            html.table(("not taken", "pictures"), rest, numeric=(1,)) if rest else "",
        )


def prepare(
    raw: str | Path,
    out: str | Path,
    options: Options | None = None,
    *,
    product_level: int | None = None,
    reading: Reading = AS_FOUND,
    dry_run: bool = False,
    threads: int | None = None,
    progress: Progress = Silent(),
) -> PrepareReport:
    """Make the folder ``out`` the dataset of the pictures in ``raw``, or bring it up to date.

    Run again it changes only what has to change. A run that is killed at any moment is continued by the
    next one, with the same result.

    Args:
        raw: product folders, a table of pictures, or train/, val/ and test/ of them; also in an object store
            (``s3://bucket/folder``).
        out: where the dataset is or goes.
        options: how.
        product_level: which level of folders holds the products, from 1; by default as the tree tells.
        reading: what else is said of how ``raw`` is to be read; by default it tells itself.
        dry_run: decide everything, write nothing.
        threads: worker threads; default one per core.
        progress: told how far it is.

    Raises:
        UsageError: an option, or one of the two folders, cannot be used.
        CatalogError: ``raw`` holds no product folders, or no readable picture.
        StoreError: ``out`` cannot be written, is damaged, or another run is at work in it.
        DiskFullError: there is no room.
    """
    start = time.perf_counter()
    options = options or Options()
    stored, fetched = local_copy(raw, progress=progress)
    raw, out = Path(stored), Path(out)
    # What a table lists is all that is taken: a dataset may lie beside it, but not around it.
    named = raw.is_file()
    _require_apart(raw, out, beside=named)
    source = open_source(raw, keep_splits=options.keep_splits, product_level=product_level, reading=reading)
    _require_apart(raw, out, beside=named and source.layout == "table")
    _require_ours(out)
    source.fetch(progress)
    with ExitStack() as stack:
        staging = None
        if not dry_run:
            staging, home = Staging(out, options.max_side), out / FOLDER
            with os_errors("write a dataset", out):
                home.mkdir(parents=True, exist_ok=True)
            stack.enter_context(Lock(home / "lock", home / "holder.json").hold(_AT_ONCE, _busy, "preparing"))
            with os_errors("write a dataset", out):
                staging.open()
        state = manifest.read_state(out)
        workers = threads or default_threads()
        progress.stage("Checking", len(state.owned))
        with os_errors("read a dataset", out):
            present = present_files(out, state.owned, workers, progress)
        found, dropped = _entries(source)
        reader = Reader(source, options.max_side, state.converted(options, present), staging, workers)
        pictures = _read(reader, found, dropped, progress)
        _require_some(pictures, dropped, source)
        findings = _findings(reader, pictures, found, options)
        plan = make_plan(findings, options, source.metadata())
        lost = source.products() - {image.picture.product_id for image in plan.images}
        new = manifest.document(plan, source, options, dropped, sorted(lost), _version())
        files = dict(manifest.files(new))
        changes = compare(files, present, state.owned)
        require_free(out, (*changes.added, *changes.moved))
        rewritten = state.manifest is None or manifest.encoded(new) != manifest.encoded(state.manifest)
        if staging is not None:
            progress.stage("Writing")
            with os_errors("write a dataset", out):
                if rewritten or not changes.none or state.pending:
                    manifest.write_pending(out, new, state.owned, staging)
                    apply(out, plan, changes, present, staging)
                    settle()
                    manifest.write_manifest(out, new, staging)
                staging.clear()
    return PrepareReport(
        dataset=out,
        manifest=new,
        changes=changes,
        rewritten=rewritten,
        dry_run=dry_run,
        resumed=state.pending is not None or (staging is not None and staging.resumed),
        read=len(found),
        ignored=sum(part.catalog.ignored for part in source.parts),
        seconds=time.perf_counter() - start,
        notes=(*fetched, *source.notes(), *((flawed_note(reader.flawed),) if reader.flawed else ())),
    )


def _version() -> str:
    from importlib.metadata import version

    return version("itemrec")


def _entries(source: Source) -> tuple[list[Found], list[Refusal]]:
    found: list[Found] = []
    dropped: list[Refusal] = []
    for entry in source.entries():
        if isinstance(entry, Found):
            found.append(entry)
        else:
            dropped.append(entry)
    return found, dropped


def _read(reader: Reader, found: list[Found], dropped: list[Refusal], progress: Progress) -> list[Picture]:
    pictures: list[Picture] = []
    progress.stage("Preparing", len(found))
    for result in reader.read(found):
        if isinstance(result, Picture):
            pictures.append(result)
        else:
            dropped.append(result)
        progress.advance(note=f"{len(dropped):,} dropped" if dropped else "")
    dropped.sort(key=lambda refusal: (refusal.path, refusal.code))
    return pictures


def _findings(reader: Reader, pictures: list[Picture], found: list[Found], options: Options) -> Findings:
    likeness = Likeness(pictures, options.near_bits)
    pairs = [(likeness.distinct[i], likeness.distinct[j]) for i, j, _ in likeness.suspects()]
    confirmed = reader.confirm(pairs, {entry.source: entry for entry in found}) if pairs else []
    return likeness.findings(confirmed, keep_conflicts=options.keep_conflicts)


def _require_apart(raw: Path, out: Path, *, beside: bool) -> None:
    """Refuse a dataset inside its source, which would find itself at the next run, and the other way round.

    Args:
        raw: the source.
        out: the dataset.
        beside: the source is a table that was named itself: its folder may hold the dataset.
    """
    source = raw.parent if raw.is_file() else raw
    a, b = Path(os.path.realpath(source)), Path(os.path.realpath(out))
    if a == b or (a in b.parents and not beside) or b in a.parents:
        where = "the same folder" if a == b else f"{printable(out)} {'inside' if a in b.parents else 'around'} it"
        raise UsageError(
            f"expected a dataset apart from its source {printable(source)}, received {where}",
            hint="Name a folder elsewhere for the dataset.",
        )


def _require_ours(out: Path) -> None:
    """Refuse to mix a dataset into somebody's folder."""
    from retrieval.catalog.ignored import is_ignored

    with os_errors("write a dataset", out):
        try:
            names = sorted(name for name in os.listdir(out) if not is_ignored(name))
        except FileNotFoundError:
            return
    if names and not (out / manifest.MANIFEST).is_file() and not (out / manifest.PENDING).is_file():
        raise UsageError(
            f"expected an empty folder or a dataset of itemrec prepare, received {printable(out)} with"
            f" {printable(names[0])}" + (f" and {len(names) - 1:,} more" if len(names) > 1 else ""),
            hint="Name another folder; itemrec prepare does not touch what it did not write.",
        )


def _require_some(pictures: list[Picture], dropped: list[Refusal], source: Source) -> None:
    if not pictures:
        first = f"; the first of {len(dropped):,} is {dropped[0].path}: {dropped[0].reason}" if dropped else ""
        raise CatalogError(
            f"expected at least one readable picture in {printable(source.root)}, received none{first}",
            hint="Pictures lie in one folder for each product: RAW/<product_id>/*.jpg",
        )


def _busy(holder: Holder | None) -> StoreError:
    return StoreError(
        f"Another run is at work in this dataset{f': {holder}' if holder else ''}",
        hint="Wait until it has finished, or stop it.",
    )

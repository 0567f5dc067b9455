"""Make a dataset's folder what the plan says, touching nobody else's files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from retrieval.errors import UsageError
from retrieval.system.files import file_sha256
from retrieval.system.progress import Progress, Silent
from retrieval.system.text import printable
from retrieval.system.threads import ordered_map
from trainer.prepare.staging import Staging
from trainer.prepare.types import Plan


@dataclass(frozen=True, slots=True)
class Changes:
    """What has to happen to files, by path relative to the dataset.

    Attributes:
        added: not there yet.
        moved: not there yet, but the same picture lies elsewhere and is not wanted there: new path to old.
        replaced: there with other content.
        removed: not wanted any more.
        kept: there, and right.
        left: not wanted any more, but somebody changed them since they were written: not removed.
    """

    added: tuple[str, ...]
    moved: Mapping[str, str]
    replaced: tuple[str, ...]
    removed: tuple[str, ...]
    kept: tuple[str, ...]
    left: tuple[str, ...]

    @property
    def none(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.added or self.moved or self.replaced or self.removed)


def present_files(dataset: Path, paths: Iterable[str], threads: int, progress: Progress = Silent()) -> dict[str, str]:
    """The hash of each of these files that is there; raises OSError.

    Args:
        dataset: its folder.
        paths: relative to it.
        threads: worker threads.
        progress: told of each file.
    """

    def look(path: str) -> tuple[str, str | None]:
        file = dataset / path
        try:
            return path, file_sha256(file) if file.is_file() and not file.is_symlink() else None
        except (FileNotFoundError, NotADirectoryError):
            return path, None

    present: dict[str, str] = {}
    for path, found in ordered_map(look, sorted(paths), threads):
        if found is not None:
            present[path] = found
        progress.advance()
    return present


def compare(wanted: Mapping[str, str], present: Mapping[str, str], owned: Mapping[str, frozenset[str]]) -> Changes:
    """What to do. Pure.

    Args:
        wanted: the hash of every file that shall be there.
        present: the hash of every file that may be ours and is there.
        owned: the hashes that each of these had when it was written.
    """
    kept = {path for path, found in wanted.items() if present.get(path) == found}
    loose: dict[str, list[str]] = {}
    for path, found in sorted(present.items(), reverse=True):
        if path not in kept:
            loose.setdefault(found, []).append(path)
    moved = {}
    for path in sorted(wanted.keys() - kept):
        if path not in present and loose.get(wanted[path]):
            moved[path] = loose[wanted[path]].pop()
    gone = present.keys() - wanted.keys()
    ours = {path for path in gone if present[path] in owned.get(path, ())}
    return Changes(
        added=tuple(sorted(wanted.keys() - present.keys() - moved.keys())),
        moved=moved,
        replaced=tuple(sorted((wanted.keys() & present.keys()) - kept)),
        removed=tuple(sorted(ours - set(moved.values()))),
        kept=tuple(sorted(kept)),
        left=tuple(sorted(gone - ours)),
    )


def require_free(dataset: Path, paths: Iterable[str]) -> None:
    """Refuse to write where somebody else's file lies.

    Raises:
        UsageError: naming it.
    """
    for path in paths:
        if os.path.lexists(dataset / path):
            raise UsageError(
                f"expected only pictures that itemrec prepare wrote in {printable(dataset)},"
                f" received another file where one must go: {printable(path)}",
                hint="Move it away, or prepare into another folder.",
            )


def apply(dataset: Path, plan: Plan, changes: Changes, present: Mapping[str, str], staging: Staging) -> None:
    """Carry the changes out; raises OSError.

    Every step leaves each picture somewhere under its hash, so that a run that is killed between any two of
    them is finished by the next one.

    Args:
        dataset: its folder.
        plan: what shall be there.
        changes: from what is there to that.
        present: the hash of every file of ours that is there.
        staging: where the pictures wait that are not there.
    """
    sources = {image.path: image.picture.source_sha256 for image in plan.images}
    wanted = plan.wanted()
    places = sorted(path for path in {*changes.added, *changes.moved, *changes.replaced} if path in wanted)
    waiting = {path: staging.path(sources[path], wanted[path]) for path in places}
    # First out of the way, then in: two pictures may have to change places.
    location = {found: dataset / path for path, found in present.items()}
    stays = {dataset / path for path in changes.kept}
    for path, file in waiting.items():
        if not file.exists():
            old = location[wanted[path]]
            staging.bring(old, file, move=old not in stays)
            location[wanted[path]] = file
            stays.add(file)
    for path in {*changes.removed, *changes.moved.values()} - wanted.keys():
        (dataset / path).unlink(missing_ok=True)
    uses = Counter(waiting.values())
    for path, file in waiting.items():
        (dataset / path).parent.mkdir(parents=True, exist_ok=True)
        uses[file] -= 1
        staging.bring(file, dataset / path, move=not uses[file])
    for path, content in plan.tables.items():
        if path not in changes.kept:
            staging.write(dataset / path, content)
    for folder in sorted({Path(path).parent for path in {*changes.removed, *changes.moved.values()}}, reverse=True):
        for empty in (folder, *folder.parents[:-1]):
            with suppress(OSError):
                (dataset / empty).rmdir()


def settle() -> None:
    """Wait until everything that was written is on the disk, where the system can do that at once."""
    if hasattr(os, "sync"):
        os.sync()

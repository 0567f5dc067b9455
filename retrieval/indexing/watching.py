"""A catalog that is watched: indexed at the start, and again after each change."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from retrieval.errors import CatalogError, ItemrecError, UsageError
from retrieval.indexing.report import IndexReport
from retrieval.system.installation import install_hint, missing
from retrieval.system.text import printable

QUIET_SECONDS = 0.6
"""A run begins when so long nothing changed: a folder that is being copied is indexed once."""
LONGEST_SECONDS = 15.0
"""And at the latest after so long, however busy the folder is."""
AGAIN_SECONDS = 30.0
LONGEST_AGAIN_SECONDS = 600.0
"""After a run that failed the next one begins by itself, first after 30 s, then twice as long each time up to this."""
_LOOK_SECONDS = 1.0

Outcome = IndexReport | ItemrecError


def watch(
    catalog: Path,
    run: Callable[[], IndexReport],
    told: Callable[[Outcome], None],
    *,
    stop: threading.Event,
    index: Path | None = None,
    quiet_seconds: float = QUIET_SECONDS,
    again_seconds: float = AGAIN_SECONDS,
) -> None:
    """Index a catalog now, and again whenever it changed, until somebody says stop.

    What changes while a run is under way leads to the next one. A catalog that is not there yet, or goes away, is
    waited for; a run that fails is told, and tried again with the next change or after a while.

    Args:
        catalog: its folder, or its table, whose folder is watched.
        run: indexes it.
        told: what became of each run.
        stop: ends it once the run under way is over. A `KeyboardInterrupt` ends it at once: what was indexed is safe.
        index: where the index lies, if it is a directory: what changes there is no change of the catalog.
        quiet_seconds: see `QUIET_SECONDS`.
        again_seconds: see `AGAIN_SECONDS`.

    Raises:
        UsageError: the package that watches is not installed.
    """
    try:
        import watchfiles
    except ImportError as error:
        raise UsageError(missing("watchfiles", "itemrec watch", error), hint=install_hint("watch")) from error

    attempts = _Attempts(run, told, again_seconds)
    while not stop.is_set():
        folder = catalog if catalog.is_dir() else catalog.parent
        seen = _identity(catalog)
        if seen is None:
            attempts.missing(catalog)
            stop.wait(_LOOK_SECONDS)
            continue
        attempts.changed()
        for changes in watchfiles.watch(
            folder,
            watch_filter=partial(_matters, folder, index),
            debounce=round(LONGEST_SECONDS * 1e3),
            step=round(quiet_seconds * 1e3),
            rust_timeout=round(_LOOK_SECONDS * 1e3),
            yield_on_timeout=True,
            stop_event=stop,
        ):
            if changes:
                attempts.changed()
            attempts.go_on()
            if _identity(catalog) != seen:
                break


class _Attempts:
    """When the next run is due."""

    def __init__(self, run: Callable[[], IndexReport], told: Callable[[Outcome], None], again: float) -> None:
        self._run = run
        self._told = told
        self._shortest = self._pause = again
        self._due: float | None = None
        self._said_missing = False

    def changed(self) -> None:
        """A run is due now."""
        self._due = time.monotonic()

    def missing(self, catalog: Path) -> None:
        """Say once that there is nothing to watch."""
        if not self._said_missing:
            self._told(CatalogError(f"There is no {printable(str(catalog))} yet", hint="It is indexed when it appears"))
        self._said_missing = True

    def go_on(self) -> None:
        """Run if it is due."""
        if self._due is None or time.monotonic() < self._due:
            return
        self._said_missing = False
        try:
            outcome: Outcome = self._run()
        except ItemrecError as error:
            outcome = error
            self._due = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, LONGEST_AGAIN_SECONDS)
        else:
            self._due, self._pause = None, self._shortest
        self._told(outcome)


def _identity(path: Path) -> tuple[int, int] | None:
    """Which folder it is: one that was removed and made again is another; None where there is none.

    A table is replaced by every editor that saves it: of that only the folder counts.
    """
    try:
        status = os.stat(path if path.is_dir() else path.parent)
        os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _matters(folder: Path, index: Path | None, change: object, changed: str) -> bool:
    """False for what is no part of a catalog: hidden files, and an index that lies within."""
    path = Path(changed)
    if index is not None and path.is_relative_to(index):
        return False
    try:
        steps = path.relative_to(folder).parts
    except ValueError:
        steps = path.parts[-1:]
    return all(not step.startswith(".") or step == ".itemrecignore" for step in steps)

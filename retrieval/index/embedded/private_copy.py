"""A generation that cannot be written, opened all the same: the engine gets a private copy, which it may write.

Read-only mounts, indexes of other users, full disks. The engine opens nearly every file for writing, so links do
not help. A copy lasts as long as its process: made once for a generation, and its names are removed as soon as the
engine has it open, so that also a killed process leaves nothing. docs/decisions/0004-embedded-index.md has the cost.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from retrieval.errors import DiskFullError, StoreError
from retrieval.index.embedded.copy import copy_changed
from retrieval.index.embedded.store import EmbeddedStore
from retrieval.index.manifest import Manifest
from retrieval.system.files import allocated

_MARGIN = 8 * 2**20
"""What the engine writes to a copy that it opens is less, in bytes."""
_MEMORY = "/dev/shm"

_log = logging.getLogger("itemrec.index")
_lock = threading.RLock()
_open: dict[Path, tuple[str, EmbeddedStore]] = {}


@contextlib.contextmanager
def lent_copy(shard: Path, manifest: Manifest, reason: str) -> Iterator[EmbeddedStore]:
    """A copy of a shard, open. It is for reading: what is written to it is lost.

    Args:
        shard: the shard, which its process may read.
        manifest: of its generation.
        reason: why the shard itself cannot be opened, for the one line that says so.

    Raises:
        DiskFullError: no temporary folder has room for it.
        StoreError: it may not be read.
    """
    with _lock:
        place = shard.resolve()
        held = _open.get(place)
        if held is None or held[0] != manifest.created:
            if held is not None:
                del _open[place]
                held[1].close()
            _open[place] = (manifest.created, _make(shard, manifest, reason))
        yield _open[place][1]


def _make(shard: Path, manifest: Manifest, reason: str) -> EmbeddedStore:
    began = time.monotonic()
    needed = allocated(shard)
    folder = _folder_for(needed + _MARGIN, shard)
    try:
        try:
            copy_changed(shard, folder / "shard", None)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise _no_room(needed, shard) from error
            raise StoreError(
                f"Cannot read {shard}: {error.strerror}", hint="Ask its owner for permission to read it"
            ) from error
        store = EmbeddedStore.open(folder / "shard", manifest.model.dimension)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if os.name == "nt":  # open files have names there
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    _log.warning(
        "itemrec: %s: answering from a private copy in %s (%.1f MB, made in %.1f s)",
        reason,
        folder.parent,
        needed / 1e6,
        time.monotonic() - began,
    )
    return store


def _folder_for(needed: int, shard: Path) -> Path:
    """A new folder on a disk with room; the usual place for temporary files first, then memory."""
    candidates = []
    with contextlib.suppress(OSError):
        candidates.append(tempfile.gettempdir())
    for parent in [*candidates, _MEMORY]:
        with contextlib.suppress(OSError):
            if shutil.disk_usage(parent).free >= needed:
                return Path(tempfile.mkdtemp(prefix="itemrec-", dir=parent))
    raise _no_room(needed, shard)


def _no_room(needed: int, shard: Path) -> DiskFullError:
    return DiskFullError(
        f"{shard} cannot be written, and no temporary folder has room for a copy of {needed / 1e6:,.1f} MB",
        hint="Set TMPDIR to a folder with room",
    )

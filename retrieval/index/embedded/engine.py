"""What the embedded engine raises, and what it says about itself, in our terms."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from retrieval.errors import DiskFullError, IndexBusyError, IndexDamagedError, ItemrecError, StoreError
from retrieval.index.commands import REBUILD_HINT
from retrieval.system.stderr import held_back

_INSERT_UUID = 2
_INSERTION = 21
_ENTRY_BYTES = {1: 13, _INSERT_UUID: _INSERTION, 3: 9, 4: 17}
"""Of an entry in the engine's list of ids, by its first byte: insertion of a number, of a UUID, deletion of each."""
_SPARE_OFFSETS = 1_000_000


@functools.cache  # reading it takes as long as committing a small index
def engine_name() -> str:
    """The engine and its version, for the manifest."""
    from importlib.metadata import version

    return f"qdrant-edge {version('qdrant-edge-py')}"


class UnwritableError(StoreError):
    """The engine writes to what it opens, and may not."""


def unreadable(file: Path) -> StoreError:
    """A file of an index that its user may not read: no damage."""
    return StoreError(
        f"Cannot read {file}: permission denied", hint="Ask the owner of the index for permission to read it"
    )


@contextlib.contextmanager
def engine_errors(action: str, path: Path) -> Iterator[None]:
    """Map everything the engine raises: bare Exception, ValueError, TypeError, and a BaseException.

    What a panic also prints to stderr, with a stack where RUST_BACKTRACE is set, is kept off it. Not to be
    entered within itself.
    """
    try:
        with held_back(drop_on_error=True):
            yield
    except ItemrecError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise _map_error(error, action, path) from error


def _map_error(error: BaseException, action: str, path: Path) -> StoreError:
    text = " ".join(str(error).split())
    if "WouldBlock" in text:
        return IndexBusyError(
            f"Cannot {action} {path}: another process has it open",
            hint="Try again when it is done; one process at a time can use an embedded index",
        )
    if "No space left" in text or "os error 28" in text or "StorageFull" in text:
        return DiskFullError(
            f"Disk full: cannot {action} {path}",
            hint="Free some space and run the same command again; what was acknowledged is kept",
        )
    if any(sign in text for sign in ("Permission denied", "Read-only file system", "PermissionDenied")):
        return UnwritableError(
            f"Cannot {action} {path}: {text:.200}",
            hint="The engine needs to write to an index to open it; copy it to a place that you may write",
        )
    if action == "open" or type(error).__name__ == "PanicException":
        return IndexDamagedError(f"Cannot {action} {path}; the engine says: {text:.300}", hint=REBUILD_HINT)
    return StoreError(
        f"Cannot {action} {path}; the engine says: {text:.300}",
        hint="itemrec doctor examines the index",
    )


def check_ids(shard: Path) -> None:
    """Refuse a list of ids that counts further than it can: the engine would ask for memory until it dies.

    Entries are an insert of a number or a UUID with its u32 offset, or a deletion of one; what they hold else is the
    engine's to judge.

    Raises:
        IndexDamagedError: an offset is far beyond the number of entries.
    """
    for file in shard.glob("segments/*/mutable_id_tracker.mappings"):
        with contextlib.suppress(OSError):
            data = file.read_bytes()
            if _largest_offset(data) > len(data) // _INSERTION + _SPARE_OFFSETS:
                raise IndexDamagedError(
                    f"Cannot read the ids of the shard in {shard}: they count too far", hint=REBUILD_HINT
                )


def _largest_offset(data: bytes) -> int:
    rows = np.frombuffer(data, np.uint8, len(data) // _INSERTION * _INSERTION).reshape(-1, _INSERTION)
    others = np.flatnonzero(rows[:, 0] != _INSERT_UUID)
    uniform = int(others[0]) if len(others) else len(rows)
    largest = int(np.ascontiguousarray(rows[:uniform, -4:]).view("<u4").max(initial=0))
    # From the first deletion on, entries differ in length.
    at = uniform * _INSERTION
    while at < len(data):
        size = _ENTRY_BYTES.get(data[at])
        if size is None or at + size > len(data):
            break
        if size in (13, _INSERTION):
            largest = max(largest, int.from_bytes(data[at + size - 4 : at + size], "little"))
        at += size
    return largest


def check_config(path: Path, dimension: int) -> None:
    """The engine's own configuration must agree with our manifest before the engine is trusted with it."""
    try:
        config = json.loads((path / "edge_config.json").read_bytes())["vectors"][""]
        found = (config["size"], config["distance"])
    except PermissionError as error:
        raise unreadable(path / "edge_config.json") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IndexDamagedError(
            f"Cannot read the configuration of the shard in {path}: {type(error).__name__}: {error}",
            hint=REBUILD_HINT,
        ) from error
    if found != (dimension, "Euclid"):
        raise IndexDamagedError(
            f"expected vectors of dimension {dimension} and Euclid distance in {path}, "
            f"received {found[0]} and {found[1]}",
            hint=REBUILD_HINT,
        )

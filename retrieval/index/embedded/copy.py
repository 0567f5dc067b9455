"""How an embedded index copies a generation before it changes it: what changed since, sparse files, shared blocks."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from retrieval.system.files import remove_tree, sync_directory, sync_file

_COPY_BLOCK = 1 << 20


def sync_tree(path: Path) -> None:
    """Make every file below ``path``, and every name, durable."""
    for folder, _, names in os.walk(path):
        for name in names:
            sync_file(os.path.join(folder, name))
        sync_directory(folder)


LEFT_BY_ENGINE = ".atomicwrite"
"""How the folders begin that a process leaves when it is killed while it opens a shard."""

Stamp = dict[str, tuple[int, int]]


def stamps(path: Path) -> Stamp:
    """Size and modification time of every file of a tree, by relative name."""
    found: Stamp = {}
    for folder, folders, names in os.walk(path):
        folders[:] = [f for f in folders if not f.startswith(LEFT_BY_ENGINE)]
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                full = os.path.join(folder, name)
                status = os.stat(full)
                found[os.path.relpath(full, path)] = (status.st_size, status.st_mtime_ns)
    return found


def copy_changed(source: Path, target: Path, before: Stamp | None) -> Stamp:
    """Bring a copy of a tree up to date.

    Args:
        source: the tree to copy.
        target: where the copy is or goes.
        before: what the last pass returned; files that look the same since are not copied again.

    Returns:
        What was copied, for the next pass.
    """
    now = stamps(source)
    for folder, folders, _ in os.walk(source):
        folders[:] = [f for f in folders if not f.startswith(LEFT_BY_ENGINE)]
        (target / os.path.relpath(folder, source)).mkdir(parents=True, exist_ok=True)
    for name, stamp in now.items():
        if before is None or before.get(name) != stamp:
            with contextlib.suppress(FileNotFoundError):
                copy_sparse(source / name, target / name)
    for name in set(before or ()) - set(now):
        (target / name).unlink(missing_ok=True)
    return now


def remove_left_by_readers(shard: Path) -> None:
    """Remove what killed processes left in a shard that nobody has open; what may not be removed stays."""
    with contextlib.suppress(OSError):
        for folder in (str(shard), *(e.path for e in os.scandir(shard / "segments"))):
            for entry in os.scandir(folder):
                if entry.name.startswith(LEFT_BY_ENGINE):
                    remove_tree(Path(entry.path))


def copy_sparse(source: Path, target: Path) -> None:
    """Copy a file, leaving holes where it has holes; on file systems that can, share its blocks."""
    with open(source, "rb") as reader, open(target, "wb") as writer:
        if _clone(reader.fileno(), writer.fileno()):
            return
        size = os.fstat(reader.fileno()).st_size
        writer.truncate(size)
        for start, end in _extents(reader.fileno(), size):
            _copy_range(reader.fileno(), writer.fileno(), start, end)


def _clone(source: int, target: int) -> bool:
    """FICLONE: instant on btrfs, XFS and other copy-on-write file systems."""
    try:
        import fcntl
    except ImportError:
        return False
    try:
        fcntl.ioctl(target, 0x40049409, source)
    except OSError:
        return False
    return True


def _extents(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """The ranges of a file that hold data."""
    seek_data: int | None = getattr(os, "SEEK_DATA", None)
    if seek_data is None:
        yield 0, size
        return
    position = 0
    while position < size:
        try:
            start = os.lseek(descriptor, position, seek_data)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        position = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, position


def _copy_range(source: int, target: int, start: int, end: int) -> None:
    os.lseek(source, start, os.SEEK_SET)
    os.lseek(target, start, os.SEEK_SET)
    left = end - start
    while left > 0:
        block = os.read(source, min(left, _COPY_BLOCK))
        if not block:
            return
        left -= len(block)
        view = memoryview(block)
        while view:
            view = view[os.write(target, view) :]

"""Directories on disk: atomic replacement, durable trees, sparse copies, room to write."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from retrieval.errors import DiskFullError, StoreError

BUILD_FILE = "build.json"
"""Marks a generation that is still being built."""

TEMPORARY = ".tmp"
_COPY_BLOCK = 1 << 20


@contextlib.contextmanager
def os_errors(action: str, path: Path) -> Iterator[None]:
    """Map what the operating system refuses to `StoreError` or `DiskFullError`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                f"expected room to {action} in {path}, received: {error.strerror}",
                hint="Free some space and run the same command again; what was acknowledged is kept",
            ) from error
        raise StoreError(
            f"expected to {action} in {path}, received: {error.strerror or error}",
            hint="Check that the folder exists, is a folder, and may be written by you",
        ) from error


def require_space(path: Path, needed: int, action: str) -> None:
    """Refuse to go on when the disk under ``path`` has less than ``needed`` bytes free.

    The engine writes through memory maps, where a full disk is a fatal signal instead of an
    error; so room is checked before.

    Raises:
        DiskFullError: with both numbers.
    """
    free = shutil.disk_usage(path).free
    if free < needed:
        raise DiskFullError(
            f"expected {_mib(needed)} free to {action} in {path}, received {_mib(free)}",
            hint="Free some space and run the same command again; what was acknowledged is kept",
        )


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"


def allocated(path: Path) -> int:
    """Bytes that a tree occupies on disk; holes do not count."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                status = os.stat(os.path.join(folder, name))
                total += getattr(status, "st_blocks", -(-status.st_size // 512)) * 512
    return total


def replace_file(path: Path, text: str) -> None:
    """Write a small file durably; a reader, or a crash, sees the old text or the new one whole.

    One writer at a time: the temporary file has a fixed name, so that a crash leaves at most one.
    """
    temporary = path.with_name(f".{path.name}{TEMPORARY}")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    if os.name == "nt":  # directories cannot be opened there; NTFS journals its names
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(path: Path) -> None:
    """Make every file below ``path``, and every name, durable."""
    for folder, _, names in os.walk(path):
        for name in names:
            descriptor = os.open(os.path.join(folder, name), os.O_RDWR)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_directory(Path(folder))


Stamp = dict[str, tuple[int, int]]


def stamps(path: Path) -> Stamp:
    """Size and modification time of every file of a tree, by relative name."""
    found: Stamp = {}
    for folder, _, names in os.walk(path):
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
    for folder, _, _ in os.walk(source):
        (target / os.path.relpath(folder, source)).mkdir(parents=True, exist_ok=True)
    for name, stamp in now.items():
        if before is None or before.get(name) != stamp:
            with contextlib.suppress(FileNotFoundError):
                copy_sparse(source / name, target / name)
    for name in set(before or ()) - set(now):
        (target / name).unlink(missing_ok=True)
    return now


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


def remove_tree(path: Path, *, first: str | None = None) -> None:
    """Delete a tree; ``first`` names the file that marks it as usable and so must go before all else."""
    if first is not None:
        (path / first).unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)

"""Files and directories: there whole or not at all, on the disk before anybody relies on them, with room to write."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from retrieval.errors import DiskFullError, StoreError

_FREE_SPACE = "Free some space and run the same command again; what was acknowledged is kept"
_COPY_BLOCK = 1 << 20


@contextmanager
def os_errors(action: str, path: Path) -> Iterator[None]:
    """Map what the operating system refuses to `StoreError` or `DiskFullError`.

    Args:
        action: what was wanted, as a verb phrase.
        path: the directory, for the message.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(f"Disk full: cannot {action} in {path} ({error.strerror})", hint=_FREE_SPACE) from error
        raise StoreError(
            f"Cannot {action} in {path}: {error.strerror or error}",
            hint="Check that the folder exists, is a folder, and may be written by you",
        ) from error


def require_space(path: Path, needed: int, action: str) -> None:
    """Refuse to go on when the disk under ``path`` has less than ``needed`` bytes free.

    The engine writes through memory maps, where a full disk is a fatal signal instead of an
    error; so room is checked before.

    Raises:
        DiskFullError: with both numbers.
    """
    import shutil  # with its archive modules it would cost every start some milliseconds

    free = shutil.disk_usage(path).free
    if free < needed:
        raise DiskFullError(
            f"Not enough disk space to {action} in {path}: {_mib(needed)} needed, {_mib(free)} free",
            hint=_FREE_SPACE,
        )


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"


def allocated(path: Path) -> int:
    """Bytes that a tree occupies on disk; holes do not count."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            with suppress(FileNotFoundError):
                status = os.stat(os.path.join(folder, name))
                total += getattr(status, "st_blocks", -(-status.st_size // 512)) * 512
    return total


def unfit_in(folder: Path, file: Path) -> str:
    """Why a file that lies in a folder by its name is not to be opened: what it is instead; empty when it may be.

    A pipe would be waited on for ever, and a link out of the folder reads what its sender does not have. A file that
    is not there is no matter of this function.
    """
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):
            return "a folder" if os.path.isdir(file) else "a pipe or a device"
        if os.path.islink(file) and not file.resolve().is_relative_to(folder.resolve()):
            return "a link that leaves it"
    except (FileNotFoundError, NotADirectoryError):
        return "a link to nothing" if os.path.islink(file) else ""
    except (OSError, ValueError, RuntimeError):  # whoever opens it says why not
        return ""
    return ""


def file_sha256(file: Path) -> str:
    """Hex SHA-256 of a file's content; raises OSError."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_synced(file: Path, content: bytes) -> None:
    """Write a file and wait until it is on the disk; raises OSError."""
    file.write_bytes(content)
    sync_file(file)


def copy_synced(source: Path, target: Path) -> None:
    """Copy a file's content and wait until it is on the disk; raises OSError."""
    with source.open("rb") as reader, target.open("wb") as writer:
        while block := reader.read(_COPY_BLOCK):
            writer.write(block)
    sync_file(target)


def replace_file(path: Path, content: bytes | str, *, staging: Path | None = None) -> None:
    """Write a file durably; whoever reads it, also after a crash, sees the old content or the new one whole.

    Args:
        path: the file; need not exist.
        content: bytes, or text that is written as UTF-8.
        staging: see `replacing`.

    Raises:
        OSError: it could not be written; the old content is still there.
    """
    with replacing(path, staging=staging) as new:
        new.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path, *, staging: Path | None = None, durable: bool = True) -> Iterator[Path]:
    """Lend a name to write a file under; leaving the context puts the file in its place, an error removes it.

    Args:
        path: where the file belongs; its old content can be read until then.
        staging: the name to lend, on the same disk. By default one that nobody else has. With a name of the
            caller's own a killed process leaves one such file at most, but only one process may write at a time.
        durable: wait until the file and its name are on the disk.

    Raises:
        OSError: it could not be put in place; the old content is still there.
    """
    staging = staging or beside(path, "new")
    try:
        yield staging
        if durable:
            sync_file(staging)
        move_file(staging, path, durable=durable)
    except BaseException:
        with suppress(OSError):
            staging.unlink(missing_ok=True)
        raise


def move_file(source: Path, target: Path, *, durable: bool = True) -> None:
    """Rename a file on the same disk, in place of any that has that name already; raises OSError.

    Args:
        source: the file.
        target: its new name.
        durable: wait until the new name is on the disk.
    """
    os.replace(source, target)
    if durable:
        sync_directory(target.parent)


def beside(path: Path, suffix: str) -> Path:
    """A fresh hidden name in the same directory, so that a rename into place stays on one disk."""
    return path.with_name(f".{path.name}.{os.urandom(6).hex()}.{suffix}")


def move_directory(staging: Path, path: Path) -> None:
    """Rename a directory into its place; one that is already there is put aside first and then removed.

    No portable call exchanges two directories, so between the two renames the place is empty for
    an instant. When the second rename fails, the old directory is put back. Raises OSError.
    """
    sync_directory(staging)
    retired: Path | None = None
    if path.exists():
        retired = beside(path, "old")
        os.rename(path, retired)
    try:
        os.rename(staging, path)
    except OSError:
        if retired is not None:
            with suppress(OSError):
                os.rename(retired, path)
        raise
    if retired is not None:
        import shutil

        shutil.rmtree(retired, ignore_errors=True)
    sync_directory(path.parent)


def remove_tree(path: Path, *, first: str | None = None) -> None:
    """Delete a tree; ``first`` names the file that marks it as usable and so must go before all else."""
    import shutil

    if first is not None:
        (path / first).unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        shutil.rmtree(path)


def sync_file(file: Path | str) -> None:
    """Wait until a file's content is on the disk; raises OSError."""
    _sync(file, os.O_RDWR)


def sync_directory(directory: Path | str) -> None:
    """Wait until the names in a directory are on the disk; raises OSError."""
    if os.name != "nt":  # directories cannot be opened there; NTFS journals its names
        _sync(directory, os.O_RDONLY)


def _sync(path: Path | str, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

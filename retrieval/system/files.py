"""Files that are there whole or not at all: write, sync, rename."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path


def sha256(file: Path) -> str:
    """Hex SHA-256 of a file's content; raises OSError."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write(file: Path, content: bytes) -> None:
    """Write a file and wait until it is on the disk; raises OSError."""
    with file.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def copy(source: Path, target: Path) -> None:
    """Copy a file's content and wait until it is on the disk; raises OSError."""
    with source.open("rb") as reader, target.open("wb") as writer:
        while chunk := reader.read(1 << 20):
            writer.write(chunk)
        writer.flush()
        os.fsync(writer.fileno())


def replace(file: Path, content: bytes) -> None:
    """Replace a file atomically: whoever reads it sees the old content or the new; raises OSError."""
    staging = beside(file, "new")
    try:
        write(staging, content)
        os.replace(staging, file)
        sync_directory(file.parent)
    finally:
        staging.unlink(missing_ok=True)


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
        import shutil  # with its archive modules it would cost every start some milliseconds

        shutil.rmtree(retired, ignore_errors=True)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Wait until the names in a directory are on the disk; raises OSError."""
    if os.name == "nt":  # directories cannot be opened there, and renames are journaled
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

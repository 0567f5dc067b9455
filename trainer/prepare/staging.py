"""Where finished pictures wait until it is decided where they belong: a hidden folder in the dataset.

A picture waits in a file named by the hashes of its source and of itself, so a run that was killed goes on
with what is there, and a file that a crash left half written is told by its content.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from retrieval.images.pictures import JPEG_QUALITY, content_hash
from retrieval.system.files import move_file, replacing

FOLDER = ".prepare"


class Staging:
    """The waiting pictures of one way to convert.

    Attributes:
        resumed: an earlier run left some.
    """

    def __init__(self, dataset: Path, max_side: int) -> None:
        self._home = dataset / FOLDER
        self.folder = self._home / f"{max_side}-{JPEG_QUALITY}"
        self.resumed = False
        self._waiting: dict[str, str] = {}

    def open(self) -> None:
        """Make the folder and see what waits in it; raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in os.listdir(self.folder):
            source, _, rest = name.removesuffix(".jpg").partition("-")
            if len(source) == len(rest) == 64:
                self._waiting[source] = rest
        self.resumed = bool(self._waiting)

    def path(self, source_sha256: str, sha256: str) -> Path:
        """Where a picture waits."""
        return self.folder / f"{source_sha256}-{sha256}.jpg"

    def get(self, source_sha256: str) -> bytes | None:
        """A waiting picture; None when none waits, or it is not whole."""
        sha256 = self._waiting.get(source_sha256)
        if sha256 is None:
            return None
        try:
            data = self.path(source_sha256, sha256).read_bytes()
        except FileNotFoundError:
            return None
        return data if content_hash(data) == sha256 else None

    def put(self, source_sha256: str, sha256: str, data: bytes) -> None:
        """Let a picture wait; whole or not at all; raises OSError."""
        self.write(self.path(source_sha256, sha256), data)
        self._waiting[source_sha256] = sha256

    def write(self, file: Path, data: bytes, *, durable: bool = False) -> None:
        """Write a file, whole or not at all; raises OSError.

        Args:
            file: anywhere in the dataset.
            data: its content.
            durable: wait until it is on the disk.
        """
        # Here, where `clear` finds what a kill leaves behind.
        temporary = self.folder / f"{os.urandom(8).hex()}.tmp"
        with replacing(file, staging=temporary, durable=durable) as new:
            new.write_bytes(data)

    def bring(self, source: Path, target: Path, *, move: bool) -> None:
        """Move or copy a file, whole or not at all; raises OSError."""
        if move:
            move_file(source, target, durable=False)
        else:
            self.write(target, source.read_bytes())

    def clear(self) -> None:
        """Remove what waits, of every way to convert. The lock stays."""
        with suppress(FileNotFoundError):
            for folder in self._home.iterdir():
                if folder.is_dir() and not folder.is_symlink():
                    for file in folder.iterdir():
                        if file.suffix in (".jpg", ".tmp"):
                            file.unlink(missing_ok=True)
                    with suppress(OSError):
                        folder.rmdir()

"""What native code writes to stderr past Python, held back for a moment and sifted."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

_turn = threading.Lock()


@contextmanager
def held_back(*, drop: tuple[bytes, ...] = (), drop_on_error: bool = False) -> Iterator[None]:
    """Keep unwanted lines off stderr; everything else that is written meanwhile comes through afterwards.

    Native libraries write to file descriptor 2 and offer no switch, so the descriptor is pointed at a
    temporary file meanwhile. Hold it briefly, and not within itself: the whole process shares the descriptor.

    Args:
        drop: beginnings of lines that nobody needs.
        drop_on_error: drop everything when an exception leaves the context, since that tells it all.
    """
    with _turn:
        try:
            scratch = _scratch()
            saved = os.dup(2)
        except OSError:  # no stderr to keep clean, or nowhere to keep its lines meanwhile
            yield
            return
        with suppress(AttributeError, OSError, ValueError):
            sys.stderr.flush()
        os.dup2(scratch, 2)
        failed = True
        try:
            yield
            failed = False
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            lines = _empty(scratch)
            if lines and not (failed and drop_on_error):
                kept = b"".join(line for line in lines if not (drop and line.startswith(drop)))
                with suppress(OSError):
                    os.write(2, kept)


@cache
def _scratch() -> int:
    """The descriptor of an unnamed file, made once: opening one for every search would be felt."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("itemrec-stderr")
    import tempfile

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _empty(scratch: int) -> list[bytes]:
    """What was written to the scratch file since it was emptied last."""
    size = os.fstat(scratch).st_size
    if not size:
        return []
    os.lseek(scratch, 0, os.SEEK_SET)
    text = os.read(scratch, size)
    os.ftruncate(scratch, 0)
    os.lseek(scratch, 0, os.SEEK_SET)
    return text.splitlines(keepends=True)

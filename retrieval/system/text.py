"""Text from outside, made safe to show."""

from __future__ import annotations

import os


def plural(count: int, word: str) -> str:
    """A count and its noun: ``1 photo``, ``2,139 photos``."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def printable(text: str | os.PathLike[str]) -> str:
    """Text with control characters and undecodable bytes escaped: one line, safe on a terminal.

    Args:
        text: a message, or a file name as the system gave it.
    """
    plain = os.fspath(text)
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in plain)

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


def one_form(text: str) -> str:
    """Text as it is compared and stored everywhere: Unicode NFC, no white space around it.

    The same name is written in several ways: macOS takes accents apart, spreadsheets keep blanks that nobody sees.
    """
    if text.isascii():
        return text.strip()
    # Most names are ASCII: a cold query does not pay for the tables.
    import unicodedata

    return unicodedata.normalize("NFC", text).strip()


def json_bytes(text: str) -> bytes:
    """JSON text as UTF-8; bytes of a file name that are none are escaped as JSON escapes them and can be read back."""
    return text.encode("utf-8", "backslashreplace")

"""Text from outside, made safe to show."""

from __future__ import annotations

import os
import re

_UNDECODED = re.compile("[\udc80-\udcff]")
_ESCAPED = re.compile("%([89A-F][0-9A-F])")


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


def name_as_text(name: str) -> str:
    """A file name or path in Unicode, whatever its bytes: one that is no UTF-8 is written as ``%E9``.

    What is Unicode stays as it is, a percent sign included; `text_as_name` takes it back where no file has that name.
    """
    return name if name.isascii() else _UNDECODED.sub(lambda found: f"%{ord(found[0]) - 0xDC00:02X}", name)


def text_as_name(text: str) -> str:
    """The file name whose `name_as_text` this may be."""
    return _ESCAPED.sub(lambda found: chr(0xDC00 + int(found[1], 16)), text)


def json_bytes(text: str) -> bytes:
    """JSON text as UTF-8; bytes of a file name that are none are escaped as JSON escapes them and can be read back."""
    return text.encode("utf-8", "backslashreplace")

"""When a photo was taken, by its EXIF: photos of one visit tell less than as many of several."""

from __future__ import annotations

from datetime import UTC, datetime

_MARK = b"Exif\x00\x00"
_WINDOW = 1 << 18
"""Cameras write EXIF in front of the picture."""
_EXIF_IFD, _ORIGINAL, _LENGTH = 0x8769, 0x9003, 20


def taken(data: bytes) -> int | None:
    """When the camera says that a photo was taken, in seconds since 1970 by its own clock; None where it does not.

    A broken EXIF block does not make the picture broken: it says nothing then.

    Args:
        data: the bytes of the file.
    """
    start = data.find(_MARK, 0, _WINDOW)
    if start < 0:
        return None
    exif = data[start + len(_MARK) : start + len(_MARK) + _WINDOW]
    if exif[:2] not in (b"II", b"MM"):
        return None
    order = "little" if exif[:2] == b"II" else "big"

    def whole(at: int, size: int) -> int:
        return int.from_bytes(exif[at : at + size], order)  # type: ignore[arg-type]

    def value(directory: int, tag: int) -> int | None:
        """Where the value of a tag lies, or what it is where it is a pointer."""
        entries = range(directory + 2, min(directory + 2 + 12 * whole(directory, 2), len(exif) - 11), 12)
        return next((whole(entry + 8, 4) for entry in entries if whole(entry, 2) == tag), None)

    inner = value(whole(4, 4), _EXIF_IFD)
    text = None if inner is None else value(inner, _ORIGINAL)
    if text is None:
        return None
    try:
        written = exif[text : text + _LENGTH - 1].decode("ascii")
        return int(datetime.strptime(written, "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC).timestamp())
    except (UnicodeDecodeError, ValueError, OverflowError):
        return None

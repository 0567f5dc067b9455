"""Files that are a picture and something else as well.

A picture that a browser, an archiver or an interpreter would also run has no place in a catalog
that a web service shows. Trailers of phones (a motion photo's MP4, Samsung's SEF block, MPF
previews) and XMP packets are none of these and pass.
"""

from __future__ import annotations

import re
import struct

_WINDOW = 4096
_PDF_WINDOW = 1024
_MARKUP = re.compile(rb"<(?:\?php|script|!doctype\s+html|html[\s>]|iframe|svg[\s>]|body[\s>])", re.IGNORECASE)
_EOCD = struct.Struct("<4s4H2LH")
_MAX_COMMENT = 0xFFFF


def hidden_content(data: bytes) -> str | None:
    """What else the bytes of a picture are (``a ZIP archive``, …), or None.

    PDF readers search the first 1024 bytes for their mark, archivers the last 64 KB for the end
    record of a ZIP directory; markup is looked for in the first and last 4096 bytes.
    """
    if b"%PDF-" in data[:_PDF_WINDOW]:
        return "a PDF document"
    if _MARKUP.search(data, 0, _WINDOW) or _MARKUP.search(data, max(0, len(data) - _WINDOW)):
        return "a web page or script"
    if _is_zip(data):
        return "a ZIP archive"
    return None


def _is_zip(data: bytes) -> bool:
    """True when the tail holds an end-of-central-directory record that is consistent with the file."""
    at = len(data)
    first = max(0, len(data) - _EOCD.size - _MAX_COMMENT)
    while (at := data.rfind(b"PK\x05\x06", first, at)) >= 0:
        if at + _EOCD.size > len(data):
            continue
        _, disk, start_disk, here, total, size, _, comment = _EOCD.unpack_from(data, at)
        directory = at - size
        if at + _EOCD.size + comment > len(data) or disk != start_disk or here != total:
            continue
        if total == 0 and size == 0:
            return True
        if data[at - 20 : at - 16] == b"PK\x06\x07" or (
            directory >= 0 and data[directory : directory + 4] == b"PK\x01\x02"
        ):
            return True
    return False

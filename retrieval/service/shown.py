"""Catalog pictures for a browser: small, without metadata, and named by links that cannot be guessed."""

from __future__ import annotations

import hashlib
import hmac
import io
import threading
from collections import OrderedDict
from pathlib import Path
from urllib.parse import quote

from retrieval.catalog.fetched import is_address, locate
from retrieval.errors import ImageError
from retrieval.images import pictures

SIZES = (96, 192, 384, 768)
"""Longer sides, pixels, that a picture is made in: whoever asks for another size gets the next larger one."""

_QUALITY = 82
_KEPT_BYTES = 64 * 2**20


class ShownPictures:
    """Makes and keeps small pictures of a catalog. Thread-safe.

    A link carries a signature of its path: a browser shows a picture without a key, and nobody sees one that no answer
    named to him. Paths that lead out of the catalog's folder are refused all the same.
    """

    def __init__(self, secret: bytes) -> None:
        """Begin with nothing kept.

        Args:
            secret: what links are signed with; of this process alone, or of all that serve one page.
        """
        self._secret = secret
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._bytes = 0

    def link(self, image: str) -> str:
        """The address of a picture, relative to the service's root.

        Args:
            image: its path in the catalog, with forward slashes.
        """
        return f"v1/pictures/{quote(image.encode('utf-8', 'surrogateescape'))}?sig={self.signature(image)}"

    def signature(self, name: str) -> str:
        """What a link to something of this name carries, so that it opens without a key."""
        return hmac.new(self._secret, name.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()[:32]

    def is_signed(self, image: str, signature: str) -> bool:
        """True when the link of this picture was given out."""
        return hmac.compare_digest(self.signature(image).encode(), signature.encode("utf-8", "surrogateescape"))

    def jpeg(self, catalog: str, image: str, size: int) -> tuple[bytes, str]:
        """A picture and its ETag.

        Args:
            catalog: the catalog's folder.
            image: a path in it.
            size: longer side, pixels.

        Raises:
            ImageError: it is gone, outside the catalog, or no picture.
        """
        if not is_address(image) and (image.startswith("/") or "\\" in image or ".." in image.split("/")):
            raise ImageError("expected a picture of the catalog, received a path out of it", reason="outside-catalog")
        file, home = locate(Path(catalog), image)
        return self.smaller(pictures.read_file(file, root=home), size)

    def smaller(self, data: bytes, size: int) -> tuple[bytes, str]:
        """A picture made small, and its ETag; what was made lately is kept.

        Args:
            data: the bytes of a file.
            size: longer side, pixels.

        Raises:
            ImageError: it is no picture.
        """
        side = next((s for s in SIZES if s >= size), SIZES[-1])
        digest = hashlib.sha256(data).hexdigest()
        key = (digest, side)
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
        if kept is None:
            out = io.BytesIO()
            pictures.thumbnail(data, side).save(out, "JPEG", quality=_QUALITY, optimize=True)
            kept = out.getvalue()
            with self._lock:
                if key not in self._kept:
                    self._kept[key] = kept
                    self._bytes += len(kept)
                while self._bytes > _KEPT_BYTES:
                    _, dropped = self._kept.popitem(last=False)
                    self._bytes -= len(dropped)
        return kept, f'"{digest[:32]}-{side}"'

"""The refused pictures of an embedded index.

DIR/refusals.json        all of them with their vectors; replaced whole
DIR/refusals/ID.jpg      their pictures, written before the list names them
DIR/refusals.lock        who changes them, for milliseconds; nobody waits for an index run
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import IndexBusyError, IndexDamagedError
from retrieval.index.embedded.engine import unreadable
from retrieval.index.embedded.place import Place
from retrieval.index.refusals import RefusalPicture, check_refusal_id, ordered, read_refusals, write_refusals
from retrieval.system.files import os_errors, replace_file
from retrieval.system.locks import Holder, Lock

_PATIENCE = 30.0
"""How long one who changes them waits for another, in seconds."""

_Kept = dict[str, RefusalPicture]


class EmbeddedRefusals:
    """See `retrieval.index.refusals.RefusalStore` for what its methods promise."""

    def __init__(self, place: Place) -> None:
        """Name them; nothing is read."""
        self._place = place
        self._list = place.path / "refusals.json"
        self._pictures = place.path / "refusals"
        self._lock = Lock(place.path / "refusals.lock", place.path / "refusals.lock.json")

    def version(self) -> str:
        """See `RefusalStore.version`."""
        try:
            status = os.stat(self._list)
        except OSError:
            return ""
        return f"{status.st_ino}-{status.st_mtime_ns}-{status.st_size}"

    def read(self) -> list[RefusalPicture]:
        """See `RefusalStore.read`."""
        try:
            text = self._list.read_bytes()
        except FileNotFoundError:
            return []
        except PermissionError as error:
            raise unreadable(self._list) from error
        except OSError as error:
            raise IndexDamagedError(f"Cannot read {self._list}: {error}") from error
        return ordered(read_refusals(text))

    def picture(self, refusal_id: str) -> bytes:
        """See `RefusalStore.picture`."""
        check_refusal_id(refusal_id)
        path = self._pictures / f"{refusal_id}.jpg"
        try:
            return path.read_bytes()
        except OSError as error:
            raise IndexDamagedError(
                f"Cannot read the refused picture {path}: {error.strerror}",
                hint=f"Remove it, and add its photo again: itemrec refuse remove {refusal_id[:8]}",
            ) from error

    def add(self, refusals: Sequence[tuple[RefusalPicture, bytes]]) -> None:
        """See `RefusalStore.add`."""

        def change(kept: _Kept) -> None:
            self._pictures.mkdir(exist_ok=True)
            for refusal, picture in refusals:
                check_refusal_id(refusal.refusal_id)
                replace_file(self._pictures / f"{refusal.refusal_id}.jpg", picture)
                known = kept.get(refusal.refusal_id)
                kept[refusal.refusal_id] = known.merged(refusal) if known else refusal

        self._change(change)

    def remove(self, refusal_ids: Sequence[str]) -> None:
        """See `RefusalStore.remove`."""

        def change(kept: _Kept) -> None:
            for refusal_id in refusal_ids:
                kept.pop(refusal_id, None)

        self._change(change)

    def set_vectors(self, fingerprint: str, vectors: Mapping[str, NDArray[np.float32]]) -> None:
        """See `RefusalStore.set_vectors`."""

        def change(kept: _Kept) -> None:
            for refusal_id, vector in vectors.items():
                if refusal_id in kept:
                    kept[refusal_id] = kept[refusal_id].with_vector(fingerprint, vector)

        self._change(change)

    def _change(self, change: Callable[[_Kept], None]) -> None:
        """Read, change and replace the list, while nobody else does."""

        def busy(holder: Holder | None) -> IndexBusyError:
            return IndexBusyError(
                f"The refused pictures of {self._place.path} are being changed by {holder or 'another process'}",
                hint="Run the same command again",
            )

        self._place.check_format()
        with self._lock.hold(_PATIENCE, busy), os_errors("keep refused pictures", self._place.path):
            kept = {r.refusal_id: r for r in self.read()}
            change(kept)
            self._place.replace_file(self._list, write_refusals(ordered(kept.values())))
            self._clear(kept)

    def _clear(self, kept: _Kept) -> None:
        """Remove pictures that the list does not name: of removed ones, or of a process that was killed."""
        with contextlib.suppress(OSError):
            for path in self._pictures.iterdir():
                if path.stem not in kept:
                    path.unlink(missing_ok=True)

"""One writer at a time on a server: a note in the collection's metadata that is renewed while its writer lives.

Qdrant has no locks, so this is an agreement, not a guarantee. It holds off the second `itemrec index` that somebody
starts by mistake. Should two run all the same, nothing is lost: points are written by id, and what both write is the
same.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from retrieval.errors import IndexBusyError, ItemrecError
from retrieval.locks import Holder
from retrieval.server.link import Link

KEY = "itemrec_writer"
BEAT_SECONDS = 10.0
STALE_SECONDS = 60.0
"""A writer elsewhere that was silent for so long is taken for dead."""
_SETTLE_SECONDS = 0.05
_held: set[str] = set()
"""Tokens of the notes that this process holds."""


@dataclass(frozen=True, slots=True)
class Note:
    """Who writes, when it last said so (seconds since 1970), and a token that tells its runs apart."""

    token: str
    beat: float
    holder: Holder

    @classmethod
    def read(cls, metadata: dict[str, Any] | None) -> Note | None:
        """The note in a collection's metadata; None where there is none."""
        try:
            data = json.loads((metadata or {}).get(KEY) or "null")
            return None if data is None else cls(data["token"], data["beat"], Holder(**data["holder"]))
        except (ValueError, TypeError, KeyError):
            return None

    def to_metadata(self) -> dict[str, str]:
        """What `read` reads."""
        return {KEY: json.dumps({"token": self.token, "beat": self.beat, "holder": asdict(self.holder)})}

    def stands(self) -> bool:
        """True while its writer may be alive."""
        if (self.holder.pid, self.holder.host) == (os.getpid(), socket.gethostname()):
            # A run of this process that could not take its note back, because the server was gone.
            return self.token in _held
        return time.time() - self.beat < STALE_SECONDS and self.holder.alive


class Lease:
    """A note that this process keeps renewing."""

    def __init__(self, link: Link, collection: str, phase: str) -> None:
        self._link = link
        self._collection = collection
        self._note = Note(uuid.uuid4().hex, time.time(), Holder.me(phase))
        self._over = threading.Event()
        self._lock = threading.Lock()

    @property
    def token(self) -> str:
        """What tells this run from others."""
        return self._note.token

    def take(self) -> None:
        """Write the note, and see whether it is the one that stands.

        Raises:
            IndexBusyError: somebody else writes.
        """
        self._refuse_other()
        _held.add(self._note.token)
        self._send()
        # Of two who wrote at the same time only one reads its own note afterwards.
        time.sleep(_SETTLE_SECONDS)
        self._refuse_other()

    def _refuse_other(self) -> None:
        info = self._link.read("see who writes", self._link.client.get_collection, self._collection)
        note = Note.read(info.config.metadata)
        if note is not None and note.token != self._note.token and note.stands():
            raise IndexBusyError(
                f"expected to write to {self._link.where}, received: it is being written by {note.holder}",
                hint="Wait for it. If it died on another machine, its claim ends within a minute",
            )

    def beat(self) -> None:
        """Renew it every few seconds, until `release`; a server that does not answer now will be asked again."""
        while not self._over.wait(BEAT_SECONDS):
            with contextlib.suppress(ItemrecError):
                self._send()

    def report(self, **changes: Any) -> None:
        """Note how far the writer is; sent with the next beat."""
        with self._lock:
            self._note = replace(self._note, holder=replace(self._note.holder, **changes))

    def _send(self) -> None:
        with self._lock:
            self._note = replace(self._note, beat=time.time())
            metadata = self._note.to_metadata()
        update = self._link.client.update_collection
        self._link.read("note who writes", update, self._collection, metadata=metadata)

    def release(self) -> None:
        """Take the note back."""
        self._over.set()
        _held.discard(self._note.token)
        with contextlib.suppress(ItemrecError):
            self._link.read("note the end", self._link.client.update_collection, self._collection, metadata={KEY: ""})


@contextlib.contextmanager
def held(link: Link, collection: str, phase: str) -> Iterator[Callable[..., None]]:
    """Hold the lease of a collection; yields `Lease.report`.

    Raises:
        IndexBusyError: somebody else writes.
    """
    lease = Lease(link, collection, phase)
    try:
        lease.take()
    except BaseException:
        _held.discard(lease.token)
        raise
    beating = threading.Thread(target=lease.beat, name="itemrec-lease", daemon=True)
    beating.start()
    try:
        yield lease.report
    finally:
        lease.release()

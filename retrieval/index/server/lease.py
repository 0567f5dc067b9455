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
from retrieval.index.server.link import Link
from retrieval.system.locks import Holder

KEY = "itemrec_writer"
BEAT_SECONDS = 10.0
STALE_SECONDS = 60.0
"""A writer elsewhere that was silent for so long is taken for dead."""
_SETTLE_SECONDS = 0.05
_held: set[str] = set()
"""Tokens of the notes that this process holds."""


@dataclass(frozen=True, slots=True)
class Note:
    """Who writes which part (all without one), when it last said so (seconds since 1970), and a token of that run."""

    token: str
    beat: float
    holder: Holder
    shard: str = ""

    @classmethod
    def read(cls, metadata: dict[str, Any] | None) -> list[Note]:
        """The notes in a collection's metadata."""
        notes = []
        for key, text in (metadata or {}).items():
            if key.startswith(KEY) and text:
                with contextlib.suppress(ValueError, TypeError, KeyError):
                    data = json.loads(text)
                    notes.append(cls(data["token"], data["beat"], Holder(**data["holder"]), data.get("shard", "")))
        return notes

    def to_metadata(self) -> dict[str, str]:
        """What `read` reads."""
        data = {"token": self.token, "beat": self.beat, "holder": asdict(self.holder), "shard": self.shard}
        return {key_of(self.shard): json.dumps(data)}

    def excludes(self, other: Note) -> bool:
        """True when both cannot write at a time: unless they are different parts of the same division."""
        mine, theirs = self.shard.partition("/"), other.shard.partition("/")
        return not (self.shard and other.shard and mine[2] == theirs[2] and mine[0] != theirs[0])

    def stands(self) -> bool:
        """True while its writer may be alive."""
        if (self.holder.pid, self.holder.host) == (os.getpid(), socket.gethostname()):
            # A run of this process that could not take its note back, because the server was gone.
            return self.token in _held
        return time.time() - self.beat < STALE_SECONDS and self.holder.alive


def key_of(shard: str) -> str:
    """The metadata key of a writer's note: one for each part, so that workers do not overwrite each other's."""
    return f"{KEY}_{shard.replace('/', '_of_')}" if shard else KEY


class Lease:
    """A note that this process keeps renewing."""

    def __init__(self, link: Link, collection: str, phase: str, shard: str) -> None:
        self._link = link
        self._collection = collection
        self._note = Note(uuid.uuid4().hex, time.time(), Holder.me(phase), shard)
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
        for note in Note.read(info.config.metadata):
            if note.token != self._note.token and note.excludes(self._note) and note.stands():
                part = f" (shard {note.shard})" if note.shard else ""
                raise IndexBusyError(
                    f"{self._link.where} is being written by {note.holder}{part}",
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
        update, gone = self._link.client.update_collection, {key_of(self._note.shard): ""}
        with contextlib.suppress(ItemrecError):
            self._link.read("note the end", update, self._collection, metadata=gone)


@contextlib.contextmanager
def held(link: Link, collection: str, phase: str, shard: str = "") -> Iterator[Callable[..., None]]:
    """Hold the lease of a collection, or of one part of its pictures; yields `Lease.report`.

    Raises:
        IndexBusyError: somebody else writes.
    """
    lease = Lease(link, collection, phase, shard)
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

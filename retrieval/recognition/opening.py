"""An index that is opened for a question, and may stay open for the next one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from retrieval.index.manifest import Manifest
from retrieval.index.protocols import Index, VectorStore

_LOOK_SECONDS = 0.02


class Opening:
    """Opens an index for questions. Thread-safe.

    An embedded engine serves one process at a time, and opening it takes ten times as long as a search. With
    ``linger`` it stays open between questions that follow each other closely, and is let go at once when another
    process waits for it, or after that many seconds without a question. A server takes many at a time: there every
    question opens for itself, which costs nothing.
    """

    def __init__(self, index: Index, *, linger: float) -> None:
        """Open nothing yet.

        Args:
            index: which.
            linger: seconds; 0 lets go after every question.
        """
        self._index = index
        self._linger = linger
        self._alone = "://" not in index.location
        self._lock = threading.Lock()
        self._open: tuple[AbstractContextManager[tuple[VectorStore, Manifest]], VectorStore, Manifest] | None = None
        self._asked = 0.0
        self._watching = False

    @contextmanager
    def reader(self, pinned: Manifest) -> Iterator[tuple[VectorStore, Manifest]]:
        """See `retrieval.index.protocols.Index.reader`."""
        if not self._alone:
            with self._index.reader(pinned) as found:
                yield found
            return
        with self._lock:
            if self._open is not None and self._open[2].created != pinned.created:
                self._close()
            if self._open is None:
                context = self._index.reader(pinned)
                self._open = (context, *context.__enter__())
            try:
                yield self._open[1:]
            except BaseException:
                self._close()
                raise
            self._asked = time.monotonic()
            if self._linger <= 0 or self._index.awaited():
                self._close()
            elif not self._watching:
                self._watching = True
                threading.Thread(target=self._watch, name="itemrec-index", daemon=True).start()

    def close(self) -> None:
        """Let go of what is open."""
        with self._lock:
            self._close()

    def _watch(self) -> None:
        """Let go when nobody asks any more, or somebody else waits."""
        while True:
            time.sleep(_LOOK_SECONDS)
            with self._lock:
                if self._open is not None and (time.monotonic() - self._asked > self._linger or self._index.awaited()):
                    self._close()
                if self._open is None:
                    self._watching = False
                    return

    def _close(self) -> None:
        opened, self._open = self._open, None
        if opened is not None:
            opened[0].__exit__(None, None, None)

"""A catalog listed once: by a thread that runs ahead of whoever takes the entries.

Listing a network share with ten million files takes hours. Nobody should do it a second time just to say how far
a run is, and nobody should wait for its end before the first picture is read.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from retrieval.catalog.read import Catalog, Refusal
from retrieval.types import CatalogImage

AHEAD = 100_000
"""Entries that may wait to be taken, some 50 MB of them; only `Listing.wait` may make more of them wait."""


class Listing:
    """The entries of a catalog, in its order, each once; a context manager that ends the thread.

    Attributes:
        catalog: what is listed.
        total: how many pictures there are; None until the end of the catalog has been seen.
    """

    def __init__(self, catalog: Catalog, *, ahead: int = AHEAD) -> None:
        self.catalog = catalog
        self.total: int | None = None
        self._ahead: float = ahead
        self._waiting: deque[CatalogImage | Refusal] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._stopped = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._list, name="itemrec-list", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        # A share that hangs must not keep a run that was interrupted.
        self._thread.join(timeout=1.0)

    def __iter__(self) -> Iterator[CatalogImage | Refusal]:
        """What the catalog's walk finds, as it is found.

        Raises:
            CatalogError: as the walk raised it.
        """
        while True:
            with self._changed:
                while not self._waiting and not self._ended:
                    self._changed.wait()
                if not self._waiting:
                    if self._failure is not None:
                        raise self._failure
                    return
                entry = self._waiting.popleft()
                # Waking the other thread for each entry would cost more than the entry.
                if len(self._waiting) == self._ahead // 2:
                    self._changed.notify_all()
            yield entry

    def wait(self) -> int:
        """How many pictures there are, after waiting for the end of the catalog. Entries wait in memory.

        Raises:
            CatalogError: as the walk raised it.
        """
        with self._changed:
            self._ahead = float("inf")
            self._changed.notify_all()
            while not self._ended:
                self._changed.wait()
            if self._failure is not None:
                raise self._failure
            return self.total or 0

    def _list(self) -> None:
        total = 0
        try:
            for entry in self.catalog.entries():
                total += isinstance(entry, CatalogImage)
                with self._changed:
                    while len(self._waiting) >= self._ahead and not self._stopped:
                        self._changed.wait()
                    if self._stopped:
                        return
                    self._waiting.append(entry)
                    if len(self._waiting) == 1:
                        self._changed.notify_all()
            self.total = total
        except BaseException as error:  # noqa: BLE001
            self._failure = error  # for whoever takes the entries
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

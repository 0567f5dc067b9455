"""A `Progress` that remembers what it was told."""

from __future__ import annotations

from collections.abc import Callable


class Recorder:
    """Remembers every call.

    Attributes:
        stages: name, total as far as it came to be known, and unit of each stage.
        done: how many units of the stage were done after each `advance`.
        reached: how many were done, and of how many, after each call.
        notes: what stood beside the count, and lines of their own.
    """

    def __init__(self, notes: list[str] | None = None, *, at: Callable[[int], None] = lambda done: None) -> None:
        self.stages: list[tuple[str, int | None, str]] = []
        self.done: list[int] = []
        self.reached: list[tuple[int, int | None]] = []
        self.notes: list[str] = [] if notes is None else notes
        self._at = at
        self._count = 0

    @property
    def total(self) -> int | None:
        """Of the stage at work, as far as it is known."""
        return self.stages[-1][1]

    def stage(self, name: str, total: int | None = None, unit: str = "images", *, done: int = 0) -> None:
        """See `retrieval.system.progress.Progress.stage`."""
        self.stages.append((name, total, unit))
        self._count = done
        self.reached.append((done, total))

    def known(self, total: int) -> None:
        """See `retrieval.system.progress.Progress.known`."""
        name, _, unit = self.stages.pop()
        self.stages.append((name, total, unit))
        self.reached.append((self._count, total))

    def advance(self, n: int = 1, *, note: str = "") -> None:
        """See `retrieval.system.progress.Progress.advance`."""
        self._count += n
        self.done.append(self._count)
        self.reached.append((self._count, self.total))
        if note:
            self.notes.append(note)
        self._at(self._count)

    def note(self, text: str) -> None:
        """See `retrieval.system.progress.Progress.note`."""
        self.notes.append(text)

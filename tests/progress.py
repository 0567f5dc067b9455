"""A `Progress` that remembers what it was told."""

from __future__ import annotations

from retrieval.system.progress import Silent


class Told(Silent):
    """Remembers the stages by name, and after every call how many units are done of how many."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int | None, str]] = []
        self.reached: list[tuple[int, int | None]] = []

    def stage(self, name: str, total: int | None = None, unit: str = "images", *, done: int = 0) -> None:
        """See `retrieval.system.progress.Progress.stage`."""
        self.stages.append((name, total, unit))
        self.reached.append((done, total))

    def known(self, total: int) -> None:
        """See `retrieval.system.progress.Progress.known`."""
        self.reached.append((self.reached[-1][0], total))

    def advance(self, n: int = 1, *, note: str = "") -> None:
        """See `retrieval.system.progress.Progress.advance`."""
        done, total = self.reached[-1]
        self.reached.append((done + n, total))

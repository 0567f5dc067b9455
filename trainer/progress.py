"""Who is told how far a training is."""

from __future__ import annotations

from typing import Protocol

from trainer.loop.logs import EpochLog


class View(Protocol):
    """Shows a training to a person; `cli.train_view` has the one for terminals."""

    def stage(self, name: str, total: int | None, unit: str = "images", *, done: int = 0) -> None:
        """A stage begins, of so many units."""

    def advance(self, n: int = 1) -> None:
        """So many more units are done."""

    def epoch(self, log: EpochLog) -> None:
        """An epoch is over."""

    def estimate(self, seconds: float) -> None:
        """All of it will take about so long, as measured on this machine."""

    def note(self, text: str) -> None:
        """Something that the user should know."""

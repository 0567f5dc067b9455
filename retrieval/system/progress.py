"""Who is told how far a long job is: the one protocol that every part of itemrec reports to."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Shows a long job to a person. `Silent` shows nothing; the command line has one for terminals.

    A job consists of stages, one after the other. Implementations must be cheap and must not raise: they are
    called for every picture, always from the thread that runs the job.
    """

    def stage(self, name: str, total: int | None = None, unit: str = "images", *, done: int = 0) -> None:
        """Begin a stage, which ends the one before it.

        Args:
            name: what is being done, such as ``Indexing``.
            total: how many units there are; None while nobody knows.
            unit: plural name of a unit; ``bytes`` may be shown as MB.
            done: how many units an earlier process did, where a job resumes.
        """

    def known(self, total: int) -> None:
        """The stage's number of units, which was not known when it began, is known now."""

    def advance(self, n: int = 1, *, note: str = "") -> None:
        """Count ``n`` more units of the stage as done.

        Args:
            n: how many.
            note: what should stand beside the count from now on, such as ``3 refused``.
        """

    def note(self, text: str) -> None:
        """Say something that the user should know, as a line of its own."""


class Silent:
    """A `Progress` that shows nothing: the default of every function that takes one."""

    def stage(self, name: str, total: int | None = None, unit: str = "images", *, done: int = 0) -> None:
        """See `Progress.stage`."""

    def known(self, total: int) -> None:
        """See `Progress.known`."""

    def advance(self, n: int = 1, *, note: str = "") -> None:
        """See `Progress.advance`."""

    def note(self, text: str) -> None:
        """See `Progress.note`."""

"""Who is told how far a training is: the one progress protocol, and what epochs bring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from retrieval.system import progress


@dataclass(frozen=True, slots=True)
class EpochLog:
    """What an epoch looked like: means over its batches, and what was measured behind it.

    Attributes:
        epoch: from 1, counted on through all stages of a training.
        loss: the weighted sum.
        anchor_positive: mean squared L2 between pictures of one product, in [0, 4].
        anchor_negative: mean squared L2 between pictures of different products, in [0, 4].
        spread: total variance of a batch's embeddings, in [0, 1]; toward 0 is a collapse.
        seconds: wall time.
        active_triplets: share of triplets that still violate the margin, in [0, 1]; None where the loss has none.
        val_at_far: VAL at FAR 1 % on the validation split, in [0, 1]; None where it was not measured.
        r_at_1: share of validation photos whose nearest neighbor is of their product; None likewise.
        learning_rate: of the head, behind the epoch's last step; None where it was not asked.
    """

    epoch: int
    loss: float
    anchor_positive: float
    anchor_negative: float
    spread: float
    seconds: float
    active_triplets: float | None = None
    val_at_far: float | None = None
    r_at_1: float | None = None
    learning_rate: float | None = None


@runtime_checkable
class TrainingProgress(progress.Progress, Protocol):
    """Shows a training to a person: stages as every long job has them, and epochs."""

    def epoch(self, log: EpochLog) -> None:
        """An epoch of the stage, whose unit is epochs, is over."""

    def estimate(self, seconds: float) -> None:
        """All of it will take about so long, as measured on this machine."""


class Silent(progress.Silent):
    """A `TrainingProgress` that shows nothing."""

    def epoch(self, log: EpochLog) -> None:
        """See `TrainingProgress.epoch`."""

    def estimate(self, seconds: float) -> None:
        """See `TrainingProgress.estimate`."""


def told(shown: progress.Progress) -> TrainingProgress:
    """A `TrainingProgress` that tells any progress: one that knows of no epochs sees them counted."""
    return shown if isinstance(shown, TrainingProgress) else _Counted(shown)


class _Counted(Silent):
    def __init__(self, shown: progress.Progress) -> None:
        self.stage, self.known, self.advance, self.note = shown.stage, shown.known, shown.advance, shown.note  # type: ignore[method-assign]

    def epoch(self, log: EpochLog) -> None:
        self.advance(note=f"loss {log.loss:.3f}")

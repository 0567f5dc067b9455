"""How far a long job is, on stderr: a live line in a terminal, plain lines elsewhere, nothing under ``--quiet``.

The one view of the command line. Rich is imported only where a terminal is there to show it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, TextIO

from cli import render
from retrieval.system.text import printable

if TYPE_CHECKING:
    from trainer.progress import EpochLog

_INTERVAL_SECONDS = 5.0
_TRAINING_INTERVAL_SECONDS = 30.0
_WIDE = 72


def about(seconds: float) -> str:
    """How long something will take, as exact as an estimate can be: ``about 4 min``, ``about 1 h 20 min``."""
    if seconds < 10:
        return "a few seconds"
    if seconds < 55:
        return f"about {round(seconds / 10) * 10} s"
    minutes = max(1, round(seconds / 60))
    if minutes > 10:
        minutes = round(minutes / 5) * 5
    hours, rest = divmod(minutes, 60)
    if not hours:
        return f"about {minutes} min"
    return f"about {hours} h" + (f" {rest} min" if rest else "")


def estimate(seconds: float) -> str:
    """The sentence before a training starts: ``about 4 min on this machine``."""
    return f"{about(seconds)} on this machine"


def shown(*, training: bool = False) -> View:
    """A view that shows a job on stderr.

    Args:
        training: announce where every stage begins and ends, each as a line that stays. Without it stages pass
            without a trace in a terminal, and elsewhere short ones say nothing.
    """
    return View(training=training)


class View:
    """Shows the stages of a job: a `retrieval.system.progress.Progress`, and more for trainings. A context manager."""

    def __init__(self, *, training: bool = False) -> None:
        self._training = training
        self._stage: _Stage | None = None
        self._face: _Face | None = None

    def __enter__(self) -> Self:
        return self

    def stage(
        self,
        name: str,
        total: int | None = None,
        unit: str = "images",
        *,
        epochs: int | None = None,
        done: int = 0,
    ) -> None:
        """Begin a stage, which ends the one before it.

        Args:
            name: what is being done, such as ``Fine-tuning``.
            total: how many units there are; None while nobody knows, which shows a count without a bar.
            unit: plural name of a unit; ``bytes`` are shown as MB. A stage of ``epochs`` needs no `advance`: each
                `epoch` advances it.
            epochs: how many epochs its units make up, where the unit is a smaller one, such as ``steps``.
            done: how many units an earlier process did, where a job resumes.
        """
        self._end()
        self._stage = _Stage(printable(name), total, unit, total if unit == "epochs" else epochs, done)
        self._face = self._face or _face(self._training)
        self._face.begin(self._stage)

    def known(self, total: int) -> None:
        """The stage's number of units, which was not known when it began, is known now."""
        if self._stage is not None and self._face is not None:
            self._stage.total = total
            self._face.advanced(self._stage)

    def advance(self, n: int = 1, *, note: str = "") -> None:
        """Count ``n`` more units of the stage as done; a note stands beside the count until the next one."""
        if self._stage is not None and self._face is not None:
            self._stage.advance(n)
            self._stage.note = printable(note) or self._stage.note
            self._face.advanced(self._stage)

    def epoch(self, log: EpochLog) -> None:
        """Show what an epoch of the stage brought."""
        if self._stage is not None and self._face is not None:
            self._stage.measured(log)
            if self._stage.unit == "epochs":
                self._stage.advance(1)
            self._face.measured(self._stage, log)

    def estimate(self, seconds: float) -> None:
        """Say how long the training will take, as measured a moment ago."""
        render.say(f"This will take {estimate(seconds)}.")

    def note(self, text: str) -> None:
        """Say something that the user should know, even under ``--quiet``."""
        render.warn(printable(text))

    def _end(self) -> None:
        if self._stage is not None and self._face is not None:
            self._face.end(self._stage)
            self._stage = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._end()
        finally:
            if self._face is not None:
                self._face.close()


@dataclass(slots=True)
class _Stage:
    """How far one stage is."""

    name: str
    total: int | None
    unit: str
    epochs: int | None
    done: int
    first: int = field(init=False)
    finished_epochs: int = field(init=False)
    started: float = field(init=False)
    advanced: float = field(init=False)
    note: str = ""
    loss: float | None = None
    val_at_far: float | None = None

    def __post_init__(self) -> None:
        self.first = self.done
        self.started = self.advanced = time.monotonic()
        self.finished_epochs = self.done * self.epochs // self.total if self.epochs and self.total else 0

    def advance(self, n: int) -> None:
        self.done += n
        self.advanced = time.monotonic()

    def measured(self, log: EpochLog) -> None:
        self.finished_epochs += 1
        self.loss = log.loss
        if log.val_at_far is not None:
            self.val_at_far = log.val_at_far

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.started

    def seconds_left(self) -> float | None:
        """None while nothing tells, and when nothing is left; counts down between two advances."""
        here = self.done - self.first
        if not self.total or here <= 0 or self.done >= self.total:
            return None
        each = (self.advanced - self.started) / here
        return max(0.0, (self.total - self.done) * each - (time.monotonic() - self.advanced))

    def left(self, seconds: float | None = None) -> str:
        """The time that is left: ``0:40 left``; of ``seconds``, where a better judge of them than this stage knows."""
        seconds = self.seconds_left() if seconds is None else seconds
        return "" if seconds is None else f"{render.clock(seconds)} left"

    def measures(self) -> list[str]:
        """The newest loss, and the newest VAL, which may be of an earlier epoch."""
        return _measures(self.loss, self.val_at_far)

    def amount(self) -> str:
        """How far it is: ``epoch 3/12``, ``120/2,640 images``, ``1.5/8.0 MB``; empty where nobody counts."""
        if self.epochs:
            return f"epoch {min(self.finished_epochs + 1, self.epochs)}/{self.epochs}"
        if self.total is None and not self.done:
            return ""
        of = f"/{self.number(self.total)}" if self.total is not None else ""
        return f"{self.number(self.done)}{of} {self.plural}"

    def rate(self, speed: float | None = None) -> str:
        """Units a second: ``120 images/s``; those since it began, unless ``speed`` is known better."""
        if speed is None:
            speed = (self.done - self.first) / max(self.elapsed, 1e-9)
        return f"{self.number(speed)} {self.plural}/s"

    def whole(self) -> str:
        """What it did in the end: ``12 epochs``, ``2,640 images``."""
        if self.epochs:
            return f"{self.finished_epochs} epochs"
        return f"{self.number(self.done)} {self.plural}" if self.done or self.total is not None else "done"

    @property
    def plural(self) -> str:
        return "MB" if self.unit == "bytes" else self.unit

    def number(self, units: float) -> str:
        return f"{units / 1e6:.1f}" if self.unit == "bytes" else f"{units:,.0f}"

    def summary(self) -> list[str]:
        return [self.whole(), render.clock(self.elapsed), *self.measures()]


class _Face(Protocol):
    """How the stages are shown."""

    def begin(self, stage: _Stage) -> None: ...

    def advanced(self, stage: _Stage) -> None: ...

    def measured(self, stage: _Stage, log: EpochLog) -> None: ...

    def end(self, stage: _Stage) -> None: ...

    def close(self) -> None: ...


def _face(training: bool) -> _Face:
    """How this process shows stages; asked when the first one begins, so that a job without any costs nothing."""
    if render.is_quiet():
        return _Silent()
    return _Live(training) if render.on_terminal(stderr=True) else _Plain(training)


class _Silent:
    def begin(self, stage: _Stage) -> None:
        pass

    def advanced(self, stage: _Stage) -> None:
        pass

    def measured(self, stage: _Stage, log: EpochLog) -> None:
        pass

    def end(self, stage: _Stage) -> None:
        pass

    def close(self) -> None:
        pass


class _Plain(_Silent):
    """Signs of life in long stages; for trainings also lines where a stage begins and ends, and one an epoch."""

    def __init__(self, training: bool) -> None:
        self._training = training
        self._interval = _TRAINING_INTERVAL_SECONDS if training else _INTERVAL_SECONDS
        self._spoke = 0.0

    def begin(self, stage: _Stage) -> None:
        if not self._training:
            self._spoke = stage.started
            return
        if stage.epochs:
            of, done = f"{stage.epochs} epochs …", str(stage.finished_epochs)
        else:
            of = f"{stage.number(stage.total)} {stage.plural} …" if stage.total is not None else "…"
            done = stage.number(stage.done)
        self._line(stage, [f"continuing after {done} of {of}" if stage.done else of])

    def advanced(self, stage: _Stage) -> None:
        if time.monotonic() - self._spoke >= self._interval:
            self._line(stage, [stage.amount(), "" if self._training else stage.rate(), stage.left(), stage.note])

    def measured(self, stage: _Stage, log: EpochLog) -> None:
        of = f"/{stage.epochs}" if stage.epochs else ""
        self._line(
            stage,
            [
                f"epoch {stage.finished_epochs}{of}",
                *_measures(log.loss, log.val_at_far),
                f"{log.seconds:.1f} s",
                stage.left(),
            ],
        )

    def end(self, stage: _Stage) -> None:
        if self._training:
            self._line(stage, stage.summary())
        elif self._spoke != stage.started:
            self._line(stage, [stage.amount(), stage.rate()])

    def _line(self, stage: _Stage, words: list[str]) -> None:
        self._spoke = time.monotonic()
        render.say(f"{stage.name}: " + ", ".join(word for word in words if word))


def _own_stderr() -> TextIO:
    """Stderr by a descriptor of its own: `retrieval.system.stderr` points the usual one elsewhere for moments.

    What the bar wrote in such a moment would come out later, behind the cursor that it moved.
    """
    return os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding=sys.stderr.encoding, errors="backslashreplace")


class _Live(_Silent):
    """One live line with the stage at work, which goes when the stage ends; trainings leave one that stays."""

    def __init__(self, training: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, ProgressColumn, Task
        from rich.table import Column
        from rich.text import Text

        class Cell(ProgressColumn):
            """Something of the stage, asked again at every refresh."""

            def __init__(self, read: Callable[[_Stage, Task], str], style: str) -> None:
                super().__init__(Column(no_wrap=True))
                self._read, self._style = read, style

            def render(self, task: Task) -> Text:
                return Text(self._read(task.fields["stage"], task), style=self._style)

        class Bar(ProgressColumn):
            """Nothing while nobody knows how long it would be."""

            def __init__(self) -> None:
                super().__init__(Column(ratio=1, min_width=4))
                self._bar = BarColumn(bar_width=None)

            def render(self, task: Task) -> object:  # type: ignore[override]
                return Text() if task.total is None else self._bar.render(task)

        def left(stage: _Stage, task: Task) -> str:
            # Rich judges by the last half minute, which tells more, unless a unit takes longer than that.
            words = stage.left(None if stage.epochs else task.time_remaining)
            return words if wide else words.removesuffix(" left")

        def rate(stage: _Stage, task: Task) -> str:
            return stage.rate(task.speed) if task.speed and not stage.epochs else ""

        self._stderr = _own_stderr()
        console = Console(file=self._stderr)
        wide = console.width >= _WIDE
        self._training = training
        self._progress = Progress(
            Cell(lambda stage, task: stage.name, "bold"),
            *([Bar()] if wide else []),
            Cell(lambda stage, task: stage.amount(), ""),
            *([Cell(rate, "cyan")] if wide else []),
            Cell(lambda stage, task: "  ".join(stage.measures()), "green"),
            Cell(left, "cyan"),
            Cell(lambda stage, task: stage.note, "dim"),
            console=console,
            transient=True,
            expand=True,
        )
        self._begun = False

    def begin(self, stage: _Stage) -> None:
        if not self._begun:
            self._progress.start()
            self._begun = True
        self._task = self._progress.add_task("", total=stage.total, completed=stage.done, stage=stage)

    def advanced(self, stage: _Stage) -> None:
        self._progress.update(self._task, completed=stage.done, total=stage.total)

    def measured(self, stage: _Stage, log: EpochLog) -> None:
        self.advanced(stage)

    def end(self, stage: _Stage) -> None:
        self._progress.remove_task(self._task)
        if self._training:
            render.say(f"{stage.name}: " + ", ".join(stage.summary()))

    def close(self) -> None:
        if self._begun:
            self._progress.stop()
        self._stderr.close()


def _measures(loss: float | None, val_at_far: float | None) -> list[str]:
    words = [] if loss is None else [f"loss {loss:.3f}"]
    return words if val_at_far is None else [*words, f"VAL@FAR 1 % {val_at_far:.3f}"]

"""What a training shows while it runs: a live line in a terminal, plain lines elsewhere, nothing under ``--quiet``."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from cli import render
from retrieval.system.text import printable
from trainer.loop.logs import EpochLog

_PLAIN_INTERVAL_SECONDS = 30.0
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

    def left(self) -> str:
        seconds = self.seconds_left()
        return "" if seconds is None else f"{render.clock(seconds)} left"

    def measures(self) -> list[str]:
        """The newest loss, and the newest VAL, which may be of an earlier epoch."""
        return _measures(self.loss, self.val_at_far)

    def amount(self) -> str:
        """How far it is: ``epoch 3/12``, ``120/2,640 images``."""
        if self.epochs:
            return f"epoch {min(self.finished_epochs + 1, self.epochs)}/{self.epochs}"
        of = f"/{self.total:,}" if self.total is not None else ""
        return f"{self.done:,}{of} {self.unit}"

    def whole(self) -> str:
        """What it did in the end: ``12 epochs``, ``2,640 images``."""
        if self.epochs:
            return f"{self.finished_epochs} epochs"
        return f"{self.done:,} {self.unit}" if self.done or self.total is not None else "done"


class TrainView:
    """Shows the stages of a training on stderr; a context manager.

    Its methods are plain callbacks, so that a trainer can be handed ``view.stage``, ``view.advance`` and
    ``view.epoch`` without knowing where they lead.
    """

    def __init__(self) -> None:
        self._stage: _Stage | None = None
        self._face: _Face = _Silent()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if not render.is_quiet():
            if render.on_terminal(stderr=True):
                self._face = _Live()
                self._stack.callback(self._face.close)
            else:
                self._face = _Plain()
        return self

    def stage(
        self, name: str, total: int | None, unit: str = "images", *, epochs: int | None = None, done: int = 0
    ) -> None:
        """Begin a stage, which ends the one before it.

        Args:
            name: what is being done, such as ``Fine-tuning``.
            total: how many units there are; None when unknown.
            unit: plural name of a unit. A stage of ``epochs`` needs no `advance`: each `epoch` advances it.
            epochs: how many epochs its units make up, where the unit is a smaller one, such as ``steps``.
            done: how many units an earlier process did, where a training resumes.
        """
        self._end()
        self._stage = _Stage(name, total, unit, total if unit == "epochs" else epochs, done)
        self._face.begin(self._stage)

    def advance(self, n: int = 1) -> None:
        """Count ``n`` more units of the stage as done."""
        if self._stage is not None:
            self._stage.advance(n)
            self._face.advanced(self._stage)

    def epoch(self, log: EpochLog) -> None:
        """Show what an epoch of the stage brought."""
        if self._stage is not None:
            self._stage.measured(log)
            if self._stage.unit == "epochs":
                self._stage.advance(1)
            self._face.measured(self._stage, log)

    def estimate(self, seconds: float) -> None:
        """Say how long the training will take, as measured a moment ago."""
        render.say(f"This will take {estimate(seconds)}.")

    def note(self, text: str) -> None:
        """Say something that the user should know."""
        render.warn(printable(text))

    def _end(self) -> None:
        if self._stage is not None:
            self._face.end(self._stage)
            self._stage = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            if error is None:
                self._end()


class _Face(Protocol):
    """How the stages are shown."""

    def begin(self, stage: _Stage) -> None: ...

    def advanced(self, stage: _Stage) -> None: ...

    def measured(self, stage: _Stage, log: EpochLog) -> None: ...

    def end(self, stage: _Stage) -> None: ...


class _Silent:
    def begin(self, stage: _Stage) -> None:
        pass

    def advanced(self, stage: _Stage) -> None:
        pass

    def measured(self, stage: _Stage, log: EpochLog) -> None:
        pass

    def end(self, stage: _Stage) -> None:
        pass


class _Plain:
    """One line when a stage begins, one when it ends, one an epoch, and a sign of life in long stages."""

    def __init__(self) -> None:
        self._spoke = 0.0

    def begin(self, stage: _Stage) -> None:
        if stage.epochs:
            of, done = f"{stage.epochs} epochs …", stage.finished_epochs
        else:
            of, done = f"{stage.total:,} {stage.unit} …" if stage.total is not None else "…", stage.done
        self._line(stage, [f"going on behind {done:,} of {of}" if stage.done else of])

    def advanced(self, stage: _Stage) -> None:
        if time.monotonic() - self._spoke >= _PLAIN_INTERVAL_SECONDS:
            self._line(stage, [stage.amount(), stage.left()])

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
        self._line(stage, _summary(stage))

    def _line(self, stage: _Stage, words: list[str]) -> None:
        self._spoke = time.monotonic()
        render.say(f"{stage.name}: " + ", ".join(word for word in words if word))


class _Live:
    """One live line with the stage at work; a finished stage leaves one line above it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, ProgressColumn, Task
        from rich.table import Column
        from rich.text import Text

        class Cell(ProgressColumn):
            """Something of the stage, asked again at every refresh."""

            def __init__(self, read: Callable[[_Stage], str], style: str) -> None:
                super().__init__(Column(no_wrap=True))
                self._read, self._style = read, style

            def render(self, task: Task) -> Text:
                return Text(self._read(task.fields["stage"]), style=self._style)

        console = Console(stderr=True)
        wide = console.width >= _WIDE
        bar = [BarColumn(bar_width=None, table_column=Column(ratio=1, min_width=4))]
        self._progress = Progress(
            Cell(lambda s: s.name, "bold"),
            *(bar if wide else []),
            Cell(_Stage.amount, ""),
            Cell(lambda s: "  ".join(s.measures()), "green"),
            Cell(lambda s: s.left() if wide else s.left().removesuffix(" left"), "cyan"),
            console=console,
            transient=True,
            expand=True,
        )
        self._progress.start()

    def begin(self, stage: _Stage) -> None:
        self._task = self._progress.add_task("", total=stage.total, completed=stage.done, stage=stage)

    def advanced(self, stage: _Stage) -> None:
        self._progress.update(self._task, completed=stage.done)

    def measured(self, stage: _Stage, log: EpochLog) -> None:
        self._progress.update(self._task, completed=stage.done)

    def end(self, stage: _Stage) -> None:
        self._progress.remove_task(self._task)
        render.say(f"{stage.name}: " + ", ".join(_summary(stage)))

    def close(self) -> None:
        self._progress.stop()


def _measures(loss: float | None, val_at_far: float | None) -> list[str]:
    words = [] if loss is None else [f"loss {loss:.3f}"]
    return words if val_at_far is None else [*words, f"VAL@FAR 1 % {val_at_far:.3f}"]


def _summary(stage: _Stage) -> list[str]:
    return [stage.whole(), render.clock(stage.elapsed), *stage.measures()]

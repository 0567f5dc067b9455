"""How the command line speaks: data to stdout, talk to stderr, one JSON document when asked.

Rich is imported only where a terminal is there to show it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from retrieval.errors import ItemrecError
from retrieval.system.text import printable

_PLAIN_INTERVAL_SECONDS = 5.0


@dataclass(slots=True)
class _Voice:
    json: bool = False
    quiet: bool = False


_voice = _Voice()


def configure(*, json: bool = False, quiet: bool = False) -> None:
    """Set how this process speaks; called once by each command."""
    _voice.json, _voice.quiet = json, quiet


def is_quiet() -> bool:
    """True under ``--quiet``: no progress and no chatter."""
    return _voice.quiet


def emit_json(document: dict[str, Any]) -> None:
    """Write the one JSON document of a ``--json`` run to stdout."""
    unicode_out = (sys.stdout.encoding or "ascii").lower().replace("-", "") == "utf8"
    text = json.dumps(document, ensure_ascii=not unicode_out, allow_nan=False, indent=2)
    sys.stdout.write(text + "\n")


def emit(text: str = "") -> None:
    """Write a line of data to stdout."""
    _write(sys.stdout, text)


def say(text: str = "") -> None:
    """Write a line of talk to stderr, unless ``--quiet``."""
    if not _voice.quiet:
        _write(sys.stderr, text)


def warn(text: str) -> None:
    """Write a warning to stderr, even with ``--quiet``: it is about the answer."""
    _write(sys.stderr, f"itemrec: warning: {text}")


def complain(text: str) -> None:
    """Write to stderr why the exit code is not 0, even with ``--quiet``."""
    _write(sys.stderr, f"itemrec: {printable(text)}")


def report_error(error: ItemrecError, *, as_json: bool) -> None:
    """Say what went wrong in one line, and what to do in another; as JSON on stdout too when asked."""
    if as_json:
        emit_json(
            {
                "schema": "itemrec.error/1",
                "error": type(error).__name__,
                "message": error.message,
                "hint": error.hint,
            }
        )
    _write(sys.stderr, f"itemrec: error: {printable(error.message)}")
    if error.hint:
        _write(sys.stderr, f"  {printable(error.hint)}")


def _write(stream: Any, text: str) -> None:
    if stream is sys.stderr:
        # Into one log file, talk and data come in the order in which they were said.
        sys.stdout.flush()
    try:
        stream.write(text + "\n")
    except UnicodeEncodeError:
        stream.write(text.encode(stream.encoding or "ascii", "backslashreplace").decode(stream.encoding or "ascii"))
        stream.write("\n")


def on_terminal(*, stderr: bool = False) -> bool:
    """True when a person reads the stream in a terminal that understands escape codes."""
    stream = sys.stderr if stderr else sys.stdout
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def in_color() -> bool:
    """True when stdout is a terminal that may be given colors (https://no-color.org)."""
    return on_terminal() and not os.environ.get("NO_COLOR")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> None:
    """Write a table to stdout: drawn in a terminal, aligned plain columns elsewhere.

    Args:
        columns: headings.
        rows: cells, one string per column.
        right: indices of right-aligned columns.
    """
    cells = [[printable(c) for c in row] for row in rows]
    if on_terminal():
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for i, name in enumerate(columns):
            drawn.add_column(name, justify="right" if i in right else "left", overflow="fold")
        for row in cells:
            drawn.add_row(*[Text(c) for c in row])
        Console().print(drawn)
        return
    widths = [max(len(c) for c in col) for col in zip(columns, *cells, strict=True)]
    for row in [list(columns), *cells]:
        padded = [c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        emit("  ".join(padded).rstrip())


class Progress(Protocol):
    """Something that shows how far a long job is."""

    def update(self, done: int, *, note: str = "") -> None:
        """Show that ``done`` units are finished."""
        ...


@contextmanager
def progress(label: str, total: int | None, *, unit: str = "images") -> Iterator[Progress]:
    """Show progress on stderr: a bar in a terminal, a plain line every few seconds elsewhere.

    Args:
        label: what is being done.
        total: how many units there are; None when unknown.
        unit: the name of a unit; ``bytes`` is shown as MB.
    """
    if _voice.quiet:
        yield _Silent()
    elif on_terminal(stderr=True):
        with _bar(label, total, unit) as shown:
            yield shown
    else:
        plain = _Plain(label, total, unit)
        yield plain
        plain.finish()


class _Silent:
    def update(self, done: int, *, note: str = "") -> None:
        pass


class _Plain:
    def __init__(self, label: str, total: int | None, unit: str) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._start = self._shown = time.monotonic()
        self._done = 0

    def update(self, done: int, *, note: str = "") -> None:
        self._done = done
        if time.monotonic() - self._shown >= _PLAIN_INTERVAL_SECONDS:
            self._shown = time.monotonic()
            self._line(note)

    def finish(self) -> None:
        if self._shown != self._start:
            self._line("")

    def _line(self, note: str) -> None:
        elapsed = max(time.monotonic() - self._start, 1e-9)
        rate = self._done / elapsed
        of = f"/{_amount(self._total, self._unit)}" if self._total else ""
        done, speed = _amount(self._done, self._unit), _amount(rate, self._unit)
        text = f"{self._label}: {done}{of} {self._plural()}, {speed}/s"
        if self._total and 0 < self._done < self._total:
            text += f", {clock((self._total - self._done) / rate)} left"
        say(text + (f", {note}" if note else ""))

    def _plural(self) -> str:
        return "MB" if self._unit == "bytes" else self._unit


def _amount(value: float | None, unit: str) -> str:
    number = value or 0
    return f"{number / 1e6:.1f}" if unit == "bytes" else f"{number:,.0f}"


def clock(seconds: float) -> str:
    """A duration as a clock shows it: ``0:07``, ``12:30``, ``1:02:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def _bar(label: str, total: int | None, unit: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            word = "MB" if unit == "bytes" else unit
            return Text(f"{_amount(speed, unit)} {word}/s" if speed else f"… {word}/s", style="cyan")

    class Count(ProgressColumn):
        def render(self, task: Task) -> Text:
            of = f"/{_amount(task.total, unit)}" if task.total else ""
            return Text(f"{_amount(task.completed, unit)}{of}")

    bar = RichProgress(
        TextColumn("{task.description}"),
        BarColumn(),
        Count(),
        Rate(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", style="dim"),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task(label, total=total, note="")

        class Shown:
            def update(self, done: int, *, note: str = "") -> None:
                bar.update(task, completed=done, note=note)

        yield Shown()

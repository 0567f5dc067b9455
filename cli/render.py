"""How the command line speaks: data to stdout, talk to stderr, one JSON document when asked.

Rich is imported only where a terminal is there to show it.
"""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TextIO

from retrieval.errors import ItemrecError
from retrieval.system.text import json_bytes, printable


@dataclass(slots=True)
class OutputMode:
    """How this process speaks: data as one JSON document, and without talk."""

    json: bool = False
    quiet: bool = False


_mode = OutputMode()


class OutputError(BaseException):
    """Standard output takes nothing more: whoever read it went away, or there is no room where it goes.

    Neither an `OSError`, which typer and rich would turn into exit code 1, nor an `Exception`, which a command might
    take for the failure of a photo.

    Attributes:
        reader_left: True where this is a pipe that nobody reads any more.
        message: one line: what happened.
    """

    def __init__(self, cause: OSError) -> None:
        super().__init__(str(cause))
        self.reader_left = cause.errno == errno.EPIPE
        self.message = f"Cannot write the answer to standard output: {cause.strerror or cause}"


class _Guarded(io.RawIOBase):
    """What lies under a standard stream, so that a failed write is one thing whichever library wrote.

    Attributes:
        failure: the first write that failed; everything after it is thrown away.
    """

    def __init__(self, raw: Any, *, needed: bool) -> None:
        self._raw = raw
        self._needed = needed
        self.failure: OutputError | None = None

    def write(self, data: Any, /) -> int | None:
        if self.failure is not None:
            return len(data)
        try:
            return self._raw.write(data)  # type: ignore[no-any-return]
        except OSError as error:
            self.failure = OutputError(error)
            if self._needed:
                raise self.failure from error
            return len(data)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()  # type: ignore[no-any-return]

    def isatty(self) -> bool:
        return self._raw.isatty()  # type: ignore[no-any-return]


class StandardStreams:
    """Stdout, stdin and stderr of this process, in a state in which any of them may be closed or full."""

    def __init__(self) -> None:
        """Put something in the place of streams that were closed at start, and guard stdout and stderr.

        Where nothing lies at 0, 1 or 2, the next file that is opened lies there, and takes what was meant for a reader.
        What stands in for stdout can only be read: an answer that nobody gets is no success. Talk may get lost.
        """
        for number, flags in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
            try:
                os.fstat(number)
            except OSError:
                with suppress(OSError):
                    os.open(os.devnull, flags)  # takes the lowest number that is free
        if sys.stdin is None:
            sys.stdin = open(0, closefd=False)  # noqa: SIM115
        sys.stdout, self._out = _guarded(sys.stdout, 1, needed=True)
        sys.stderr, _ = _guarded(sys.stderr, 2, needed=False)

    def lost(self) -> OutputError | None:
        """Why not everything that was written to stdout got there; None when it did. Writes what waits first."""
        with suppress(OutputError):
            sys.stdout.flush()
        sys.stderr.flush()
        return self._out.failure


def _guarded(stream: TextIO | None, number: int, *, needed: bool) -> tuple[TextIO, _Guarded]:
    if stream is None:
        guard = _Guarded(io.FileIO(number, "w", closefd=False), needed=needed)
        return io.TextIOWrapper(io.BufferedWriter(guard), line_buffering=not needed), guard
    buffer: Any = stream.buffer
    guard = _Guarded(getattr(buffer, "raw", buffer), needed=needed)
    # Under PYTHONUNBUFFERED there is no buffer.
    below: Any = io.BufferedWriter(guard) if hasattr(buffer, "raw") else guard
    text = io.TextIOWrapper(
        below,
        encoding=stream.encoding,
        errors=stream.errors,
        newline="\n",
        line_buffering=getattr(stream, "line_buffering", False),
        write_through=getattr(stream, "write_through", False),
    )
    return text, guard


def configure(*, json: bool = False, quiet: bool = False) -> None:
    """Set how this process speaks; called once by each command."""
    _mode.json, _mode.quiet = json, quiet


def is_quiet() -> bool:
    """True under ``--quiet``: no progress and no chatter."""
    return _mode.quiet


def emit_json(document: dict[str, Any]) -> None:
    """Write the one JSON document of a ``--json`` run to stdout."""
    unicode_out = (sys.stdout.encoding or "ascii").lower().replace("-", "") == "utf8"
    text = json.dumps(document, ensure_ascii=not unicode_out, allow_nan=False, indent=2)
    # Bytes of a name that are no UTF-8 are lone surrogates; escaped as JSON escapes them they can be read back.
    sys.stdout.write(json_bytes(text).decode() + "\n")


def emit(text: str = "") -> None:
    """Write a line of data to stdout."""
    _write(sys.stdout, text)


def say(text: str = "") -> None:
    """Write a line of talk to stderr, unless ``--quiet``."""
    if not _mode.quiet:
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
        with suppress(OutputError):  # the lines that follow tell it, too
            emit_json(
                {
                    "schema": "itemrec.error/1",
                    "error": type(error).__name__,
                    "message": error.message,
                    "hint": error.hint,
                }
            )
            sys.stdout.flush()
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


def clock(seconds: float) -> str:
    """A duration as a clock shows it: ``0:07``, ``12:30``, ``1:02:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

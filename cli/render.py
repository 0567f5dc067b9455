"""How the command line speaks: data to stdout, talk to stderr, one JSON document when asked.

Rich is imported only where a terminal is there to show it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from retrieval.errors import ItemrecError
from retrieval.system.text import printable


@dataclass(slots=True)
class OutputMode:
    """How this process speaks: data as one JSON document, and without talk."""

    json: bool = False
    quiet: bool = False


_mode = OutputMode()


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
    sys.stdout.write(text + "\n")


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


def clock(seconds: float) -> str:
    """A duration as a clock shows it: ``0:07``, ``12:30``, ``1:02:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

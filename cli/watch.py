"""`itemrec watch`: index a catalog whenever it changes."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import render
from cli.options import IndexOption, ModelOption, QuietOption, index_location, setting
from retrieval.errors import ItemrecError, UsageError
from retrieval.system.text import plural, printable

if TYPE_CHECKING:
    from retrieval.indexing.report import IndexReport


def watch_command(
    catalog: Annotated[str, typer.Argument(help="The catalog's folder or table; it may appear later.")],
    index: IndexOption = None,
    model: ModelOption = None,
    prune: Annotated[bool, typer.Option("--prune", help="Also remove what left the catalog.")] = False,
    quiet: QuietOption = False,
) -> int:
    """Index a catalog now and whenever it changes, one line a run, until Ctrl-C or SIGTERM.

    A run that fails is told and tried again; queries are answered meanwhile. On network drives that tell of no changes,
    set WATCHFILES_FORCE_POLLING=true.

    \b
    Examples:
      itemrec watch ./catalog
      itemrec watch ./catalog --prune --index http://qdrant:6333/shop
    """
    render.configure(quiet=quiet)
    from retrieval.indexing.run import index as index_catalog
    from retrieval.indexing.watching import watch

    if "://" in catalog:
        raise UsageError(
            f"expected a folder or a table to watch, received {printable(catalog)}",
            hint="An object store tells of no changes: run itemrec index from a timer",
        )
    place = index_location(index)
    chosen = setting("model", model)
    # Both end a run under way as Ctrl-C ends `itemrec index`: what was indexed is safe.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    render.say(f"Watching {printable(catalog)}. Stop it with Ctrl-C.")
    try:
        watch(
            Path(catalog).absolute(),
            lambda: index_catalog(catalog, place, model=chosen, prune=prune, notify=render.say),
            _tell,
            stop=threading.Event(),
            index=None if "://" in place else Path(place).absolute(),
        )
    except KeyboardInterrupt:
        render.say("Stopped.")
    return 0


@contextmanager
def _whole_lines() -> Iterator[None]:
    """A signal is heard when the line is out: in the middle of writing it, the line would be written again at the end.

    The second signal is heard at once: whoever reads may have stopped, and the line never gets out.
    """
    heard: list[int] = []

    def hear(number: int, frame: object) -> None:
        heard.append(number)
        if len(heard) > 1:
            raise KeyboardInterrupt

    kept = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
    if heard:
        raise KeyboardInterrupt


@_whole_lines()
def _tell(outcome: IndexReport | ItemrecError) -> None:
    """One line for one run."""
    now = time.strftime("%H:%M:%S")
    if isinstance(outcome, ItemrecError):
        render.say(f"{now}  {printable(outcome.message)}. {printable(outcome.hint)}".rstrip())
        return
    done = [f"{outcome.added:,} added", f"{outcome.updated:,} updated", f"{outcome.removed:,} removed"]
    done += [f"{len(outcome.refused):,} refused"] if outcome.refused else []
    held = f"{plural(outcome.images, 'picture')} of {plural(outcome.products, 'product')}"
    render.emit(f"{now}  {', '.join(done)}: {held} ({outcome.seconds:.1f} s)")
    # Into a log, too, a line is there when its run is over.
    sys.stdout.flush()

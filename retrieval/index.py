"""Where an index lies decides which engine keeps it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from retrieval.errors import UsageError
from retrieval.store import Index


def open_index(location: str, *, notify: Callable[[str], None] | None = None) -> Index:
    """The index at a place; nothing is opened or created yet.

    Args:
        location: a directory (need not exist).
        notify: called with one line whenever the index has something to say that is no error,
            such as an interrupted build that it dropped; by default such lines are logged.

    Raises:
        UsageError: it is empty, or a URL.
    """
    if "://" in location:
        raise UsageError(
            f"expected a directory as index, received the URL {location}",
            hint="Indexes on a Qdrant server are not supported yet; use --index DIR",
        )
    if not location.strip() or "\0" in location:
        raise UsageError("expected a directory as index, received an empty name", hint="Use --index DIR")
    from retrieval.generations import EmbeddedIndex

    return EmbeddedIndex(Path(location), notify=notify)

"""Where an index lies decides which engine keeps it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from retrieval.errors import UsageError
from retrieval.index.protocols import Index


def open_index(
    location: str,
    *,
    notify: Callable[[str], None] | None = None,
    expected: int | Callable[[], int] = 0,
    layout: Mapping[str, int | bool | None] | None = None,
    nodes: int | None = None,
) -> Index:
    """The index at a place; nothing is opened, asked or created yet.

    Args:
        location: a directory (need not exist), or the URL of a Qdrant server, ``http://HOST:6333/NAME``, or several
            addresses of one cluster between commas.
        notify: called with one line whenever the index has something to say that is no error,
            such as an interrupted build that it dropped; by default such lines are logged.
        expected: about how many pictures it will hold, or what tells so when a server lays out a new collection.
        nodes: nodes of the cluster, where it shall not be asked.
        layout: fields of `retrieval.index.server.layout.Layout` that are given by hand, for a server.

    Raises:
        UsageError: it is empty, or a URL that is none of a Qdrant server.
    """
    if "://" in location:
        from retrieval.index.server import ServerIndex

        return ServerIndex(location, notify=notify, expected=expected, overrides=dict(layout or {}), nodes=nodes)
    if not location.strip() or "\0" in location:
        raise UsageError("expected a directory or a URL as index, received an empty name", hint="Use --index DIR")
    from retrieval.index.embedded.index import EmbeddedIndex

    return EmbeddedIndex(Path(location), notify=notify)

"""The child of `retrieval.images.isolation`: decodes what it is sent until the pipe closes."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from io import FileIO
from typing import Any

from retrieval.errors import ImageError, ItemrecError
from retrieval.images.formats.base import Header
from retrieval.images.isolation import receive, send, view_from_json
from retrieval.images.views import render

_GRACE = 5
"""Seconds after which a child ends itself, should its parent have died before it could."""


def main(memory: int) -> None:
    """Answer requests on standard input with pictures on standard output.

    Args:
        memory: most address space, bytes.
    """
    requests = FileIO(os.dup(0), "rb")
    answers = FileIO(os.dup(1), "wb")
    # What a library prints must not get among the answers.
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    _limit(memory)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # meant for the parent, which ends us when it wants to
    send(answers, {"ready": True})
    while True:
        try:
            request, data = receive(requests)
        except EOFError:
            return
        _alarm(int(request["seconds"]) + _GRACE)
        try:
            head = request["header"]
            header = Header(
                head["format"],
                tuple((width, height) for width, height in head["sizes"]),
                head["orientation"],
                bytes(data[: len(data) - head["profile"]]),
                head["depth"],
                profile=bytes(data[len(data) - head["profile"] :]),
            )
            made = render(header, [view_from_json(view) for view in request["views"]])
            bodies = [im.tobytes() for im in made]
            reply: dict[str, Any] = {"pictures": [(im.mode, im.size) for im in made]}
        except ItemrecError as error:
            bodies = []
            reason = error.reason if isinstance(error, ImageError) else ""
            reply = {"error": {"message": error.message, "hint": error.hint, "reason": reason}}
        _alarm(0)
        try:
            send(answers, reply, *bodies)
        except OSError:
            return


def _limit(memory: int) -> None:
    """No more address space than that, no core files; and first in line where memory runs out for all."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        most = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")


def _alarm(seconds: int) -> None:
    """End this process after so many seconds, even inside a decoder; 0 for never."""
    if hasattr(signal, "alarm"):
        signal.alarm(seconds)

"""The child of `retrieval.images.isolation`: decodes what it is sent until the pipe closes."""

from __future__ import annotations

import os
import signal
from io import FileIO
from typing import Any

from retrieval.errors import ImageError, ItemrecError
from retrieval.images.formats.base import Header
from retrieval.images.isolation import receive, send, view_from_json
from retrieval.images.views import render
from retrieval.system.child import end_after, limit_memory

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
    limit_memory(memory)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # meant for the parent, which ends us when it wants to
    send(answers, {"ready": True})
    while True:
        try:
            request, data = receive(requests)
        except EOFError:
            return
        end_after(int(request["seconds"]) + _GRACE)
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
        end_after(0)
        try:
            send(answers, reply, *bodies)
        except OSError:
            return

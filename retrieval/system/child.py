"""Child processes for what may crash, hang or eat memory: how they start, and the limits that they set themselves."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


class Terminated(BaseException):
    """SIGTERM came, where `terminable` made it an exception."""


def can_start() -> bool:
    """Whether there is an interpreter to start: not in a frozen program, not in a browser."""
    return bool(sys.executable) and not getattr(sys, "frozen", False) and sys.platform not in ("emscripten", "wasi")


def command(program: str, **settings: Any) -> list[str]:
    """The command line of a fresh interpreter that calls ``main(**settings)`` of a module.

    Args:
        program: the module.
        settings: JSON values.
    """
    # As this process finds its modules; -I alone would miss those of a notebook that extended its path.
    code = (
        "import json, sys; settings = json.loads(sys.argv[1]); sys.path[:] = settings.pop('path'); "
        f"from {program} import main; main(**settings)"
    )
    return [sys.executable, "-I", "-c", code, json.dumps({"path": [p or os.getcwd() for p in sys.path], **settings})]


def limit_memory(most: int) -> None:
    """No more address space than so many bytes, no core files; and first in line where memory runs out for all."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")


def end_after(seconds: int) -> None:
    """End this process after so many seconds, even inside native code; 0 for never."""
    if hasattr(signal, "alarm"):
        signal.alarm(seconds)


ALARM = -14
"""What a process that its own alarm ended exits with."""


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM raise `Terminated` in the main thread, so that whatever was begun is cleaned up; for commands."""

    def end(*_: object) -> None:
        raise Terminated

    if threading.current_thread() is not threading.main_thread():  # which alone may say so
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

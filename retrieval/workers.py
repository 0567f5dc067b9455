"""How many threads to use, and one object per thread."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def default_threads() -> int:
    """As many workers as this process may use cores."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def per_thread(make: Callable[[], T]) -> Callable[[], T]:
    """A function that returns the calling thread's own object, made at its first call there.

    Runtimes' interpreters are not thread-safe: every worker needs its own.
    """
    local = threading.local()

    def get() -> T:
        if not hasattr(local, "value"):
            local.value = make()
        value: T = local.value
        return value

    return get

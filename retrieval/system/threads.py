"""How many threads to use, and one object per thread."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

S = TypeVar("S")
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


def ordered_map(
    work: Callable[[S], T], items: Iterable[S], threads: int, *, ahead: int = 8, over: threading.Event | None = None
) -> Iterator[T]:
    """``map`` in threads: results in the order of the items, at most ``ahead`` items a thread under way.

    When the caller stops, so do the threads.

    Args:
        work: called in a worker thread.
        items: taken as they are needed.
        threads: how many.
        ahead: bounds the memory that waiting results take.
        over: set when the caller stops, for work that waits for something else and need not end what it began.
    """
    # A cold query imports this module and maps nothing.
    from concurrent.futures import ThreadPoolExecutor

    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="itemrec") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= ahead * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            if over is not None:
                over.set()
            for future in waiting:
                future.cancel()

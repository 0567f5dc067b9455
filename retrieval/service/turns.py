"""Work of the service in threads: as many at once as there are cores, few waiting, and none for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from retrieval.service.problems import Problem

T = TypeVar("T")


class Turns:
    """A bounded queue before a pool of threads.

    Attributes:
        running: jobs that a thread works at, or that wait for one.
        receiving: requests whose bodies are still coming.
    """

    def __init__(self, *, threads: int, waiting: int, seconds: float) -> None:
        """Start no thread yet.

        Args:
            threads: jobs at once.
            waiting: jobs that may wait beside them; who comes after is sent away at once.
            seconds: how long a request waits for its answer, queue included.
        """
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="itemrec-serve")
        self._most = threads + waiting
        self._seconds = seconds
        self.running = 0
        self.receiving = 0

    async def run(self, work: Callable[[], T]) -> T:
        """The result of some work, made in a thread.

        Raises:
            Problem: 503 when too many wait, 504 when it takes too long; the thread then ends its work unheard.
        """
        if self.running >= self._most:
            raise Problem(503, "busy", "Too many requests wait already", hint="Try again in a moment.")
        self.running += 1
        try:
            future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        except RuntimeError as error:  # the pool is closed
            self.running -= 1
            raise Problem(503, "stopping", "The service is stopping") from error
        future.add_done_callback(self._done)
        try:
            return await asyncio.wait_for(asyncio.shield(future), self._seconds)
        except TimeoutError as error:
            raise Problem(504, "deadline", f"The answer took longer than {self._seconds:g} seconds") from error

    async def receive(self, body: Awaitable[T]) -> T:
        """What a request sends: as many bodies at a time as may wait for an answer, and none for ever.

        Raises:
            Problem: 503 when too many come in, 408 when one takes too long.
        """
        if self.receiving >= self._most:
            raise Problem(503, "busy", "Too many requests wait already", hint="Try again in a moment.")
        self.receiving += 1
        try:
            return await asyncio.wait_for(body, self._seconds)
        except TimeoutError as error:
            raise Problem(408, "slow-upload", f"The photo did not come within {self._seconds:g} seconds") from error
        finally:
            self.receiving -= 1

    def close(self) -> None:
        """Wait for what is under way; take nothing new."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _done(self, future: asyncio.Future[T]) -> None:
        self.running -= 1
        if not future.cancelled():
            future.exception()  # somebody who left at the deadline does not ask for it

"""A call in a child process: what the native code under it does to that process, a test survives."""

from __future__ import annotations

import os
import pickle
import signal
import traceback
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def forked(call: Callable[[], T], *, seconds: int = 60) -> T:
    """The value of a call in a child process.

    Args:
        call: what to call; its value must be picklable.
        seconds: a child that takes longer is ended.

    Raises:
        AssertionError: the call failed, or the process died.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            signal.alarm(seconds)
            try:
                answer = (True, call())
            except BaseException:  # noqa: BLE001
                answer = (False, traceback.format_exc())
            with open(writer, "wb") as stream:
                pickle.dump(answer, stream)
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as stream:
        data = stream.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert data, f"the process died: {code} (negative: by a signal; -14: it took {seconds} s)"
    fine, value = pickle.loads(data)
    assert fine, value
    return value  # type: ignore[no-any-return]

"""A child that tries models and does what the model's file says instead: die, hang, eat memory, or talk nonsense."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path
from typing import Any

from retrieval.system.child import end_after, limit_memory


def main(*, file: str, memory: int, seconds: int, **_: Any) -> None:
    limit_memory(memory)
    end_after(seconds)
    what = Path(file).read_text()
    if what == "die":
        ctypes.string_at(0)
    elif what == "hang":
        Path(file).with_name("pid").write_text(str(os.getpid()))
        time.sleep(600)
    elif what == "eat":
        eaten = []
        while True:
            eaten.append(bytearray(64 << 20))
    elif what == "lie":
        print('{"runtime": "litert", "dimension": "many"}')
    elif what == "exit":
        os._exit(7)

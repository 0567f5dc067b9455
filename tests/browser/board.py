"""A TensorBoard of our own, for as long as it is needed."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue


@contextmanager
def tensorboard(logdir: Path) -> Iterator[str]:
    """Run ``tensorboard --logdir`` on a free port of this machine; gives its address."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logdir), "--host", "127.0.0.1", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        lines: Queue[str] = Queue()
        listener = threading.Thread(target=lambda: [lines.put(line) for line in server.stdout or ()], daemon=True)
        listener.start()
        try:
            yield _announced(server, lines)
        finally:
            server.terminate()
            server.wait(60)
            listener.join(60)  # before the pipe is closed under it


def _announced(server: subprocess.Popen[str], lines: Queue[str]) -> str:
    """The address that it says it listens at."""
    heard = ""
    while server.poll() is None:
        try:
            line = lines.get(timeout=200)
        except Empty:
            break
        heard += line
        if " at http://" in line:
            return line.split(" at ")[1].split()[0].rstrip("/")
    raise AssertionError(f"TensorBoard did not start:\n{heard[-2000:]}")

"""How much memory this process holds, by Linux's own account of it."""

from __future__ import annotations

from pathlib import Path


def kilobytes(key: str) -> int:
    """A line of /proc/self/status: ``VmHWM`` for the peak of what is resident, ``RssAnon`` for what is its own now.

    Not by getrusage: what that says of a new process may be the peak of the process that started it.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))

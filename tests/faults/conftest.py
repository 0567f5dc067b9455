from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.forking import Forked, ForkServer
from tests.places import ROOT

__all__ = ["ROOT", "Start", "start"]

Start = Callable[..., Forked]


@pytest.fixture
def start(forks: ForkServer) -> Iterator[Start]:
    """Start a worker of `tests.faults.workers`; whatever still runs at the end is killed."""
    started: list[Forked] = []

    def run(name: str, *arguments: object) -> Forked:
        code = "from tests.faults.workers import main; main()"
        started.append(forks.start(code, name, *arguments, stdin=subprocess.PIPE))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()

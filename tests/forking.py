"""Processes that need no second to begin: a server imports what is wanted once, and forks a process for each request.

What it forks is a real process with a process id, streams, a folder and an environment of its own, killed and
waited for as any other; only the imports are done already. ``python -m tests.forking FD`` is the server.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from tests.places import ROOT

PRELOADED = (
    "PIL.Image",
    "PIL.JpegImagePlugin",
    "PIL.PngImagePlugin",
    "ai_edge_litert.interpreter",
    "cli.doctor",
    "cli.index",
    "cli.main",
    "cli.prepare",
    "cli.query",
    "numpy",
    "qdrant_client",
    "qdrant_edge",
    "retrieval.index.embedded.index",
    "retrieval.index.server",
    "retrieval.indexing.run",
    "retrieval.models.runtimes.litert",
    "retrieval.recognition.api",
    "tests.faults.workers",
    "trainer.prepare",
)
"""Modules that bring no threads and open nothing: both would be lost, or hang, in what is forked."""


ITEMREC = "from cli.main import run; run()"
"""The command line, as code."""


class Done(NamedTuple):
    """How a process ended: as `subprocess.CompletedProcess`."""

    returncode: int
    stdout: str
    stderr: str


class Forked:
    """A process that was forked, as `subprocess.Popen` in text mode.

    Attributes:
        pid: its process id.
        stdin: what it reads, if a pipe was asked for; stdout and stderr alike.
        returncode: its exit status, negative for a signal; None until it was waited for.
    """

    def __init__(self, server: ForkServer, pid: int, streams: Sequence[IO[str] | None]) -> None:
        self._server = server
        self.pid = pid
        self.stdin, self.stdout, self.stderr = streams
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit status if it has ended."""
        if self.returncode is None:
            self.returncode = self._server.ask({"wait": self.pid, "block": False})
        return self.returncode

    def wait(self) -> int:
        """Wait until it has ended."""
        if self.returncode is None:
            self.returncode = self._server.ask({"wait": self.pid, "block": True})
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as nothing else does: SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float = 120.0) -> tuple[str, str]:
        """What it said until it ended; it is killed after so many seconds."""
        clock = threading.Timer(timeout, os.kill, (self.pid, signal.SIGKILL))
        clock.start()
        said: dict[str, str] = {}
        if self.stdin is not None:
            self.stdin.close()

        def read(name: str, stream: IO[str] | None) -> None:
            with contextlib.nullcontext() if stream is None or stream.closed else stream:
                said[name] = "" if stream is None or stream.closed else stream.read()

        beside = threading.Thread(target=read, args=("stderr", self.stderr))
        beside.start()
        read("stdout", self.stdout)
        beside.join()
        self.wait()
        clock.cancel()
        return said["stdout"], said["stderr"]


class ForkServer:
    """Forks processes which have imported `PRELOADED`."""

    def __init__(self) -> None:
        self._here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with there:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.forking", str(there.fileno())],
                cwd=ROOT,
                pass_fds=[there.fileno()],
                stdin=subprocess.DEVNULL,
            )
        # One question at a time: several threads may wait for processes of theirs.
        self._lock = threading.Lock()

    def ask(self, request: dict[str, Any], descriptors: Sequence[int] = ()) -> Any:
        """The server's answer to one request."""
        with self._lock:
            socket.send_fds(self._here, [json.dumps(request).encode()], descriptors)
            answer = self._here.recv(1 << 16)
        assert answer, "the fork server has ended"
        return json.loads(answer)

    def start(
        self,
        code: str,
        *words: object,
        cwd: Path | str = ROOT,
        env: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
    ) -> Forked:
        """Run Python as ``python -c CODE WORDS`` would.

        Args:
            code: what to run: `ITEMREC` is the command line.
            words: what follows it.
            cwd: where it runs.
            env: its environment; None for this process's.
            stdin: a descriptor, `subprocess.PIPE` or `subprocess.DEVNULL`; stdout and stderr alike.
        """
        ours: list[IO[str] | None] = []
        theirs: list[int] = []
        close: list[int] = []
        for number, wanted in enumerate((stdin, stdout, stderr)):
            stream = None
            if wanted == subprocess.PIPE:
                reader, writer = os.pipe()
                keep, wanted = (writer, reader) if number == 0 else (reader, writer)
                stream = os.fdopen(keep, "w" if number == 0 else "r", encoding="utf-8")
                close.append(wanted)
            elif wanted == subprocess.DEVNULL:
                wanted = os.open(os.devnull, os.O_RDWR)
                close.append(wanted)
            ours.append(stream)
            theirs.append(wanted)
        job = {"code": code, "words": list(map(str, words)), "cwd": str(cwd)}
        pid = self.ask(job | {"env": dict(os.environ if env is None else env)}, theirs)
        for descriptor in close:
            os.close(descriptor)
        return Forked(self, pid, ours)

    def run(self, code: str, *words: object, check: bool = False, **options: Any) -> Done:
        """`start`, and wait until it has ended."""
        process = self.start(code, *words, **options)
        out, errors = process.communicate()
        assert process.returncode is not None
        assert not check or process.returncode == 0, errors
        return Done(process.returncode, out, errors)

    def close(self) -> None:
        """End the server."""
        self._here.close()
        self._process.wait()


@contextlib.contextmanager
def forking() -> Iterator[ForkServer]:
    """A fork server while it is wanted."""
    server = ForkServer()
    try:
        yield server
    finally:
        server.close()


def _serve(descriptor: int) -> str:
    """Answer requests. Returns in what was forked, with what it is to do."""
    for name in PRELOADED:
        importlib.import_module(name)
    # What is there already is neither looked through nor copied by every process anew.
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=descriptor) as there:
        while True:
            data, descriptors, _, _ = socket.recv_fds(there, 1 << 20, 3)
            if not data:
                raise SystemExit(0)
            request = json.loads(data)
            if "wait" in request:
                found, status = os.waitpid(request["wait"], 0 if request["block"] else os.WNOHANG)
                there.send(json.dumps(os.waitstatus_to_exitcode(status) if found else None).encode())
                continue
            pid = os.fork()
            if pid == 0:
                break
            for given in descriptors:
                os.close(given)
            there.send(json.dumps(pid).encode())
    for number, given in enumerate(descriptors):
        os.dup2(given, number)
        os.close(given)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    # By the line, as Python does it.
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.argv = ["-c", *request["words"]]
    return str(request["code"])


if __name__ == "__main__":
    exec(compile(_serve(int(sys.argv[1])), "<string>", "exec"), {"__name__": "__main__"})

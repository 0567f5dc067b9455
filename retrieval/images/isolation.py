"""Decoders that may die: a few child processes that decode one picture at a time, within limits.

A memory error in a decoder ends its process. Here that is a child (`retrieval.images.decoder_process`), its picture
is refused, and the next picture gets a new child. Nothing is forked: a child is a fresh interpreter that knows
only how to decode, and that ends when the pipe to it closes.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from io import FileIO
from typing import TYPE_CHECKING, Any, cast

from retrieval.errors import ImageError, ItemrecError
from retrieval.images.formats.base import Header
from retrieval.images.views import Prepared, Squashed, Thumbnail, View, Whole, render
from retrieval.system.child import ALARM, can_start, command
from retrieval.system.threads import default_threads

if TYPE_CHECKING:
    from PIL import Image

SECONDS = 60.0
"""Longest that one picture may take. The largest that the limits let in takes about two."""

MEMORY = 4 * 2**30
"""Address space of a child, bytes, where the system can limit it. The largest pictures take 1 GiB."""

_KINDS: dict[str, type[View]] = {kind.__name__: kind for kind in (Prepared, Whole, Thumbnail, Squashed)}
_LAST_WORDS = frozenset({"decoder-crashed", "decoder-hung", "out-of-memory"})
"""Reasons after which a child is not asked again."""

_LARGEST_HEAD = 2**20
_START_SECONDS = 60.0


class Pool:
    """At most so many children; each starts when it is first needed and stays. Safe to use from threads.

    Args:
        size: how many decode at once; one more caller waits.
        seconds: see `SECONDS`.
        memory: see `MEMORY`.
        program: the module whose ``main`` a child runs.
    """

    def __init__(
        self,
        size: int,
        *,
        seconds: float = SECONDS,
        memory: int = MEMORY,
        program: str = "retrieval.images.decoder_process",
    ) -> None:
        self._free = threading.BoundedSemaphore(size)
        self._idle: list[_Child] = []
        self._lock = threading.Lock()
        self._seconds = seconds
        self._command = command(program, memory=memory)

    def render(self, header: Header, views: Sequence[View]) -> list[Image.Image]:
        """As `retrieval.images.views.render`, in a child.

        Raises:
            ImageError: as there; also decoder-crashed, decoder-hung.
            ItemrecError: no child can be started.
        """
        with self._free:
            child = self._waiting()
            if child is not None:
                try:
                    return self._render(child, header, views)
                except ImageError as error:
                    # What killed it may be what earlier pictures left behind: a fresh child tells.
                    if error.reason not in ("decoder-crashed", "out-of-memory"):
                        raise
            return self._render(_Child(self._command), header, views)

    def close(self) -> None:
        """End the children that wait for work."""
        with self._lock:
            children, self._idle = self._idle, []
        for child in children:
            child.end()

    def _waiting(self) -> _Child | None:
        """A child that has nothing to do, if there is one that still runs."""
        while True:
            with self._lock:
                child = self._idle.pop() if self._idle else None
            if child is None or child.runs():
                return child
            child.end()

    def _render(self, child: _Child, header: Header, views: Sequence[View]) -> list[Image.Image]:
        try:
            made = child.render(header, views, self._seconds)
        except ItemrecError as error:
            if isinstance(error, ImageError) and error.reason in _LAST_WORDS:
                child.end()
            else:
                self._keep(child)
            raise
        except BaseException:
            child.end()
            raise
        self._keep(child)
        return made

    def _keep(self, child: _Child) -> None:
        with self._lock:
            self._idle.append(child)


class _Child:
    """One child process, used by one thread at a time."""

    def __init__(self, arguments: list[str]) -> None:
        try:
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                # It calculates nothing: without this numpy starts a thread for every core.
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
            )
        except OSError as error:
            raise _no_child(error.strerror or str(error)) from error
        self._to, self._from = cast("FileIO", self._process.stdin), cast("FileIO", self._process.stdout)
        _widen(self._to)
        _widen(self._from)
        with self._deadline(_START_SECONDS):
            try:
                receive(self._from)
            except (EOFError, OSError) as error:
                self.end()
                raise _no_child(f"it ended with code {self._process.returncode}") from error

    def render(self, header: Header, views: Sequence[View], seconds: float) -> list[Image.Image]:
        from PIL import Image

        request = {
            "header": {
                "format": header.format,
                "sizes": header.sizes,
                "orientation": header.orientation,
                "depth": header.depth,
                "profile": len(header.profile),
            },
            "views": [view_to_json(view) for view in views],
            "seconds": seconds,
        }
        try:
            with self._deadline(seconds) as deadline:
                send(self._to, request, header.data, header.profile)
                reply, body = receive(self._from)
        except (EOFError, OSError) as error:
            self.end()
            if deadline.passed or self._process.returncode == ALARM:
                raise _hung(seconds) from error
            raise _crashed(self._process.returncode) from error
        if (refused := reply.get("error")) is not None:
            if refused["reason"]:
                raise ImageError(refused["message"], reason=refused["reason"], hint=refused["hint"])
            raise ItemrecError(refused["message"], hint=refused["hint"])
        made, at = [], 0
        for mode, size in reply["pictures"]:
            length = size[0] * size[1] * Image.getmodebands(mode)
            made.append(Image.frombytes(mode, tuple(size), body[at : at + length]))
            at += length
        return made

    def runs(self) -> bool:
        """Whether it did not die while it waited."""
        return self._process.poll() is None

    def end(self) -> None:
        """Stop it, whatever it does."""
        for pipe in (self._to, self._from):
            with suppress(OSError):
                pipe.close()
        with suppress(OSError):
            self._process.kill()
        self._process.wait()

    def _deadline(self, seconds: float) -> _Deadline:
        return _Deadline(seconds, self._process)


class _Deadline:
    """Kills a process that is not done in time, so that whoever reads from it wakes up."""

    def __init__(self, seconds: float, process: subprocess.Popen[bytes]) -> None:
        self.passed = False
        self._process = process
        self._timer = threading.Timer(seconds, self._pass)
        self._timer.daemon = True

    def __enter__(self) -> _Deadline:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def _pass(self) -> None:
        self.passed = True
        self._process.kill()


def _widen(pipe: FileIO) -> None:
    """Let a pipe hold a megabyte, so that a photo needs fewer switches between the processes."""
    with suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 2**20)


def _crashed(code: int | None) -> ImageError:
    how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
    return ImageError(
        f"expected a picture that its decoder survives, received one that it died of ({how})",
        reason="decoder-crashed",
        hint="Export the picture again, or as JPEG or PNG.",
    )


def _hung(seconds: float) -> ImageError:
    return ImageError(
        f"expected a picture that is decoded within {seconds:g} seconds, received one that takes longer",
        reason="decoder-hung",
        hint="Export the picture again, or as JPEG or PNG.",
    )


def _no_child(what: str) -> ItemrecError:
    return ItemrecError(
        f"Cannot start the process that decodes HEIC, AVIF and TIFF pictures: {what}",
        hint="Check the limits on processes and memory, or export these pictures as JPEG.",
    )


def view_to_json(view: View) -> dict[str, Any]:
    """A view as a message holds it; `view_from_json` reads it back."""
    values = {"preprocessing": view.preprocessing.to_json()} if isinstance(view, Prepared) else asdict(view)
    return {"kind": type(view).__name__, **values}


def view_from_json(data: dict[str, Any]) -> View:
    """Read what `view_to_json` wrote."""
    from retrieval.images.preprocessing import Preprocessing

    values = dict(data)
    kind = _KINDS[values.pop("kind")]
    if kind is Prepared:
        return Prepared(Preprocessing.from_json(values["preprocessing"]))
    view: View = cast("Any", kind)(**{key: tuple(v) if isinstance(v, list) else v for key, v in values.items()})
    return view


def send(pipe: FileIO, head: dict[str, Any], *bodies: bytes) -> None:
    """Write one message: a JSON object and bytes, each with its length before it.

    Raises:
        OSError: nobody reads any more.
    """
    text = json.dumps(head).encode()
    length = sum(len(body) for body in bodies)
    for part in (len(text).to_bytes(4, "big") + length.to_bytes(8, "big") + text, *bodies):
        left = memoryview(part)
        while left:
            left = left[pipe.write(left) :]


def receive(pipe: FileIO) -> tuple[dict[str, Any], memoryview]:
    """Read what `send` wrote: the JSON object and the bytes.

    Raises:
        EOFError: nobody writes any more, or not messages.
    """
    start = _read(pipe, 12)
    head, body = int.from_bytes(start[:4], "big"), int.from_bytes(start[4:], "big")
    if head > _LARGEST_HEAD or body > MEMORY:
        raise EOFError
    text = bytes(_read(pipe, head))
    return json.loads(text), _read(pipe, body)


def _read(pipe: FileIO, length: int) -> memoryview:
    data = memoryview(bytearray(length))
    at = 0
    while at < length:
        count = pipe.readinto(data[at:])
        if not count:
            raise EOFError
        at += count
    return data


class _Here:
    """Stands in for the pool where there is no interpreter to start: a frozen program, a browser."""

    def render(self, header: Header, views: Sequence[View]) -> list[Image.Image]:
        return render(header, views)


_pool: Pool | _Here | None = None
_pool_lock = threading.Lock()


def pool() -> Pool | _Here:
    """This process's pool, as many children as it may use cores."""
    global _pool
    with _pool_lock:
        if _pool is None:
            if not can_start():
                _pool = _Here()
            else:
                _pool = Pool(default_threads())
                atexit.register(_pool.close)
        return _pool


def _forget() -> None:
    """After a fork: the children belong to the parent, and its locks may be held by threads that are not here."""
    global _pool, _pool_lock
    _pool, _pool_lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)

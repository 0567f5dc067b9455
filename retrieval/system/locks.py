"""Who may use a directory now: file locks, and a note of who holds each."""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

from retrieval.errors import StoreError
from retrieval.system.files import os_errors

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

POLL_SECONDS = 0.005
_UNWRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT)
_REPORT_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock, since when, and how far it is. Only for messages: the lock itself decides."""

    pid: int
    host: str
    since: str
    phase: str = ""
    done: int = 0
    total: int = 0

    @classmethod
    def me(cls, phase: str = "") -> Holder:
        """This process, now."""
        return cls(os.getpid(), socket.gethostname(), datetime.now(UTC).isoformat(timespec="seconds"), phase)

    @property
    def alive(self) -> bool:
        """False when that process is known to have ended."""
        if self.host != socket.gethostname() or os.name == "nt":
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True

    def __str__(self) -> str:
        where = "" if self.host == socket.gethostname() else f" on {self.host}"
        progress = f", {self.done:,} of {self.total:,} pictures done" if self.total else ""
        phase = f", {self.phase}" if self.phase else ""
        return f"process {self.pid}{where} (since {self._clock()}{progress}{phase})"

    def _clock(self) -> str:
        with contextlib.suppress(ValueError):
            since = datetime.fromisoformat(self.since)
            seconds = max(0, int((datetime.now(UTC) - since).total_seconds()))
            hours, rest = divmod(seconds, 3600)
            lasted = f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s"
            return f"{since.astimezone():%H:%M:%S}, {lasted}"
        return self.since


def read_holder(path: Path) -> Holder | None:
    """The holder that a note names; None where there is no legible note."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Holder(**data)
    except (OSError, ValueError, TypeError):
        return None


class Lock:
    """An exclusive lock between processes; the system releases it when its holder dies.

    Whoever waits for it holds a second lock, the turnstile: a process that lets go and wants it again
    at once cannot overtake, however often it asks.
    """

    def __init__(self, path: Path, note: Path) -> None:
        self.path = path
        self.note = note
        self._reported = 0.0

    @contextlib.contextmanager
    def hold(
        self,
        patience: float,
        busy: Callable[[Holder | None], StoreError],
        phase: str = "",
        *,
        reading: bool = False,
    ) -> Iterator[Holder]:
        """Take the lock, waiting at most ``patience`` seconds.

        Args:
            patience: seconds.
            busy: words the error, given who holds it.
            phase: what it is wanted for.
            reading: go on without the lock where its file can be neither written nor read: then nobody can
                write what it guards either.

        Raises:
            StoreError: somebody else kept it for that long (as ``busy`` words it), or the directory
                refuses lock files.
        """
        let_go = self._acquire(patience, reading)
        if let_go is None:
            raise busy(self.holder())
        try:
            me = Holder.me(phase)
            # The lock decides, not the note, for which a full disk may have no room.
            with contextlib.suppress(OSError):
                self._write(me)
            yield me
        finally:
            with contextlib.suppress(OSError):
                self.note.unlink(missing_ok=True)
            let_go()

    def _acquire(self, patience: float, reading: bool) -> Callable[[], None] | None:
        deadline = time.monotonic() + patience
        with os_errors("take a lock", self.path.parent):
            if patience <= 0:
                return _take(self.path, deadline, reading)
            turn = _take(self.path.with_suffix(".turn"), deadline, reading)
            if turn is None:
                return None
            try:
                return _take(self.path, deadline, reading)
            finally:
                turn()

    def awaited(self) -> bool:
        """True when another process waits for this lock, which this one holds."""
        with contextlib.suppress(OSError):
            turn = _take(self.path.with_suffix(".turn"), 0.0, reading=True)
            if turn is None:
                return True
            turn()
        return False

    def update(self, holder: Holder, *, force: bool = False) -> None:
        """Rewrite the note of a lock that is held, at most twice a second unless forced."""
        now = time.monotonic()
        if force or now - self._reported >= _REPORT_SECONDS:
            self._reported = now
            with contextlib.suppress(OSError):
                self._write(holder)

    def _write(self, holder: Holder) -> None:
        # In place: whoever reads half of it only misses a name in a message.
        self.note.write_text(json.dumps(asdict(holder)), encoding="utf-8")

    def holder(self) -> Holder | None:
        """Who says to hold it."""
        return read_holder(self.note)


def _nothing() -> None:
    """Let go of a lock that there is not."""


def _open(path: Path, reading: bool) -> int | None:
    """A descriptor to lock; for a reader, one that is open for reading only, or None where there is neither."""
    flags = os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o644)
    except OSError as error:
        if not reading or error.errno not in _UNWRITABLE:
            raise
    with contextlib.suppress(OSError):
        return os.open(path, os.O_RDONLY | flags)
    return None


def _take(path: Path, deadline: float, reading: bool = False) -> Callable[[], None] | None:
    """Take a file's lock before a time of `time.monotonic`; returns how to let go, None when it is too late."""
    if fcntl is None:
        from filelock import FileLock, Timeout

        lock = FileLock(path, thread_local=False)
        try:
            lock.acquire(timeout=max(deadline - time.monotonic(), 0.0), poll_interval=POLL_SECONDS)
        except Timeout:
            return None
        except OSError as error:
            if reading and error.errno in _UNWRITABLE:
                return _nothing
            raise
        return lock.release
    # What filelock does on such systems too, without its import, which a cold query would feel.
    while True:
        descriptor = _open(path, reading)
        if descriptor is None:
            return _nothing
        taken = False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Somebody may have removed the file in between: a lock on what is no longer there keeps nobody out.
            taken = os.path.samestat(os.fstat(descriptor), os.stat(path))
            if taken:
                return functools.partial(os.close, descriptor)
        except (BlockingIOError, FileNotFoundError):
            pass
        finally:
            if not taken:
                os.close(descriptor)
        if time.monotonic() >= deadline:
            return None
        time.sleep(POLL_SECONDS)

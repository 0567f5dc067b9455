"""Fetch one file of a known SHA-256 from a server that nobody trusts.

The hash is required, so what arrives is what was meant or nothing. What remains to guard is
this machine: its disk (a cap on bytes, counted as they come and never decompressed), its time
(timeouts, and an end to answers that drip), and its network (every redirect is checked, names
are resolved once and the connection goes to the checked address).

A partial file is kept beside the target under the first digits of the hash. Whatever URL it
came from, its hash decides in the end, so a later run continues it with a Range request; should
the pieces not fit together, it starts over once.
"""

from __future__ import annotations

import random
import re
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import httpx

from retrieval.download import addresses
from retrieval.download.http import Access, TransientError, get, parse_url, shown
from retrieval.errors import DownloadError, UsageError
from retrieval.system.files import file_sha256, move_file
from retrieval.system.progress import Progress, Silent

MAX_BYTES: Final = 2 << 30
_PATIENCE_SECONDS: Final = 30.0
_PROGRESS_THAT_COUNTS: Final = 1 << 20
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_USER_AGENT = "itemrec (model download)"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a download waits for what.

    Attributes:
        connect: seconds for a connection.
        read: seconds for the next bytes.
        headers: seconds until the headers of an answer are complete.
        window: seconds over which the speed is looked at.
        slowest: bytes per second below which an answer is given up.
        backoff: seconds before the first repetition, doubled each time.
        attempts: how often a request that made no progress is made.
    """

    connect: float = 10.0
    read: float = 30.0
    headers: float = 30.0
    window: float = 60.0
    slowest: float = 1024.0
    backoff: float = 0.5
    attempts: int = 5


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A file that arrived.

    Attributes:
        path: where it is.
        size: its bytes.
        fetched: bytes that came over the network in this run; 0 when the file was there already.
    """

    path: Path
    size: int
    fetched: int


def fetch(
    url: str,
    dest: Path,
    *,
    sha256: str,
    max_bytes: int = MAX_BYTES,
    allow_private: bool = False,
    allow_http: bool = False,
    progress: Progress = Silent(),
    patience: Patience | None = None,
) -> Downloaded:
    """Download a file, continuing an earlier attempt, and put it in place once its hash is right.

    Args:
        url: http or https. Plain http only with ``allow_http``, or to this machine.
        dest: where to put it; replaced atomically.
        sha256: 64 hex digits.
        max_bytes: refuse anything larger.
        allow_private: also connect to private, loopback and link-local addresses.
        allow_http: also connect without encryption.
        progress: told as bytes arrive; every attempt is a stage of its own.
        patience: timeouts and repetitions.

    Raises:
        UsageError: that is no URL, or no SHA-256.
        DownloadError: an address or a redirect is refused, the server failed or sent
            something else than promised, or the disk refused. A partial file is kept when a
            later attempt can continue it. No message carries credentials or query strings.
    """
    digest = sha256.strip().lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise UsageError(
            f"expected a SHA-256 of 64 hex digits, received {sha256[:80]!r}",
            hint="The page that offers the file states it; or run sha256sum on a copy that you trust.",
        )
    from filelock import FileLock, Timeout

    patience = patience or Patience()
    access = Access(
        allow_private=allow_private,
        allow_http=allow_http,
        connect=patience.connect,
        read=patience.read,
        headers=patience.headers,
    )
    part = dest.with_name(f".{dest.name}.{digest[:16]}.part")
    download = _Download(parse_url(url), part, digest, max_bytes, access, progress, patience)
    lock = FileLock(f"{part}.lock")
    try:
        dest.parent.mkdir(parents=True, exist_ok=True)
        if dest.is_file() and file_sha256(dest) == digest:
            return Downloaded(dest, dest.stat().st_size, 0)
        with lock.acquire(timeout=0):
            try:
                fetched = download.run()
                move_file(part, dest)
            finally:
                with suppress(OSError):
                    if part.exists() and not part.stat().st_size:
                        part.unlink()
                    Path(lock.lock_file).unlink()
        return Downloaded(dest, dest.stat().st_size, fetched)
    except Timeout as error:
        raise DownloadError(
            f"Another process is downloading {dest}",
            hint="Wait for it to finish.",
        ) from error
    except OSError as error:
        raise DownloadError(
            f"Cannot write {dest}: {error.strerror or error}",
            hint="Check the free space and the permissions; run the command again to continue.",
        ) from error


class _Download:
    """One download: attempts, each of which continues where the one before stopped."""

    def __init__(
        self,
        url: httpx.URL,
        part: Path,
        digest: str,
        max_bytes: int,
        access: Access,
        progress: Progress,
        patience: Patience,
    ) -> None:
        self._url = url
        self._part = part
        self._digest = digest
        self._max_bytes = max_bytes
        self._access = access
        self._progress = progress
        self._patience = patience
        self._validator: str | None = None
        self._fetched = 0
        self._pieced = False

    def run(self) -> int:
        """Complete the partial file and verify it; returns the bytes fetched."""
        again = True
        while True:
            self._pieced = False
            self._complete()
            received = file_sha256(self._part)
            if received == self._digest:
                return self._fetched
            self._part.unlink()
            self._validator = None
            if not (self._pieced and again):
                raise DownloadError(
                    f"expected SHA-256 {self._digest} from {shown(self._url)}, received {received}",
                    hint="The file changed, or the hash belongs to another one. Nothing was kept.",
                )
            # Pieces of different attempts did not fit together: once more, in one go if the server lets us.
            again = False

    def _complete(self) -> None:
        failures, reached = 0, self._size()
        while True:
            try:
                self._attempt()
                return
            except addresses.NameNotResolvedError as error:
                problem, wait, again = str(error), None, error.temporary
            except TransientError as error:
                problem, wait, again = str(error), error.wait, True
            if self._size() >= reached + _PROGRESS_THAT_COUNTS:
                failures, reached = 0, self._size()
            failures += 1
            if not again or failures >= self._patience.attempts:
                raise DownloadError(
                    f"Could not download {shown(self._url)}: {problem}",
                    hint="Run the command again; it continues where it stopped."
                    if again
                    else "Check the address and the network.",
                )
            pause = wait if wait is not None else self._patience.backoff * 2 ** (failures - 1)
            time.sleep(min(pause, _PATIENCE_SECONDS) * random.uniform(0.8, 1.2))

    def _attempt(self) -> None:
        start = self._size()
        if start > self._max_bytes:
            self._part.unlink()
            start = 0
        headers = {"Accept-Encoding": "identity", "User-Agent": _USER_AGENT}
        if start:
            headers["Range"] = f"bytes={start}-"
            if self._validator:
                headers["If-Range"] = self._validator
        with get(self._url, headers, self._access) as response:
            self._refuse_encoding(response)
            if response.status_code == 416 and start:
                # Either the partial file is the whole one, and its hash will say so, or it is wrong.
                if response.headers.get("content-range", "").strip() != f"bytes */{start}":
                    self._part.unlink()
                    raise TransientError("the server does not know the range that is missing", wait=0.0)
                self._pieced = True
                return
            if response.status_code == 206:
                total = _range_total(response, start)
                self._pieced = True
            elif response.status_code == 200:
                start, total = 0, _length(response)
            else:
                self._refuse_status(response)
            etag = response.headers.get("etag", "")
            # A weak validator may not be used with If-Range (RFC 9110, 13.1.5).
            self._validator = etag if etag.startswith('"') else response.headers.get("last-modified")
            self._check_room(start, total)
            self._receive(response, start, total)

    def _receive(self, response: httpx.Response, start: int, total: int | None) -> None:
        done = start
        window_start, window_bytes = time.monotonic(), 0
        with self._part.open("r+b" if start else "wb") as stream:
            stream.seek(start)
            stream.truncate()
            self._progress.stage("Downloading", total, "bytes", done=start)
            # Raw: whatever a server claims about compression, only what arrived is counted and kept.
            for chunk in response.iter_raw():
                done += len(chunk)
                if done > self._max_bytes:
                    stream.truncate(0)
                    raise self._too_large(f"at least {done:,}")
                stream.write(chunk)
                self._fetched += len(chunk)
                window_bytes += len(chunk)
                elapsed = time.monotonic() - window_start
                if elapsed >= self._patience.window:
                    if window_bytes < self._patience.slowest * elapsed:
                        raise TransientError(f"only {window_bytes:,} bytes in {elapsed:.0f} s")
                    window_start, window_bytes = time.monotonic(), 0
                self._progress.advance(len(chunk))
        if total is not None and done != total:
            raise TransientError(f"{done:,} of {total:,} bytes")

    def _size(self) -> int:
        try:
            return self._part.stat().st_size
        except FileNotFoundError:
            return 0

    def _refuse_encoding(self, response: httpx.Response) -> None:
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if response.status_code in (200, 206) and encoding not in ("", "identity"):
            raise DownloadError(
                f"{shown(self._url)} came encoded as {encoding[:40]!r} instead of as it is",
                hint="Ask whoever runs the server to send the file as it is, or fetch it by other means.",
            )

    def _refuse_status(self, response: httpx.Response) -> NoReturn:
        status = response.status_code
        if status in _TRANSIENT:
            after = response.headers.get("retry-after", "")
            raise TransientError(f"HTTP {status}", wait=float(after) if re.fullmatch(r"[0-9]{1,9}", after) else None)
        hint = "Check the address."
        if status in (401, 403):
            hint = "The server wants to know who asks: download the file by other means, then models import."
        raise DownloadError(f"{shown(self._url)} answered HTTP {status}", hint=hint)

    def _check_room(self, start: int, total: int | None) -> None:
        if total is None:
            return
        if total > self._max_bytes:
            raise self._too_large(f"{total:,}")
        free = shutil.disk_usage(self._part.parent).free
        if total - start > free:
            raise DownloadError(
                f"Not enough disk space in {self._part.parent}: {total - start:,} bytes needed, {free:,} free",
                hint="Make room, then run the command again.",
            )

    def _too_large(self, received: str) -> DownloadError:
        return DownloadError(
            f"expected at most {self._max_bytes:,} bytes from {shown(self._url)}, received {received}",
            hint="Raise the cap with --max-size if the file is meant to be that large.",
        )


def _length(response: httpx.Response) -> int | None:
    value = response.headers.get("content-length", "")
    return int(value) if re.fullmatch(r"[0-9]{1,18}", value) else None


def _range_total(response: httpx.Response, start: int) -> int | None:
    match = re.fullmatch(
        r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)", response.headers.get("content-range", "").strip()
    )
    if match is None or int(match[1]) != start:
        raise TransientError("a part of the file that was not asked for", wait=0.0)
    return None if match[2] == "*" else int(match[2])

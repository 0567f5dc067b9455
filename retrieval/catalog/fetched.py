"""Pictures that a table names by http(s) address: fetched once into a cache, then only where they changed.

The cache keeps a file for each address, named by the address's hash, beside a record of what the server said of it
(ETag, Last-Modified). Whoever has a picture's address thereby finds its file, without a list.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.errors import DownloadError, ItemrecError, UsageError
from retrieval.images.pictures import DEFAULT_LIMITS
from retrieval.system.files import replace_file
from retrieval.system.progress import Progress, Silent
from retrieval.system.text import plural, printable, text_as_name
from retrieval.system.threads import ordered_map

if TYPE_CHECKING:
    from retrieval.download.http import Access

AT_ONCE = 8
"""Pictures that are fetched at a time."""
MOST_UNREACHABLE = 0.05
"""A larger share of pictures that cannot be fetched stops the run: it is the server, or the table, and no picture."""
SECONDS = 60.0
"""Longest that one picture may take to arrive."""
MAX_BYTES = DEFAULT_LIMITS.max_bytes
ATTEMPTS = 3
_PAUSE = 0.5
_LONGEST_PAUSE = 20.0
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_SHOWN = 3
_WEB = re.compile(r"https?://", re.IGNORECASE)
_NOT_PUBLIC = "has no public address"
_USER_AGENT = "itemrec (catalog pictures)"


@dataclass(frozen=True, slots=True)
class Fetched:
    """What fetching the pictures of a catalog came to.

    Attributes:
        unreachable: why a picture has no file, by address.
        new: pictures that came over the network.
        kept: pictures that the server said had not changed.
        stale: pictures whose server does not answer and that are used as they were.
    """

    unreachable: dict[str, str] = field(default_factory=dict)
    new: int = 0
    kept: int = 0
    stale: int = 0

    def note(self) -> str:
        """A line of what was done."""
        words = [
            f"{self.new:,} fetched" if self.new else "",
            f"{self.kept:,} unchanged" if self.kept else "",
            f"{self.stale:,} used as they were, since their server does not answer" if self.stale else "",
            f"{len(self.unreachable):,} not reachable" if self.unreachable else "",
        ]
        return f"Pictures by address: {', '.join(word for word in words if word)}"


def is_address(image: str) -> bool:
    """True for a picture that is named by its http(s) address."""
    return _WEB.match(image) is not None


def address_name(image: str) -> str:
    """What a picture's address calls it: ``a.jpg`` of ``https://shop.example/a.jpg?w=300``."""
    name = re.split("[?#]", image)[0].rpartition("/")[2]
    return re.sub(r'[\\:*?"<>|\x00-\x1f]', "_", name) or "picture"


def cache_folder() -> Path:
    """Where fetched pictures lie: ``$ITEMREC_CACHE``, else the platform's place for what can be had again.

    Raises:
        UsageError: the environment names no such place.
    """
    if given := os.environ.get("ITEMREC_CACHE"):
        return Path(os.path.expanduser(given)).absolute()
    try:
        if sys.platform == "win32":
            local = os.environ.get("LOCALAPPDATA")
            return (Path(local) if local else Path.home() / "AppData" / "Local") / "itemrec" / "cache"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "itemrec"
        xdg = os.environ.get("XDG_CACHE_HOME", "")
        return (Path(xdg) if xdg.startswith("/") else Path.home() / ".cache") / "itemrec"
    except RuntimeError as error:
        raise UsageError(
            "expected a home directory to keep fetched pictures in, received an environment without one",
            hint="Set ITEMREC_CACHE to a directory that you can write.",
        ) from error


def place(image: str) -> tuple[Path, Path]:
    """The file of a picture that is named by its address, and the folder that it must not leave."""
    folder = cache_folder() / "pictures"
    name = hashlib.sha256(image.encode("utf-8", "surrogatepass")).hexdigest()
    return folder / name[:2] / name, folder


def locate(root: Path, image: str) -> tuple[Path, Path]:
    """The file of any indexed picture, and the folder that it must not leave: the catalog's, or that of the cache."""
    if is_address(image):
        return place(image)
    file = root / image
    if "%" in image and not file.exists() and (other := root / text_as_name(image)).exists():
        return other, root
    return file, root


def fetch_pictures(
    images: Sequence[str], *, allow_private: bool = False, progress: Progress = Silent(), attempts: int = ATTEMPTS
) -> Fetched:
    """Bring every picture up to date in the cache.

    Args:
        images: addresses, each once.
        allow_private: also from private and loopback addresses.
        progress: told how far it is.
        attempts: how often a server is asked that does not answer.

    Raises:
        DownloadError: more than `MOST_UNREACHABLE` of them cannot be had. Said as soon as that is certain.
    """
    # A catalog of files does not pay for the import.
    from retrieval.download.http import Access

    # Whatever the server sends is decoded as what a stranger sent: it needs no encryption to be accepted.
    access = Access(allow_private=allow_private, allow_http=True, connect=10.0, read=15.0, headers=20.0)
    found = Fetched()
    new = kept = stale = 0
    progress.stage("Fetching pictures", len(images))

    # Whoever stops, for one failure too many or by Ctrl-C, waits for no slow server.
    over = threading.Event()

    def work(image: str) -> str:
        return _bring(image, access, attempts, over)

    failed = 0
    try:
        for image, outcome in zip(images, ordered_map(work, images, AT_ONCE, ahead=2, over=over), strict=True):
            new += outcome == "new"
            kept += outcome == "kept"
            if outcome.startswith("stale "):
                stale += 1
            elif outcome not in ("new", "kept"):
                found.unreachable[image] = outcome
            failed = stale + len(found.unreachable)
            progress.advance(note=f"{failed:,} not reachable" if failed else "")
            if failed > MOST_UNREACHABLE * len(images):
                examples = [f"{printable(i)}: {why}" for i, why in list(found.unreachable.items())[:_SHOWN]]
                if outcome.startswith("stale ") and len(examples) < _SHOWN:
                    examples.append(f"{printable(image)}: {outcome.removeprefix('stale ')}")
                raise DownloadError(
                    f"expected at least {1 - MOST_UNREACHABLE:.0%} of {plural(len(images), 'picture')} to be reachable,"
                    f" received {failed:,} that are not; {'; '.join(examples)}",
                    hint="Nothing was changed. "
                    + (
                        "If that is a server of yours, say --allow-private."
                        if any(_NOT_PUBLIC in why for why in found.unreachable.values())
                        else "Correct these rows, or run it again when the server answers."
                    ),
                )
    finally:
        over.set()
    return Fetched(found.unreachable, new, kept, stale)


def _bring(image: str, access: Access, attempts: int, over: threading.Event) -> str:
    """``new``, ``kept``, ``stale`` and why, or why the picture cannot be had."""
    from retrieval.download.addresses import NameNotResolvedError
    from retrieval.download.http import TransientError

    file, _ = place(image)
    problem = ""
    for attempt in range(attempts):
        if over.is_set():
            break
        wait: float | None = None
        try:
            return _ask(image, file, access, over)
        except TransientError as error:
            problem, wait = str(error), error.wait
        except NameNotResolvedError as error:
            problem = str(error)
            if not error.temporary:
                break
        except ItemrecError as error:
            return error.message
        except OSError as error:
            return f"cannot be written to {printable(file.parent)}: {error.strerror or error}"
        if attempt + 1 < attempts:
            over.wait(min(_PAUSE * 2**attempt if wait is None else wait, _LONGEST_PAUSE))
    return f"stale {problem}" if file.is_file() else problem


def _ask(image: str, file: Path, access: Access, over: threading.Event) -> str:
    from retrieval.download.http import TransientError, get, parse_url, shown

    url = parse_url(image)
    record = file.with_name(f"{file.name}.json")
    headers = {"Accept-Encoding": "identity", "User-Agent": _USER_AGENT}
    known = _known(file, record)
    if known.get("etag"):
        headers["If-None-Match"] = known["etag"]
    elif known.get("last_modified"):
        headers["If-Modified-Since"] = known["last_modified"]
    start = time.monotonic()
    with get(url, headers, access) as response:
        if response.status_code == 304 and known:
            return "kept"
        if response.status_code in _PASSING:
            after = response.headers.get("retry-after", "")
            raise TransientError(
                f"HTTP {response.status_code}", wait=float(after) if re.fullmatch(r"\d{1,6}", after) else None
            )
        if response.status_code != 200:
            raise DownloadError(f"HTTP {response.status_code}")
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise DownloadError(f"came encoded as {printable(encoding[:40])} instead of as it is")
        content = bytearray()
        for chunk in response.iter_raw():
            content += chunk
            if len(content) > MAX_BYTES:
                raise DownloadError(f"expected at most {MAX_BYTES:,} bytes, received more")
            if over.is_set() or time.monotonic() - start > SECONDS:
                raise DownloadError(f"did not arrive within {SECONDS:.0f} s")
        length = response.headers.get("content-length", "")
        if length.isdigit() and int(length) != len(content):
            raise TransientError(f"{len(content):,} of {length} bytes")
        said = {
            "address": shown(url),
            "etag": response.headers.get("etag", ""),
            "last_modified": response.headers.get("last-modified", ""),
            "bytes": len(content),
        }
    file.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        # A record that is newer than the file would keep a file that is not the one it speaks of.
        record.unlink()
    replace_file(file, bytes(content))
    replace_file(record, json.dumps(said))
    return "new"


def _known(file: Path, record: Path) -> dict[str, str]:
    """What the server said of the file in the cache; nothing where one of the two is missing or does not fit."""
    try:
        said = json.loads(record.read_text("utf-8"))
        if isinstance(said, dict) and file.stat().st_size == said.get("bytes"):
            return {name: said[name] for name in ("etag", "last_modified") if isinstance(said.get(name), str)}
    except (OSError, ValueError):
        pass
    return {}

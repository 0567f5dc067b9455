"""Who may ask what: keys, their roles, and how often.

A key is ``irk.ID.SECRET``. The file holds a salted scrypt digest of the secret, so that whoever reads it can ask
nothing. A key that was right once is remembered by its SHA-256 for as long as the file stays as it is, since scrypt is
slow on purpose.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

from retrieval.errors import UsageError
from retrieval.system.files import os_errors, replacing
from retrieval.system.text import json_bytes, printable

Role = Literal["recognize", "teach", "admin"]
"""What a key may do; each may do what those before it may."""

SCHEMA = "itemrec.keys/1"
RATE = 20.0
"""Requests a second of a key for which no other rate is set; twice as many may come at once."""

_COST = {"n": 2**14, "r": 8, "p": 1}
_ID = re.compile("[a-z0-9]{8}")
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Key:
    """One key, without its secret.

    Attributes:
        id: the part of the key that names it.
        name: whose it is, for people.
        role: what it may do.
        salt: of the digest, hexadecimal.
        digest: scrypt of the secret, hexadecimal.
        where: a filter that every query of this key gets, as terms of ``--where``; another tenant's products stay
            unseen.
        rate: requests a second; twice as many may come at once.
    """

    id: str
    name: str
    role: Role
    salt: str
    digest: str
    where: tuple[str, ...] = field(default=())
    rate: float = RATE

    def allows(self, role: Role) -> bool:
        """True when it may do what ``role`` may."""
        roles = get_args(Role)
        return bool(roles.index(self.role) >= roles.index(role))

    def opens(self, secret: str) -> bool:
        """True when the secret is this key's."""
        return hmac.compare_digest(_digest(secret, self.salt), self.digest)


def new_key(name: str, role: Role, *, where: tuple[str, ...] = (), rate: float = RATE) -> tuple[Key, str]:
    """A key, and the text that its owner sends. The text is nowhere else.

    Args:
        name: whose it is.
        role: what it may do.
        where: see `Key`.
        rate: see `Key`.
    """
    ident = "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(8))
    secret, salt = secrets.token_urlsafe(32), secrets.token_hex(16)
    return Key(ident, name, role, salt, _digest(secret, salt), where, rate), f"irk.{ident}.{secret}"


def read_keys(file: Path) -> list[Key]:
    """The keys of a file.

    Raises:
        UsageError: there is none, or it is no file of keys.
    """
    try:
        data = json.loads(file.read_bytes())
        if data["schema"] != SCHEMA:
            raise ValueError(f"its schema is {data['schema']!r:.80}")
        keys = [_key(entry) for entry in data["keys"]]
    except OSError as error:
        raise UsageError(
            f"expected a file of keys, received {error.strerror}: {printable(str(file))}",
            hint=f"Make one: itemrec keys add {printable(str(file))} NAME",
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(
            f"expected a file of keys, received {printable(str(file))}, which is none: {printable(str(error))}",
            hint="It is JSON, as itemrec keys writes it.",
        ) from error
    if len({key.id for key in keys}) < len(keys):
        raise UsageError(f"expected keys of distinct ids, received one twice in {printable(str(file))}")
    return keys


def write_keys(file: Path, keys: list[Key]) -> None:
    """Replace a file of keys as a whole; only its owner can read it.

    Raises:
        DiskFullError, StoreError: it cannot be written.
    """
    content = json.dumps({"schema": SCHEMA, "keys": [asdict(key) for key in keys]}, indent=2, ensure_ascii=False)
    with os_errors("write the keys", file.parent), replacing(file) as new:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(json_bytes(content) + b"\n")


def add_key(file: Path, name: str, role: str, *, where: tuple[str, ...] = (), rate: float = RATE) -> tuple[Key, str]:
    """Make a key and add it to a file, which is made if missing.

    Args:
        file: of keys.
        name: see `Key`.
        role: see `Key`.
        where: see `Key`.
        rate: see `Key`.

    Returns:
        The key, and the text that its owner sends.

    Raises:
        UsageError: the role is none, or the file is none of keys.
        DiskFullError, StoreError: it cannot be written.
    """
    if role not in get_args(Role):
        raise UsageError(f"expected a role out of {', '.join(get_args(Role))}, received {printable(role)}")
    for term in where:
        if not any(sign in term for sign in "=<>?"):
            raise UsageError(f"expected --where KEY=VALUE, received {printable(term)}")
    known = read_keys(file) if os.path.lexists(file) else []
    key, secret = new_key(name, cast(Role, role), where=where, rate=rate)
    write_keys(file, [*known, key])
    return key, secret


def _key(entry: Any) -> Key:
    key = Key(**{**entry, "where": tuple(entry.get("where", ()))})
    texts = (key.id, key.name, key.salt, key.digest, *key.where)
    if not all(isinstance(text, str) for text in texts) or not _ID.fullmatch(key.id):
        raise ValueError("a key needs an id of eight letters and digits, a name, a salt and a digest")
    if key.role not in get_args(Role):
        raise ValueError(f"the role {key.role!r:.40} is none of {', '.join(get_args(Role))}")
    if isinstance(key.rate, bool) or not isinstance(key.rate, (int, float)) or not 0 < key.rate <= 1e6:
        raise ValueError(f"the rate {key.rate!r:.40} is no number of requests a second")
    bytes.fromhex(key.salt)
    return key


def _digest(secret: str, salt: str) -> str:
    return hashlib.scrypt(secret.encode(), salt=bytes.fromhex(salt), dklen=32, **_COST).hex()


class TooMany(Exception):  # noqa: N818 (an answer, not a fault)
    """A key asks more often than it may.

    Attributes:
        seconds: after which it may ask again.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Access:
    """Checks keys against a file, which is read again whenever it changes. Thread-safe."""

    def __init__(self, file: Path | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the file.

        Args:
            file: of keys; None lets everybody do everything, which is for this machine alone.
            clock: seconds, for tests.

        Raises:
            UsageError: see `read_keys`.
        """
        self._file = file
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: tuple[int, int] | None = None
        self._keys: dict[str, Key] = {}
        self._known: dict[bytes, str] = {}
        self._buckets: dict[str, tuple[float, float]] = {}
        if file is not None:
            self._refresh()

    @property
    def open(self) -> bool:
        """True when no key is asked for."""
        return self._file is None

    def check(self, sent: str) -> Key | None:
        """The key that was sent; None when it is none of ours. Slow the first time: call it in a thread.

        Raises:
            TooMany: it asks more often than it may.
            UsageError: the file of keys became unreadable.
        """
        with self._lock:
            self._refresh()
            keys = self._keys
            digest = hashlib.sha256(sent.encode("utf-8", "surrogateescape")).digest()
            known = self._known.get(digest)
        if known is None:
            head, _, rest = sent.partition(".")
            ident, _, secret = rest.partition(".")
            key = keys.get(ident)
            if head != "irk" or key is None or not key.opens(secret):
                return None
            with self._lock:
                if self._keys is keys:
                    if len(self._known) >= _REMEMBERED:
                        self._known.clear()
                    self._known[digest] = ident
        else:
            key = keys[known]
        self._take(key)
        return key

    def _take(self, key: Key) -> None:
        """One token out of the key's bucket."""
        with self._lock:
            now = self._clock()
            level, before = self._buckets.get(key.id, (2 * key.rate, now))
            level = min(max(2 * key.rate, 1.0), level + (now - before) * key.rate)
            if level < 1.0:
                self._buckets[key.id] = (level, now)
                raise TooMany((1.0 - level) / key.rate)
            self._buckets[key.id] = (level - 1.0, now)

    def _refresh(self) -> None:
        assert self._file is not None
        try:
            status = os.stat(self._file)
        except OSError:
            # Between two versions of the file, or gone: what was read last holds.
            if self._seen is None:
                read_keys(self._file)
            return
        stamp = (status.st_mtime_ns, status.st_ino)
        if stamp == self._seen:
            return
        # A file that is damaged while the service runs is reported by the first request that needs it.
        self._keys = {key.id: key for key in read_keys(self._file)}
        self._known = {}
        self._seen = stamp

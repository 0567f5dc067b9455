"""The SQLite file of an inbox: its tables, transactions that are on the disk when they end, and errors in our words."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from retrieval.errors import DiskFullError, StoreError, UsageError

NAME = "inbox.sqlite"
_MARK = 0x69726D78
_VERSION = 1
_PATIENCE = 10.0

_TABLES = """
CREATE TABLE IF NOT EXISTS photos (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    photo TEXT NOT NULL UNIQUE,
    content_hash TEXT NOT NULL,
    tenant TEXT NOT NULL,
    stack TEXT NOT NULL,
    picture_hash INTEGER NOT NULL,
    held_out INTEGER NOT NULL,
    name TEXT NOT NULL,
    request TEXT NOT NULL,
    first_asked REAL NOT NULL,
    asked REAL NOT NULL,
    times INTEGER NOT NULL,
    verdict TEXT NOT NULL,
    answer TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    brightness REAL NOT NULL,
    sharpness REAL NOT NULL,
    badges TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    label INTEGER
);
CREATE INDEX IF NOT EXISTS photos_by_age ON photos (label, asked, bytes);
CREATE INDEX IF NOT EXISTS photos_by_stack ON photos (stack);
CREATE TABLE IF NOT EXISTS questions (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    request TEXT NOT NULL,
    place INTEGER NOT NULL,
    photo TEXT NOT NULL,
    tenant TEXT NOT NULL,
    asked REAL NOT NULL,
    first INTEGER NOT NULL,
    verdict TEXT NOT NULL,
    product_id TEXT,
    confidence REAL,
    distance REAL,
    fingerprint TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS questions_by_request ON questions (request, place);
CREATE INDEX IF NOT EXISTS questions_by_time ON questions (asked);
CREATE INDEX IF NOT EXISTS questions_by_photo ON questions (photo);
CREATE TABLE IF NOT EXISTS labels (
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    batch TEXT NOT NULL,
    photo TEXT NOT NULL,
    tenant TEXT NOT NULL,
    kind TEXT NOT NULL,
    product_id TEXT NOT NULL,
    name TEXT NOT NULL,
    gtin TEXT NOT NULL,
    note TEXT NOT NULL,
    by TEXT NOT NULL,
    at REAL NOT NULL,
    undone REAL
);
CREATE INDEX IF NOT EXISTS labels_by_photo ON labels (photo, n);
CREATE INDEX IF NOT EXISTS labels_by_batch ON labels (batch);
CREATE INDEX IF NOT EXISTS labels_by_product ON labels (product_id);
CREATE TABLE IF NOT EXISTS todo (
    photo TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    problem TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS taught (
    photo TEXT NOT NULL,
    kind TEXT NOT NULL,
    product_id TEXT NOT NULL,
    image TEXT NOT NULL,
    owned INTEGER NOT NULL,
    row_there INTEGER NOT NULL,
    PRIMARY KEY (photo, kind, product_id)
);
"""


class Database:
    """One connection to an inbox's file. Thread-safe: who comes second waits.

    Another process may have the file open, too: writers take turns.
    """

    def __init__(self, folder: Path) -> None:
        """Open it; made if missing.

        Args:
            folder: the inbox's, on a disk of this machine: SQLite's log does not work over a network.

        Raises:
            UsageError: the file there is something else.
            StoreError: it cannot be opened.
        """
        self._file = folder / NAME
        self._lock = threading.RLock()
        with self._errors("open"):
            self._connection = sqlite3.connect(
                self._file, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
            )
            self._connection.row_factory = sqlite3.Row
            try:
                mark = self._one("PRAGMA application_id")
                tables = self._one("SELECT COUNT(*) FROM sqlite_master")
            except sqlite3.DatabaseError as error:
                if "not a database" not in str(error):
                    raise
                raise self._other() from error
            if mark not in (0, _MARK) or (mark == 0 and tables):
                raise self._other()
            if self._one("PRAGMA user_version") > _VERSION:
                raise UsageError(
                    f"expected an inbox that this version can read, received a newer one: {folder}",
                    hint="Update itemrec.",
                )
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")  # what is acknowledged survives a power cut
            if mark == 0:
                with self.write() as connection:
                    for statement in _TABLES.split(";"):
                        connection.execute(statement)
                    connection.execute(f"PRAGMA application_id = {_MARK}")
                    connection.execute(f"PRAGMA user_version = {_VERSION}")

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it is on the disk when this ends, or nothing.

        Raises:
            DiskFullError: there is no room.
            StoreError: another process writes for too long, or the file is damaged.
        """
        with self._lock, self._errors("write"):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[sqlite3.Row]:
        """What a query finds.

        Raises:
            StoreError: the file cannot be read.
        """
        with self._lock, self._errors("read"):
            return self._connection.execute(sql, values).fetchall()

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    def _one(self, sql: str) -> int:
        return int(self._connection.execute(sql).fetchone()[0])

    def _other(self) -> UsageError:
        return UsageError(f"expected an inbox, received another file: {self._file}", hint="Name another folder.")

    @contextmanager
    def _errors(self, action: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            words = str(error)
            if "full" in words:
                raise DiskFullError(
                    f"Disk full: cannot {action} the inbox {self._file.parent}",
                    hint="Free some space; what was acknowledged is kept.",
                ) from error
            hint = (
                "Another process writes; try again in a moment."
                if "locked" in words
                else "Check that the folder exists and may be written by you."
            )
            raise StoreError(f"Cannot {action} the inbox {self._file.parent}: {words}", hint=hint) from error

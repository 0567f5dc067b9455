"""One SQLite file beside an index that whoever loses it loses time, and nothing else.

For an index in a directory it lies in that directory; for one on a server, in the local cache of each machine that
asks. It belongs to no generation and to no model. A reader that cannot read it finds nothing; a writer begins anew
what is damaged, or of another release.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.catalog.fetched import cache_folder
from retrieval.errors import StoreError

if TYPE_CHECKING:
    import sqlite3

_PATIENCE = 10.0
"""Seconds to wait for another process that writes."""


def beside(location: str, name: str) -> Path:
    """Where a file of an index is kept.

    Args:
        location: of the index, a directory or the URL of a server.
        name: of the file, with its suffix.
    """
    if "://" not in location:
        return Path(location) / name
    stem, suffix = name.rsplit(".", 1)
    return cache_folder() / stem / f"{hashlib.sha256(location.encode()).hexdigest()[:24]}.{suffix}"


class KeptFile:
    """The file. Thread-safe: every call opens it for itself.

    Attributes:
        file: where it lies.
    """

    def __init__(self, file: Path, tables: Sequence[str], *, version: int, what: str) -> None:
        """Name it; nothing is opened.

        Args:
            file: where it lies.
            tables: the statements that make them where they are missing.
            version: of what is kept; what another one wrote is made anew.
            what: is kept, for messages.
        """
        self.file = file
        self._tables, self._version, self._what = tables, version, what

    def there(self) -> bool:
        """Whether anything was ever kept; cheap enough for every query."""
        return self.file.is_file()

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection | None]:
        """The file open for reading; None where another release wrote it."""
        import sqlite3

        address = f"{self.file.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, timeout=_PATIENCE, uri=True)) as database:
            (version,) = database.execute("PRAGMA user_version").fetchone()
            yield database if version == self._version else None

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """The file open for writing; raises StoreError where that cannot be."""
        import sqlite3

        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            database = self._opened()
        except (sqlite3.Error, OSError) as error:
            raise self._broken(error) from error
        with closing(database):
            try:
                yield database
            except sqlite3.Error as error:
                raise self._broken(error) from error

    def _opened(self) -> sqlite3.Connection:
        """The file with its tables; one that is damaged, or of another release, is begun anew."""
        import sqlite3

        for _ in range(2):
            database = sqlite3.connect(self.file, timeout=_PATIENCE)
            try:
                (version,) = database.execute("PRAGMA user_version").fetchone()
                if version in (0, self._version):
                    for table in self._tables:
                        database.execute(table)
                    database.execute(f"PRAGMA user_version = {self._version}")
                    database.commit()
                    return database
                database.close()
            except sqlite3.OperationalError:  # locked, full, or not to be written: nothing that a new file mends
                database.close()
                raise
            except sqlite3.DatabaseError:
                database.close()
            self.file.unlink(missing_ok=True)
        raise sqlite3.DatabaseError("it cannot be begun anew")

    def _broken(self, error: Exception) -> StoreError:
        return StoreError(
            f"Cannot keep {self._what} in {self.file}: {error}",
            hint="The index itself is as it was. Free some space or check the permissions, and index again",
        )

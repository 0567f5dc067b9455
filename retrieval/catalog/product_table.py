"""``products.csv`` changed row by row: the row of one product, and not a byte of the others.

For tables of our own form, in UTF-8 with a column ``product_id``; others belong to the system that writes them.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from retrieval.catalog.columns import is_image_column, plain
from retrieval.errors import UsageError
from retrieval.system.files import replace_file
from retrieval.system.text import one_form, printable
from retrieval.types import MAX_COLUMNS, MAX_VALUE_BYTES

TABLE = "products.csv"
NAMES = ("name", "title")
"""Columns that may hold what people call a product; the first that a table has is meant."""

_DELIMITERS = (",", ";", "\t")


class ProductTable:
    """One table, in memory until `save`.

    Attributes:
        columns: all its columns, ``product_id`` among them; empty where there is no table.
    """

    def __init__(self, catalog: Path) -> None:
        """Read it; there need not be one.

        Args:
            catalog: the folder that it lies in.

        Raises:
            UsageError: it is one that a row cannot be changed in.
            OSError: it cannot be read.
        """
        self._file = catalog / TABLE
        self._mark = b""
        self._delimiter = ","
        self._end = "\n"
        self.columns: list[str] = []
        self._header = ""
        self._rows: list[str] = []
        try:
            data = self._file.read_bytes()
        except FileNotFoundError:
            return
        if data.startswith(codecs.BOM_UTF8):
            self._mark, data = codecs.BOM_UTF8, data[len(codecs.BOM_UTF8) :]
        try:
            lines = list(io.StringIO(data.decode("utf-8"), newline=""))
            first = lines[0] if lines else ""
            self._delimiter = max(_DELIMITERS, key=first.count)
            self._end = "\r\n" if first.endswith("\r\n") else "\n"
            parts = self._split(lines)
        except (UnicodeDecodeError, csv.Error):
            parts = []
        self._header, *self._rows = parts or [""]
        self.columns = [_column(name) for name in self._cells(self._header)]
        if "product_id" not in self.columns:
            raise UsageError(
                f"expected {TABLE} in UTF-8 with a column product_id, received another",
                hint="Change the product in the table yourself, then run itemrec index.",
            )

    @property
    def header(self) -> str | None:
        """Its first line as it is written; None where there is no table."""
        return self._header or None

    @property
    def name_column(self) -> str:
        """The column that holds what people call a product; ``name`` where there is none yet."""
        return next((name for name in NAMES if name in self.columns), NAMES[0])

    def row(self, product_id: str) -> tuple[int, str] | None:
        """Where a product's row stands, from 0, and how it is written; None without one."""
        for place, text in enumerate(self._rows):
            if self._id(text) == product_id:
                return place, text
        return None

    def values(self, product_id: str) -> dict[str, str]:
        """What a product's row says, by column; empty without one."""
        found = self.row(product_id)
        cells = dict(zip(self.columns, self._cells(found[1]), strict=False)) if found else {}
        cells.pop("product_id", None)
        return cells

    def set(self, product_id: str, values: Mapping[str, str]) -> None:
        """Write some columns of a product; the others keep what they hold, and a column that is new is added.

        Args:
            product_id: which; a row is added where it has none.
            values: text by column; empty clears.

        Raises:
            UsageError: no column can be called that, or a value is too long.
        """
        for column, value in values.items():
            _check(column, value)
        if not self.columns:
            self.columns = ["product_id", self.name_column]
            self._header = self._written(self.columns)
        found = self.row(product_id)
        cells = dict(zip(self.columns, self._cells(found[1]), strict=False)) if found else {"product_id": product_id}
        new = [column for column, value in values.items() if column not in self.columns and value]
        if new:
            if len(self.columns) + len(new) > MAX_COLUMNS:
                raise UsageError(f"expected at most {MAX_COLUMNS} columns, received more")
            self.columns += new
            self._header = self._header.rstrip("\r\n") + self._delimiter + self._written(new)
        cells.update(values)
        text = self._written([cells.get(column, "") for column in self.columns])
        if found:
            if self._cells(found[1]) != self._cells(text):
                self._rows[found[0]] = text
        else:
            self._append(text)

    def put(self, product_id: str, text: str | None, place: int) -> None:
        """Put a product's row as it was written before; None removes it.

        Args:
            product_id: which.
            text: its row.
            place: where it stood, from 0.
        """
        found = self.row(product_id)
        if text is None:
            if found:
                self._remove(found[0])
        elif found:
            self._rows[found[0]] = text
        elif place < len(self._rows):
            self._rows.insert(place, text if text.endswith(("\n", "\r")) else text + self._end)
        else:
            self._append(text)

    def put_header(self, header: str | None) -> None:
        """Put the first line as it was before columns were added, where nothing stands in them; None: no table."""
        if header is None:
            if not self._rows:
                self._header, self.columns = "", []
            return
        columns = [_column(name) for name in self._cells(header)]
        more = range(len(columns), len(self.columns))
        if columns == self.columns[: len(columns)] and not any(
            any(cells[place : place + 1] != [""] for place in more if len(cells) > place)
            for cells in map(self._cells, self._rows)
        ):
            self._header, self.columns = header, columns

    def save(self) -> None:
        """Write it durably; a table without header is removed.

        Raises:
            OSError: it cannot be written; the old one is still there.
        """
        if not self._header:
            self._file.unlink(missing_ok=True)
            return
        replace_file(self._file, self._mark + "".join([self._header, *self._rows]).encode())

    def _append(self, text: str) -> None:
        """Add a row. A table whose last line has no end, as some editors leave it, stays one."""
        last = self._rows[-1] if self._rows else self._header
        is_open = not last.endswith(("\n", "\r"))
        if is_open:
            self._end_last()
        self._rows.append(text.rstrip("\r\n") + ("" if is_open else self._end))

    def _remove(self, place: int) -> None:
        is_open = place == len(self._rows) - 1 and not self._rows[place].endswith(("\n", "\r"))
        del self._rows[place]
        if is_open and self._rows:
            self._rows[-1] = self._rows[-1].rstrip("\r\n")
        elif is_open:
            self._header = self._header.rstrip("\r\n")

    def _end_last(self) -> None:
        if self._rows:
            self._rows[-1] += self._end
        else:
            self._header += self._end

    def _split(self, lines: Sequence[str]) -> list[str]:
        """The header and each row as they are written; a cell may hold line breaks."""
        reader = csv.reader(iter(lines), delimiter=self._delimiter, strict=True)
        parts, start = [], 0
        for _ in reader:
            parts.append("".join(lines[start : reader.line_num]))
            start = reader.line_num
        return parts

    def _cells(self, text: str) -> list[str]:
        return next(csv.reader(io.StringIO(text, newline=""), delimiter=self._delimiter), [])

    def _id(self, text: str) -> str:
        place = self.columns.index("product_id")
        return one_form("".join(self._cells(text)[place : place + 1]))

    def _written(self, cells: Sequence[str]) -> str:
        file = io.StringIO(newline="")
        csv.writer(file, delimiter=self._delimiter, lineterminator=self._end).writerow(cells)
        return file.getvalue()


def _column(name: str) -> str:
    return "product_id" if plain(name) == "product_id" else one_form(name)


def _check(column: str, value: str) -> None:
    usable = column == one_form(column) and column.isprintable() and 0 < len(column) <= 100
    if not usable or plain(column) == "product_id" or is_image_column(column):
        raise UsageError(
            f"expected a column of what is said of a product, received {printable(column)[:80]!r}",
            hint="Ids and pictures are changed by routes of their own.",
        )
    if "\0" in value or len(value.encode("utf-8", "replace")) > MAX_VALUE_BYTES or _has_surrogate(value):
        raise UsageError(f"expected text of at most {MAX_VALUE_BYTES:,} bytes for {printable(column)}, received other")


def _has_surrogate(value: str) -> bool:
    return any("\ud800" <= c <= "\udfff" for c in value)

"""Read a catalog's table: CSV, JSON lines, a feed in XML or a workbook to checked rows."""

from __future__ import annotations

import codecs
import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from retrieval.catalog.columns import AS_FOUND, Meaning, Reading, find_meaning, is_image_column, plain
from retrieval.catalog.exports import arranged
from retrieval.errors import CatalogError
from retrieval.system.text import one_form, printable
from retrieval.types import MAX_COLUMNS, MAX_VALUE_BYTES, JsonValue

MAX_PRODUCT_ID = 256
SUFFIXES = (".csv", ".tsv", ".jsonl", ".xlsx", ".xml", ".rss")
"""How the names of tables end, in lower case; one that is named itself may also be a ``.txt``."""
_MAX_INTEGER = 2**63 - 1
_DELIMITERS = (",", ";", "\t", "|")
_SEPARATOR = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
_HINT = "Correct that line."


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the line it starts at (from 1), its product (stripped, Unicode NFC) and its other columns."""

    line: int
    product_id: str
    values: dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be used: the line it starts at, and why."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table as it was understood.

    Attributes:
        meaning: what its columns mean.
        rows: its rows, in order.
        unit: what the numbers of the rows count: ``line``, ``item`` or ``row``.
    """

    meaning: Meaning
    rows: list[Row | BadRow]
    unit: str = "line"


class _Raw(NamedTuple):
    """A table before its columns are understood: their names, and rows (or what is wrong with one) by line."""

    header: Sequence[str]
    rows: Iterable[tuple[int, dict[str, JsonValue] | str]]
    unit: str = "line"


class _RowError(Exception):
    """A row cannot be used; its message says why."""


def read_table(path: Path, notify: Callable[[str], None] = lambda line: None, reading: Reading = AS_FOUND) -> Table:
    """The rows of a table, by the ending of its name (see `SUFFIXES`).

    Tables are read as spreadsheets write them: UTF-8 with or without a byte order mark, UTF-16 with one, else
    Windows-1252; separated by comma, semicolon, tab or bar, or by what a first line ``sep=;`` says. Blank rows are
    none; a short one has empty cells at its end. CSV values are strings. JSON lines hold one flat object each; its
    scalars keep their type. ``product_id`` and ``image`` are found however they are capitalized, and what other tables
    call them as `retrieval.catalog.columns` tells.

    Args:
        path: the table.
        notify: told what was understood and a person may want to know.
        reading: what the user says of its columns.

    Raises:
        CatalogError: the table cannot be read, or no column names the products.
    """
    try:
        with path.open("rb") as file:
            data = file.read()
    except OSError as error:
        raise CatalogError(f"expected a readable table, received {error.strerror or error}: {path}") from error
    raw = _read(path, data, notify, reading)
    meaning = _meaning(path, raw, reading)
    found = list(raw.rows)
    if meaning.merges:
        found, meaning, notes = arranged(found, meaning, raw.header)
        for note in notes:
            notify(f"{path.name}: {note}")
    rows: list[Row | BadRow] = []
    for line, values in found:
        if isinstance(values, str):
            rows.append(BadRow(line, printable(values)))
            continue
        try:
            rows.append(_row(line, values, meaning))
        except _RowError as error:
            rows.append(BadRow(line, printable(str(error))))
    return Table(meaning, rows, raw.unit)


def _read(path: Path, data: bytes, notify: Callable[[str], None], reading: Reading) -> _Raw:
    suffix = path.suffix.lower()
    if suffix in (".xml", ".rss"):
        from retrieval.catalog.feeds import read_feed

        items = list(read_feed(path.name, data))
        return _Raw(list(dict.fromkeys(name for _, item in items for name in item)), items, "item")
    if suffix == ".xlsx":
        from retrieval.catalog.sheets import read_sheet

        return _sheet(path, read_sheet(path.name, data, notify))
    text = _decode(path, data, notify)
    if suffix == ".jsonl":
        rows = list(_jsonl(text))
        return _Raw(list(dict.fromkeys(key for _, row in rows if isinstance(row, dict) for key in row)), rows)
    return _csv(path, text, reading)


def _meaning(path: Path, raw: _Raw, reading: Reading) -> Meaning:
    if path.suffix.lower() == ".jsonl" and "product_id" not in map(plain, raw.header) and reading.id_column is None:
        try:
            return find_meaning(raw.header, reading, path.name)
        except CatalogError:
            return Meaning("product_id")  # every row is refused by its line
    return find_meaning(raw.header, reading, path.name)


def _decode(path: Path, data: bytes, notify: Callable[[str], None]) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    else:
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError:
            encoding = "cp1252"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise CatalogError(
            f"expected {path.name} in UTF-8, received byte 0x{data[error.start]:02x} in it",
            hint="Save the table as UTF-8 (in a spreadsheet: CSV UTF-8).",
        ) from error
    if encoding == "cp1252":
        notify(f"{path.name} is no UTF-8 and was read as Windows-1252")
    return text


def _row(line: int, values: dict[str, JsonValue], meaning: Meaning) -> Row:
    values = dict(values)
    raw = values.pop(meaning.id, None)
    if isinstance(raw, bool) or not isinstance(raw, (str, int)):
        received = "none" if raw is None else f"{raw!r:.80}"
        _refuse(f"expected a {meaning.id}, received {received}")
    product_id = one_form(str(raw))
    if not 1 <= len(product_id) <= MAX_PRODUCT_ID:
        _refuse(
            f"expected a {meaning.id} of 1 to {MAX_PRODUCT_ID} characters, received {len(product_id)}",
        )
    if meaning.name and meaning.name in values:
        values = {
            "name" if key == meaning.name else key: value
            for key, value in values.items()
            if key != "name" or meaning.name == "name"
        }
    if len(values) > MAX_COLUMNS:
        _refuse(f"expected at most {MAX_COLUMNS} columns of metadata, received {len(values)}")
    for key, value in values.items():
        _check_value(key, value)
    return Row(line, product_id, {key: _clean(value) for key, value in values.items()})


def _clean(value: JsonValue) -> JsonValue:
    if isinstance(value, list):
        return [one_form(one) if isinstance(one, str) else one for one in value]
    return one_form(value) if isinstance(value, str) else value


def _check_value(key: str, value: object) -> None:
    several = value if isinstance(value, list) else [value]
    if len(several) > MAX_COLUMNS:
        _refuse(f"expected at most {MAX_COLUMNS} values for {key!r}, received {len(several)}")
    for one in several:
        _check_scalar(key, one)


def _column(name: str) -> str:
    """A column's name in its one form; the two that mean something, however they are written."""
    name = one_form(name)
    plain = name.lower().replace(" ", "_").replace("-", "_")
    return plain if plain in ("product_id", "image") else name


def _csv(path: Path, text: str, reading: Reading) -> _Raw:
    lines = io.StringIO(text, newline="")
    first = lines.readline()
    said = _SEPARATOR.fullmatch(first.strip())
    if said is None:
        lines.seek(0)
    delimiter = said[1] if said else "\t" if path.suffix.lower() == ".tsv" else _delimiter(first, reading)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        header = [_column(name) for name in next(reader, [])]
    except csv.Error as error:
        raise CatalogError(f"{path.name}, line 1: expected well-formed CSV, received {error}", hint=_HINT) from error
    header = _checked_header(path, header)
    return _Raw(list(dict.fromkeys(header)), _fields(reader, header, 1 if said else 0))


def _fields(reader: Any, header: Sequence[str], skipped: int) -> Iterator[tuple[int, dict[str, JsonValue] | str]]:
    while True:
        line = reader.line_num + 1 + skipped
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, f"expected well-formed CSV, received {error}"
            continue
        if any(field.strip() for field in fields):
            yield line, _by_column(header, fields)


def _sheet(path: Path, rows: Iterator[tuple[int, list[JsonValue]]]) -> _Raw:
    _, first = next(rows, (1, []))
    header = _checked_header(path, [_column(str(cell)) for cell in first])
    return _Raw(list(dict.fromkeys(header)), ((line, _by_column(header, cells)) for line, cells in rows), "row")


def _by_column(header: Sequence[str], fields: Sequence[JsonValue]) -> dict[str, JsonValue] | str:
    if any(field not in (None, "") and str(field).strip() for field in fields[len(header) :]):
        return f"expected {len(header)} fields, received {len(fields)}"
    row: dict[str, JsonValue] = {}
    for name, field in zip(header, [*fields, *[""] * len(header)], strict=False):
        before = row.get(name)
        row[name] = f"{before}\n{field}" if before and field else before or ("" if field is None else field)
    return row


def _delimiter(first: str, reading: Reading) -> str:
    """The separator whose reading of the header finds the products' column, else the one that it has most of."""
    for delimiter in _DELIMITERS:
        names = [_column(name.strip().strip('"')) for name in first.split(delimiter)]
        if "product_id" in names:
            return delimiter
    for delimiter in sorted(_DELIMITERS, key=first.count, reverse=True):
        try:
            find_meaning([_column(name.strip().strip('"')) for name in first.split(delimiter)], reading, "")
        except CatalogError:
            continue
        return delimiter
    return max(_DELIMITERS, key=first.count)


def _checked_header(path: Path, header: list[str]) -> list[str]:
    for name in header:
        wrong = "expected a name for every column, received an empty one" if not name and len(header) > 1 else ""
        # Feeds give every further picture a column, all of one name.
        if header.count(name) > 1 and not (name != "image" and is_image_column(name)):
            wrong = wrong or f"expected every column once, received {name!r} twice"
        if wrong:
            raise CatalogError(printable(f"{path.name}, line 1: {wrong}"), hint=_HINT)
    return header


def _jsonl(text: str) -> Iterator[tuple[int, dict[str, JsonValue] | str]]:
    for line, row in enumerate(text.split("\n"), start=1):
        if not row.strip():
            continue
        try:
            value = json.loads(row, object_pairs_hook=_unique, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            yield line, f"expected a JSON object, received {error}"
            continue
        if isinstance(value, dict):
            yield line, {_column(key): one for key, one in value.items()}
        else:
            yield line, f"expected a JSON object, received {type(value).__name__}"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("the same key twice")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name}, which is not JSON")


def _check_scalar(key: str, value: object) -> None:
    if not key.strip():
        _refuse("expected a name for every value, received an empty one")
    if isinstance(value, (dict, list)):
        kind = "an object" if isinstance(value, dict) else "a list in a list"
        _refuse(f"expected text, a number, boolean or null, or a list of these for {key!r}, received {kind}")
    if isinstance(value, float) and not math.isfinite(value):
        _refuse(f"expected a finite number for {key!r}, received {value}")
    if isinstance(value, int) and not -_MAX_INTEGER - 1 <= value <= _MAX_INTEGER:
        _refuse(f"expected an integer of at most 64 bits for {key!r}, received a larger one")
    for text in (key, value):
        if isinstance(text, str) and not _fits(text):
            _refuse(f"expected {key!r} in Unicode, at most {MAX_VALUE_BYTES:,} bytes, received other text")


def _fits(text: str) -> bool:
    try:
        return len(text.encode()) <= MAX_VALUE_BYTES
    except UnicodeEncodeError:
        return False


def _refuse(what: str) -> NoReturn:
    raise _RowError(what)

"""Read a catalog's table: CSV or JSON lines to checked rows."""

from __future__ import annotations

import codecs
import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from retrieval.errors import CatalogError
from retrieval.system.text import one_form, printable
from retrieval.types import MAX_COLUMNS, MAX_VALUE_BYTES, JsonValue

MAX_PRODUCT_ID = 256
_MAX_INTEGER = 2**63 - 1
_DELIMITERS = (",", ";", "\t")
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


class _RowError(Exception):
    """A row cannot be used; its message says why."""


def read_rows(path: Path, notify: Callable[[str], None] = lambda line: None) -> Iterator[Row | BadRow]:
    """The rows of a ``.csv``, ``.tsv`` or ``.jsonl`` table.

    Tables are read as spreadsheets write them: UTF-8 with or without a byte order mark, UTF-16 with one, else
    Windows-1252; separated by comma, semicolon or tab, or by what a first line ``sep=;`` says. Blank rows are none; a
    short one has empty cells at its end. CSV values are strings. JSON lines hold one flat object each; its scalars keep
    their type. ``product_id`` and ``image`` are found however they are capitalized.

    Args:
        path: the table.
        notify: told what was understood and a person may want to know.

    Raises:
        CatalogError: the table cannot be read, or has no column ``product_id``.
    """
    try:
        with path.open("rb") as file:
            data = file.read()
    except OSError as error:
        raise CatalogError(f"expected a readable table, received {error.strerror or error}: {path}") from error
    text = _decode(path, data, notify)
    for line, values in _jsonl(text) if path.suffix.lower() == ".jsonl" else _csv(path, text):
        if isinstance(values, str):
            yield BadRow(line, printable(values))
            continue
        try:
            yield _row(line, values)
        except _RowError as error:
            yield BadRow(line, printable(str(error)))


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


def _row(line: int, values: dict[str, JsonValue]) -> Row:
    values = {_column(key): value for key, value in values.items()}
    raw = values.pop("product_id", None)
    if isinstance(raw, bool) or not isinstance(raw, (str, int)):
        received = "none" if raw is None else f"{raw!r:.80}"
        _refuse(f"expected a product_id, received {received}")
    product_id = one_form(str(raw))
    if not 1 <= len(product_id) <= MAX_PRODUCT_ID:
        _refuse(
            f"expected a product_id of 1 to {MAX_PRODUCT_ID} characters, received {len(product_id)}",
        )
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


def _csv(path: Path, text: str) -> Iterator[tuple[int, dict[str, JsonValue] | str]]:
    lines = io.StringIO(text, newline="")
    first = lines.readline()
    said = _SEPARATOR.fullmatch(first.strip())
    if said is None:
        lines.seek(0)
    delimiter = said[1] if said else "\t" if path.suffix.lower() == ".tsv" else _delimiter(first)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    skipped = 1 if said else 0
    try:
        header = [_column(name) for name in next(reader, [])]
    except csv.Error as error:
        raise CatalogError(f"{path.name}, line 1: expected well-formed CSV, received {error}", hint=_HINT) from error
    _check_header(path, header)
    while True:
        line = reader.line_num + 1 + skipped
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, f"expected well-formed CSV, received {error}"
            continue
        if not any(field.strip() for field in fields):
            continue
        if any(field.strip() for field in fields[len(header) :]):
            yield line, f"expected {len(header)} fields, received {len(fields)}"
            continue
        yield line, dict(zip(header, [*fields, *[""] * len(header)], strict=False))


def _delimiter(first: str) -> str:
    """The separator whose reading of the header finds ``product_id``; comma when none does."""
    for delimiter in _DELIMITERS:
        if "product_id" in [_column(name.strip().strip('"')) for name in first.split(delimiter)]:
            return delimiter
    return ","


def _check_header(path: Path, header: Sequence[str]) -> None:
    if "product_id" not in header:
        received = ", ".join(header[:10]) or "an empty file"
        raise CatalogError(
            printable(f"expected a product_id column in {path.name}, received {received}"),
            hint="The first line names the columns: product_id,name,category",
        )
    for name in header:
        wrong = "expected a name for every column, received an empty one" if not name else ""
        if header.count(name) > 1:
            wrong = wrong or f"expected every column once, received {name!r} twice"
        if wrong:
            raise CatalogError(printable(f"{path.name}, line 1: {wrong}"), hint=_HINT)


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
            yield line, value
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

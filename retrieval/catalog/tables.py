"""Read a catalog's table: CSV or JSON lines to checked rows."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from retrieval.errors import CatalogError
from retrieval.system.text import one_form, printable
from retrieval.types import MAX_COLUMNS, MAX_VALUE_BYTES, JsonValue

MAX_PRODUCT_ID = 256
_MAX_INTEGER = 2**63 - 1
_DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True, slots=True)
class Row:
    """One row: the line it starts at (from 1), its product (stripped, Unicode NFC) and its other columns."""

    line: int
    product_id: str
    values: dict[str, JsonValue]


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a ``.csv`` or ``.jsonl`` table, streamed.

    CSV is UTF-8 with or without a byte order mark, separated by comma, semicolon or tab; its values
    are strings. JSON lines hold one flat object each; its scalars keep their type.

    Raises:
        CatalogError: the table cannot be read, naming the line.
    """
    rows = _jsonl(path) if path.suffix.lower() == ".jsonl" else _csv(path)
    try:
        for line, values in rows:
            yield _row(path, line, values)
    except OSError as error:
        raise CatalogError(f"expected a readable table, received {error.strerror or error}: {path}") from error
    except UnicodeDecodeError as error:
        raise CatalogError(
            f"expected {path.name} in UTF-8, received byte 0x{error.object[error.start]:02x} in it",
            hint="Save the table as UTF-8 (in a spreadsheet: CSV UTF-8).",
        ) from error


def _row(path: Path, line: int, values: dict[str, JsonValue]) -> Row:
    raw = values.pop("product_id", None)
    if isinstance(raw, bool) or not isinstance(raw, (str, int)):
        received = "none" if raw is None else f"{raw!r:.80}"
        _refuse(path, line, f"expected a product_id, received {received}")
    product_id = one_form(str(raw))
    if not 1 <= len(product_id) <= MAX_PRODUCT_ID:
        _refuse(
            path,
            line,
            f"expected a product_id of 1 to {MAX_PRODUCT_ID} characters, received {len(product_id)}",
        )
    if len(values) > MAX_COLUMNS:
        _refuse(path, line, f"expected at most {MAX_COLUMNS} columns of metadata, received {len(values)}")
    for key, value in values.items():
        _check_value(path, line, key, value)
    return Row(line, product_id, {one_form(key): _clean(value) for key, value in values.items()})


def _clean(value: JsonValue) -> JsonValue:
    if isinstance(value, list):
        return [one_form(one) if isinstance(one, str) else one for one in value]
    return one_form(value) if isinstance(value, str) else value


def _check_value(path: Path, line: int, key: str, value: object) -> None:
    several = value if isinstance(value, list) else [value]
    if len(several) > MAX_COLUMNS:
        _refuse(path, line, f"expected at most {MAX_COLUMNS} values for {key!r}, received {len(several)}")
    for one in several:
        _check_scalar(path, line, key, one)


def _csv(path: Path) -> Iterator[tuple[int, dict[str, JsonValue]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = file.readline()
        delimiter = _delimiter(first)
        file.seek(0)
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        line = 1
        try:
            header = [name.strip() for name in next(reader, [])]
            _check_header(path, header)
            line = reader.line_num + 1
            for fields in reader:
                if fields:
                    if len(fields) != len(header):
                        _refuse(path, line, f"expected {len(header)} fields, received {len(fields)}")
                    yield line, dict(zip(header, fields, strict=True))
                line = reader.line_num + 1
        except csv.Error as error:
            _refuse(path, line, f"expected well-formed CSV, received {error}", error)


def _delimiter(first: str) -> str:
    """The separator whose reading of the header finds ``product_id``; comma when none does."""
    for delimiter in _DELIMITERS:
        if "product_id" in [name.strip().strip('"') for name in first.split(delimiter)]:
            return delimiter
    return ","


def _check_header(path: Path, header: Sequence[str]) -> None:
    if "product_id" not in header:
        received = ", ".join(header[:10]) or "an empty file"
        raise CatalogError(
            f"expected a product_id column in {path.name}, received {received}",
            hint="The first line names the columns: product_id,name,category",
        )
    for name in header:
        if not name:
            _refuse(path, 1, "expected a name for every column, received an empty one")
        if header.count(name) > 1:
            _refuse(path, 1, f"expected every column once, received {name!r} twice")


def _jsonl(path: Path) -> Iterator[tuple[int, dict[str, JsonValue]]]:
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        for line, text in enumerate(file, start=1):
            if not text.strip():
                continue
            try:
                value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
            except (ValueError, RecursionError) as error:
                _refuse(path, line, f"expected a JSON object, received {error}", error)
            if not isinstance(value, dict):
                _refuse(path, line, f"expected a JSON object, received {type(value).__name__}")
            yield line, value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("the same key twice")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name}, which is not JSON")


def _check_scalar(path: Path, line: int, key: str, value: object) -> None:
    if not key.strip():
        _refuse(path, line, "expected a name for every value, received an empty one")
    if isinstance(value, (dict, list)):
        kind = "an object" if isinstance(value, dict) else "a list in a list"
        _refuse(
            path, line, f"expected a string, number, boolean, null, or a list of these for {key!r}, received {kind}"
        )
    if isinstance(value, float) and not math.isfinite(value):
        _refuse(path, line, f"expected a finite number for {key!r}, received {value}")
    if isinstance(value, int) and not -_MAX_INTEGER - 1 <= value <= _MAX_INTEGER:
        _refuse(path, line, f"expected an integer of at most 64 bits for {key!r}, received a larger one")
    for text in (key, value):
        if isinstance(text, str) and not _fits(text):
            _refuse(path, line, f"expected {key!r} in Unicode, at most {MAX_VALUE_BYTES:,} bytes, received other text")


def _fits(text: str) -> bool:
    try:
        return len(text.encode()) <= MAX_VALUE_BYTES
    except UnicodeEncodeError:
        return False


def _refuse(path: Path, line: int, what: str, cause: Exception | None = None) -> NoReturn:
    raise CatalogError(printable(f"{path.name}, line {line}: {what}"), hint="Correct that line.") from cause

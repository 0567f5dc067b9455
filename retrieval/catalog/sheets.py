"""Read the first sheet of a workbook (``.xlsx``), a row at a time."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from datetime import date, datetime, time

from retrieval.errors import CatalogError
from retrieval.system.text import printable
from retrieval.types import MAX_COLUMNS, JsonValue

MAX_UNPACKED = 1 << 30
"""Most bytes that a workbook may unpack to: a megabyte of zip holds a gigabyte of blanks."""


def read_sheet(table: str, data: bytes, notify: Callable[[str], None]) -> Iterator[tuple[int, list[JsonValue]]]:
    """The rows of a workbook's first sheet that is shown: their number, from 1, and their cells.

    Numbers stay numbers, whole ones without a fraction; dates are written as ISO 8601 has them; formulas are what the
    spreadsheet saved as their value.

    Args:
        table: the file's name, for messages.
        data: its bytes.
        notify: told which sheet is read where there are several.

    Raises:
        CatalogError: it is no workbook, or the extra ``xlsx`` is not installed.
    """
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        from retrieval.system.installation import install_hint, missing

        raise CatalogError(
            missing("openpyxl", f"reading {printable(table)}", error), hint=f"{install_hint('xlsx')}; or save it as CSV"
        ) from error
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            unpacked = sum(member.file_size for member in packed.infolist())
        if unpacked > MAX_UNPACKED:
            raise CatalogError(
                f"expected a workbook of at most {MAX_UNPACKED:,} bytes in {printable(table)}, received {unpacked:,}",
                hint="Save the sheet as CSV.",
            )
        # Read a row at a time: a stray cell in the last row of a sheet must not cost the memory of all before it.
        book = load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
        sheets = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"] or book.worksheets
        if len(sheets) > 1:
            notify(f"{table}: the first of {len(sheets)} sheets is read, {sheets[0].title}")
        sheet = sheets[0]
        sheet.reset_dimensions()
        for number, row in enumerate(sheet.iter_rows(values_only=True, max_col=MAX_COLUMNS + 1), start=1):
            cells = [_value(cell) for cell in row]
            while cells and cells[-1] in (None, ""):
                cells.pop()
            if cells:
                yield number, cells
    except CatalogError:
        raise
    except Exception as error:
        # A workbook that is none raises whatever the first wrong part of it happens to break.
        raise CatalogError(
            printable(f"expected a workbook in {table}, received {str(error) or type(error).__name__}"),
            hint="Save the sheet again, or as CSV.",
        ) from error


def _value(cell: object) -> JsonValue:
    if cell is None or isinstance(cell, (bool, str, int)):
        return cell
    if isinstance(cell, float):
        return int(cell) if cell.is_integer() and abs(cell) < 2**53 else cell
    if isinstance(cell, datetime) and cell.time() == time():
        return cell.date().isoformat()
    if isinstance(cell, (date, datetime, time)):
        return cell.isoformat()
    return str(cell)

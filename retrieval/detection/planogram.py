"""What should stand on a shelf, and what does: a planogram compared with the items of a photo."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from retrieval.errors import UsageError
from retrieval.system.text import one_form, plural, printable

MOST_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that should stand otherwise.

    Attributes:
        row: counted from 1, from the top.
        product_id: which product.
        count: how many items of it.
    """

    row: int
    product_id: str
    count: int

    def to_json(self) -> dict[str, Any]:
        """One entry of ``missing`` or ``extra``."""
        return {"row": self.row, "product_id": self.product_id, "count": self.count}


@dataclass(frozen=True, slots=True)
class Misplaced:
    """A product that stands, but not where it should.

    Attributes:
        product_id: which product.
        count: how many items of it.
        expected: the row where it is missing, counted from 1.
        found: the row where it stands.
    """

    product_id: str
    count: int
    expected: int
    found: int

    def to_json(self) -> dict[str, Any]:
        """One entry of ``misplaced``."""
        return {
            "product_id": self.product_id,
            "count": self.count,
            "expected_row": self.expected,
            "found_row": self.found,
        }


@dataclass(frozen=True, slots=True)
class Compliance:
    """How a shelf differs from its planogram.

    Attributes:
        right: items that stand where they should.
        expected: items that should stand.
        missing: products of which fewer stand than should, and nowhere else either.
        misplaced: products that stand in another row, or in another order.
        extra: products that stand where none should.
    """

    right: int
    expected: int
    missing: tuple[Difference, ...]
    misplaced: tuple[Misplaced, ...]
    extra: tuple[Difference, ...]

    @property
    def holds(self) -> bool:
        """Whether all stands as it should."""
        return not (self.missing or self.misplaced or self.extra)

    def to_json(self) -> dict[str, Any]:
        """The ``planogram`` of a photo in ``itemrec.items/1``."""
        return {
            "right": self.right,
            "expected": self.expected,
            "missing": [one.to_json() for one in self.missing],
            "misplaced": [one.to_json() for one in self.misplaced],
            "extra": [one.to_json() for one in self.extra],
        }


def read_planogram(file: Path) -> list[list[str]]:
    """The rows of products, from the top, each from left to right; a product once for each item of it.

    A CSV file has one row of the shelf a line: product ids from left to right, ``milk*3`` for three of them. A JSON
    file has the same as a list of lists.

    Raises:
        UsageError: it cannot be read, or is none.
    """
    try:
        if file.stat().st_size > MOST_BYTES:
            raise UsageError(f"expected a planogram of at most {MOST_BYTES:,} bytes, received {printable(file)}")
        text = file.read_text(encoding="utf-8-sig")
        rows = json.loads(text) if file.suffix.lower() == ".json" else list(csv.reader(io.StringIO(text)))
    except (OSError, ValueError, csv.Error) as error:
        raise UsageError(f"expected a planogram that can be read, received {printable(str(error))}") from error
    if not isinstance(rows, list) or not all(isinstance(row, list) and _are_texts(row) for row in rows):
        raise UsageError(
            f"expected rows of product ids in {printable(file)}, received something else",
            hint='CSV: one row of the shelf a line, milk*3,cream. JSON: [["milk", "milk", "milk", "cream"]]',
        )
    found = [[one for cell in row for one in _several(cell.strip(), file)] for row in rows]
    found = [row for row in found if row]
    if not found:
        raise UsageError(f"expected rows of product ids in {printable(file)}, received none")
    return found


def _are_texts(row: Sequence[object]) -> bool:
    return all(isinstance(cell, str) for cell in row)


def _several(cell: str, file: Path) -> list[str]:
    """The items of a cell: none of an empty one."""
    name, star, count = cell.rpartition("*")
    if not star:
        return [one_form(cell)] if cell else []
    if not count.strip().isdigit() or not 1 <= int(count) <= 1000:
        raise UsageError(f"expected 1 to 1000 items after * in {printable(file)}, received {printable(cell)}")
    return [one_form(name.strip())] * int(count)


def compare(expected: Sequence[Sequence[str]], found: Sequence[Sequence[str]]) -> Compliance:
    """What differs between rows that should stand and rows that do.

    Rows are compared in the order in which they come from the top, products within a row in their order.

    Args:
        expected: product ids, from left to right.
        found: likewise.
    """
    lacking: dict[tuple[int, str], int] = {}
    beyond: dict[tuple[int, str], int] = {}
    right = 0
    for row in range(max(len(expected), len(found))):
        should = list(expected[row]) if row < len(expected) else []
        does = list(found[row]) if row < len(found) else []
        matcher = SequenceMatcher(None, should, does, autojunk=False)
        right += sum(block.size for block in matcher.get_matching_blocks())
        for kind, a, b, c, d in matcher.get_opcodes():
            if kind == "equal":
                continue
            for product_id in should[a:b]:
                lacking[row + 1, product_id] = lacking.get((row + 1, product_id), 0) + 1
            for product_id in does[c:d]:
                beyond[row + 1, product_id] = beyond.get((row + 1, product_id), 0) + 1
    misplaced = []
    for row, product_id in list(lacking):
        for other, same in list(beyond):
            count = min(lacking[row, product_id], beyond[other, same]) if same == product_id else 0
            if count:
                misplaced.append(Misplaced(product_id, count, row, other))
                lacking[row, product_id] -= count
                beyond[other, same] -= count
    return Compliance(
        right=right,
        expected=sum(map(len, expected)),
        missing=tuple(Difference(row, p, n) for (row, p), n in lacking.items() if n),
        misplaced=tuple(misplaced),
        extra=tuple(Difference(row, p, n) for (row, p), n in beyond.items() if n),
    )


def sentences(compliance: Compliance) -> list[str]:
    """What differs, for people: a line each."""
    lines = [f"row {one.row}: {plural(one.count, 'item')} of {one.product_id} missing" for one in compliance.missing]
    for one in compliance.misplaced:
        where = f"in row {one.found} and not in row {one.expected}" if one.found != one.expected else "in another order"
        lines.append(f"{plural(one.count, 'item')} of {one.product_id} {where}")
    lines += [f"row {one.row}: {plural(one.count, 'item')} of {one.product_id} too many" for one in compliance.extra]
    return lines

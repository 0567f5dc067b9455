"""What should stand and what does."""

from pathlib import Path

import numpy as np
import pytest

from retrieval.detection.found import FoundItem, ItemMatch, rows_of
from retrieval.detection.gaps import unexplained
from retrieval.detection.planogram import compare, read_planogram, sentences
from retrieval.errors import UsageError


def item(product_id: str, left: float, top: float, side: float = 80.0) -> FoundItem:
    box = (left, top, left + 60, top + side)
    match = ItemMatch(product_id, "a.jpg", 20, 0.9, 0.9)
    return FoundItem("match", box, ((0, 0),) * 4, (match,))


def test_items_stand_in_rows_also_where_the_photo_is_askew() -> None:
    upper = [item(f"u{n}", 100 * n, 20 + 12 * n) for n in range(10)]
    lower = [item(f"l{n}", 100 * n, 180 + 12 * n, side=100) for n in range(10)]
    rows = rows_of([*lower[::-1], *upper])
    assert [[one.product_id for one in row] for row in rows] == [
        [f"u{n}" for n in range(10)],
        [f"l{n}" for n in range(10)],
    ]


def test_what_stands_between_the_items_of_a_row_is_unexplained() -> None:
    row = [(100.0 * n, 20.0, 100.0 * n + 90, 120.0) for n in (0, 1, 4, 5)]
    rng = np.random.default_rng(0)
    printed = rng.uniform((0, 0), (600, 200), (3000, 2)).astype(np.float32)
    (gap,) = unexplained([row], printed, (600, 200))
    assert gap == (190.0, 20.0, 400.0, 120.0)
    empty = printed[(printed[:, 0] < 190) | (printed[:, 0] > 400)]
    assert unexplained([row], empty, (600, 200)) == []
    assert unexplained([row[:1]], printed, (600, 200)) == []
    assert unexplained([row, [(200.0, 20.0, 390.0, 120.0)] * 2], printed, (600, 200)) == []


def test_all_as_it_should_stand() -> None:
    found = compare([["a", "a", "b"], ["c"]], [["a", "a", "b"], ["c"]])
    assert found.holds
    assert (found.right, found.expected, sentences(found)) == (4, 4, [])


def test_missing_misplaced_and_extra() -> None:
    found = compare([["a", "a", "b"], ["c", "d"]], [["a", "b", "c"], ["d", "x"]])
    assert not found.holds
    assert found.to_json() == {
        "right": 3,
        "expected": 5,
        "missing": [{"row": 1, "product_id": "a", "count": 1}],
        "misplaced": [{"product_id": "c", "count": 1, "expected_row": 2, "found_row": 1}],
        "extra": [{"row": 2, "product_id": "x", "count": 1}],
    }
    assert sentences(found) == [
        "row 1: 1 item of a missing",
        "1 item of c in row 1 and not in row 2",
        "row 2: 1 item of x too many",
    ]


def test_two_that_changed_places_are_misplaced_and_not_missing() -> None:
    found = compare([["a", "b"]], [["b", "a"]])
    assert (len(found.missing), len(found.extra), len(found.misplaced)) == (0, 0, 1)


@pytest.mark.parametrize(
    ("name", "text"),
    [("rows.csv", "a*2, b\n\nc\n"), ("rows.json", '[["a", "a", "b"], [], ["c"]]')],
)
def test_a_planogram_is_read(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert read_planogram(tmp_path / name) == [["a", "a", "b"], ["c"]]


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.json", "{"), ("a.json", '{"a": 1}'), ("a.json", "[[1]]"), ("a.csv", ""), ("a.csv", "a*0"), ("a.csv", "a*x")],
)
def test_what_is_no_planogram_is_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match="expected"):
        read_planogram(tmp_path / name)
    with pytest.raises(UsageError):
        read_planogram(tmp_path / "nothing.csv")

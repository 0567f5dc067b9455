from __future__ import annotations

from typing import Any

import pytest

from retrieval.errors import UsageError
from retrieval.evaluation import SCHEMA as DOCUMENT_SCHEMA
from retrieval.evaluation.requirements import NAMES, SCHEMA, Requirement, check, parse_requirement
from tests.retrieval.evaluations import drawn_document


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return drawn_document(noise=1.6)


def value_of(text: str, document: dict[str, Any]) -> float | None:
    (checked,) = check([parse_requirement(text)], document)
    return checked.value


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("top5>=0.95", ("top5", None, None, None, ">=", 0.95)),
        (" top5 >= 95% ", ("top5", None, None, None, ">=", 0.95)),
        ("val@far=0.01>=0.8", ("val", None, "far", 0.01, ">=", 0.8)),
        ("val @ far = 1% > 8e-1", ("val", None, "far", 0.01, ">", 0.8)),
        ("dir@fpir=0.05<1", ("dir", None, "fpir", 0.05, "<", 1.0)),
        ("far@threshold=0.3<=0.2", ("far", None, "threshold", 0.3, "<=", 0.2)),
        ("val.low@far=0.01>=0.7", ("val", "low", "far", 0.01, ">=", 0.7)),
        ("excluded.near_duplicate<=0", ("excluded.near_duplicate", None, None, None, "<=", 0.0)),
        ("identification.rates.top1.high>0", ("identification.rates.top1", "high", None, None, ">", 0.0)),
    ],
)
def test_a_requirement_is_name_operator_number(text: str, parsed: tuple[object, ...]) -> None:
    requirement = parse_requirement(text)
    assert requirement == Requirement(text.strip(), *parsed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "top5",
        "top5=0.9",
        "top5==0.9",
        ">=0.9",
        "top5>=",
        "top5>=many",
        "top5>=nan",
        "top5>=inf",
        "val@far>=0.8",
        "val@far=>=0.8",
        "val@far=low>=0.8",
        "val@color=1>=0.8",
        "top 5>=0.9",
        "top5>=0.9 0.8",
        "5>=top",
    ],
)
def test_anything_else_is_wrong_usage_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="expected a") as caught:
        parse_requirement(text)
    assert caught.value.hint == 'Write it like "val@far=0.01>=0.8" or "top5>=95%".'
    assert repr(text)[1:-1] in caught.value.message


def test_names_find_their_numbers(document: dict[str, Any]) -> None:
    assert SCHEMA == DOCUMENT_SCHEMA == document["schema"]
    identification, pairs, open_set = (document[key] for key in ("identification", "pairs", "open_set"))
    expected = {
        "auc": pairs["auc"],
        "eer": pairs["eer"],
        "val": pairs["at_threshold"]["val"],
        "far": pairs["at_threshold"]["far"],
        "top1": identification["top1"],
        "top5": identification["top5"],
        "knn_top1": identification["knn_top1"],
        "map_at_r": identification["map_at_r"],
        "matching_test_top5": identification["matching_test_top5"],
        "fpir": open_set["fpir"],
        "fnir": open_set["fnir"],
        "dir": open_set["rates"]["dir"]["rate"],
        "ece": None,
        "brier": None,
        "match": None,
        "coverage": None,
        "unknown_match": None,
        "photos": 240.0,
        "products": 24.0,
    }
    assert {name: value_of(f"{name}>=0", document) for name in NAMES} == expected


def test_operating_points_are_found_by_their_value(document: dict[str, Any]) -> None:
    at_far = document["pairs"]["at_far"]["0.01"]
    open_set = document["open_set"]
    expected = {
        "val@far=0.01": at_far["val"],
        "far@far=1%": at_far["far"],
        "threshold@far=1e-2": at_far["threshold"],
        "accepted_same@far=0.01": at_far["accepted_same"],
        "val.low@far=0.01": at_far["val_ci"][0],
        "far.high@far=0.01": at_far["far_ci"][1],
        "val@threshold=0.3": next(p for p in document["pairs"]["sweep"] if p["threshold"] == 0.3)["val"],
        "dir@far=0.01": open_set["dir_at_far"]["0.01"]["dir"],
        "fpir@far=0.01": open_set["dir_at_far"]["0.01"]["fpir"],
        "dir@fpir=0.1": open_set["at_fpir"]["0.1"]["dir"],
        "dir.high@fpir=0.1": open_set["at_fpir"]["0.1"]["dir_ci"][1],
        "top5.low": document["identification"]["rates"]["top5"]["ci"][0],
        "val.high": document["pairs"]["at_threshold"]["val_ci"][1],
        "gallery.images": 240,
    }
    assert {name: value_of(f"{name}>=0", document) for name in expected} == expected


@pytest.mark.parametrize(("operator", "holds"), [(">=", (False, True, True)), (">", (False, False, True))])
def test_operators_compare_the_value_with_the_bound(operator: str, holds: tuple[bool, ...]) -> None:
    mirrored = {">=": "<=", ">": "<"}[operator]
    for value, expected in zip((0.4, 0.5, 0.6), holds, strict=True):
        document = {"schema": SCHEMA, "x": value}
        assert check([parse_requirement(f"x{operator}0.5")], document)[0].passed is expected
        document["x"] = 1.0 - value
        assert check([parse_requirement(f"x{mirrored}0.5")], document)[0].passed is expected


def test_every_requirement_is_told_in_order(document: dict[str, Any]) -> None:
    texts = ["top1>=0.99", "top1>=0.1", "products>=24"]
    checked = check([parse_requirement(text) for text in texts], document)
    assert [c.passed for c in checked] == [False, True, True]
    assert [c.to_json()["require"] for c in checked] == texts
    assert checked[0].line() == f"top1>=0.99, measured {document['identification']['top1']:.6g}"


def test_what_could_not_be_measured_fails(document: dict[str, Any]) -> None:
    (checked,) = check([parse_requirement("ece<=1")], document)
    assert (checked.value, checked.passed) == (None, False)
    assert checked.line() == "ece<=1, not measurable on these photos"


def test_a_claim_that_the_data_cannot_bear_fails_and_is_told_with_the_value(document: dict[str, Any]) -> None:
    (checked,) = check([parse_requirement("val@far=0.001>=0")], document)
    assert not checked.passed
    assert checked.value is not None
    (borne,) = check([parse_requirement("val@far=0.01>=0")], document)
    assert (borne.passed, borne.note) == (True, "")
    assert checked.note == document["pairs"]["at_far"]["0.001"]["refusal"]
    assert "30,000 needed (rule of 30)" in checked.line()
    assert checked.to_json()["note"] == checked.note


@pytest.mark.parametrize(
    ("text", "bears"),
    [
        ("far<=0.01", True),
        ("far<=0.0001", False),
        ("fpir<=0.5", True),
        ("fpir<=1%", False),
        ("fpir<0", False),
        ("fpir>=0", True),
        ("top1>=0", True),
    ],
)
def test_an_error_rate_is_promised_where_enough_photos_bear_it(
    text: str, bears: bool, document: dict[str, Any]
) -> None:
    (checked,) = check([parse_requirement(text)], document)
    assert (checked.note == "") == bears
    if not bears:
        assert not checked.passed
        assert checked.note.startswith("Not enough data for ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("top7>=0.5", "expected an evaluation with 'top7'"),
        ("pairs.nothing>=0.5", "expected an evaluation with 'pairs.nothing'"),
        ("photos.count>=0.5", "expected an evaluation with 'photos.count'"),
        ("val@far=0.02>=0.5", r"with far=0.02 for .*received one with 0.1, 0.01, 0.001"),
        ("dir@fpir=0.02>=0.5", "with fpir=0.02"),
        ("val@threshold=0.33>=0.5", "with threshold=0.33"),
        ("split>=0.5", "expected a number at 'split' .* received str"),
        ("pairs>=0.5", "expected a number at 'pairs' .* received dict"),
        ("threshold.same_photos>=0", "received bool"),
        ("auc.low>=0.5", "expected an interval of 'auc'"),
    ],
)
def test_a_number_that_is_not_there_is_wrong_usage(text: str, message: str, document: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        check([parse_requirement(text)], document)
    assert caught.value.hint


@pytest.mark.parametrize("other", [{}, {"schema": "itemrec.query/1"}])
def test_another_document_is_refused(other: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"expected a document of schema itemrec.evaluate/1"):
        check([], other)

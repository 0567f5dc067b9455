"""The probabilities of an answer, and the verdicts that follow them."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from retrieval.calibration.sureness import DEFAULT, MOST_LEAD, NAMES, Limits, Sure, Sureness, numbers
from retrieval.types import Evidence, Match

FITTED = Sureness((2.0, -4.0, 1.5, -0.3), (1.0, -1.0, 2.0, -0.2), (10, 80), 300, 100, 16, 0.2, "val")


def match(product: str, score: float, distance: float) -> Match:
    return Match(product, score, 1, 1.0, distance, (Evidence(f"{product}.jpg", distance),))


def ranked(*scores: float, distance: float = 0.3) -> list[Match]:
    return [match(f"p{i}", score, distance + 0.1 * i) for i, score in enumerate(scores)]


def logistic(weights: tuple[float, ...], values: tuple[float, ...]) -> float:
    return 1.0 / (1.0 + math.exp(-sum(w * v for w, v in zip(weights, values, strict=True))))


def test_the_formula() -> None:
    answer = ranked(0.4, 0.2, 0.1)
    found = FITTED.of(answer, 40)
    values = (1.0, 0.3, math.log(2.0), math.log(40))
    assert found.in_catalog == pytest.approx(logistic(FITTED.in_catalog, values))
    assert found.products[0] == pytest.approx(found.in_catalog * logistic(FITTED.first, values))
    rest = found.in_catalog - found.products[0]
    assert found.products[1:] == pytest.approx((rest * 2 / 3, rest / 3))


@pytest.mark.parametrize("scores", [(0.5,), (0.5, 0.5), (0.5, 0.4, 0.3, 0.2, 0.1), (0.0, 0.0), (1e-300, 0.0)])
def test_they_are_probabilities(scores: tuple[float, ...]) -> None:
    for distance in (0.0, 1.0, 3.5):
        found = FITTED.of(ranked(*scores, distance=distance), 20_000)
        assert len(found.products) == len(scores)
        assert all(0.0 <= p <= found.in_catalog <= 1.0 for p in found.products)
        assert found.products[0] == max(found.products)
        assert sum(found.products) <= found.in_catalog + 1e-12


def test_a_lead_is_bounded() -> None:
    assert numbers(ranked(0.4)) == (0.3, MOST_LEAD)
    assert numbers(ranked(0.4, 1e-9)) == (0.3, MOST_LEAD)
    assert numbers(ranked(0.4, 0.4)) == (0.3, 0.0)


def test_of_sizes_that_no_fit_saw_nothing_is_made_up() -> None:
    answer = ranked(0.4, 0.2)
    assert FITTED.of(answer, 80) == FITTED.of(answer, 20_000)
    assert FITTED.of(answer, 10) == FITTED.of(answer, 1)
    assert FITTED.of(answer, 80).in_catalog < FITTED.of(answer, 79).in_catalog < FITTED.of(answer, 10).in_catalog
    even = FITTED.even(answer, 20_000)
    assert even is not None
    assert FITTED.of(ranked(0.4, 0.2, distance=even), 20_000).in_catalog == pytest.approx(0.5)


@pytest.mark.parametrize("limits", [DEFAULT, Limits(0.3, 0.9), Limits(0.999, 0.001)])
@pytest.mark.parametrize("weights", [FITTED.in_catalog, (2.0, -4.0, -1.5, -0.3)])
def test_beyond_the_hopeless_distance_all_is_unknown(
    limits: Limits, weights: tuple[float, float, float, float]
) -> None:
    sureness = replace(FITTED, in_catalog=weights)
    beyond = sureness.hopeless(limits, 40)
    for lead in (0.0, 1.0, MOST_LEAD):
        assert sureness.at(beyond + 1e-6, lead, 40).verdict(limits) == "unknown"
    nearer = [sureness.at(beyond - 1e-6, lead, 40).in_catalog for lead in (0.0, MOST_LEAD)]
    assert max(nearer) >= min(limits.sure, limits.in_catalog)
    assert sureness.hopeless(Limits(0.0, 0.5), 40) == math.inf
    assert replace(FITTED, in_catalog=(1.0, 0.1, 1.0, 0.0)).hopeless(limits, 40) == math.inf


def test_nothing_found_is_unknown() -> None:
    assert FITTED.of([], 10) == Sure(0.0, ())
    assert FITTED.of([], 10).verdict(Limits(0.0, 0.0)) == "unknown"


@pytest.mark.parametrize(
    ("first", "in_catalog", "limits", "verdict"),
    [
        (0.8, 0.9, DEFAULT, "match"),
        (0.79, 0.9, DEFAULT, "ambiguous"),
        (0.3, 0.5, DEFAULT, "ambiguous"),
        (0.3, 0.49, DEFAULT, "unknown"),
        (0.85, 0.9, Limits(0.9), "ambiguous"),
        (0.3, 0.49, Limits(0.9, 0.4), "ambiguous"),
    ],
)
def test_verdicts_follow_the_limits(first: float, in_catalog: float, limits: Limits, verdict: str) -> None:
    assert Sure(in_catalog, (first,)).verdict(limits) == verdict


@pytest.mark.parametrize("values", [(1.1, 0.5), (0.8, -0.1), (math.nan, 0.5)])
def test_a_limit_is_a_probability(values: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="probabilities"):
        Limits(*values)


def test_written_and_read() -> None:
    assert Sureness.from_json(json.loads(json.dumps(FITTED.to_json()))) == FITTED


@pytest.mark.parametrize(
    "change",
    [
        {"first": dict.fromkeys(NAMES[:-1], 1.0)},
        {"first": dict.fromkeys((*NAMES, "age"), 1.0)},
        {"in_catalog": dict.fromkeys(NAMES, math.inf)},
        {"known": 1.5},
        {"products": [9, 3]},
        {"share": 2.0},
        {"fitted_on": 3},
    ],
)
def test_what_is_none_is_refused(change: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        Sureness.from_json(FITTED.to_json() | change)

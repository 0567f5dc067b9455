from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.metrics import (
    IsotonicMap,
    LogisticMap,
    Rate,
    ece_by_chance,
    fit_isotonic,
    fit_logistic,
    map_from_json,
    reliability,
)
from retrieval.metrics.probability import fit_logistic_weights
from tests.lazily import lazily

calibration_curve = lazily("sklearn.calibration", "calibration_curve")
IsotonicRegression = lazily("sklearn.isotonic", "IsotonicRegression")
LogisticRegression = lazily("sklearn.linear_model", "LogisticRegression")
brier_score_loss = lazily("sklearn.metrics", "brier_score_loss")

outcomes = st.lists(
    st.tuples(st.integers(-5, 5).map(float) | st.floats(-100, 100), st.booleans()), min_size=1, max_size=60
).map(lambda rows: (np.array([s for s, _ in rows]), np.array([hit for _, hit in rows])))


def drawn(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scores = np.round(rng.normal(0, 1.5, n), 1)
    return scores, rng.random(n) < 1 / (1 + np.exp(-2 * scores + 0.5))


@given(outcomes)
def test_isotonic_is_that_of_scikit_learn(data: tuple[np.ndarray, np.ndarray]) -> None:
    scores, correct = data
    ours = fit_isotonic(scores, correct)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(scores, correct)
    grid = np.concatenate([scores, np.linspace(-120, 120, 97)])
    # Beyond float32's reach scikit-learn merges scores that differ by its epsilon; ours does not.
    if np.diff(np.unique(scores)).min(initial=1.0) > 1e-6:
        np.testing.assert_allclose(ours(grid), theirs.predict(grid), atol=1e-9)
    assert (np.diff(ours(np.sort(grid))) >= 0).all()


def test_isotonic_of_equal_scores_is_their_mean() -> None:
    fitted = fit_isotonic(np.array([0.5, 0.5, 0.5, 0.5]), np.array([True, True, True, False]))
    assert fitted == IsotonicMap((0.5,), (0.75,))
    assert fitted(np.array([-1.0, 0.5, 9.0])).tolist() == [0.75] * 3


def test_isotonic_of_separable_outcomes_steps_from_0_to_1() -> None:
    fitted = fit_isotonic(np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, False, True, True]))
    assert fitted(np.array([0.0, 2.0, 2.5, 3.0, 9.0])).tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]


@pytest.mark.parametrize("seed", range(8))
def test_logistic_is_that_of_scikit_learn_on_platts_targets(seed: int) -> None:
    scores, correct = drawn(150, seed)
    right, wrong = correct.sum(), (~correct).sum()
    high, low = (right + 1) / (right + 2), 1 / (wrong + 2)
    # A smoothed target is two weighted outcomes.
    target = np.where(correct, high, low)
    model = LogisticRegression(C=1e10, tol=1e-10, max_iter=1000)
    model.fit(
        np.concatenate([scores, scores])[:, None],
        np.repeat([1, 0], len(scores)),
        sample_weight=np.concatenate([target, 1 - target]),
    )
    ours = fit_logistic(scores, correct)
    assert ours.slope == pytest.approx(float(model.coef_[0, 0]), rel=1e-4)
    assert ours.intercept == pytest.approx(float(model.intercept_[0]), abs=1e-4)


@given(outcomes)
def test_logistic_is_where_the_gradient_vanishes(data: tuple[np.ndarray, np.ndarray]) -> None:
    scores, correct = data
    fitted = fit_logistic(scores, correct)
    right, wrong = correct.sum(), (~correct).sum()
    target = np.where(correct, (right + 1) / (right + 2), 1 / (wrong + 2))
    gap = fitted(scores) - target
    assert abs(gap.sum()) < 1e-6 * len(scores)
    assert abs(gap @ (scores - scores.mean())) < 1e-5 * len(scores) * max(scores.std(), 1.0)


def test_logistic_stays_finite_on_separable_and_on_lone_outcomes() -> None:
    separable = fit_logistic(np.array([1.0, 2.0, 3.0, 4.0]), np.array([False, False, True, True]))
    assert separable.slope > 0
    assert math.isfinite(separable.intercept)
    assert fit_logistic(np.array([3.0]), np.array([True]))(np.array([3.0]))[0] == pytest.approx(2 / 3)
    assert LogisticMap(1e6, 0.0)(np.array([-1e6, 1e6])).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("fitted", [fit_isotonic(*drawn(80, 0)), fit_logistic(*drawn(80, 0))])
def test_maps_survive_json(fitted: IsotonicMap | LogisticMap) -> None:
    assert map_from_json(json.loads(json.dumps(fitted.to_json()))) == fitted


@pytest.mark.parametrize(
    "data",
    [
        {"kind": "spline"},
        {"kind": "isotonic", "scores": [1, 1], "probabilities": [0, 1]},
        {"kind": "isotonic", "scores": [1, 2], "probabilities": [1, 0]},
        {"kind": "isotonic", "scores": [1, 2], "probabilities": [0, 1.1]},
        {"kind": "isotonic", "scores": [1], "probabilities": [0, 1]},
        {"kind": "isotonic", "scores": [], "probabilities": []},
        {"kind": "isotonic", "scores": [math.nan], "probabilities": [0.5]},
        {"kind": "logistic", "slope": math.nan, "intercept": 0},
    ],
)
def test_what_is_no_map_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        map_from_json(data)


probabilities = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.3, 0.5, 1.0]) | st.floats(0, 1), st.booleans()),
    min_size=1,
    max_size=60,
).map(lambda rows: (np.array([p for p, _ in rows]), np.array([hit for _, hit in rows])))


@given(probabilities, st.integers(1, 12))
def test_reliability_is_that_of_a_loop_over_answers(data: tuple[np.ndarray, np.ndarray], bins: int) -> None:
    claimed, correct = data
    result = reliability(claimed, correct, bins=bins)
    ece, seen = 0.0, 0
    for number, cell in enumerate(result.bins):
        last = number == bins - 1
        members = [i for i, p in enumerate(claimed) if cell.low <= p < cell.high or (last and p == 1.0)]
        seen += len(members)
        assert cell.right == Rate(int(correct[members].sum()), len(members))
        if members:
            assert cell.mean_confidence == pytest.approx(claimed[members].mean())
            ece += len(members) * abs(claimed[members].mean() - correct[members].mean())
        else:
            assert math.isnan(cell.mean_confidence)
    assert seen == len(claimed) == result.answers
    assert result.ece == pytest.approx(ece / len(claimed), abs=1e-12)
    assert 0.0 <= result.ece <= 1.0


def test_reliability_and_brier_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    claimed = rng.random(500)
    correct = rng.random(500) < claimed**2
    result = reliability(claimed, correct)
    right, mean = calibration_curve(correct, claimed, n_bins=10)
    np.testing.assert_allclose([cell.right.value for cell in result.bins], right)
    np.testing.assert_allclose([cell.mean_confidence for cell in result.bins], mean)
    assert result.brier == pytest.approx(brier_score_loss(correct, claimed))


def test_reliability_of_nothing_and_of_nonsense() -> None:
    empty = reliability(np.empty(0), np.empty(0, bool))
    assert math.isnan(empty.ece)
    assert math.isnan(empty.brier)
    for claimed, bins in ((np.array([1.5]), 10), (np.array([math.nan]), 10), (np.array([0.5]), 0)):
        with pytest.raises(ValueError, match="expected probabilities"):
            reliability(claimed, np.array([True]), bins=bins)


def test_what_cannot_be_fitted_is_refused() -> None:
    for scores, correct in ((np.empty(0), np.empty(0, bool)), (np.array([math.inf]), np.array([True]))):
        with pytest.raises(ValueError, match="expected finite scores"):
            fit_isotonic(scores, correct)
        with pytest.raises(ValueError, match="expected finite scores"):
            fit_logistic(scores, correct)


def test_the_error_by_chance_is_that_of_claims_that_hold() -> None:
    # One bin of n answers claimed at p: E|Binomial(n, p) / n - p|.
    n, p = 40, 0.7
    hits = np.arange(n + 1)
    weights = np.array([math.comb(n, int(k)) * p**k * (1 - p) ** (n - k) for k in hits])
    exact = float((weights * np.abs(hits / n - p)).sum())
    assert ece_by_chance(np.full(n, p), draws=4000) == pytest.approx(exact, rel=0.03)
    assert ece_by_chance(np.array([0.0, 1.0, 1.0])) == 0.0
    many = np.random.default_rng(1).random(20_000)
    assert ece_by_chance(many, draws=20) < 0.01 < ece_by_chance(many[:100], draws=20)
    assert math.isnan(ece_by_chance(np.empty(0)))


@pytest.mark.parametrize("seed", range(3))
def test_weights_are_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(200, 3)) * [1.0, 5.0, 0.1] + [0.0, 3.0, 1.0]
    y = rng.random(200) < 1.0 / (1.0 + np.exp(-(x[:, 0] - 0.3 * x[:, 1])))
    counts = rng.uniform(0.2, 3.0, 200)
    found = fit_logistic_weights(x, y, counts, ridge=1e-9)
    theirs = LogisticRegression(C=1e9, tol=1e-12, max_iter=10_000).fit(x, y, counts)
    assert found == pytest.approx([theirs.intercept_[0], *theirs.coef_[0]], rel=1e-3, abs=1e-3)


def test_weights_stay_finite_on_separable_outcomes_and_numbers_that_never_vary() -> None:
    x = np.column_stack([np.arange(10.0), np.full(10, 4.0)])
    found = fit_logistic_weights(x, x[:, 0] > 4, np.ones(10))
    assert np.isfinite(found).all()
    assert found[1] > 0.0
    assert found[2] == 0.0


@pytest.mark.parametrize("rows", [0, 3])
def test_weights_of_nonsense_are_refused(rows: int) -> None:
    with pytest.raises(ValueError, match="expected finite numbers"):
        fit_logistic_weights(np.full((rows, 2), np.nan), np.ones(rows, bool), np.ones(rows))

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.metrics import (
    Rate,
    coverage_curve,
    finding_distances,
    identification,
    open_set,
    open_set_at,
)
from retrieval.metrics.openset import grown
from tests.retrieval.embeddings import lattice

distances = st.lists(
    st.sampled_from([0.0, 0.25, 0.5, 1.0, 4.0, math.inf]) | st.floats(0, 4, width=32), max_size=30
).map(np.array)


@given(distances, distances, st.floats(0, 4))
def test_rates_are_counts_at_the_threshold(known: np.ndarray, unknown: np.ndarray, threshold: float) -> None:
    rate = open_set_at(known, unknown, threshold)
    assert rate.false_matches == Rate(sum(d <= threshold for d in unknown.tolist()), len(unknown))
    assert rate.found == Rate(sum(d <= threshold for d in known.tolist()), len(known))
    if len(known):
        assert rate.fnir == 1.0 - rate.dir


@given(distances, distances, st.floats(0, 1))
def test_the_threshold_at_an_fpir_is_the_largest(known: np.ndarray, unknown: np.ndarray, target: float) -> None:
    (rate,) = open_set(known, unknown, [target])

    def fpir(threshold: float) -> float:
        return sum(d <= threshold for d in unknown.tolist()) / len(unknown)

    assert rate.target == target
    if not len(unknown):
        assert rate.threshold is None
        assert math.isnan(rate.fpir)
        return
    if rate.threshold is None:
        assert fpir(0.0) > target
        assert (rate.false_matches.part, rate.found.part) == (0, 0)
        return
    assert rate.fpir == fpir(rate.threshold) <= target
    above = float(np.nextafter(np.float32(rate.threshold), np.float32(9)))
    assert rate.threshold == 4.0 or fpir(above) > target
    assert rate == open_set_at(known, unknown, rate.threshold, target=target)


@given(distances, distances)
def test_a_higher_fpir_never_finds_less(known: np.ndarray, unknown: np.ndarray) -> None:
    for lower, higher in pairwise(open_set(known, unknown, [0.0, 0.01, 0.1, 0.5, 1.0])):
        assert lower.found.part <= higher.found.part
        assert lower.false_matches.part <= higher.false_matches.part


@pytest.mark.parametrize("rank", [1, 2, 5])
@pytest.mark.parametrize("seed", range(4))
def test_an_identification_gives_the_distances_that_decide(seed: int, rank: int) -> None:
    probes, gallery = lattice(60, 9, seed), lattice(50, 6, seed + 9)
    result = identification(*probes, *gallery)
    known, unknown = finding_distances(result, rank=rank)
    assert (len(known), len(unknown)) == (result.known, result.unknown)
    assert result.unknown > 0
    for threshold in (0.0, 0.75, 1.0, 4.0):
        rate = open_set_at(known, unknown, threshold)
        assert rate.found == result.found(rank, threshold)
        strangers = result.best_distance[~result.outcomes.known]
        assert rate.false_matches.part == (strangers.astype(float) <= threshold).sum()


def test_what_is_no_distance_or_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="without nan"):
        open_set(np.array([math.nan]), np.array([1.0]), [0.1])
    with pytest.raises(ValueError, match=r"FPIR in \[0, 1\], received -0.1"):
        open_set(np.array([1.0]), np.array([1.0]), [-0.1])


confidences = st.lists(
    st.tuples(st.sampled_from([-math.inf, 0.0, 0.3, 0.3, 0.9]) | st.floats(0, 1), st.booleans()), max_size=40
)


@given(confidences, st.floats(0, 1))
def test_coverage_and_accuracy_are_counts_above_a_confidence(answers: list[tuple[float, bool]], least: float) -> None:
    confidence = np.array([c for c, _ in answers], float)
    correct = np.array([hit for _, hit in answers], bool)
    curve = coverage_curve(confidence, correct)
    for c, answered, right in zip(curve.confidence, curve.answered, curve.right, strict=True):
        assert answered == (confidence >= c).sum()
        assert right == correct[confidence >= c].sum()
    assert len(curve.confidence) == len(set(confidence.tolist()))
    coverage, accuracy = curve.at_confidence(least)
    kept = confidence >= least
    assert coverage == Rate(int(kept.sum()), len(answers))
    assert accuracy == Rate(int(correct[kept].sum()), int(kept.sum()))
    best = max((int((confidence >= c).sum()) for c in confidence if correct[confidence >= c].mean() >= 0.8), default=0)
    assert curve.at_accuracy(0.8) == Rate(best, len(answers))


def test_a_coverage_curve_of_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        coverage_curve(np.array([math.nan]), np.array([True]))
    with pytest.raises(ValueError, match="one shape"):
        coverage_curve(np.array([1.0, 2.0]), np.array([True]))


def test_an_fpir_grows_with_the_gallery_as_that_of_independent_products() -> None:
    rng = np.random.default_rng(0)
    distances = rng.uniform(0, 4, (20_000, 30))  # of each photo to each product
    few = float((distances[:, :10].min(axis=1) <= 0.1).mean())
    assert grown(few, 3.0) == pytest.approx((distances.min(axis=1) <= 0.1).mean(), abs=0.01)
    assert grown(grown(few, 3.0), 1 / 3) == pytest.approx(few)
    assert grown(few, 1.0) == few
    assert (grown(0.0, 2.0), grown(1.0, 2.0)) == (0.0, 1.0)

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.distance import squared_l2
from retrieval.metrics import (
    AtFar,
    PairRates,
    accepted_by_product,
    accepted_by_product_at,
    pair_rates,
    threshold_at_far,
)
from retrieval.metrics import _grid as grid
from retrieval.metrics import pairs as module
from tests.lazily import lazily
from tests.retrieval.embeddings import Labeled, clustered, constant, lattice, lattices, perfect

roc_auc_score, roc_curve = lazily("sklearn.metrics", "roc_auc_score", "roc_curve")

THRESHOLDS = (-1.0, 0.0, 0.25, 0.4999999, 0.5, 1.0, 1.75, 2.0, 3.0, 4.0, 5.0)
TARGETS = (0.0, 0.001, 0.01, 0.1, 0.25, 0.5, 1.0)


@pytest.fixture(params=["held", "counted"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Small sets are held, large ones counted; both ways must answer alike, in odd blocks too."""
    if request.param == "counted":
        monkeypatch.setattr(module, "_HOLD_ALL_PAIRS", 0)
        monkeypatch.setattr(module, "_PILOT_ROWS", 20)
        monkeypatch.setattr(grid, "_ROWS", 17)
        monkeypatch.setattr(grid, "_COLUMNS", 29)
        monkeypatch.setattr(grid, "_CHUNK_ROWS", 5)
    return str(request.param)


def brute_pairs(data: Labeled) -> tuple[np.ndarray, np.ndarray]:
    """All distances, pair by pair: same products, different products. Products of a lattice are exact."""
    first, second = np.triu_indices(len(data.labels), 1)
    exact = data.embeddings.astype(np.float64)
    distances = np.clip(2.0 - 2.0 * (exact[first] * exact[second]).sum(axis=1), 0.0, 4.0)
    same = data.labels[first] == data.labels[second]
    return distances[same], distances[~same]


def check_against_brute_force(rates: PairRates, same: np.ndarray, different: np.ndarray) -> None:
    assert (rates.same, rates.different) == (len(same), len(different))
    for point in rates.sweep:
        assert point.accepted_same == (same <= point.threshold).sum()
        assert point.accepted_different == (different <= point.threshold).sum()
    for at in (rates.experiment, *rates.at_far):
        check_at_far(at, same, different)


def check_at_far(at: AtFar, same: np.ndarray, different: np.ndarray) -> None:
    """The threshold obeys the target, and the next float32 above it would not."""

    def obeys(threshold: float) -> bool:
        far = int((different <= threshold).sum()) / len(different)
        return far < at.target if at.strict else far <= at.target

    if at.threshold is None:
        assert not len(different) or not obeys(0.0)
        assert (at.accepted_same, at.accepted_different) == (0, 0)
        return
    assert obeys(at.threshold)
    assert at.threshold == 4.0 or not obeys(float(np.nextafter(np.float32(at.threshold), np.float32(9))))
    assert at.accepted_same == (same <= at.threshold).sum()
    assert at.accepted_different == (different <= at.threshold).sum()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("n", "products"), [(2, 1), (2, 2), (30, 1), (30, 30), (61, 4), (90, 40)])
def test_counts_are_those_of_a_loop_over_all_pairs(path: str, n: int, products: int, seed: int) -> None:
    data = lattice(n, products, seed)
    rates = pair_rates(*data, THRESHOLDS, TARGETS)
    check_against_brute_force(rates, *brute_pairs(data))


def test_counts_agree_between_both_ways_on_continuous_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    data = clustered(700, 30, seed=3)
    held = pair_rates(*data)
    monkeypatch.setattr(module, "_HOLD_ALL_PAIRS", 0)
    counted = pair_rates(*data)
    assert held.sweep == counted.sweep
    assert held.at_far == counted.at_far
    assert held.experiment == counted.experiment
    assert abs(held.curve.auc - counted.curve.auc) <= counted.curve.auc_tolerance + 1e-12
    assert abs(held.curve.eer - counted.curve.eer) <= counted.curve.eer_tolerance + 1e-12
    assert held.curve.auc_tolerance == held.curve.eer_tolerance == 0.0
    assert 0.0 < counted.curve.auc_tolerance < 1e-5


def test_continuous_counts_are_those_of_float64(path: str) -> None:
    data = clustered(200, 12, seed=5)
    exact = data.embeddings.astype(np.float64)
    distances = ((exact[:, None] - exact[None]) ** 2).sum(-1)
    upper = np.triu(np.ones(distances.shape, bool), 1)
    same = data.labels[:, None] == data.labels[None]
    ascending = np.sort(distances[upper])
    gaps = np.flatnonzero(np.diff(ascending) > 1e-5)[::100]
    thresholds = (ascending[gaps] + ascending[gaps + 1]) / 2  # where float32 cannot change a decision
    assert len(thresholds) > 20
    for point in pair_rates(*data, thresholds.tolist()).sweep:
        assert point.accepted_same == ((distances <= point.threshold) & same & upper).sum()
        assert point.accepted_different == ((distances <= point.threshold) & ~same & upper).sum()


def test_a_pilot_that_misleads_costs_a_second_pass_and_no_exactness(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []
    count_pairs = grid.count_pairs
    monkeypatch.setattr(module, "count_pairs", lambda *args, **more: passes.append(1) or count_pairs(*args, **more))
    monkeypatch.setattr(module, "_pilot_bins", lambda pilot, far: set())
    data = lattice(90, 7, seed=1)
    rates = pair_rates(*data, THRESHOLDS, TARGETS)
    check_against_brute_force(rates, *brute_pairs(data))
    assert len(passes) == (3 if path == "counted" else 0)


@given(lattices, st.lists(st.floats(0, 4), min_size=2, max_size=8))
def test_rates_never_fall_as_the_threshold_rises(data: Labeled, thresholds: list[float]) -> None:
    sweep = pair_rates(*data, sorted(thresholds)).sweep
    for lower, higher in pairwise(sweep):
        assert lower.accepted_same <= higher.accepted_same
        assert lower.accepted_different <= higher.accepted_different


@given(lattices, st.integers(0, 2**32 - 1))
def test_order_does_not_matter(data: Labeled, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(data.labels))
    shuffled = Labeled(data.embeddings[order], data.labels[order])
    one, other = pair_rates(*data, THRESHOLDS), pair_rates(*shuffled, THRESHOLDS)
    assert (one.sweep, one.at_far, one.experiment) == (other.sweep, other.at_far, other.experiment)


@given(lattices, st.floats(0, 1), st.booleans())
def test_threshold_at_far_is_the_largest(data: Labeled, far: float, strict: bool) -> None:
    at = threshold_at_far(*data, far, strict=strict)
    check_at_far(at, *brute_pairs(data))


@given(lattices)
def test_auc_is_the_chance_that_a_same_pair_is_nearer(data: Labeled) -> None:
    same, different = brute_pairs(data)
    auc = pair_rates(*data).curve.auc
    if not len(same) or not len(different):
        assert math.isnan(auc)
        return
    nearer = (same[:, None] < different[None]).mean() + 0.5 * (same[:, None] == different[None]).mean()
    assert auc == pytest.approx(nearer, abs=1e-12)


def test_auc_and_roc_are_those_of_scikit_learn(path: str) -> None:
    data = clustered(300, 20, seed=2, noise=1.5)
    first, second = np.triu_indices(len(data.labels), 1)
    truth = data.labels[first] == data.labels[second]
    distances = squared_l2(data.embeddings, data.embeddings.copy())[first, second]
    curve = pair_rates(*data).curve
    assert curve.auc == pytest.approx(roc_auc_score(truth, -distances), abs=curve.auc_tolerance + 1e-9)
    far, val, _ = roc_curve(truth, -distances, drop_intermediate=False)
    order = np.searchsorted(far, curve.far, side="right") - 1
    assert (curve.val <= val[order] + 1e-12).all()
    frr = 1 - val
    cross = int(np.argmax(far >= frr))
    assert min(far[cross - 1], frr[cross]) <= curve.eer <= max(far[cross], frr[cross - 1])


def test_one_threshold_separates_perfect_clusters(path: str) -> None:
    rates = pair_rates(*perfect(6, 5), (0.0, 1.9, 2.0), (0.0, 0.01))
    assert [(p.val, p.far) for p in rates.sweep] == [(1.0, 0.0), (1.0, 0.0), (1.0, 1.0)]
    assert (rates.curve.auc, rates.curve.eer) == (1.0, 0.0)
    for at in (*rates.at_far, rates.experiment):
        assert at.threshold == float(np.nextafter(np.float32(2), np.float32(0)))
        assert (at.val, at.far) == (1.0, 0.0)


def test_constant_vectors_tell_nothing_apart(path: str) -> None:
    rates = pair_rates(*constant(5, 4), (0.0,), (0.5, 1.0))
    assert (rates.sweep[0].val, rates.sweep[0].far) == (1.0, 1.0)
    assert (rates.curve.auc, rates.curve.eer) == (0.5, 0.5)
    assert rates.experiment.threshold is None
    assert (rates.experiment.val, rates.experiment.far) == (0.0, 0.0)
    assert [at.threshold for at in rates.at_far] == [None, 4.0]


def test_random_vectors_accept_same_and_different_alike() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((900, 8))
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    rates = pair_rates(unit, rng.integers(0, 9, 900))
    assert rates.curve.auc == pytest.approx(0.5, abs=0.01)
    assert rates.curve.eer == pytest.approx(0.5, abs=0.01)
    for at in rates.at_far:
        assert at.val == pytest.approx(at.far, abs=0.01)


def test_rates_without_a_denominator_are_nan() -> None:
    lone = pair_rates(np.eye(3, dtype=np.float32), ["a", "b", "c"], (1.0,))
    assert (lone.same, lone.different) == (0, 3)
    assert math.isnan(lone.sweep[0].val)
    assert lone.sweep[0].far == 0.0
    assert math.isnan(lone.curve.auc)
    assert math.isnan(lone.curve.eer)
    one = pair_rates(np.eye(3, dtype=np.float32), ["a", "a", "a"], (1.0,))
    assert (one.same, one.different) == (3, 0)
    assert math.isnan(one.sweep[0].far)
    assert one.experiment.threshold is None
    nothing = pair_rates(np.empty((0, 4), np.float32), [], (1.0,))
    assert (nothing.same, nothing.different) == (0, 0)


def test_a_distance_equal_to_the_threshold_is_accepted_as_a_real_number() -> None:
    # d = float32(0.28) > 0.28, so that rounding the threshold to float32 would accept it.
    c = np.float32(1.0 - 0.14)
    x = np.array([[1, 0], [c, np.sqrt(1 - c * c)]], np.float32)
    d = float(squared_l2(x[:1], x[1:])[0, 0])
    below = float(np.nextafter(d, 0.0))
    points = pair_rates(x, [0, 0], (below, d)).sweep
    assert [p.accepted_same for p in points] == [0, 1]


@pytest.mark.parametrize("seed", range(4))
def test_across_two_sets_every_probe_meets_every_gallery_image(path: str, seed: int) -> None:
    probes, gallery = lattice(41, 5, seed), lattice(60, 7, seed + 100)
    rates = pair_rates(*probes, THRESHOLDS, TARGETS, gallery=gallery.embeddings, gallery_labels=gallery.labels)
    distances = squared_l2(probes.embeddings, gallery.embeddings).astype(float)
    same = probes.labels[:, None] == gallery.labels[None]
    check_against_brute_force(rates, distances[same], distances[~same])


def test_an_unresolved_place_of_the_curve_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_HOLD_ALL_PAIRS", 0)
    data = clustered(300, 20, seed=2)
    curve = pair_rates(*data, (0.3,), (0.01,)).curve
    loose = curve.levels[~curve.resolved]
    inside = float(loose[len(loose) // 2] - 1) / 2**23
    with pytest.raises(ValueError, match="resolved at"):
        curve.at(inside)
    with pytest.raises(ValueError, match="resolved at FAR"):
        curve.at_far(0.5)
    assert curve.near_far(0.5) == pytest.approx(pair_rates(*data, (), (0.5,)).at_far[0].threshold, abs=2**-12)


@pytest.mark.parametrize(
    ("embeddings", "labels", "message"),
    [
        (np.ones((3, 4), np.float32), [1, 2, 3], "unit L2 norm"),
        (np.full((3, 4), np.nan, np.float32), [1, 2, 3], "unit L2 norm"),
        (np.eye(3), [1, 2, 3], "float32 of shape"),
        (np.eye(3, dtype=np.float32)[0], [1, 2, 3], "float32 of shape"),
        (np.eye(3, dtype=np.float32), [1, 2], "one label for each of 3"),
    ],
)
def test_what_is_no_labeled_set_of_unit_vectors_is_refused(
    embeddings: np.ndarray, labels: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        pair_rates(embeddings, labels)


def test_thresholds_and_targets_must_be_numbers_in_range() -> None:
    data = lattice(5, 2, 0)
    with pytest.raises(ValueError, match="received nan"):
        pair_rates(*data, (math.nan,))
    with pytest.raises(ValueError, match=r"FAR in \[0, 1\], received 1.5"):
        pair_rates(*data, (), (1.5,))
    with pytest.raises(ValueError, match="expected gallery_labels"):
        pair_rates(*data, gallery=data.embeddings)
    with pytest.raises(ValueError, match="one dimension"):
        pair_rates(*data, gallery=np.eye(3, dtype=np.float32), gallery_labels=[1, 2, 3])


@pytest.mark.parametrize("threshold", [-1.0, 0.5, 1.75, 2.0, 4.0])
def test_counts_by_product_add_up(path: str, threshold: float) -> None:
    data = lattice(90, 11, seed=8)
    counts = accepted_by_product(*data, threshold)
    point = pair_rates(*data, (threshold,)).sweep[0]
    assert counts.accepted_same.sum() == point.accepted_same
    assert counts.accepted.sum() == point.accepted_different
    assert counts.same.sum() == point.same
    distances = squared_l2(*(data.embeddings,) * 2)
    for p, q, accepted in zip(counts.first, counts.second, counts.accepted, strict=True):
        assert p < q
        ours = distances[data.labels == counts.products[p]][:, data.labels == counts.products[q]]
        assert accepted == (ours.astype(float) <= threshold).sum()


def test_counts_by_product_at_several_thresholds_are_those_at_each(path: str) -> None:
    data = lattice(90, 11, seed=8)
    thresholds = [1.75, -1.0, 4.0, 0.5, 1.75]
    together = accepted_by_product_at(*data, thresholds)
    assert accepted_by_product_at(*data, []) == ()
    for threshold, counts in zip(thresholds, together, strict=True):
        alone = accepted_by_product(*data, threshold)
        assert counts.threshold == threshold
        for name in ("images", "accepted_same", "first", "second", "accepted"):
            assert getattr(counts, name).tolist() == getattr(alone, name).tolist()


def test_labels_may_be_any_kind() -> None:
    data = lattice(30, 4, seed=0)
    names = [f"product {label}" for label in data.labels]
    assert pair_rates(data.embeddings, names, THRESHOLDS).sweep == pair_rates(*data, THRESHOLDS).sweep

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.metrics import ProductPairCounts, accepted_by_product, pair_rates
from retrieval.metrics.intervals import (
    Difference,
    Interval,
    by_product,
    clopper_pearson,
    eer_interval,
    far_interval,
    paired_difference,
    rate_interval,
    val_interval,
    wilson,
)
from tests.lazily import lazily
from tests.retrieval.embeddings import clustered, constant, perfect

stats = lazily("scipy.stats")

counts = st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(counts, st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_binomial_intervals_are_those_of_scipy(count: tuple[int, int], level: float) -> None:
    for ours, name in ((clopper_pearson, "exact"), (wilson, "wilson")):
        theirs = stats.binomtest(*count).proportion_ci(level, name)
        interval = ours(*count, level=level)
        assert interval.low == pytest.approx(theirs.low, abs=1e-9)
        assert interval.high == pytest.approx(theirs.high, abs=1e-9)
        assert 0.0 <= interval.low <= count[0] / count[1] <= interval.high <= 1.0


def test_zero_of_n_follows_the_rule_of_three() -> None:
    assert clopper_pearson(0, 1000, level=0.9).high == pytest.approx(3 / 1000, rel=0.01)
    assert clopper_pearson(0, 10).high == pytest.approx(1 - 0.025**0.1)
    assert clopper_pearson(7, 72_733_025).high == pytest.approx(1.983e-7, rel=1e-3)


def test_no_trial_has_no_interval() -> None:
    for interval in (clopper_pearson(0, 0), wilson(0, 0), rate_interval([], []), rate_interval([0.0], [0.0])):
        assert math.isnan(interval.low)
        assert interval.method == "none"
        assert interval.to_json() is None


def test_by_product_sums_outcomes() -> None:
    parts, wholes = by_product(np.array([True, False, True, True]), np.array(["b", "a", "b", "c"]))
    assert (parts.tolist(), wholes.tolist()) == ([0.0, 2.0, 1.0], [1.0, 2.0, 1.0])


def brute_bootstrap(statistic, size: int, resamples: int = 3000) -> np.ndarray:  # type: ignore[no-untyped-def]
    """Statistics of products drawn one by one."""
    rng = np.random.default_rng(11)
    return np.array([statistic(rng.integers(0, size, size)) for _ in range(resamples)])


def test_the_interval_of_a_rate_is_that_of_drawing_products_one_by_one() -> None:
    rng = np.random.default_rng(0)
    wholes = rng.integers(1, 30, 40)
    parts = rng.binomial(wholes, rng.beta(2, 2, 40))
    drawn = brute_bootstrap(lambda picks: parts[picks].sum() / wholes[picks].sum(), 40)
    interval = rate_interval(parts, wholes)
    assert interval.method == "products"
    assert interval.low == pytest.approx(np.quantile(drawn, 0.025), abs=0.01)
    assert interval.high == pytest.approx(np.quantile(drawn, 0.975), abs=0.01)
    assert interval == rate_interval(parts, wholes), "deterministic"


def test_products_that_agree_within_themselves_widen_the_interval() -> None:
    wholes = np.full(50, 20)
    parts = np.repeat([0, 20], 25)
    by_photo = wilson(500, 1000)
    interval = rate_interval(parts, wholes)
    assert interval.high - interval.low > 3 * (by_photo.high - by_photo.low)


def test_the_interval_of_far_is_that_of_drawing_products_one_by_one() -> None:
    data = clustered(160, 25, seed=6, noise=1.5)
    pairs = accepted_by_product(*data, 1.4)
    matrix = np.zeros((25, 25))
    matrix[pairs.first, pairs.second] = pairs.accepted
    matrix += matrix.T
    images = pairs.images

    def far(picks: np.ndarray) -> float:
        different = picks[:, None] != picks  # two copies of one product are none
        drawn = images[picks]
        return float(matrix[np.ix_(picks, picks)][different].sum() / np.outer(drawn, drawn)[different].sum())

    drawn = brute_bootstrap(far, 25, resamples=1500)
    interval = far_interval(pairs, resamples=4000)
    width = np.quantile(drawn, 0.975) - np.quantile(drawn, 0.025)
    assert interval.method == "product-pairs"
    assert interval.low == pytest.approx(np.quantile(drawn, 0.025), abs=0.1 * width)
    assert interval.high == pytest.approx(np.quantile(drawn, 0.975), abs=0.1 * width)


def test_the_interval_of_the_eer_is_that_of_the_eer_of_drawn_products() -> None:
    data = clustered(240, 24, seed=3, noise=1.3)
    curve = pair_rates(*data).curve
    products = np.unique(data.labels, return_inverse=True)[1]
    first, second = np.triu_indices(len(products), 1)
    distances = 2 - 2 * (data.embeddings @ data.embeddings.T)[first, second]
    order = np.argsort(distances)
    distances, first, second = distances[order], products[first[order]], products[second[order]]
    same = first == second
    # Different-product pairs as near as each same-product pair.
    nearer = np.searchsorted(distances[~same], distances[same], side="right")
    rng = np.random.default_rng(5)

    def eer(picks: np.ndarray) -> float:
        # Each drawn copy is a product of its own; pairs of two copies of one product are no different-product pairs.
        copies = np.bincount(picks, minlength=24)
        accepted = np.concatenate([[0], np.cumsum((copies[first] * copies[second])[~same])])
        far = np.repeat(accepted[nearer] / accepted[-1], copies[first[same]])
        frr = 1 - np.arange(1, len(far) + 1) / len(far)
        place = int(np.argmax(far >= frr))
        return float((far[place] + frr[place]) / 2)

    drawn = [eer(rng.integers(0, 24, 24)) for _ in range(600)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    threshold, slope = curve.crossing() or (math.nan, math.nan)
    interval = eer_interval(curve.eer, accepted_by_product(*data, threshold), slope)
    assert interval.low == pytest.approx(low, abs=0.15 * (high - low))
    assert interval.high == pytest.approx(high, abs=0.15 * (high - low))
    assert interval.low < curve.eer < interval.high


def test_the_interval_of_the_eer_at_its_ends() -> None:
    def interval(data) -> Interval:  # type: ignore[no-untyped-def]
        curve = pair_rates(*data).curve
        threshold, slope = curve.crossing() or (math.nan, math.nan)
        return eer_interval(curve.eer, accepted_by_product(*data, threshold), slope)

    apart = interval(perfect(8, 3))
    assert (apart.low, apart.method) == (0.0, "exact")
    assert apart.high == clopper_pearson(0, 8).high
    alike = interval(constant(8, 3))
    assert (alike.low, alike.high) == (0.5, 0.5)
    assert interval(perfect(2, 3)).method == "none"
    assert pair_rates(*perfect(1, 3)).curve.crossing() is None
    assert pair_rates(*perfect(3, 1)).curve.crossing() is None


def test_far_of_many_products_is_summed_by_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = accepted_by_product(*clustered(200, 40, seed=1, noise=1.5), 1.5)
    whole = far_interval(pairs)
    monkeypatch.setattr("retrieval.metrics.intervals._STRIP", 7)
    strips = far_interval(pairs)
    assert (strips.low, strips.high) == pytest.approx((whole.low, whole.high), rel=1e-12)


def test_the_interval_of_far_covers_the_truth() -> None:
    """Of 40 samples of products about 38 should cover the FAR of all products; far fewer is a wrong method."""
    rng = np.random.default_rng(5)
    products, photos, dimension = 1200, 3, 6
    centers = rng.standard_normal((products, dimension))
    vectors = np.repeat(centers, photos, axis=0) + 0.3 * rng.standard_normal((products * photos, dimension))
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    labels = np.repeat(np.arange(products), photos)
    everything = accepted_by_product(unit, labels, 0.6)
    total = (len(labels) ** 2 - (everything.images**2).sum()) / 2
    truth = everything.accepted.sum() / total
    covered = naive = 0
    for sample in range(40):
        chosen = np.isin(labels, np.arange(sample * 30, sample * 30 + 30))
        pairs = accepted_by_product(unit[chosen], labels[chosen], 0.6)
        interval = far_interval(pairs, resamples=500)
        covered += interval.low <= truth <= interval.high
        different = 90 * 89 // 2 - 30 * 3
        as_if_independent = wilson(int(pairs.accepted.sum()), different)
        naive += as_if_independent.low <= truth <= as_if_independent.high
    assert covered >= 34
    assert naive < 34


def test_rates_of_0_and_1_get_an_exact_interval_over_products() -> None:
    separated = accepted_by_product(*perfect(20, 5), 1.0)
    assert val_interval(separated) == clopper_pearson(20, 20)
    assert far_interval(separated) == clopper_pearson(0, 20)
    alike = accepted_by_product(*constant(20, 5), 1.0)
    assert far_interval(alike) == clopper_pearson(20, 20)
    assert rate_interval([0, 0, 0], [5, 9, 0]) == clopper_pearson(0, 2)


def test_two_products_say_nothing_of_others() -> None:
    assert far_interval(accepted_by_product(*perfect(2, 5), 3.0)).method == "none"
    assert rate_interval([1], [2]).method == "none"


def test_a_paired_difference_cancels_what_both_share() -> None:
    rng = np.random.default_rng(1)
    wholes = np.full(60, 10)
    parts = rng.binomial(10, rng.beta(1, 1, 60))
    better = np.minimum(parts + (np.arange(60) % 2), 10)
    difference = paired_difference((parts, wholes), (better, wholes))
    assert difference.value == pytest.approx((better - parts).sum() / 600)
    assert difference.interval.low > 0.0
    assert difference.probability_better == 1.0
    alone = rate_interval(parts, wholes)
    paired_width = difference.interval.high - difference.interval.low
    assert paired_width < 0.3 * (alone.high - alone.low)


def test_a_model_is_not_better_than_itself() -> None:
    parts, wholes = np.array([1, 5, 3, 0]), np.array([4, 6, 8, 9])
    same = paired_difference((parts, wholes), (parts, wholes))
    assert (same.value, same.interval.low, same.interval.high) == (0.0, 0.0, 0.0)
    assert same.probability_better == 0.5


def test_swapping_the_models_turns_the_difference_around() -> None:
    rng = np.random.default_rng(2)
    wholes = rng.integers(1, 9, 30)
    a, b = (rng.binomial(wholes, 0.6) for _ in range(2))
    one, other = paired_difference((a, wholes), (b, wholes)), paired_difference((b, wholes), (a, wholes))
    assert one.value == pytest.approx(-other.value)
    assert (one.interval.low, one.interval.high) == pytest.approx((-other.interval.high, -other.interval.low))
    assert one.probability_better == pytest.approx(1 - other.probability_better)


def test_a_difference_without_two_products_is_unknown() -> None:
    lone = paired_difference(([1], [2]), ([2], [2]))
    assert isinstance(lone, Difference)
    assert math.isnan(lone.value)
    assert lone.interval.method == "none"


def test_counts_that_cannot_be_are_refused() -> None:
    for call in (
        lambda: wilson(2, 1),
        lambda: clopper_pearson(-1, 3),
        lambda: clopper_pearson(1, 3, level=1.0),
        lambda: rate_interval([2], [1]),
        lambda: rate_interval([1], [1, 2]),
        lambda: paired_difference(([1, 1], [1, 1]), ([1], [1])),
    ):
        with pytest.raises(ValueError, match="expected"):
            call()


def test_an_interval_is_a_pair_in_json() -> None:
    assert Interval(0.1, 0.2, 0.95, "products").to_json() == [0.1, 0.2]
    assert isinstance(accepted_by_product(*perfect(3, 2), 1.0), ProductPairCounts)

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from retrieval.calibration.choose import (
    OpenSetDistances,
    choose_by_errors,
    choose_by_far,
    choose_by_fpir,
    measure_open_set,
    measure_pairs,
)
from retrieval.calibration.support import LEAST_PRODUCTS, support
from retrieval.metrics import identification, pair_rates
from retrieval.metrics.openset import finding_distances
from tests.retrieval.embeddings import clustered, constant, perfect


def test_choices_are_the_thresholds_of_the_pair_rates() -> None:
    data = clustered(400, 25, seed=0, noise=1.5)
    rates, choices = choose_by_far(*data, (0.1, 0.01))
    expected = pair_rates(*data, far_targets=(0.1, 0.01))
    assert [c.name for c in choices] == ["experiment", "far=0.1", "far=0.01"]
    assert [c.threshold for c in choices] == [at.threshold for at in (expected.experiment, *expected.at_far)]
    for choice, at in zip(choices, (rates.experiment, *rates.at_far), strict=True):
        assert choice.measured is not None
        measured = choice.measured.rate
        assert (measured.accepted_same, measured.same) == (at.accepted_same, at.same)
        assert (measured.accepted_different, measured.different) == (at.accepted_different, at.different)
        assert choice.measured.far_ci.low < at.far < choice.measured.far_ci.high
        assert choice.measured.val_ci.low < at.val < choice.measured.val_ci.high
        assert choice.threshold_ci.low < choice.threshold < choice.threshold_ci.high
        assert choice.measured.products == 25
        assert choice.refusal == ""


def test_the_threshold_interval_is_where_far_crosses_its_own_interval() -> None:
    data = clustered(400, 25, seed=0, noise=1.5)
    _, (choice,) = choose_by_far(*data, (0.05,), experiment=False)
    far = choice.measured.far_ci
    for end, rate in ((choice.threshold_ci.low, far.low), (choice.threshold_ci.high, far.high)):
        assert measure_pairs(*data, end).rate.far == pytest.approx(rate, abs=1e-3)


def test_a_threshold_measured_elsewhere_is_the_sweep_of_that_split() -> None:
    val, test = clustered(300, 20, seed=1), clustered(300, 22, seed=2)
    _, (choice,) = choose_by_far(*val, (0.05,), experiment=False)
    measured = measure_pairs(*test, choice.threshold)
    assert measured.rate == pair_rates(*test, (choice.threshold,)).sweep[0]
    assert measured.products == len(np.unique(test.labels))


def test_too_few_pairs_are_refused_with_the_number_it_takes() -> None:
    data = clustered(100, 20, seed=0, noise=1.5)
    _, (firm, weak) = choose_by_far(*data, (0.1, 0.001), experiment=False)
    assert firm.refusal == ""
    assert weak.refusal.startswith("Not enough data for FAR 0.1 %: 4,")
    assert "30,000 needed (rule of 30)" in weak.refusal
    assert weak.threshold is not None
    assert weak.operating_point().note == weak.refusal


@pytest.mark.parametrize(
    ("target", "trials", "products", "refused"),
    [
        (0.01, 3000, LEAST_PRODUCTS, ""),
        (0.01, 2999, 100, "3,000 needed (rule of 30)"),
        (0.01, 10**9, LEAST_PRODUCTS - 1, "9 products, at least 10 needed"),
        (0.0, 10**12, 1000, "no number would be enough"),
        (0.5, 0, 0, "0 trials, 60 needed"),
    ],
)
def test_support_is_the_rule_of_30(target: float, trials: int, products: int, refused: str) -> None:
    sentence = support("FAR", target, trials, "trials", products)
    assert refused in sentence
    assert bool(sentence) == bool(refused)


def test_few_products_are_refused_however_many_their_photos() -> None:
    _, (choice,) = choose_by_far(*clustered(600, 4, seed=0), (0.1,), experiment=False)
    assert "4 products, at least 10 needed" in choice.refusal


def test_constant_vectors_have_no_threshold() -> None:
    _, (choice,) = choose_by_far(*constant(20, 4), (0.1,), experiment=False)
    assert choice.threshold is None
    assert choice.measured is None
    assert choice.refusal == "No threshold keeps FAR at 10 %: too many impostor pairs lie at distance 0."
    with pytest.raises(ValueError, match="No threshold keeps FAR"):
        choice.operating_point()


def test_a_split_of_single_photos_has_no_val() -> None:
    photos = clustered(80, 5, seed=0).embeddings
    _, (choice,) = choose_by_far(photos, np.arange(80), (0.1,), experiment=False)
    assert choice.refusal.startswith("Not enough data for VAL")
    point = choice.operating_point()
    assert (point.val, point.val_ci, point.same_pairs) == (None, None, 0)


def test_a_choice_becomes_the_operating_point_of_a_bundle() -> None:
    data = clustered(400, 25, seed=0, noise=1.5)
    _, (choice,) = choose_by_far(*data, (0.01,), experiment=False)
    point = choice.operating_point()
    assert (point.name, point.threshold) == ("far=0.01", choice.threshold)
    assert point.far == point.accepted_different / point.different_pairs <= 0.01
    assert point.val == point.accepted_same / point.same_pairs
    assert point.far_ci[0] < point.far < point.far_ci[1]


def test_perfect_clusters_are_stored_with_exact_intervals() -> None:
    _, (choice,) = choose_by_far(*perfect(12, 8), (0.1,), experiment=False)
    point = choice.operating_point()
    assert (point.val, point.far, point.far_ci[0], point.val_ci[1]) == (1.0, 0.0, 0.0, 1.0)
    assert point.far_ci[1] > 0.1
    assert point.val_ci[0] < 0.9


def open_set_of(seed: int) -> OpenSetDistances:
    embeddings, labels = clustered(900, 60, seed, noise=1.5)
    gallery = (np.arange(900) % 2 == 0) & (labels < 40)
    probes = np.arange(900) % 2 == 1
    result = identification(embeddings[probes], labels[probes], embeddings[gallery], labels[gallery])
    known, unknown = finding_distances(result)
    is_known = result.outcomes.known
    return OpenSetDistances(known, labels[probes][is_known], unknown, labels[probes][~is_known], gallery=40)


def test_an_fpir_is_kept_and_carries_intervals_by_product() -> None:
    data = open_set_of(0)
    known, unknown = data.known, data.unknown
    firm, weak = choose_by_fpir(data, (0.3, 0.01))
    assert firm.refusal == ""
    assert "Not enough data for" in weak.refusal
    assert "photos of unknown products" in weak.refusal
    measured = firm.measured
    assert measured.rate.target == 0.3
    assert measured.rate.fpir == (unknown <= firm.threshold).mean() <= 0.3
    assert measured.rate.dir == (known <= firm.threshold).mean()
    assert measured.fpir_ci.low < measured.rate.fpir < measured.fpir_ci.high
    assert (measured.known_products, measured.unknown_products) == (40, 20)
    point = firm.operating_point()
    assert (point.probes, point.strangers, point.gallery) == (len(known), len(unknown), 40)
    assert point.fnir_ci[0] <= point.fnir <= point.fnir_ci[1]
    assert point.fnir_ci == pytest.approx((1 - measured.dir_ci.high, 1 - measured.dir_ci.low))
    assert measure_open_set(data, firm.threshold).rate.found == measured.rate.found


@pytest.mark.parametrize("share", [0.05, 0.2, 0.6])
def test_the_fewest_errors_are_those_of_the_best_of_all_thresholds(share: float) -> None:
    data = open_set_of(0)
    known, unknown = data.known, data.unknown
    choice = choose_by_errors(data, share)
    assert choice.name == f"strangers={share:g}"

    def wrong(threshold: float) -> float:
        return (1 - share) * float((known > threshold).mean()) + share * float((unknown <= threshold).mean())

    reached = np.concatenate([known, unknown])
    best = min(wrong(t) for t in reached[np.isfinite(reached)])
    assert wrong(choice.threshold) == pytest.approx(best)
    assert choice.threshold not in reached  # halfway: a photo like the last one is not decided by its last bit
    rate = choice.measured.rate
    assert (1 - share) * rate.fnir + share * rate.fpir == pytest.approx(best)
    point = choice.operating_point()
    assert (point.fpir, point.fnir) == (rate.fpir, pytest.approx(rate.fnir))


def test_the_fewest_errors_of_few_photos_are_refused() -> None:
    data = open_set_of(0)
    few = choose_by_errors(replace(data, known=data.known[:20], known_labels=data.known_labels[:20]), 0.2)
    assert "Not enough data for FNIR 20 %: 20 photos of known products" in few.refusal
    nobody = choose_by_errors(replace(data, unknown=np.array([]), unknown_labels=np.array([], int)), 0.2)
    assert nobody.threshold is None
    assert nobody.refusal
    with pytest.raises(ValueError, match="share of unknown products"):
        choose_by_errors(data, 1.0)


def test_strangers_at_distance_0_leave_no_threshold() -> None:
    labels = np.arange(100) % 20
    (choice,) = choose_by_fpir(OpenSetDistances(np.zeros(100), labels, np.zeros(100), labels, gallery=20), (0.3,))
    assert choice.threshold is None
    assert choice.refusal == "No threshold keeps FPIR at 30 %: too many unknown photos lie at distance 0."
    with pytest.raises(ValueError, match="No threshold keeps FPIR"):
        choice.operating_point()


def test_labels_must_match_the_distances() -> None:
    with pytest.raises(ValueError, match="one label a photo"):
        OpenSetDistances(np.zeros(3), [1, 2], np.zeros(2), [1, 2], gallery=2)


def test_what_is_reckoned_for_a_larger_catalog_is_held_to_what_was_seen() -> None:
    data = replace(open_set_of(0), growth=1.25)
    seen = len(data.unknown)
    assert seen * 0.18 > 30 > seen * (1 - 0.82**0.8)  # enough strangers for 18 % seen, too few for 18 % reckoned
    (choice,) = choose_by_fpir(data, (0.18,))
    assert f": {seen} photos of unknown products" in choice.refusal
    assert choose_by_fpir(replace(data, growth=1.0), (0.18,))[0].refusal == ""

"""What an evaluation says beside its rates: counts of curves, intervals of summaries, words."""

from __future__ import annotations

import pytest

from retrieval.evaluation import evaluate
from retrieval.evaluation.summary import of_hundred
from tests.evaluate_example import clusters, example_document
from tests.retrieval.evaluation.test_evaluate import setting


def test_a_rate_in_words_is_rounded_to_neither_none_nor_all() -> None:
    def words(part: int, whole: int) -> str:
        return of_hundred({"rate": part / whole if whole else None, "part": part, "whole": whole, "ci": None})

    assert words(5, 6) == "5 of 6"
    assert words(0, 0) == "0 of 0"
    assert words(832, 1000) == "83 of 100"
    assert words(0, 1000) == "0 of 100"
    assert words(4, 1000) == "fewer than 1 of 100"
    assert words(996, 1000) == "more than 99 of 100"
    assert words(1000, 1000) == "100 of 100"


def test_every_curve_keeps_its_counts() -> None:
    document = example_document()
    unknown = document["open_set"]
    for point in unknown["curve"]:
        assert point["found"] == pytest.approx(point["dir"] * unknown["rates"]["dir"]["whole"])
        assert point["named"] == pytest.approx(point["fpir"] * unknown["strangers"])
    for step in unknown["ambiguous"]["coverage"]:
        assert step["right"] == pytest.approx(step["accuracy"] * step["answered"])
        assert step["answered"] == pytest.approx(step["coverage"] * unknown["rates"]["dir"]["whole"])


def test_confused_pairs_are_all_counted_and_the_commonest_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    gallery, test = clusters(30, 3, noise=0.4, seed=1), clusters(30, 4, noise=0.4, seed=2)
    whole = evaluate(test, gallery, setting())["identification"]
    assert whole["confused_pairs"] == len(whole["confusions"]) > 10
    monkeypatch.setattr("retrieval.evaluation.identification._CONFUSIONS", 4)
    cut = evaluate(test, gallery, setting())["identification"]
    assert cut["confused_pairs"] == whole["confused_pairs"]
    assert cut["confusions"] == whole["confusions"][:4]


def test_summaries_have_intervals_around_them() -> None:
    document = example_document()
    pairs, confidence = document["pairs"], document["confidence"]
    assert confidence is not None
    for value, ends in (
        (pairs["eer"], pairs["eer_ci"]),
        (confidence["brier"], confidence["brier_ci"]),
    ):
        assert value is not None
        assert ends is not None
        assert 0.0 <= ends[0] <= value <= ends[1] <= 1.0
        assert ends[0] < ends[1]
    assert confidence["ece_by_chance"] is not None
    assert 0.0 < confidence["ece_by_chance"] < 0.2


@pytest.mark.parametrize("held", [1, 10**9])
def test_pairs_are_counted_alike_however_many_thresholds_share_a_pass(
    held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery, test = clusters(12, 3, noise=0.3, seed=1), clusters(12, 4, noise=0.3, seed=2)
    expected = evaluate(test, gallery, setting())["pairs"]
    monkeypatch.setattr("retrieval.evaluation.pairs._HELD_PRODUCT_PAIRS", held)
    assert evaluate(test, gallery, setting())["pairs"] == expected

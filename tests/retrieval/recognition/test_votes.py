import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.recognition import votes
from retrieval.recognition.decision import decide, split
from retrieval.types import Match, Neighbor


def neighbor(product: str, distance: float, n: int = 0) -> Neighbor:
    return Neighbor(product, f"{product}/{n}.jpg", distance, {"name": product})


def oracle(neighbors: list[Neighbor]) -> dict[str, float]:
    """The formula of the docstring, spelled out without sharing a line with the module."""
    out: dict[str, float] = {}
    for product in {n.product_id for n in neighbors}:
        pictures = sum(n.product_id == product for n in neighbors)
        counted = min(pictures, 10)
        ds = sorted(n.distance for n in neighbors if n.product_id == product)[: math.ceil(counted / 2)]
        total = 0.0
        for d in ds:
            total += math.exp(-d / 0.2)
        out[product] = total / len(ds) / counted**0.4
    return out


neighbor_lists = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.floats(0, 4, width=32), st.integers(0, 50)), max_size=60
).map(lambda rows: [neighbor(p, d, n) for p, d, n in rows])


@given(neighbor_lists, st.floats(0, 4, width=32))
def test_scores_equal_the_formula(neighbors: list[Neighbor], threshold: float) -> None:
    matches = votes.rank(neighbors, threshold=threshold)
    expected = oracle(neighbors)
    assert {m.product_id for m in matches} == set(expected)
    for match in matches:
        assert match.score == pytest.approx(expected[match.product_id], rel=1e-12, abs=1e-300)
    for group in split(matches, threshold):
        assert [m.score for m in group] == sorted((m.score for m in group), reverse=True)


@given(neighbor_lists, st.floats(0, 4, width=32), st.randoms())
def test_order_of_neighbors_does_not_matter(neighbors: list[Neighbor], threshold: float, rng: random.Random) -> None:
    shuffled = neighbors[:]
    rng.shuffle(shuffled)
    assert votes.rank(neighbors, threshold=threshold) == votes.rank(shuffled, threshold=threshold)


@given(neighbor_lists, st.floats(0, 4, width=32))
def test_a_product_is_judged_by_its_own_pictures(neighbors: list[Neighbor], threshold: float) -> None:
    alone = [n for n in neighbors if n.product_id == "a"]
    score_alone = [m.score for m in votes.rank(alone, threshold=threshold)]
    among = [m.score for m in votes.rank(neighbors, threshold=threshold) if m.product_id == "a"]
    assert score_alone == among


@given(neighbor_lists, st.floats(0, 4, width=32))
def test_shares_are_of_the_five_best(neighbors: list[Neighbor], threshold: float) -> None:
    matches, nearest = split(votes.rank(neighbors, threshold=threshold), threshold)
    assert {m.share for m in nearest} <= {0.0}
    if matches:
        assert math.fsum(m.share for m in matches[:5]) == pytest.approx(1.0)
        total = math.fsum(m.score for m in matches[:5])
        assert [m.share for m in matches] == pytest.approx([m.score / total for m in matches])


def test_the_threshold_is_a_label_and_inclusive() -> None:
    ranked = votes.rank([neighbor("a", 0.5), neighbor("b", math.nextafter(0.5, 1))], threshold=0.5)
    matches, nearest = split(ranked, 0.5)
    assert [m.product_id for m in matches] == ["a"]
    assert [(m.product_id, m.votes) for m in nearest] == [("b", 0)]
    assert [e.distance for e in nearest[0].evidence] == [math.nextafter(0.5, 1)]


def test_products_within_the_threshold_come_first() -> None:
    near_once = [neighbor("a", 0.49), *(neighbor("a", 3.0, n) for n in range(1, 5))]
    ranked = votes.rank([*near_once, neighbor("b", 0.51)], threshold=0.5)
    assert [m.product_id for m in ranked] == ["a", "b"]
    assert ranked[0].score < ranked[1].score


def test_many_far_pictures_do_not_beat_a_few_near_ones() -> None:
    crowd = [neighbor("crowd", 0.3, n) for n in range(500)]
    near = [neighbor("near", 0.1, n) for n in range(3)]
    matches = votes.rank(crowd + near, threshold=1.0)
    assert matches[0].product_id == "near"
    assert matches[1].votes == votes.EVIDENCE


@given(st.lists(st.floats(0, 4, width=32), min_size=1, max_size=30).map(sorted))
def test_with_fewer_of_its_pictures_known_a_product_only_looks_better(distances: list[float]) -> None:
    scores = [votes.score(distances[:known]) for known in range(1, len(distances) + 1)]
    assert all(scores[i] >= scores[i + 1] for i in range(len(scores) - 1))
    assert votes.score(distances[: votes.EVIDENCE]) == votes.score(distances)
    assert scores[0] == votes.vote(distances[0])


def test_five_pictures_hold_their_own_against_the_nearest_five_of_many() -> None:
    old = [neighbor("old", 0.30 + n / 100, n) for n in range(40)]
    new = [neighbor("new", 0.36 + n / 100, n) for n in range(5)]
    assert votes.rank([*old, *new], threshold=1.0)[0].product_id == "new"
    many = [neighbor("new", 0.36 + n / 100, n) for n in range(40)]
    assert votes.rank([*old, *many], threshold=1.0)[0].product_id == "old"


def test_a_newcomer_with_one_near_picture_is_not_marked_down() -> None:
    old = [neighbor("old", d, n) for n, d in enumerate((0.3, 0.32, 0.34))]
    matches = votes.rank([neighbor("new", 0.2), *old], threshold=1.0)
    assert matches[0].product_id == "new"


def test_pictures_beyond_the_threshold_vote_and_are_no_evidence() -> None:
    alone = votes.rank([neighbor("a", 0.2)], threshold=0.5)[0]
    dragged = votes.rank([neighbor("a", d, n) for n, d in enumerate((0.2, 0.9, 0.9))], threshold=0.5)[0]
    assert dragged.score == pytest.approx((alone.score + math.exp(-0.9 / 0.2)) / 2 / 3**0.4)
    assert dragged.votes == len(dragged.evidence) == 1


def test_evidence_is_nearest_first() -> None:
    (match,) = votes.rank([neighbor("a", 0.3, 1), neighbor("a", 0.1, 2)], threshold=1.0)
    assert [e.distance for e in match.evidence] == [0.1, 0.3]
    assert match.best_distance == 0.1
    assert match.votes == 2
    assert match.metadata == {"name": "a"}


def test_verdicts() -> None:
    assert decide([], threshold=1.0) == "unknown"
    clear = votes.rank([neighbor("a", 0.05), neighbor("b", 0.4)], threshold=1.0)
    assert decide(clear, threshold=1.0) == "match"
    assert decide(clear, threshold=0.04) == "unknown"
    twins = votes.rank([neighbor("a", 0.05), neighbor("b", 0.051)], threshold=1.0)
    assert decide(twins, threshold=1.0) == "ambiguous"
    assert decide(twins[:1], threshold=1.0) == "match"
    assert decide(twins, threshold=0.05) == "match"


def test_ties_are_broken_by_product_id() -> None:
    matches: list[Match] = votes.rank([neighbor("b", 0.1), neighbor("a", 0.1)], threshold=1.0)
    assert [m.product_id for m in matches] == ["a", "b"]
    assert decide(matches, threshold=1.0) == "ambiguous"

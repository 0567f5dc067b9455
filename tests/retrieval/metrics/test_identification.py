from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.distance import squared_l2
from retrieval.metrics import Rate, _ranking, identification, matching_test, medoids, rank_outcomes
from tests.lazily import lazily
from tests.retrieval.embeddings import Labeled, clustered, constant, lattice, lattices, perfect

KNeighborsClassifier = lazily("sklearn.neighbors", "KNeighborsClassifier")


def brute_probe(probes: Labeled, gallery: Labeled, i: int, *, exclude_self: bool) -> tuple[int, float, set[int]]:
    """Rank of the right product, AP@R, and the products that may come first; ties against the probe."""
    distances = squared_l2(probes.embeddings[i : i + 1], gallery.embeddings)[0].tolist()
    right = probes.labels[i]
    pictures = [
        (d, label == right, label)
        for j, (d, label) in enumerate(zip(distances, gallery.labels.tolist(), strict=True))
        if not (exclude_self and i == j)
    ]
    pictures.sort(key=lambda picture: picture[:2])
    relevant = sum(own for _, own, _ in pictures)
    wrong_first = {label for d, own, label in pictures if not own and d == pictures[0][0]}
    first = wrong_first or ({right} if pictures else set())
    if not relevant:
        return 0, math.nan, first
    precision, hits = 0.0, 0
    for place, (_, own, _) in enumerate(pictures[:relevant], 1):
        if own:
            hits += 1
            precision += hits / place
    own_distance = min(d for d, own, _ in pictures if own)
    rivals = {label for d, own, label in pictures if not own and d <= own_distance}
    return len(rivals) + 1, precision / relevant, first


@pytest.mark.parametrize("block", [1, 60, 2**22])
@pytest.mark.parametrize("exclude_self", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_ranks_and_average_precision_are_those_of_sorting_every_picture(
    exclude_self: bool, seed: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_ranking, "_BLOCK_DISTANCES", block)
    gallery = lattice(40, 7, seed)
    probes = gallery if exclude_self else lattice(33, 9, seed + 50)
    result = identification(*probes, *gallery, exclude_self=exclude_self)
    expected = [brute_probe(probes, gallery, i, exclude_self=exclude_self) for i in range(len(probes.labels))]
    assert result.outcomes.ranks.tolist() == [rank for rank, _, _ in expected]
    assert result.outcomes.known.tolist() == [rank > 0 for rank, _, _ in expected]
    np.testing.assert_allclose(result.average_precision, [ap for _, ap, _ in expected], rtol=1e-12)
    for answer, (_, _, first) in zip(result.outcomes.predicted, expected, strict=True):
        assert answer in first


def test_the_nearest_picture_is_that_of_scikit_learn() -> None:
    gallery, probes = clustered(400, 30, seed=1, noise=2.0), clustered(200, 30, seed=2, noise=2.0)
    result = identification(*probes, *gallery)
    nearest = KNeighborsClassifier(1, algorithm="brute").fit(*gallery).predict(probes.embeddings)
    assert result.outcomes.predicted.tolist() == nearest.tolist()
    assert result.top1 == (nearest == probes.labels).mean()


def test_perfect_clusters_are_always_found() -> None:
    data = perfect(8, 4)
    result = identification(*data, *data, exclude_self=True)
    assert (result.top1, result.top5, result.map_at_r) == (1.0, 1.0, 1.0)
    assert result.outcomes.confusions() == ()
    assert matching_test(*data, threshold=0.0)[0] == Rate(24, 24)


def test_constant_vectors_identify_nothing() -> None:
    data = constant(8, 4)
    result = identification(*data, *data, exclude_self=True)
    assert (result.top1, result.top5) == (0.0, 0.0)
    assert result.map_at_r == 0.0
    assert set(result.outcomes.ranks.tolist()) == {8}
    assert result.outcomes.top(8).value == 1.0


def test_random_vectors_are_found_by_chance() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((1500, 32))
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    labels = np.repeat(np.arange(10), 150)
    result = identification(unit, labels, unit, labels, exclude_self=True)
    assert result.top1 == pytest.approx(149 / 1499, abs=0.03)
    assert result.map_at_r == pytest.approx(0.1**2, abs=0.01)


@given(lattices, lattices, st.integers(0, 2**32 - 1))
def test_order_of_gallery_and_probes_does_not_matter(probes: Labeled, gallery: Labeled, seed: int) -> None:
    rng = np.random.default_rng(seed)
    by_probe, by_picture = rng.permutation(len(probes.labels)), rng.permutation(len(gallery.labels))
    one = identification(*probes, *gallery)
    other = identification(
        probes.embeddings[by_probe],
        probes.labels[by_probe],
        gallery.embeddings[by_picture],
        gallery.labels[by_picture],
    )
    assert one.outcomes.ranks[by_probe].tolist() == other.outcomes.ranks.tolist()
    np.testing.assert_allclose(one.average_precision[by_probe], other.average_precision)


@given(lattices, lattices)
def test_cmc_rises_to_one_over_all_products(probes: Labeled, gallery: Labeled) -> None:
    result = identification(*probes, *gallery)
    cmc = result.outcomes.cmc(result.gallery_products)
    assert [r.part for r in cmc] == sorted(r.part for r in cmc)
    assert cmc[-1].part == cmc[-1].whole == result.known


@given(lattices)
def test_a_second_copy_of_every_picture_changes_no_rank(gallery: Labeled) -> None:
    probes = lattice(20, 6, seed=1)
    twice = np.concatenate([gallery.embeddings] * 2), np.concatenate([gallery.labels] * 2)
    one, other = identification(*probes, *gallery), identification(*probes, *twice)
    assert one.outcomes.ranks.tolist() == other.outcomes.ranks.tolist()


def test_a_product_without_another_picture_is_counted_apart() -> None:
    data = Labeled(np.eye(4, dtype=np.float32), np.array([0, 0, 1, 2]))
    result = identification(*data, *data, exclude_self=True)
    assert (result.known, result.unknown) == (2, 2)
    assert result.outcomes.known.tolist() == [True, True, False, False]
    alone = identification(data.embeddings[:1], [7], data.embeddings[:1], [7], exclude_self=True)
    assert alone.outcomes.predicted.tolist() == [None]
    assert math.isnan(alone.top1)
    assert math.isnan(alone.map_at_r)


def test_found_needs_both_rank_and_threshold() -> None:
    gallery = np.eye(3, dtype=np.float32)
    c = np.float32(0.8)
    probe = np.array([[c, 0.6, 0]], np.float32)
    result = identification(probe, ["b"], gallery, ["a", "b", "c"])
    own = float(result.genuine[0])
    assert result.outcomes.ranks.tolist() == [2]
    assert result.found(1, 4.0) == Rate(0, 1)
    assert result.found(2, own) == Rate(1, 1)
    assert result.found(2, float(np.nextafter(own, 0.0))) == Rate(0, 1)


def test_groups_and_confusions_count_known_probes_only() -> None:
    outcomes = rank_outcomes(
        ["a", "a", "a", "b", "b", "z"],
        [["a"], ["b", "a"], ["b"], [], ["a", "b"], ["a"]],
        {"a", "b"},
    )
    assert outcomes.ranks.tolist() == [1, 2, 0, 0, 2, 0]
    assert (outcomes.top(1), outcomes.top(2)) == (Rate(1, 5), Rate(3, 5))
    assert outcomes.by_group() == {"b": Rate(0, 2), "a": Rate(1, 3)}
    assert list(outcomes.by_group()) == ["b", "a"]
    assert outcomes.by_group(["x", "x", "y", "y", "y", "y"], k=2) == {"y": Rate(1, 3), "x": Rate(2, 2)}
    assert [(c.product, c.taken_for, c.count, c.probes) for c in outcomes.confusions()] == [
        ("a", "b", 2, 3),
        ("b", "a", 1, 2),
    ]
    assert len(outcomes.confusions(1)) == 1


def test_an_answer_that_names_a_product_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="distinct products"):
        rank_outcomes(["a"], [["b", "b"]], {"a"})
    with pytest.raises(ValueError, match="expected 2 answers"):
        rank_outcomes(["a", "b"], [["a"]], {"a"})


@pytest.mark.parametrize("seed", range(5))
def test_the_medoid_has_the_least_distance_to_its_product(seed: int) -> None:
    data = clustered(120, 9, seed)
    distances = squared_l2(data.embeddings, data.embeddings.copy()).astype(float)
    for product, chosen in zip(np.unique(data.labels), medoids(*data), strict=True):
        members = np.flatnonzero(data.labels == product)
        sums = distances[np.ix_(members, members)].sum(axis=1)
        assert chosen in members
        assert sums[np.flatnonzero(members == chosen)[0]] <= sums.min() + 1e-5


def test_the_first_of_equal_pictures_is_the_medoid() -> None:
    data = constant(3, 4)
    assert medoids(*data).tolist() == [0, 4, 8]
    assert medoids(np.empty((0, 4), np.float32), []).tolist() == []


def test_the_matching_test_shows_representatives_to_all_other_pictures() -> None:
    data = clustered(200, 12, seed=4, noise=1.5)
    threshold = 1.0
    rate, result = matching_test(*data, threshold, k=5)
    chosen = medoids(*data)
    rest = [i for i in range(200) if i not in chosen]
    passed = 0
    for i in rest:
        distances = squared_l2(data.embeddings[i : i + 1], data.embeddings[chosen])[0]
        best = np.argsort(distances)[:5]
        hit = [j for j in best if data.labels[chosen[j]] == data.labels[i]]
        passed += bool(hit) and float(distances[hit[0]]) <= threshold
    assert rate == Rate(passed, len(rest))
    assert result.gallery_products == result.gallery_images == 12


def test_what_cannot_be_ranked_is_refused() -> None:
    data = lattice(5, 2, 0)
    with pytest.raises(ValueError, match="not empty"):
        identification(*data, np.empty((0, 16), np.float32), [])
    with pytest.raises(ValueError, match="probes to be the gallery"):
        identification(*data, *lattice(6, 2, 0), exclude_self=True)
    with pytest.raises(ValueError, match="of dimension 16"):
        identification(*data, np.eye(4, dtype=np.float32), [0, 1, 2, 3])
    with pytest.raises(ValueError, match="0 <= part <= whole"):
        Rate(2, 1)

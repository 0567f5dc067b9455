import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from retrieval.calibration.gap import Scales
from retrieval.distance import normalize
from retrieval.errors import UsageError
from retrieval.index.manifest import Manifest
from retrieval.recognition import votes
from retrieval.recognition.conclusion import EmbeddedPhoto
from retrieval.recognition.decision import decide, split
from retrieval.recognition.recognizer import (
    find,
    parse_where,
    query_threshold,
    recognize,
)
from retrieval.types import IndexedImage, ModelIdentity, Neighbor, PictureKind, Point, image_id
from tests.contract.reference import MemoryStore
from tests.fakes import fake_bundle

DIMENSION = 8


def gallery(rng: np.random.Generator, sizes: list[int], spread: float) -> MemoryStore:
    store = MemoryStore(DIMENSION)
    for number, size in enumerate(sizes):
        center = rng.standard_normal(DIMENSION)
        vectors = normalize(center + spread * rng.standard_normal((size, DIMENSION)))
        name, images = f"p{number}", [f"p{number}/{n}.jpg" for n in range(size)]
        records = [IndexedImage(image_id(name, image), name, image, "0" * 64, {"n": number}) for image in images]
        store.upsert([Point(*each) for each in zip(records, vectors, strict=True)])
    return store


def oracle(store: MemoryStore, vector: NDArray[np.float32], threshold: float) -> list[tuple[float, str]]:
    """Every product within the threshold, scored from every one of its pictures."""
    own: dict[str, list[float]] = {}
    for point in store.rows.values():
        d = min(float(((point.vector.astype(float) - vector.astype(float)) ** 2).sum()), 4.0)
        own.setdefault(point.record.product_id, []).append(d)
    scored = []
    for product, ds in own.items():
        nearest = sorted(ds)[: math.ceil(min(len(ds), 10) / 2)]
        if nearest[0] <= threshold:
            score = (
                math.fsum(math.exp(-d / votes.TEMPERATURE) for d in nearest) / len(nearest) / min(len(ds), 10) ** 0.4
            )
            scored.append((score, product))
    return sorted(scored, key=lambda pair: (-pair[0], pair[1]))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.sampled_from([1, 1, 2, 3, 5, 40, 150]), min_size=1, max_size=12),
    spread=st.sampled_from([0.1, 0.4, 1.0]),
    threshold=st.sampled_from([0.05, 0.5, 1.5, 4.0]),
    products=st.integers(1, 6),
)
def test_find_is_exact_whatever_crowds_the_neighborhood(
    seed: int, sizes: list[int], spread: float, threshold: float, products: int
) -> None:
    rng = np.random.default_rng(seed)
    store = gallery(rng, sizes, spread)
    vector = normalize(rng.standard_normal((1, DIMENSION)))[0]
    expected = oracle(store, vector, threshold)[:products]
    ranked = find(store, vector, threshold=threshold, products=products)
    found, nearest = split(ranked, threshold)
    assert [m.score for m in found] == pytest.approx([score for score, _ in expected], rel=1e-9)
    assert len({m.product_id for m in ranked}) == len(ranked) <= products
    assert found or nearest


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.sampled_from([1, 1, 2, 5, 40, 150]), min_size=2, max_size=9),
    spread=st.sampled_from([0.1, 0.4, 1.0]),
    threshold=st.sampled_from([0.5, 4.0]),
    scales=st.sampled_from([Scales(0.714, 1.0), Scales(0.85, 1.2), Scales(1.0, 1.4)]),
)
def test_find_is_exact_in_a_gallery_of_two_kinds(
    seed: int, sizes: list[int], spread: float, threshold: float, scales: Scales
) -> None:
    """What the search has not seen may vote more than its distance says: it looks far enough for that."""
    rng = np.random.default_rng(seed)
    store = gallery(rng, sizes, spread)
    kinds: list[PictureKind | None] = ["studio", "photo", None]
    for name, point in store.rows.items():
        kind = kinds[int(rng.integers(3))]
        store.rows[name] = Point(replace(point.record, kind=kind), point.vector)
    vector = normalize(rng.standard_normal((1, DIMENSION)))[0]
    every = store.search(vector, limit=len(store.rows), max_distance=4.0)
    own: dict[str, list[Neighbor]] = {}
    for neighbor in every:
        own.setdefault(neighbor.product_id, []).append(neighbor)
    looked_at = [neighbor for neighbors in own.values() for neighbor in neighbors[: votes.EVIDENCE]]
    expected = votes.rank(
        [replace(n, distance=min(4.0, n.distance * scales.of(n.kind))) for n in looked_at],
        threshold=threshold,
        products=3,
    )
    found = find(store, vector, threshold=threshold, products=3, scales=scales)
    within = sum(match.best_distance <= threshold for match in expected)
    assert [(m.product_id, m.score) for m in found[:within]] == [(m.product_id, m.score) for m in expected[:within]]
    # As queries ask, which stop as soon as first product and lead are told.
    quick = find(store, vector, threshold=4.0, products=5, close=0.05, far=0.01, scales=scales)
    ranked = votes.rank(
        [replace(n, distance=min(4.0, n.distance * scales.of(n.kind))) for n in looked_at], threshold=4.0
    )
    close = sum(match.score >= 0.05 * ranked[0].score for match in ranked[:2])
    assert [(m.product_id, m.score) for m in quick[:close]] == [(m.product_id, m.score) for m in ranked[:close]]


class Counting(MemoryStore):
    """A store that counts what it is asked."""

    asked = 0

    def search(self, *args, **options):  # type: ignore[no-untyped-def]
        self.asked += 1
        return super().search(*args, **options)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.sampled_from([1, 1, 2, 3, 5, 40, 150]), min_size=1, max_size=12),
    spread=st.sampled_from([0.1, 0.4, 1.0]),
    threshold=st.sampled_from([0.05, 0.5, 1.5, 4.0]),
)
def test_what_cannot_come_close_changes_no_answer(seed: int, sizes: list[int], spread: float, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    store = gallery(rng, sizes, spread)
    own = next(iter(store.rows.values())).vector
    for vector in (own, normalize(rng.standard_normal((1, DIMENSION)))[0]):
        full = find(store, vector, threshold=threshold, products=5)
        quick = find(store, vector, threshold=threshold, products=5, close=0.05)
        assert decide(quick, threshold=threshold) == decide(full, threshold=threshold)
        first = full[0]
        assert (quick[0].product_id, quick[0].score) == (first.product_id, first.score)
        if first.best_distance <= threshold:
            near = [m for m in split(full, threshold)[0] if m.score >= 0.05 * first.score]
            assert [(m.product_id, m.score) for m in quick[: len(near)]] == [(m.product_id, m.score) for m in near]


def test_a_clear_answer_takes_one_search() -> None:
    store = Counting(DIMENSION)
    store.rows = gallery(np.random.default_rng(3), [20] * 30, 0.02).rows
    vector = next(iter(store.rows.values())).vector
    assert find(store, vector, threshold=0.5, products=5, close=0.05)[0].product_id == "p0"
    assert store.asked == 1


def test_a_photo_of_nothing_like_it_takes_one_search_and_shows_as_many_products() -> None:
    rng = np.random.default_rng(3)
    vector = normalize(rng.standard_normal((1, DIMENSION)))[0]
    for sizes, searches in (([5] * 60, 1), ([300, 20, 20, 20, 20], 3)):
        store = Counting(DIMENSION)
        store.rows = gallery(rng, sizes, 0.02).rows
        full = find(store, vector, threshold=4.0, products=5)
        store.asked = 0
        nearest = min(match.best_distance for match in full)
        found = find(store, vector, threshold=4.0, products=5, hopeless=nearest - 1e-6)
        assert len(found) == 5
        assert store.asked == searches
        assert find(store, vector, threshold=4.0, products=5, hopeless=nearest + 1e-6) == full


def test_many_pictures_of_one_product_do_not_crowd_out_the_others() -> None:
    rng = np.random.default_rng(0)
    store = gallery(rng, [2000, 1, 1], 0.05)
    vector = next(iter(store.rows.values())).vector
    assert {m.product_id for m in find(store, vector, threshold=4.0, products=3)} == {"p0", "p1", "p2"}


def test_where_keeps_only_what_matches() -> None:
    store = gallery(np.random.default_rng(1), [3, 3, 3], 0.1)
    vector = next(iter(store.rows.values())).vector
    assert {m.product_id for m in find(store, vector, threshold=4.0, products=5, where={"n": (1, 2)})} == {"p1", "p2"}


def test_shares_do_not_depend_on_how_many_products_are_asked_for() -> None:
    store = gallery(np.random.default_rng(2), [1, 40, 3, 200, 1, 2, 7, 40], 0.4)
    photo = EmbeddedPhoto("photo", next(iter(store.rows.values())).vector, 1.0, 2.0)
    answers = [recognize(photo, store, threshold=4.0, top=top, fingerprint="f") for top in (1, 2, 5, 8)]
    assert [len(a.matches) for a in answers] == [1, 2, 5, 8]
    for answer in answers:
        assert [m.share for m in answer.matches] == [m.share for m in answers[-1].matches][: len(answer.matches)]


def test_recognition_cuts_to_top_but_compares_two() -> None:
    store = MemoryStore(DIMENSION)
    vector = normalize(np.ones((1, DIMENSION)))[0]
    for name in ("twin-a", "twin-b"):
        store.upsert([Point(IndexedImage(image_id(name, "x"), name, "x", "0" * 64), vector)])
    photo = EmbeddedPhoto("photo", vector, 1.0, 2.0)
    answer = recognize(photo, store, threshold=0.5, top=1, fingerprint="f")
    assert answer.verdict == "ambiguous"
    assert [m.product_id for m in answer.matches] == ["twin-a"]
    assert set(answer.timings_ms) == {"decode", "embed", "search"}
    far = EmbeddedPhoto("photo", -vector, 1.0, 2.0)
    unknown = recognize(far, store, threshold=0.5, fingerprint="f")
    assert (unknown.verdict, unknown.matches) == ("unknown", ())
    assert [(m.product_id, m.votes) for m in unknown.nearest] == [("twin-a", 0), ("twin-b", 0)]
    document = unknown.to_json()
    assert document["matches"] == []
    assert [m["product_id"] for m in document["nearest"]] == ["twin-a", "twin-b"]


def manifest() -> Manifest:
    return Manifest(1, ModelIdentity("f", 8, "m", "/m"), 1, 1, "/c", ("category", "brand"), "0", "e", "now")


def test_where_terms() -> None:
    assert parse_where([], manifest()) is None
    terms = ["category=Milk", "category=Juice", "brand=a=b"]
    assert parse_where(terms, manifest()) == {"category": ("Milk", "Juice"), "brand": ("a=b",)}
    with pytest.raises(UsageError, match="KEY=VALUE"):
        parse_where(["category"], manifest())
    with pytest.raises(UsageError, match="colour") as error:
        parse_where(["colour=red"], manifest())
    with pytest.raises(UsageError, match="colour"):
        parse_where({"colour": "red"}, manifest())
    assert parse_where({"category": "Milk", "brand": ["Arla", 3]}, manifest()) == {
        "category": ("Milk",),
        "brand": ("Arla", 3),
    }
    assert "category, brand" in error.value.hint


def test_threshold_comes_from_the_user_or_the_bundle(tmp_path: Path) -> None:
    bundle = fake_bundle(tmp_path / "b", threshold=0.3)
    assert query_threshold(None, bundle) == 0.3
    assert query_threshold(0.0, bundle) == 0.0
    with pytest.raises(UsageError, match=r"\[0, 4\]"):
        query_threshold(4.5, bundle)

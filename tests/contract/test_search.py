"""What every store answers; the reference store compares with every vector in float64."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from retrieval.errors import StoreError
from retrieval.index.payload import tag
from retrieval.index.protocols import Index
from retrieval.types import Compare, IndexedImage, JsonValue, Point, image_id
from tests.contract.conftest import KINDS, index_of
from tests.contract.reference import MemoryStore
from tests.contract.samples import DIMENSION, fill, record, sample_points, unit_vectors

TOLERANCE = 2e-6


@pytest.fixture(scope="module")
def points() -> list[Point]:
    return sample_points(120)


@pytest.fixture(scope="module", params=KINDS)
def filled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, points: list[Point]
) -> Iterator[Index]:
    """An index of every kind for tests that only ask it: filled once."""
    with index_of(request.param, tmp_path_factory.mktemp("filled"), request) as index:
        fill(index, points)
        yield index


def oracle(points: list[Point]) -> MemoryStore:
    return MemoryStore(points[0].vector.shape[0], {p.record.image_id: p for p in points})


def test_neighbors_come_nearest_first_with_squared_distances(filled: Index, points: list[Point]) -> None:
    with filled.reader() as (store, _):
        for query in unit_vectors(10, seed=7):
            found = store.search(query, limit=25, max_distance=4.0)
            expected = oracle(points).search(query, limit=25, max_distance=4.0)
            assert [n.image_id for n in found] == [n.image_id for n in expected]
            assert [n.distance for n in found] == pytest.approx([n.distance for n in expected], abs=TOLERANCE)
            assert [n.metadata for n in found] == [n.metadata for n in expected]
            assert [n.image for n in found] == [n.image for n in expected]


def test_a_picture_finds_itself_at_distance_zero(filled: Index, points: list[Point]) -> None:
    with filled.reader() as (store, _):
        for point in points:
            (nearest,) = store.search(point.vector, limit=1, max_distance=4.0)
            assert nearest.image_id == point.record.image_id
            assert nearest.distance <= 1e-6


def test_the_threshold_includes_a_neighbor_exactly_at_it(filled: Index) -> None:
    query = unit_vectors(1, seed=9)[0]
    with filled.reader() as (store, _):
        everything = store.search(query, limit=1000, max_distance=4.0)
        assert len(everything) == 120
        for rank, neighbor in enumerate(everything):
            within = store.search(query, limit=1000, max_distance=neighbor.distance)
            assert [n.image_id for n in within] == [n.image_id for n in everything[: rank + 1]]
            below = store.search(query, limit=1000, max_distance=float(np.nextafter(neighbor.distance, 0.0)))
            assert neighbor.image_id not in {n.image_id for n in below}


def test_the_far_end_of_the_scale_is_included(index: Index) -> None:
    vector = unit_vectors(1)[0]
    fill(index, [Point(record("near.jpg"), vector), Point(record("far.jpg"), -vector)])
    with index.reader() as (store, _):
        found = store.search(vector, limit=5, max_distance=4.0)
        assert [n.image for n in found] == ["near.jpg", "far.jpg"]
        assert found[1].distance == pytest.approx(4.0, abs=TOLERANCE)
        assert [n.image for n in store.search(vector, limit=5, max_distance=0.0)] == ["near.jpg"]
        assert store.search(vector, limit=5, max_distance=-1.0) == []
        assert store.search(vector, limit=5, max_distance=float("nan")) == []


def test_limits(filled: Index) -> None:
    query = unit_vectors(1, seed=9)[0]
    with filled.reader() as (store, _):
        assert store.search(query, limit=0, max_distance=4.0) == []
        assert len(store.search(query, limit=7, max_distance=4.0)) == 7
        assert len(store.search(query, limit=10**9, max_distance=4.0)) == 120


def test_equal_distances_are_ordered_by_image_id(index: Index) -> None:
    vector = unit_vectors(1)[0]
    points = [Point(record(f"{i}.jpg"), vector) for i in range(40)]
    fill(index, points)
    with index.reader() as (store, _):
        found = store.search(vector, limit=40, max_distance=0.1)
    assert [n.image_id for n in found] == sorted(p.record.image_id for p in points)


def test_a_product_filter_keeps_its_pictures_only(filled: Index, points: list[Point]) -> None:
    query = unit_vectors(1, seed=3)[0]
    with filled.reader() as (store, _):
        found = store.search(query, limit=50, max_distance=4.0, product_id="p7")
        assert {n.product_id for n in found} == {"p7"}
        assert len(found) == 5
        assert store.search(query, limit=50, max_distance=4.0, product_id="nobody") == []


@pytest.mark.parametrize(
    "where",
    [
        {"category": ("c1",)},
        {"category": ("c1", "c2")},
        {"category": ("c1",), "organic": (True,)},
        {"category": ("c1",), "organic": ("true",)},
        {"organic": ("FALSE",)},
        {"price": ("3.5",)},
        {"price": (3.5, 4)},
        {"price": ("4",)},
        {"price": ("4.0",)},
        {"price": ("1e0",)},
        {"price": ("0",)},
        {"organic": (0,)},
        {"category": ("C1",)},
        {"category": ()},
        {"missing": ("x",)},
        {"category": (None,)},
    ],
    ids=str,
)
def test_metadata_filters(filled: Index, points: list[Point], where: dict) -> None:
    query = unit_vectors(1, seed=4)[0]
    with filled.reader() as (store, _):
        found = store.search(query, limit=200, max_distance=4.0, where=where)
    expected = oracle(points).search(query, limit=200, max_distance=4.0, where=where)
    assert [n.image_id for n in found] == [n.image_id for n in expected]


SPELLED: list[JsonValue] = [
    *("3.5", "3.50", 3.5, "3.500", "0012", "12", 12, 4, "4.0", "", None, True, "x", "1e1", "-2", 10**17 + 1),
    *(["a", "B", 3], [], ["3.50", None], "3.5 kg", "x" * 300),
]


@pytest.mark.parametrize(
    "wanted",
    [
        ("3.5",),
        (3.5,),
        ("3.50", "x"),
        ("0012",),
        ("12",),
        (12,),
        ("a",),
        ("B", "4"),
        ("",),
        (None,),
        (True,),
        (Compare("<", 5),),
        (Compare(">=", 3.5),),
        (Compare("<=", 3.5), Compare(">", 3)),
        ("12", Compare(">", 20)),
        (Compare("?"),),
        ("x" * 300,),
    ],
    ids=str,
)
def test_numbers_compare_as_numbers_and_lists_by_any_value(index: Index, wanted: tuple) -> None:
    vectors = unit_vectors(len(SPELLED))
    points = [Point(record(f"{i}.jpg", f"p{i}", {"a": value}), vectors[i]) for i, value in enumerate(SPELLED)]
    points.append(Point(record("without.jpg", "without"), vectors[0]))
    fill(index, points)
    with index.reader() as (store, _):
        found = store.search(vectors[0], limit=50, max_distance=4.0, where={"a": wanted})
    expected = oracle(points).search(vectors[0], limit=50, max_distance=4.0, where={"a": wanted})
    assert [n.image_id for n in found] == [n.image_id for n in expected]
    assert found or wanted == ("12", Compare(">", 20))


ODD_KEYS = ["a.b[0]", "größe ß", "x\\y", 'quo"te', "", "emoji😀", "new\nline", "k" * 900, "%22", "meta", "*", "a,b"]


def test_any_column_name_can_be_filtered_and_counted(index: Index) -> None:
    vectors = unit_vectors(len(ODD_KEYS))
    fill(
        index,
        [
            Point(record(f"{i}.jpg", f"p{i}", {key: f"value {i}", "shared": 1}), vectors[i])
            for i, key in enumerate(ODD_KEYS)
        ],
    )
    with index.reader() as (store, _):
        for i, key in enumerate(ODD_KEYS):
            found = store.search(vectors[0], limit=50, max_distance=4.0, where={key: (f"value {i}",)})
            assert [n.product_id for n in found] == [f"p{i}"], key
            assert store.values(key) == [(f"value {i}", 1)]
        assert store.values("shared") == [(1, len(ODD_KEYS))]


def test_values_count_pictures_commonest_first(filled: Index, points: list[Point]) -> None:
    with filled.reader() as (store, _):
        expected = Counter(p.record.metadata["category"] for p in points)
        assert dict(store.values("category")) == dict(expected)
        assert [n for _, n in store.values("category")] == sorted(expected.values(), reverse=True)
        assert len(store.values("price", limit=4)) == 4
        assert dict(store.values("organic")) == {True: 60, False: 60}
        assert store.values("nothing") == []


def test_long_and_short_values_are_filtered_alike(index: Index) -> None:
    long = "a long description " * 50
    vectors = unit_vectors(3)
    fill(
        index,
        [
            Point(record("1.jpg", "p1", {"text": long + "1", "lone": None}), vectors[0]),
            Point(record("2.jpg", "p2", {"text": long + "2", "lone": ""}), vectors[1]),
            Point(record("3.jpg", "p3", {"text": "short"}), vectors[2]),
        ],
    )
    with index.reader() as (store, _):
        for product, text in (("p1", long + "1"), ("p2", long + "2"), ("p3", "short")):
            found = store.search(vectors[0], limit=9, max_distance=4.0, where={"text": (text,)})
            assert [n.product_id for n in found] == [product]
        assert dict(store.values("text")) == {long + "1": 1, long + "2": 1, "short": 1}
        empty = store.search(vectors[0], limit=9, max_distance=4.0, where={"lone": ("",)})
        assert {n.product_id for n in empty} == {"p1", "p2"}


def test_numbers_and_strings_stay_apart_in_typed_filters(index: Index) -> None:
    vectors = unit_vectors(4)
    kinds = [("number", 5), ("float", 5.0), ("text", "5"), ("truth", True)]
    fill(index, [Point(record(f"{n}.jpg", n, {"v": v}), vectors[i]) for i, (n, v) in enumerate(kinds)])

    def products(*wanted: object) -> set[str]:
        with index.reader() as (store, _):
            found = store.search(vectors[0], limit=9, max_distance=4.0, where={"v": wanted})  # type: ignore[dict-item]
        return {n.product_id for n in found}

    assert products(5) == {"number", "float"}
    assert products(5.0) == {"number", "float"}
    assert products("5") == {"number", "float", "text"}
    assert products(True) == {"truth"}
    assert products("true") == {"truth"}
    assert products(1) == set()


@pytest.mark.parametrize(
    "query",
    [
        np.zeros(DIMENSION, np.float32),
        np.full(DIMENSION, np.nan, np.float32),
        np.ones(DIMENSION, np.float32),
        unit_vectors(1, DIMENSION + 1)[0],
        unit_vectors(1)[0].astype(np.float64),
        unit_vectors(2),
    ],
    ids=["zero", "nan", "not unit", "other dimension", "float64", "matrix"],
)
def test_a_query_that_is_no_unit_vector_is_refused(filled: Index, query: np.ndarray) -> None:
    with filled.reader() as (store, _), pytest.raises(StoreError):
        store.search(query, limit=5, max_distance=4.0)


def test_thousands_of_points_agree_with_brute_force(index: Index) -> None:
    count = 3_000  # several pages and batches of every store; more would test how fast they are
    points = sample_points(count, dimension=16, seed=5, per_product=20)
    fill(index, points)
    matrix = np.stack([p.vector for p in points]).astype(np.float64)
    with index.reader() as (store, manifest):
        assert (manifest.images, manifest.products) == (count, count // 20)
        for query in unit_vectors(5, seed=11):
            distances = ((matrix - query) ** 2).sum(axis=1)
            order = np.argsort(distances, kind="stable")[:50]
            found = store.search(query, limit=50, max_distance=4.0, exact=True)
            assert [n.image_id for n in found] == [points[i].record.image_id for i in order]
            default = store.search(query, limit=50, max_distance=4.0)
            assert len({n.image_id for n in default} & {n.image_id for n in found}) >= 49
        records = list(store.records())
    assert len(records) == count
    assert {r.image_id for r in records} == {p.record.image_id for p in points}
    assert [r.image_id for r in records] == sorted(r.image_id for r in records)


def test_names_in_any_script_come_back_unchanged(index: Index) -> None:
    names = ["kä se/größe.jpg", "牛乳/😀.png", "a\nb/c\td.jpg", 'quo"te/back\\slash.jpg', "nul\0/x.jpg", " lead/ .jpg"]
    vectors = unit_vectors(len(names))
    metadata = {"名前": "牛乳", "price": 2.5, "big": 2**63 - 1, "low": -(2**63), "whole": 5.0, "no": None, "yes": True}
    points = [Point(IndexedImage(image_id(n, n), n, n, "c" * 64, metadata), vectors[i]) for i, n in enumerate(names)]
    fill(index, points)
    with index.reader() as (store, _):
        for point in points:
            (hit,) = store.search(point.vector, limit=5, max_distance=4.0, product_id=point.record.product_id)
            assert (hit.product_id, hit.image) == (point.record.product_id, point.record.image)
        found = {r.image_id: r for r in store.records()}
    for point in points:
        assert found[point.record.image_id] == point.record
        kinds = {k: type(v) for k, v in found[point.record.image_id].metadata.items()}
        assert kinds == {k: type(v) for k, v in metadata.items()}


def test_records_are_found_by_their_tags(filled: Index, points: list[Point]) -> None:
    wanted = [tag("category", "c1"), tag("price", 1.0)]
    with filled.reader() as (store, _):
        found = store.tagged(wanted, limit=1000)
        assert found == oracle(points).tagged(wanted, limit=1000)
        assert store.tagged(wanted, limit=3) == found[:3]
        assert store.tagged([tag("category", "nothing")], limit=5) == []

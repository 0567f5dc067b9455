"""What every index promises about builds: replace, delete, validate whole, switch, resume."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from retrieval.errors import (
    IndexBusyError,
    IndexNotFoundError,
    ModelMismatchError,
    StoreError,
)
from retrieval.index.protocols import Index
from retrieval.types import Metadata, Point, image_id
from tests.contract.samples import (
    DIMENSION,
    MODEL,
    OTHER_MODEL,
    contents,
    fill,
    record,
    sample_points,
    unit_vectors,
)

KEYS = ("category", "price", "organic")


def test_nothing_is_there_before_the_first_commit(index: Index) -> None:
    assert index.manifest() is None
    with pytest.raises(IndexNotFoundError), index.reader():
        pass


def test_a_commit_describes_what_it_holds(index: Index) -> None:
    fill(index, sample_points(20))
    manifest = index.manifest()
    assert manifest is not None
    assert (manifest.generation, manifest.images, manifest.products) == (1, 20, 4)
    assert (manifest.model, manifest.catalog, manifest.metadata_keys) == (MODEL, "/catalog", KEYS)
    with index.reader() as (store, opened):
        assert opened == manifest
        assert store.count() == 20


def test_points_come_back_bit_for_bit(index: Index) -> None:
    points = sample_points(1200)
    fill(index, points)
    assert contents(index) == {p.record.image_id: (p.record, p.vector.tobytes()) for p in points}
    with index.reader() as (store, _):
        assert [len(b) for b in store.points(batch=500)] == [500, 500, 200]
        flat = [p.record.image_id for b in store.points(batch=90) for p in b]
        for place in (0, 1, 600, 1198, 1199):
            rest = [p.record.image_id for b in store.points(batch=600, after=flat[place]) for p in b]
            assert rest == flat[place + 1 :]
    assert flat == sorted(flat)


def test_a_point_of_the_same_id_is_replaced(index: Index) -> None:
    points = sample_points(10)
    fill(index, points)
    changed = Point(replace(points[3].record, content_hash="f" * 64), points[4].vector)
    fill(index, [changed])
    found = contents(index)
    assert len(found) == 10
    assert found[changed.record.image_id] == (changed.record, changed.vector.tobytes())


def test_the_last_of_two_points_with_one_id_counts(index: Index) -> None:
    first, second = sample_points(2)
    fill(index, [first, Point(first.record, second.vector)])
    assert contents(index) == {first.record.image_id: (first.record, second.vector.tobytes())}


def test_deleted_points_are_gone_and_unknown_ids_are_no_error(index: Index) -> None:
    points = sample_points(30)
    fill(index, points)
    unknown = image_id("nobody", "nothing.jpg")
    with index.writer(MODEL) as build:
        build.store.delete([p.record.image_id for p in points[:10]] + [unknown])
        assert build.store.count() == 20
        manifest = build.commit(catalog="/catalog", metadata_keys=KEYS)
    assert (manifest.images, manifest.products) == (20, 4)
    assert set(contents(index)) == {p.record.image_id for p in points[10:]}
    with index.reader() as (store, _):
        found = store.search(points[0].vector, limit=50, max_distance=4.0)
        assert points[0].record.image_id not in {n.image_id for n in found}


def test_metadata_is_replaced_whole_and_vectors_stay(index: Index) -> None:
    points = sample_points(20)
    fill(index, points)
    changed = {p.record.image_id: {"category": "new", "color": "red"} for p in points[:5]}
    with index.writer(MODEL) as build:
        build.store.set_metadata(changed | {image_id("nobody", "nothing.jpg"): {"category": "ghost"}})
        manifest = build.commit(catalog="/catalog", metadata_keys=("category", "color"))
    assert manifest.metadata_keys == ("category", "color")
    found = contents(index)
    assert len(found) == 20
    for point in points:
        expected = replace(point.record, metadata=changed.get(point.record.image_id, point.record.metadata))
        assert found[point.record.image_id] == (expected, point.vector.tobytes())
    with index.reader() as (store, _):
        assert store.values("color") == [("red", 5)]
        assert {n for v, n in store.values("category") if v == "ghost"} == set()
        red = store.search(points[0].vector, limit=50, max_distance=4.0, where={"color": ("red",)})
        assert {n.image_id for n in red} == set(changed)
        old = store.search(points[0].vector, limit=50, max_distance=4.0, where={"organic": (True,)})
        assert not {n.image_id for n in old} & set(changed)


def bad_points() -> dict[str, Point]:
    vector = unit_vectors(1)[0]
    good = record("bad.jpg")

    def with_metadata(value: Any) -> Point:
        return Point(replace(good, metadata={"v": value}), vector)

    return {
        "nan": Point(good, np.full(DIMENSION, np.nan, np.float32)),
        "infinite": Point(good, np.full(DIMENSION, np.inf, np.float32)),
        "zero": Point(good, np.zeros(DIMENSION, np.float32)),
        "not unit": Point(good, vector * np.float32(1.1)),
        "dimension": Point(good, unit_vectors(1, DIMENSION - 1)[0]),
        "float64": Point(good, vector.astype(np.float64)),  # type: ignore[arg-type]
        "id": Point(replace(good, image_id="12"), vector),
        "id in capitals": Point(replace(good, image_id=good.image_id.upper()), vector),
        "surrogate name": Point(replace(good, image="bad\udcff.jpg"), vector),
        "surrogate product": Point(replace(good, product_id="bad\udcff"), vector),
        "no product": Point(replace(good, product_id=""), vector),
        "nan metadata": with_metadata(float("nan")),
        "infinite metadata": with_metadata(float("inf")),
        "huge integer": with_metadata(2**63),
        "list in a list": with_metadata([["a"]]),
        "nan in a list": with_metadata([float("nan")]),
        "object metadata": with_metadata({"a": 1}),
        "surrogate metadata": with_metadata("\udcff"),
    }


def test_a_batch_with_one_bad_point_writes_nothing(index: Index) -> None:
    points = sample_points(12)
    fill(index, points[:4])
    before = contents(index)
    with index.writer(MODEL) as build:
        for kind, bad in bad_points().items():
            try:
                build.store.upsert([*points[4:8], bad, *points[8:]])
            except StoreError:
                assert build.store.count() == 4, kind
            else:
                pytest.fail(f"a point with a bad {kind} was taken")
        build.commit(catalog="/catalog", metadata_keys=KEYS)
    assert contents(index) == before


def test_bad_metadata_changes_nothing(index: Index) -> None:
    points = sample_points(4)
    fill(index, points)
    before = contents(index)
    with index.writer(MODEL) as build:
        with pytest.raises(StoreError):
            build.store.set_metadata(
                {points[0].record.image_id: {"a": 1}, points[1].record.image_id: {"a": float("nan")}}
            )
        build.commit(catalog="/catalog", metadata_keys=KEYS)
    assert contents(index) == before


def test_a_run_without_changes_commits_nothing(index: Index) -> None:
    fill(index, sample_points(20))
    first = index.manifest()
    with index.writer(MODEL) as build:
        assert len(list(build.store.records())) == build.store.count() == 20
        assert not build.changed
        again = build.commit(catalog="/catalog", metadata_keys=KEYS)
    assert again == first == index.manifest()


def test_a_run_without_changes_notes_where_the_catalog_moved(index: Index) -> None:
    fill(index, sample_points(20))
    with index.writer(MODEL) as build:
        build.commit(catalog="/elsewhere", metadata_keys=("category",))
    manifest = index.manifest()
    assert manifest is not None
    assert (manifest.generation, manifest.catalog, manifest.metadata_keys) == (1, "/elsewhere", ("category",))
    assert len(contents(index)) == 20


def test_readers_see_the_committed_generation_until_the_switch(staged: Index) -> None:
    fill(staged, sample_points(10))
    with staged.writer(MODEL) as build:
        build.store.upsert(sample_points(10, prefix="new", seed=1))
        assert len(contents(staged)) == 10
        assert build.store.count() == 20
        build.commit(catalog="/catalog", metadata_keys=KEYS)
    assert len(contents(staged)) == 20


def test_an_abandoned_build_is_continued(staged: Index) -> None:
    old, new = sample_points(10), sample_points(10, prefix="new", seed=1)
    fill(staged, old)

    def interrupted_run() -> None:
        with staged.writer(MODEL) as build:
            assert not build.resumed
            build.store.upsert(new)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted_run()
    assert len(contents(staged)) == 10
    with staged.writer(MODEL) as build:
        assert build.resumed
        assert build.changed
        assert {r.image_id for r in build.store.records()} == {p.record.image_id for p in old + new}
        build.commit(catalog="/catalog", metadata_keys=KEYS)
    assert len(contents(staged)) == 20
    with staged.writer(MODEL) as build:
        assert not build.resumed


def test_an_abandoned_first_build_is_continued(index: Index) -> None:
    with index.writer(MODEL) as build:
        build.store.upsert(sample_points(10))
    with pytest.raises(IndexNotFoundError), index.reader():
        pass
    with index.writer(MODEL) as build:
        assert build.resumed
        assert build.store.count() == 10
        build.commit(catalog="/catalog", metadata_keys=KEYS)
    assert len(contents(index)) == 10


def test_a_discarded_build_leaves_no_trace(staged: Index) -> None:
    fill(staged, sample_points(10))
    with staged.writer(MODEL) as build:
        build.store.upsert(sample_points(10, prefix="new", seed=1))
        build.discard()
    with staged.writer(MODEL) as build:
        assert not build.resumed
        assert build.store.count() == 10


def test_another_model_is_refused_and_named(index: Index) -> None:
    fill(index, sample_points(5))
    with pytest.raises(ModelMismatchError, match="tiny") as caught, index.writer(OTHER_MODEL):
        pass
    assert "--rebuild" in caught.value.hint
    assert len(contents(index)) == 5


def test_a_rebuild_starts_empty_and_serves_the_old_until_committed(index: Index) -> None:
    fill(index, sample_points(10))
    fresh = sample_points(4, prefix="fresh", seed=2)
    with index.writer(OTHER_MODEL, rebuild=True) as build:
        assert build.store.count() == 0
        assert list(build.store.records()) == []
        build.store.upsert(fresh)
        assert len(contents(index)) == 10
        manifest = build.commit(catalog="/catalog", metadata_keys=KEYS)
    assert (manifest.generation, manifest.model) == (2, OTHER_MODEL)
    assert set(contents(index)) == {p.record.image_id for p in fresh}


def test_a_build_of_another_model_is_not_continued(index: Index) -> None:
    fill(index, sample_points(10))
    with index.writer(OTHER_MODEL, rebuild=True) as build:
        build.store.upsert(sample_points(4, prefix="fresh", seed=2))
    with index.writer(MODEL) as build:
        assert not build.resumed
        assert build.store.count() == 10
    with index.writer(OTHER_MODEL, rebuild=True) as build:
        assert build.resumed is not index.staged, "a run in place leaves a rebuild beside it alone"


def test_an_abandoned_rebuild_is_continued_by_a_rebuild_only(index: Index) -> None:
    fill(index, sample_points(10))
    with index.writer(MODEL, rebuild=True) as build:
        build.store.upsert(sample_points(3))
    with index.writer(MODEL, rebuild=True) as build:
        assert build.resumed
        assert build.store.count() == 3
    with index.writer(MODEL) as build:
        assert not build.resumed
        assert build.store.count() == 10


def test_a_second_writer_is_refused(index: Index) -> None:
    with index.writer(MODEL), pytest.raises(IndexBusyError), index.writer(MODEL):
        pass
    fill(index, sample_points(3))


def test_a_build_can_be_searched(index: Index) -> None:
    points = sample_points(10)
    fill(index, points)
    with index.writer(MODEL) as build:
        for _ in range(2):
            (hit,) = build.store.search(points[2].vector, limit=1, max_distance=4.0)
            assert hit.image_id == points[2].record.image_id
            assert dict(build.store.values("category")) == {"c0": 5, "c1": 5}
            build.store.upsert([points[9]])
        assert [len(b) for b in build.store.points(batch=4)] == [4, 4, 2]


def test_metadata_survive_exactly(index: Index) -> None:
    rng = np.random.default_rng(0)
    floats = [float(f) for f in rng.normal(size=80) * 10.0 ** rng.integers(-300, 300, 80)]
    values = [*floats, 1.8695794007884314e22, 0.1 + 0.2, 5e-324, -0.0, 5.0, 2**53 + 1, 2**63 - 1, "é\U0001f600\0\n"]
    metadata: list[Metadata] = [{"z": value, "a": i, "m": None} for i, value in enumerate(values)]
    vectors = unit_vectors(len(values))
    points = [Point(record(f"{i}.jpg", f"p{i}", m), vectors[i]) for i, m in enumerate(metadata)]
    fill(index, points)
    found = contents(index)
    for point in points:
        kept = found[point.record.image_id][0].metadata
        assert repr(dict(kept)) == repr(dict(point.record.metadata))
    with index.reader() as (store, _):
        for i, value in enumerate(values):
            hits = store.search(vectors[i], limit=5, max_distance=0.1, where={"z": (value,)})
            assert [n.product_id for n in hits] == [f"p{i}"], value

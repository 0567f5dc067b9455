"""What every index promises about generations: listed, checked before they go live, kept, gone back to, let go."""

from __future__ import annotations

import pytest

from retrieval.errors import CheckFailedError, IndexBusyError, IndexNotFoundError, UsageError
from retrieval.index.manifest import Manifest
from retrieval.index.protocols import Index, VectorStore
from retrieval.types import Point
from tests.contract.samples import MODEL, OTHER_MODEL, contents, fill, sample_points

OLD = sample_points(10)
NEW = sample_points(4, prefix="new", seed=1)


def ids(points: list[Point]) -> set[str]:
    return {p.record.image_id for p in points}


def states(index: Index) -> dict[int, str]:
    return {g.number: g.state for g in index.generations()}


@pytest.fixture
def rebuilt(index: Index) -> Index:
    fill(index, OLD)
    fill(index, NEW, model=OTHER_MODEL, rebuild=True)
    return index


def test_there_is_nothing_to_list_go_back_to_or_remove_at_first(index: Index) -> None:
    assert index.generations() == []
    for act in (index.rollback, index.collect):
        with pytest.raises(IndexNotFoundError):
            act()


def test_generations_say_what_they_hold(rebuilt: Index) -> None:
    old, new = rebuilt.generations()
    assert (old.number, old.state, old.model, old.images, old.products) == (1, "kept", MODEL, 10, 2)
    assert (new.number, new.state, new.model, new.images, new.products) == (2, "live", OTHER_MODEL, 4, 1)
    assert (old.created or "") < (new.created or "")
    assert new.size is None or new.size > 0


def test_a_rollback_serves_the_old_one_and_keeps_the_new_one(rebuilt: Index) -> None:
    manifest = rebuilt.rollback()
    assert (manifest.generation, manifest.model, manifest.images) == (1, MODEL, 10)
    assert rebuilt.manifest() == manifest
    assert set(contents(rebuilt)) == ids(OLD)
    assert states(rebuilt) == {1: "live", 2: "kept"}
    assert rebuilt.rollback(2).model == OTHER_MODEL
    assert set(contents(rebuilt)) == ids(NEW)


def test_a_rollback_that_cannot_be_is_refused(rebuilt: Index) -> None:
    with pytest.raises(UsageError):
        rebuilt.rollback(7)
    rebuilt.rollback()
    with pytest.raises(UsageError):
        rebuilt.rollback()
    assert rebuilt.rollback(1).generation == 1
    assert states(rebuilt) == {1: "live", 2: "kept"}


def test_the_next_build_after_a_rollback_gets_a_new_number(rebuilt: Index) -> None:
    rebuilt.rollback()
    more = sample_points(3, prefix="more", seed=3)
    fill(rebuilt, more, rebuild=True)
    manifest = rebuilt.manifest()
    assert manifest is not None
    assert manifest.generation == 3
    assert set(contents(rebuilt)) == ids(more)
    assert rebuilt.rollback(1).generation == 1
    assert set(contents(rebuilt)) == ids(OLD)


def test_what_was_replaced_and_the_last_of_another_model_are_kept(index: Index) -> None:
    fill(index, OLD)
    for seed in range(2, 5):
        fill(index, sample_points(3, seed=seed), model=OTHER_MODEL, rebuild=True)
    assert states(index) == {1: "kept", 3: "kept", 4: "live"}
    fill(index, OLD, rebuild=True)
    assert states(index) == {4: "kept", 5: "live"}
    index.rollback()
    fill(index, OLD, rebuild=True)
    assert states(index) == {4: "kept", 6: "live"}


def test_collecting_removes_what_is_kept_newest_last(index: Index) -> None:
    fill(index, OLD)
    for seed in (2, 3):
        fill(index, sample_points(3, seed=seed), model=OTHER_MODEL, rebuild=True)
    assert [g.number for g in index.collect(keep=1)] == [1]
    assert states(index) == {2: "kept", 3: "live"}
    assert [g.number for g in index.collect()] == [2]
    assert index.collect() == []
    assert states(index) == {3: "live"}
    assert len(contents(index)) == 3


def test_collecting_drops_an_unfinished_build(index: Index) -> None:
    fill(index, OLD)
    with index.writer(OTHER_MODEL, rebuild=True) as build:
        build.store.upsert(NEW)
    building = index.generations()[-1]
    assert (building.number, building.state, building.model, building.images) == (2, "building", OTHER_MODEL, None)
    assert [(g.number, g.state) for g in index.collect(keep=5)] == [(2, "building")]
    with index.writer(OTHER_MODEL, rebuild=True) as build:
        assert not build.resumed
    assert set(contents(index)) == ids(OLD)


def test_nobody_goes_back_or_removes_while_somebody_writes(rebuilt: Index) -> None:
    with rebuilt.writer(OTHER_MODEL):
        for act in (rebuilt.rollback, rebuilt.collect):
            with pytest.raises(IndexBusyError):
                act()
    assert states(rebuilt) == {1: "kept", 2: "live"}


def test_a_check_sees_the_whole_generation_and_can_keep_the_old_one(index: Index) -> None:
    fill(index, OLD)
    seen: list[tuple[int, int, int]] = []

    def refuse(store: VectorStore, manifest: Manifest) -> None:
        (hit,) = store.search(NEW[0].vector, limit=1, max_distance=0.1)
        assert hit.image_id == NEW[0].record.image_id
        seen.append((store.count(), manifest.images, manifest.generation))
        raise CheckFailedError("expected better, received this")

    with index.writer(OTHER_MODEL, rebuild=True) as build:
        build.store.upsert(NEW)
        with pytest.raises(CheckFailedError):
            build.commit(catalog="/catalog", metadata_keys=(), check=refuse)
    assert seen == [(4, 4, 2)]
    assert set(contents(index)) == ids(OLD)
    assert states(index)[1] == "live"
    with index.writer(OTHER_MODEL, rebuild=True) as build:
        assert build.resumed
        build.commit(catalog="/catalog", metadata_keys=())
    assert set(contents(index)) == ids(NEW)


def test_a_pinned_reader_keeps_its_generation_while_it_is_there(index: Index) -> None:
    fill(index, OLD)
    pinned = index.manifest()
    assert pinned is not None
    fill(index, NEW, model=OTHER_MODEL, rebuild=True)
    with index.reader(pinned) as (store, manifest):
        assert manifest == pinned
        assert store.count() == 10
    with index.reader() as (_, manifest):
        assert manifest.model == OTHER_MODEL
    index.collect()
    with index.reader(pinned) as (store, manifest):
        assert manifest.model == OTHER_MODEL
        assert store.count() == 4


def test_samples_are_spread_over_all_points(index: Index) -> None:
    points = sample_points(100)
    fill(index, points)
    with index.reader() as (store, _):
        sample = store.sample(20)
        assert [p.record.image_id for p in store.sample(20)] == [p.record.image_id for p in sample]
        assert len(store.sample(150)) <= 100
    assert 10 <= len(sample) <= 20
    by_id = {p.record.image_id: p.vector.tobytes() for p in points}
    assert all(by_id[p.record.image_id] == p.vector.tobytes() for p in sample)
    firsts = sorted(by_id)
    places = [firsts.index(p.record.image_id) / 100 for p in sample]
    assert min(places) < 0.1
    assert max(places) > 0.9


OWN = {"threshold": 0.4, "chosen": "given", "points": [{"name": "given", "threshold": 0.4}], "measured_on": "val"}


def test_a_calibration_of_its_own_stays_until_another_comes(index: Index) -> None:
    with pytest.raises(IndexNotFoundError):
        index.set_calibration(OWN)
    fill(index, OLD)
    before = index.manifest()
    assert before is not None
    assert before.calibration is None
    assert index.set_calibration(OWN).calibration == OWN
    found = index.manifest()
    assert found is not None
    assert (found.calibration, found.generation, found.created) == (OWN, before.generation, before.created)
    with index.reader(before) as (store, manifest):  # who asked before is answered on
        assert store.count() == 10
        assert manifest.created == before.created
    assert index.set_calibration(OWN | {"measured_on": "test"}).calibration == OWN | {"measured_on": "test"}
    assert index.set_calibration(None).calibration is None


def test_a_calibration_lives_through_index_runs_of_its_model_alone(index: Index) -> None:
    fill(index, OLD)
    index.set_calibration(OWN)
    with index.writer(MODEL) as build:
        build.store.upsert(NEW)
        assert build.commit(catalog="/c", metadata_keys=(), studio=0.25, gap=1.25).calibration == OWN
    found = index.manifest()
    assert found is not None
    assert (found.calibration, found.studio, found.gap, found.images) == (OWN, 0.25, 1.25, 14)
    fill(index, NEW, model=MODEL, rebuild=True)
    again = index.manifest()
    assert again is not None
    assert (again.calibration, again.studio, again.gap) == (OWN, 0.25, 1.25)
    fill(index, NEW, model=OTHER_MODEL, rebuild=True)
    other = index.manifest()
    assert other is not None
    assert (other.calibration, other.studio, other.gap) == (None, None, None)
    assert index.rollback().calibration == OWN

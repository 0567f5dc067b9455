"""What an index promises whose runs of the same model write into the live generation: a server's."""

from __future__ import annotations

import pytest

from retrieval.index.protocols import Index
from tests.contract.samples import MODEL, OTHER_MODEL, contents, fill, sample_points

KEYS = ("category", "price", "organic")
OLD, NEW = sample_points(10), sample_points(10, prefix="new", seed=1)


@pytest.fixture
def in_place(index: Index) -> Index:
    if index.staged:
        pytest.skip("runs of the same model are seen at their commit: test_write.py")
    fill(index, OLD)
    return index


def test_pictures_are_findable_as_they_are_written(in_place: Index) -> None:
    with in_place.writer(MODEL) as build:
        build.store.upsert(NEW)
        with in_place.reader() as (store, _):
            assert store.count() == 20
            (hit,) = store.search(NEW[3].vector, limit=1, max_distance=0.1)
            assert hit.image_id == NEW[3].record.image_id
        manifest = build.commit(catalog="/catalog", metadata_keys=KEYS)
    assert (manifest.generation, manifest.images) == (1, 20)
    assert len(contents(in_place)) == 20


def test_an_interrupted_run_keeps_what_it_wrote_and_the_next_one_counts_it(in_place: Index) -> None:
    with in_place.writer(MODEL) as build:
        build.store.upsert(NEW[:6])
        build.store.delete([OLD[0].record.image_id])
    with in_place.writer(MODEL) as build:
        assert {r.image_id for r in build.store.records()} == {p.record.image_id for p in OLD[1:] + NEW[:6]}
        manifest = build.commit(catalog="/catalog", metadata_keys=KEYS)
    assert (manifest.images, manifest.products) == (15, 4)
    assert in_place.manifest() == manifest
    assert len(contents(in_place)) == 15


def test_discarding_leaves_the_live_generation_alone(in_place: Index) -> None:
    with in_place.writer(MODEL) as build:
        build.store.upsert(NEW)
        build.discard()
    assert [g.state for g in in_place.generations()] == ["live"]
    with in_place.reader() as (store, _):
        assert store.count() == 20


def test_a_run_in_place_during_a_rebuild_of_another_model_is_refused(in_place: Index) -> None:
    from retrieval.errors import IndexBusyError

    with in_place.writer(OTHER_MODEL, rebuild=True), pytest.raises(IndexBusyError), in_place.writer(MODEL):
        pass

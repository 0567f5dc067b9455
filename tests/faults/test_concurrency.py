"""Several processes at one index: queries share it, writers exclude each other, nobody waits for long."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import pytest

from retrieval.errors import IndexBusyError, IndexNotFoundError
from retrieval.index.embedded.index import EmbeddedIndex
from retrieval.index.open import open_index
from tests.contract.samples import MODEL, OTHER_MODEL, contents, fill, sample_points
from tests.faults.conftest import Start
from tests.faults.test_kill import line


def test_two_queries_at_once_both_succeed(tmp_path: Path, start: Start) -> None:
    place = tmp_path / "index"
    points = sample_points(50)
    fill(open_index(str(place)), points)
    queries = [start("hold_reader", place, 0.5) for _ in range(3)]
    answers = []
    for query in queries:
        output, errors = query.communicate(timeout=60)
        assert query.returncode == 0, errors
        _, found, entered, left = output.splitlines()[-1].split()
        assert found == points[0].record.image_id
        answers.append((float(entered), float(left)))
    answers.sort()
    assert all(left <= entered for (_, left), (entered, _) in pairwise(answers))


def test_a_query_that_waited_too_long_names_the_holder(tmp_path: Path, start: Start) -> None:
    place = tmp_path / "index"
    fill(open_index(str(place)), sample_points(50))
    holder = start("hold_reader", place, 30)
    assert line(holder) == ["holding"]
    with (
        pytest.raises(IndexBusyError, match=rf"process {holder.pid} \(since .*querying\)"),
        EmbeddedIndex(place, patience=0.2).reader(),
    ):
        pass
    holder.kill()
    holder.wait()
    assert len(contents(open_index(str(place)))) == 50


def test_queries_are_answered_while_an_index_run_goes_on(tmp_path: Path, start: Start) -> None:
    place = tmp_path / "index"
    index = open_index(str(place))
    fill(index, sample_points(50))
    writer = start("hold_writer", place, 40)
    assert line(writer) == ["holding"]
    assert len(contents(index)) == 50
    writer.kill()
    writer.wait()
    assert len(contents(index)) == 50


def test_a_first_build_under_way_is_told_in_one_line(tmp_path: Path, start: Start) -> None:
    place = tmp_path / "index"
    writer = start("hold_writer", place, 40)
    assert line(writer) == ["holding"]
    with pytest.raises(IndexNotFoundError) as caught, open_index(str(place)).reader():
        pass
    message = caught.value.message
    assert f"process {writer.pid} (since " in message
    assert "40 of 1,000 pictures done" in message
    assert "\n" not in message
    writer.kill()
    writer.wait()
    with pytest.raises(IndexNotFoundError, match="not finished"), open_index(str(place)).reader():
        pass


def test_a_second_writer_learns_who_writes_and_how_far_it_is(tmp_path: Path, start: Start) -> None:
    place = tmp_path / "index"
    writer = start("hold_writer", place, 40)
    assert line(writer) == ["holding"]
    with pytest.raises(IndexBusyError) as caught, open_index(str(place)).writer(MODEL):
        pass
    assert f"process {writer.pid} (since " in caught.value.message
    assert "40 of 1,000 pictures done" in caught.value.message
    writer.kill()
    writer.wait()
    with open_index(str(place)).writer(MODEL) as build:
        assert build.resumed
        assert build.store.count() == 40


def test_queries_during_commits_see_whole_generations_only(tmp_path: Path, start: Start) -> None:
    place = tmp_path / "index"
    index = open_index(str(place))
    points = sample_points(300)
    fill(index, points[:100])
    readers = [start("query_often", place, 1.5) for _ in range(2)]
    time.sleep(0.4)
    fill(index, points[100:200])
    fill(index, points[200:])
    for reader in readers:
        output, errors = reader.communicate(timeout=60)
        assert reader.returncode == 0, errors
        _, answers, *counts = output.split()
        assert int(answers) > 0
        assert set(counts) <= {"100", "200", "300"}
    assert len(contents(index)) == 300


def test_queries_never_fail_nor_mix_models_while_models_are_switched(tmp_path: Path, start: Start) -> None:
    place = tmp_path / "index"
    index = open_index(str(place))
    models = {MODEL: sample_points(100, seed=0), OTHER_MODEL: sample_points(100, seed=1)}
    fill(index, models[MODEL])
    readers = [start("query_models", place, 2) for _ in range(2)]
    while any(reader.poll() is None for reader in readers):
        fill(index, models[OTHER_MODEL], model=OTHER_MODEL, rebuild=True)
        index.rollback()
        index.rollback(max(g.number for g in index.generations()))
        fill(index, models[MODEL], rebuild=True)
    for reader in readers:
        output, errors = reader.communicate(timeout=60)
        assert reader.returncode == 0, errors
        assert int(output.split()[1]) > 0


def test_reading_a_large_base_lets_queries_in_between(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrieval.index.embedded.build_store.READ_AHEAD", 10)
    place = tmp_path / "index"
    index = open_index(str(place))
    fill(index, sample_points(50))
    with index.writer(MODEL) as build:
        records = iter(build.store.records())
        seen = [next(records)]
        assert len(contents(index)) == 50
        seen += records
        assert not build.changed
    assert len({r.image_id for r in seen}) == len(seen) == 50

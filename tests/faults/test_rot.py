"""Bits that a disk changes are seen by `itemrec doctor --full`, and not passed on by copies."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from retrieval.doctor import Check, examine
from retrieval.errors import IndexDamagedError
from retrieval.index.checksum import Checksum
from retrieval.index.embedded.index import EmbeddedIndex
from retrieval.index.embedded.store import EmbeddedStore
from retrieval.index.open import open_index
from retrieval.index.protocols import Index
from retrieval.index.server import ServerIndex
from retrieval.index.sharding import Shard
from retrieval.index.transfer import FromIndex, snapshot
from retrieval.types import Point
from tests.contract.conftest import index, server
from tests.contract.reference import MemoryStore
from tests.contract.samples import DIMENSION, MODEL, fill, record, sample_points, unit_vectors

__all__ = ["index", "server"]

POINTS = sample_points(40)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    fill(open_index(str(tmp_path / "index")), POINTS)
    return tmp_path / "index"


def checks(index: Index, *, full: bool = True) -> dict[str, Check]:
    """What doctor finds, without the model, which these indexes name and nobody has."""
    found = {c.name: c for c in examine(index, None, sample=None if full else 200)}
    del found["model"]
    return found


def checksum(index: Index) -> str:
    with index.reader() as (store, _):
        found = Checksum()
        for batch in store.points():
            for point in batch:
                found.add(point)
    return found.hex()


def vectors(place: Path) -> Path:
    (file,) = place.glob("generations/*/shard/segments/*/vector_storage/vectors/chunk_0.mmap")
    return file


def flip_signs(place: Path, rows: int = 3, bits: int = 36) -> None:
    """Change the signs of numbers: vectors keep their length."""
    data = np.memmap(vectors(place), "<f4", "r+")
    chosen = np.random.default_rng(0).choice(rows * DIMENSION, bits, replace=False)
    data[chosen] *= -1
    data.flush()


def test_flipped_signs_are_seen_and_not_passed_on(place: Path, tmp_path: Path) -> None:
    index = open_index(str(place))
    assert all(c.healthy for c in checks(index).values())
    flip_signs(place)
    found = checks(index)
    assert [name for name, c in found.items() if not c.healthy] == ["checksum"]
    assert "the disk changed them" in found["checksum"].detail
    assert "--rebuild" in found["checksum"].hint
    with pytest.raises(IndexDamagedError, match="as they were committed"):
        snapshot(FromIndex(index), tmp_path / "s")
    assert list(tmp_path.glob("*s*")) == []
    fill(index, [Point(record("new.jpg"), unit_vectors(1, seed=3)[0])])
    assert not checks(index)["checksum"].healthy, "an index run does not bless what rotted before it"
    fill(index, POINTS, rebuild=True)
    assert all(c.healthy for c in checks(index).values())


@pytest.mark.parametrize("index", ["embedded", "reference"], indirect=True)
def test_keywords_that_find_other_pictures_are_seen(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(index, POINTS)
    assert checks(index)["filters"].healthy
    kind: Any = EmbeddedStore if isinstance(index, EmbeddedIndex) else MemoryStore
    real = kind.holders

    def wrong(self: object, field: str, keyword: str) -> set[str]:
        found: set[str] = real(self, field, keyword)
        return set(sorted(found)[1:]) if keyword == '["category","c1"]' else found

    monkeypatch.setattr(kind, "holders", wrong)
    found = checks(index)["filters"]
    assert (found.healthy, found.facts["wrong"]) == (False, 1)
    assert '["category","c1"]' in found.detail


CHANGES: dict[str, Callable[[EmbeddedStore], object]] = {
    "added": lambda s: s.upsert(sample_points(60)),
    "replaced": lambda s: s.upsert([replace(p, vector=-p.vector) for p in POINTS[:7]]),
    "twice in one batch": lambda s: s.upsert([POINTS[0], replace(POINTS[0], vector=-POINTS[0].vector), POINTS[1]]),
    "metadata": lambda s: s.set_metadata({p.record.image_id: {"price": 1.5} for p in POINTS[3:9]}),
    "metadata of nobody": lambda s: s.set_metadata({record("nobody").image_id: {"price": 1.5}}),
    "removed": lambda s: s.delete([p.record.image_id for p in POINTS[:5]]),
    "removed twice": lambda s: s.delete([POINTS[0].record.image_id, POINTS[0].record.image_id]),
    "removed and added": lambda s: (s.delete([POINTS[0].record.image_id]), s.upsert(POINTS[:2])),
}


@pytest.mark.parametrize("kind", CHANGES)
@pytest.mark.parametrize("older", [False, True])
def test_the_commit_says_what_was_written(place: Path, kind: str, older: bool) -> None:
    """Kept as it is written; the manifests of older releases say nothing, and the next commit does."""
    index = open_index(str(place))
    if older:
        path = place / "generations/gen-000001/manifest.json"
        manifest = json.loads(path.read_text())
        del manifest["checksum"]
        path.write_text(json.dumps(manifest))
        found = checks(index)["checksum"]
        assert (found.healthy, "not checked" in found.detail) == (True, True)
    with index.writer(MODEL) as build:
        CHANGES[kind](build.store)  # type: ignore[arg-type]
        committed = build.commit(catalog="/catalog", metadata_keys=("category", "price", "organic"))
    assert committed.checksum == checksum(index)
    assert all(c.healthy for c in checks(index).values())


def test_an_interrupted_run_that_is_continued_says_so_too(tmp_path: Path) -> None:
    index = open_index(str(tmp_path / "index"))
    with index.writer(MODEL) as build:
        build.store.upsert(POINTS[:20])
    with index.writer(MODEL) as build:
        assert build.resumed
        build.store.upsert(POINTS[20:])
        committed = build.commit(catalog="/catalog", metadata_keys=())
    assert committed.checksum == checksum(index)


def test_a_checksum_that_changed_nothing_stays(place: Path) -> None:
    index = open_index(str(place))
    before = index.manifest()
    with index.writer(MODEL) as build:
        after = build.commit(catalog="/elsewhere", metadata_keys=())
    assert before is not None
    assert after.checksum == before.checksum == checksum(index)


SERVERS = pytest.mark.parametrize("index", ["local", "socket"], indirect=True)


def committed_checksum(index: Index) -> str:
    manifest = index.manifest()
    assert manifest is not None
    return manifest.checksum


@SERVERS
def test_a_server_says_what_was_committed_and_what_changed_behind_its_back(index: ServerIndex) -> None:
    fill(index, POINTS)
    assert committed_checksum(index) == checksum(index)
    assert "what was committed" in checks(index)["checksum"].detail
    with index.reader() as (store, _):
        store.upsert([replace(POINTS[3], vector=-POINTS[3].vector)])
    found = checks(index)
    assert [name for name, c in found.items() if not c.healthy] == ["checksum"]
    assert "--rebuild" in found["checksum"].hint
    fill(index, [Point(record("new.jpg"), unit_vectors(1, seed=3)[0])])
    assert not checks(index)["checksum"].healthy, "an index run does not bless what changed before it"
    fill(index, POINTS, rebuild=True)
    assert all(c.healthy for c in checks(index).values())


@SERVERS
@pytest.mark.parametrize("kind", CHANGES)
def test_a_run_in_place_says_what_it_wrote(index: ServerIndex, kind: str) -> None:
    fill(index, POINTS)
    with index.writer(MODEL) as build:
        CHANGES[kind](build.store)  # type: ignore[arg-type]
        assert committed_checksum(index) in ("", checksum(index)), "while it writes nobody is told of damage"
        committed = build.commit(catalog="/catalog", metadata_keys=("category", "price", "organic"))
    assert committed.checksum == committed_checksum(index) == checksum(index)


@SERVERS
def test_after_an_interruption_a_server_does_not_say_until_it_is_rebuilt(index: ServerIndex) -> None:
    fill(index, POINTS)
    with index.writer(MODEL) as build:  # ends without a commit
        build.store.upsert(sample_points(50))
    found = checks(index)["checksum"]
    assert (found.healthy, "not checked" in found.detail) == (True, True)
    fill(index, [Point(record("new.jpg"), unit_vectors(1, seed=3)[0])])
    assert committed_checksum(index) == ""
    fill(index, POINTS, rebuild=True)
    assert committed_checksum(index) == checksum(index)


@SERVERS
def test_several_workers_do_not_say(index: ServerIndex) -> None:
    fill(index, POINTS)
    with index.writer(MODEL, shard=Shard(1, 2)) as build:
        build.store.upsert(sample_points(50))
        assert build.commit(catalog="/catalog", metadata_keys=()).checksum == ""
    assert committed_checksum(index) == ""

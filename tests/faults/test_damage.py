"""What is not what was committed is named as damage, with the way out; what is not ours is left alone."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from retrieval.errors import IndexDamagedError, IndexNotFoundError, StoreError, UsageError
from retrieval.index.embedded.index import EmbeddedIndex
from retrieval.index.open import open_index
from tests.contract.samples import DIMENSION, MODEL, contents, fill, sample_points

Damage = Callable[[Path], object]


def edit(name: str, **changes: object) -> Damage:
    def apply(place: Path) -> None:
        path = place / "generations/gen-000001" / name
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return apply


def engine_file(pattern: str, change: Callable[[Path], object]) -> Damage:
    def apply(place: Path) -> None:
        found = sorted((place / "generations/gen-000001/shard").rglob(pattern))
        assert found, pattern
        change(found[0])

    return apply


def halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garble(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[: len(data) // 2] = os.urandom(len(data) // 2)
    path.write_bytes(data)


DAMAGES: dict[str, Damage] = {
    "CURRENT gone": lambda p: (p / "CURRENT").unlink(),
    "CURRENT empty": lambda p: empty(p / "CURRENT"),
    "CURRENT garbage": lambda p: (p / "CURRENT").write_bytes(b"\xff\xfe"),
    "CURRENT elsewhere": lambda p: (p / "CURRENT").write_text("../../etc"),
    "CURRENT too far": lambda p: (p / "CURRENT").write_text("gen-000009"),
    "format of the future": lambda p: (p / "FORMAT").write_text("itemrec.index/9"),
    "manifest gone": lambda p: (p / "generations/gen-000001/manifest.json").unlink(),
    "manifest cut": lambda p: halve(p / "generations/gen-000001/manifest.json"),
    "manifest no object": lambda p: (p / "generations/gen-000001/manifest.json").write_text("[]"),
    "manifest schema": edit("manifest.json", schema="itemrec.generation/9"),
    "manifest key": edit("manifest.json", surprise=1),
    "manifest generation": edit("manifest.json", generation=7),
    "manifest count": edit("manifest.json", images=31),
    "manifest dimension": edit("manifest.json", model=asdict(replace(MODEL, dimension=DIMENSION + 1))),
    "shard config gone": engine_file("edge_config.json", Path.unlink),
    "shard config distance": edit("shard/edge_config.json", vectors={"": {"size": DIMENSION, "distance": "Dot"}}),
    "segment config": engine_file("segment.json", halve),
    "segment config gone": engine_file("segment.json", Path.unlink),
    "segment version": engine_file("version.info", empty),
    "ids garbled": engine_file("mutable_id_tracker.mappings", garble),
    "payload offsets": engine_file("payload_storage/tracker.dat", garble),
    "payloads": engine_file("payload_storage/tracker.dat", empty),
    "payload pages": engine_file("payload_storage/page_0.dat", empty),
    "vectors": engine_file("vectors/chunk_0.mmap", empty),
    "vectors gone": engine_file("vectors/chunk_0.mmap", Path.unlink),
    "vectors garbled": engine_file("vectors/chunk_0.mmap", garble),
    "vector bookkeeping": engine_file("vectors/status.dat", Path.unlink),
    "log": engine_file("first-index", empty),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_is_named_and_a_rebuild_heals_it(tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "index"
    index = open_index(str(place))
    fill(index, sample_points(30))
    DAMAGES[kind](place)
    with pytest.raises(StoreError, match=r"expected .*received|^Cannot (read|open) |is gone|cannot be read") as caught:
        contents(index)
    assert not isinstance(caught.value, IndexNotFoundError)
    assert capfd.readouterr().err == "", "the engine's own words on stderr"
    if kind in ("payload pages", "vectors", "vectors gone"):
        assert "doctor" in caught.value.hint or "--rebuild" in caught.value.hint
    else:
        assert isinstance(caught.value, IndexDamagedError)
    if kind == "format of the future":
        return
    fill(index, sample_points(20), rebuild=True)
    assert len(contents(index)) == 20


def test_a_build_that_cannot_be_opened_is_dropped_with_a_notice(tmp_path: Path) -> None:
    notices: list[str] = []
    place = tmp_path / "index"
    index = EmbeddedIndex(place, notify=notices.append)
    fill(index, sample_points(10))
    with index.writer(MODEL) as build:
        build.store.upsert(sample_points(20))
    engine = place / "generations/gen-000002/shard"
    next(engine.rglob("segment.json")).unlink()
    (engine / "edge_config.json").write_text("{")
    with index.writer(MODEL) as build:
        assert not build.resumed
        assert build.store.count() == 10
    assert any("cannot be opened" in n for n in notices)


def test_leftovers_of_an_optimizer_are_cleared(tmp_path: Path) -> None:
    place = tmp_path / "index"
    index = EmbeddedIndex(place)
    with index.writer(MODEL) as build:
        build.store.upsert(sample_points(20))
    left = place / "generations/gen-000001/shard/temp_segments/half/file.dat"
    left.parent.mkdir(parents=True, exist_ok=True)
    left.write_bytes(b"x")
    with index.writer(MODEL) as build:
        assert build.resumed
        assert not left.parent.exists()
        build.commit(catalog="/c", metadata_keys=())
    assert len(contents(index)) == 20


def test_a_folder_that_is_no_index_is_refused_and_not_touched(tmp_path: Path) -> None:
    place = tmp_path / "photos"
    place.mkdir()
    (place / "holiday.jpg").write_bytes(b"x")
    index = open_index(str(place))
    for use in (index.reader, lambda: index.writer(MODEL)):
        with pytest.raises(UsageError, match="other files"), use():
            pass
    with pytest.raises(UsageError, match="other files"):
        index.manifest()
    assert [p.name for p in place.iterdir()] == ["holiday.jpg"]


def test_a_file_is_no_index(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("x")
    index = open_index(str(place))
    for use in (index.reader, lambda: index.writer(MODEL)):
        with pytest.raises(UsageError, match="received the file"), use():
            pass
    assert place.read_text() == "x"


def test_a_place_that_cannot_be_made_is_an_error_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    index = open_index(str(tmp_path / "file" / "index"))
    with pytest.raises((StoreError, UsageError)), index.writer(MODEL):
        pass
    with pytest.raises((StoreError, UsageError)), index.reader():
        pass


@pytest.mark.parametrize("location", ["ftp://localhost:6333", "https://x/y z", "", "  ", "a\0b"])
def test_locations_that_are_no_index(location: str) -> None:
    with pytest.raises(UsageError, match="expected"):
        open_index(location)

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
import qdrant_edge as edge

from retrieval.errors import DiskFullError, IndexBusyError, IndexDamagedError, StoreError
from retrieval.index.embedded.engine import UnwritableError, check_config, engine_errors, engine_name
from retrieval.index.open import open_index
from tests.contract.samples import fill, sample_points

PanicException = type("PanicException", (BaseException,), {})


@pytest.mark.parametrize(
    ("raised", "action", "expected"),
    [
        (Exception("failed to open WAL: Can't init WAL: Kind(WouldBlock)"), "open", IndexBusyError),
        (Exception("No space left on device (os error 28)"), "write to", DiskFullError),
        (Exception("Permission denied (os error 13)"), "open", UnwritableError),
        (Exception("Read-only file system (os error 30)"), "open", UnwritableError),
        (Exception("segment is broken\nin two lines"), "open", IndexDamagedError),
        (Exception("anything"), "search", StoreError),
        (ValueError("invalid JSON path"), "search", StoreError),
        (TypeError("failed to extract enum Helper"), "write to", StoreError),
        (PanicException("index out of bounds"), "read", IndexDamagedError),
    ],
)
def test_everything_the_engine_raises_is_mapped(raised: BaseException, action: str, expected: type[StoreError]) -> None:
    with pytest.raises(StoreError, match=f"annot {action} place") as caught, engine_errors(action, Path("place")):
        raise raised
    assert type(caught.value) is expected
    assert caught.value.__cause__ is raised
    assert caught.value.hint
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("passing", [KeyboardInterrupt(), SystemExit(1), DiskFullError("mine")])
def test_what_is_not_the_engines_passes(passing: BaseException) -> None:
    with pytest.raises(type(passing)) as caught, engine_errors("open", Path("place")):
        raise passing
    assert caught.value is passing


def test_the_real_engine_says_what_the_map_expects(tmp_path: Path) -> None:
    index = open_index(str(tmp_path / "index"))
    fill(index, sample_points(5))
    shard = tmp_path / "index/generations/gen-000001/shard"
    held = edge.EdgeShard.load(str(shard))
    with pytest.raises(IndexBusyError, match="another process"), index.reader():
        pass
    held.close()
    with pytest.raises(IndexDamagedError), engine_errors("open", tmp_path):
        edge.EdgeShard.load(str(tmp_path / "nothing"))


def test_the_engine_is_named_with_its_version() -> None:
    name, version = engine_name().split()
    assert name == "qdrant-edge"
    assert version[0].isdigit()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"vectors": []}', '{"vectors": {"": {"size": 3}}}'])
def test_an_illegible_engine_configuration_is_damage(tmp_path: Path, text: str) -> None:
    (tmp_path / "edge_config.json").write_text(text)
    with pytest.raises(IndexDamagedError, match="configuration"):
        check_config(tmp_path, 3)


def test_a_sample_of_a_small_index_is_what_a_question_for_each_step_would_give(tmp_path: Path) -> None:
    index = open_index(str(tmp_path / "index"))
    fill(index, sample_points(60))
    with index.reader() as (store, _):
        few, many = store.sample(59), store.sample(400)
        ids = sorted(point.record.image_id for batch in store.points() for point in batch)
    for sample, count in ((few, 59), (many, 400)):
        steps = [str(UUID(int=i * 2**128 // count)) for i in range(count)]
        found = [next(ident for ident in ids if ident >= step) for step in steps if step <= ids[-1]]
        assert [point.record.image_id for point in sample] == list(dict.fromkeys(found))

"""kill -9 at any moment: nothing acknowledged is lost, nothing is there twice."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from retrieval.errors import IndexNotFoundError
from retrieval.index.open import open_index
from tests.contract.samples import MODEL, contents, fill, sample_points
from tests.faults.conftest import Start
from tests.forking import Forked

COUNT = 6000


def line(process: Forked) -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().split()


def acknowledged_until(process: Forked, batches: int) -> set[str]:
    """Ids of the first batches that were acknowledged."""
    found: set[str] = set()
    for _ in range(batches):
        words = line(process)
        if not words or words[0] != "ack":
            break
        found.update(words[1:])
    return found


@pytest.mark.parametrize("seeded", [False, True], ids=["first build", "update"])
def test_twenty_kills_lose_nothing(tmp_path: Path, start: Start, seeded: bool) -> None:
    chance = random.Random(20)
    place = tmp_path / "index"
    if seeded:
        fill(open_index(str(place)), sample_points(COUNT)[:50])
    acknowledged: set[str] = set()
    for kill in range(10):
        process = start("index_run", place, COUNT, 50)
        state, known = line(process)
        assert state == ("fresh" if kill == 0 else "resumed")
        assert int(known) >= len(acknowledged)
        acknowledged |= acknowledged_until(process, chance.randrange(1, 8))
        time.sleep(chance.random() * 0.03)
        process.kill()
        rest, _ = process.communicate()
        for words in map(str.split, rest.splitlines()):
            if words[:1] == ["ack"] and len(words) == 51:
                acknowledged.update(words[1:])
    with open_index(str(place)).writer(MODEL) as build:
        assert build.resumed
        ids = [r.image_id for r in build.store.records()]
        assert len(ids) == len(set(ids))
        assert acknowledged <= set(ids)
    process = start("index_run", place, COUNT, 500)
    output, errors = process.communicate(timeout=120)
    assert output.splitlines()[-1] == "committed", errors
    uninterrupted = open_index(str(tmp_path / "other"))
    fill(uninterrupted, sample_points(COUNT))
    assert contents(open_index(str(place))) == contents(uninterrupted)


def test_a_kill_while_optimizing_is_continued(tmp_path: Path, start: Start) -> None:
    place = tmp_path / "index"
    process = start("index_run", place, COUNT, 1000, 1)
    while line(process)[0] != "committing":
        pass
    temporary = place / "generations/gen-000001/shard/temp_segments"
    until = time.monotonic() + 60
    while time.monotonic() < until and not (temporary.is_dir() and any(temporary.iterdir())):
        time.sleep(0.002)
    assert any(temporary.iterdir()), "the optimizer never began"
    process.kill()
    process.wait()
    index = open_index(str(place))
    with pytest.raises(IndexNotFoundError, match="not finished"), index.reader():
        pass
    process = start("index_run", place, COUNT, 1000, 1)
    assert line(process) == ["resumed", str(COUNT)]
    output, errors = process.communicate(timeout=120)
    assert output.splitlines()[-1] == "committed", errors
    manifest = index.manifest()
    assert manifest is not None
    assert manifest.hnsw
    assert len(contents(index)) == COUNT
    assert not any((place / "generations/gen-000001/shard").glob("temp_segments/*"))


def test_ctrl_c_while_optimizing_ends_at_once_and_is_continued(tmp_path: Path, start: Start) -> None:
    place = tmp_path / "index"
    process = start("index_run", place, COUNT, 1000, 1)
    while line(process)[0] != "committing":
        pass
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors
    assert not any((place / "generations/gen-000001/shard").glob("temp_segments/*"))
    process = start("index_run", place, COUNT, 1000, 1)
    assert line(process) == ["resumed", str(COUNT)]
    output, errors = process.communicate(timeout=120)
    assert output.splitlines()[-1] == "committed", errors
    assert len(contents(open_index(str(place)))) == COUNT

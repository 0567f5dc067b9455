"""A commit is cut off before each of its changes of the disk: the index is the old one or the new one, whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from retrieval.index.open import open_index
from tests.contract.samples import OTHER_MODEL, fill
from tests.faults.crash_points import NEW, OLD
from tests.forking import ForkServer


def ids(points: list) -> list[str]:
    return sorted(p.record.image_id for p in points)


def crash_everywhere(forks: ForkServer, template: Path, work: Path, scenario: str) -> list[dict]:
    """One line for each change that a run was cut off before; the last one ran to its end."""
    code = "import sys; from tests.faults.crash_points import main; main(*sys.argv[1:])"
    run = forks.run(code, template, work, scenario)
    assert run.returncode == 0, run.stderr
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    assert not lines[-1]["crashed"], "the last attempt must run to its end"
    return lines


@pytest.mark.parametrize(
    ("scenario", "old", "new"),
    [
        ("update", ids(OLD), ids(OLD[5:] + NEW)),
        ("rebuild", ids(OLD), ids(NEW)),
        ("first", None, ids(NEW)),
        ("touch", ids(OLD), ids(OLD)),
    ],
)
def test_a_crash_leaves_the_old_or_the_new_index_whole(
    forks: ForkServer, tmp_path: Path, scenario: str, old: list[str] | None, new: list[str]
) -> None:
    template = tmp_path / "template"
    fill(open_index(str(template)), OLD)
    work = tmp_path / "work"
    work.mkdir()
    lines = crash_everywhere(forks, template, work, scenario)
    assert len(lines) > (3 if scenario == "touch" else 12)
    switched = []
    for line in lines:
        status, after = line["after"]
        assert status == 0, (line["change"], after)
        assert after["state"] in (old, new), line["change"]
        switched.append(after["catalog"] == "/new")
        status, complete = line["again"]
        assert status == 0, (line["change"], complete)
        assert complete["state"] == new, line["change"]
        assert complete["catalog"] == "/new"
        assert complete["folders"] == complete["listed"], line["change"]
        assert len(complete["folders"]) <= 3, line["change"]
        assert complete["leftovers"] == [], line["change"]
    assert switched == sorted(switched), "once switched, a commit never goes back"
    assert switched[-1]
    assert not switched[0]


@pytest.mark.parametrize(
    ("scenario", "before", "after", "kept"),
    [("rollback", ids(NEW), ids(OLD), [1, 2]), ("collect", ids(NEW), ids(NEW), [2])],
)
def test_a_crash_while_going_back_or_collecting_leaves_a_whole_index(
    forks: ForkServer, tmp_path: Path, scenario: str, before: list[str], after: list[str], kept: list[int]
) -> None:
    template = tmp_path / "template"
    fill(open_index(str(template)), OLD)
    fill(open_index(str(template)), NEW, model=OTHER_MODEL, rebuild=True)
    work = tmp_path / "work"
    work.mkdir()
    lines = crash_everywhere(forks, template, work, scenario)
    assert len(lines) > 3
    assert any(line["crashed"] for line in lines)
    for line in lines:
        status, seen = line["after"]
        assert status == 0, (line["change"], seen)
        assert seen["state"] in (before, after), line["change"]
        status, complete = line["again"]
        assert status == 0, (line["change"], complete)
        assert complete["state"] == after, line["change"]
        assert complete["folders"] == complete["listed"] == [f"gen-{n:06d}" for n in kept], line["change"]
        assert complete["leftovers"] == [], line["change"]

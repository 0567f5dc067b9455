"""A watched catalog: when a run begins, and what does not end the watching."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from retrieval.errors import ItemrecError, StoreError, UsageError
from retrieval.indexing.report import IndexReport
from retrieval.indexing.watching import Outcome, watch


def until(wanted: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not wanted():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_run_at_the_start_one_after_each_change_and_none_for_what_does_not_matter(tmp_path: Path) -> None:
    catalog, told, runs, fail = tmp_path / "catalog", list[Outcome](), [0], [False]

    def run() -> IndexReport:
        runs[0] += 1
        if fail[0]:
            raise StoreError("the disk is away", hint="Bring it back")
        return IndexReport()

    stop = threading.Event()
    watching = threading.Thread(
        target=watch,
        args=(catalog, run, told.append),
        kwargs={"stop": stop, "index": catalog / "index", "quiet_seconds": 0.05, "again_seconds": 0.2},
    )
    watching.start()
    try:
        # It appears later, which is said once.
        until(lambda: len(told) == 1)
        assert isinstance(told[0], ItemrecError)
        assert "There is no" in told[0].message
        (catalog / "p1").mkdir(parents=True)
        until(lambda: runs[0] == 1)
        # Many files at once are one run.
        for n in range(20):
            (catalog / "p1" / f"{n}.png").write_bytes(b"x")
        until(lambda: runs[0] == 2)
        # The index within the catalog, and hidden files, are no change of it.
        (catalog / "index").mkdir()
        (catalog / "index" / "points").write_bytes(b"x")
        (catalog / "p1" / ".swp").write_bytes(b"x")
        time.sleep(0.4)
        assert runs[0] == 2
        # A run that fails is told, and tried again without a change.
        fail[0] = True
        (catalog / "p1" / "0.png").unlink()
        until(lambda: runs[0] >= 4)
        fail[0] = False
        until(lambda: isinstance(told[-1], IndexReport))
        assert sum(isinstance(outcome, StoreError) for outcome in told) >= 2
        # Taken away and made again, it is watched again.
        done = runs[0]
        (catalog).rename(tmp_path / "old")
        until(lambda: "There is no" in str(getattr(told[-1], "message", "")))
        (catalog / "p1").mkdir(parents=True)
        until(lambda: runs[0] > done and isinstance(told[-1], IndexReport))
        done = runs[0]
        (catalog / "p1" / "0.png").write_bytes(b"x")
        until(lambda: runs[0] > done)
    finally:
        stop.set()
        watching.join(10)
    assert not watching.is_alive()


def test_without_the_package_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "watchfiles", None)
    with pytest.raises(UsageError, match="watchfiles is not installed") as caught:
        watch(tmp_path, IndexReport, print, stop=threading.Event())
    assert "[watch]" in caught.value.hint

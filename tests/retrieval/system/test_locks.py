from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from retrieval.errors import IndexBusyError, StoreError
from retrieval.index.embedded.index import EmbeddedIndex
from retrieval.system.locks import Holder, Lock, read_holder
from tests.contract.samples import fill, sample_points


def busy(holder: Holder | None) -> IndexBusyError:
    return IndexBusyError(f"held by {holder}")


def test_a_lock_excludes_and_names_its_holder(tmp_path: Path) -> None:
    first, second = (Lock(tmp_path / "x.lock", tmp_path / "x.json") for _ in range(2))
    with first.hold(0.0, busy, "indexing") as me:
        first.update(replace(me, done=3, total=4), force=True)
        words = rf"process {me.pid} \(since .*, 3 of 4 pictures done, indexing"
        with pytest.raises(IndexBusyError, match=words), second.hold(0.05, busy):
            pass
    with second.hold(0.0, busy):
        pass
    assert not (tmp_path / "x.json").exists()


def test_a_lock_whose_file_was_removed_meanwhile_is_taken_on_the_file_that_is_there(tmp_path: Path) -> None:
    path, note = tmp_path / "x.lock", tmp_path / "x.json"
    with Lock(path, note).hold(0.0, busy):
        inode = path.stat().st_ino
        waiting = threading.Timer(0.1, path.unlink)
        waiting.start()
        with Lock(path, note).hold(5.0, busy):
            assert path.stat().st_ino != inode
            with pytest.raises(IndexBusyError), Lock(path, note).hold(0.0, busy):
                pass
        waiting.join()


def test_a_link_in_place_of_a_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "x.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError), Lock(tmp_path / "x.lock", tmp_path / "x.json").hold(0.0, busy):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_a_holder_that_ended_is_known_to_have_ended() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert Holder.me().alive
    assert not replace(Holder.me(), pid=child.pid).alive
    assert replace(Holder.me(), pid=child.pid, host="another-host").alive


def test_an_illegible_note_names_nobody(tmp_path: Path) -> None:
    note = tmp_path / "x.json"
    assert read_holder(note) is None
    for text in ("", "{", "[]", '{"pid": 1}', '{"surprise": 1}', "5"):
        note.write_text(text)
        assert read_holder(note) is None


def test_a_host_elsewhere_is_named() -> None:
    assert "on another-host" in str(replace(Holder.me(), host="another-host"))


def test_threads_of_one_process_take_turns(tmp_path: Path) -> None:
    points = sample_points(20)
    fill(EmbeddedIndex(tmp_path / "index"), points)
    index = EmbeddedIndex(tmp_path / "index")
    found: list[str] = []
    problems: list[BaseException] = []

    def query(number: int) -> None:
        try:
            for _ in range(3):
                with index.reader() as (store, _):
                    found.append(store.search(points[number].vector, limit=1, max_distance=4.0)[0].image_id)
        except BaseException as error:
            problems.append(error)
            raise

    threads = [threading.Thread(target=query, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert sorted(found) == sorted(p.record.image_id for p in points[:4] * 3)


def test_a_reader_inside_a_reader_is_told_who_holds_it(tmp_path: Path) -> None:
    fill(EmbeddedIndex(tmp_path / "index"), sample_points(5))
    index = EmbeddedIndex(tmp_path / "index", patience=0.05)
    with index.reader(), pytest.raises(IndexBusyError, match="process"), index.reader():
        pass
    with index.reader() as (store, _):
        assert store.count() == 5

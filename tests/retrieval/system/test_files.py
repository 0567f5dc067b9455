from __future__ import annotations

import errno
import os
import re
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from retrieval.errors import DiskFullError, StoreError
from retrieval.system import files

Usage = namedtuple("Usage", "total used free")


def test_a_replaced_file_leaves_no_temporary(tmp_path: Path) -> None:
    path = tmp_path / "CURRENT"
    files.replace_file(path, "one")
    files.replace_file(path, "two ä")
    assert path.read_text(encoding="utf-8") == "two ä"
    assert [p.name for p in tmp_path.iterdir()] == ["CURRENT"]


def test_an_error_while_writing_leaves_the_old_content_and_no_temporary(tmp_path: Path) -> None:
    path = tmp_path / "report"
    path.write_text("old")

    def interrupted(new: Path) -> None:
        new.write_text("half of the ne")
        raise KeyboardInterrupt

    for staging in (None, tmp_path / ".report.tmp"):
        with pytest.raises(KeyboardInterrupt), files.replacing(path, staging=staging) as new:
            interrupted(new)
        assert path.read_text() == "old"
        assert [p.name for p in tmp_path.iterdir()] == ["report"]


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_is_put_in_place_from_the_name_that_was_given(tmp_path: Path, durable: bool) -> None:
    path, staging = tmp_path / "report", tmp_path / ".report.tmp"
    path.write_text("old")
    with files.replacing(path, staging=staging, durable=durable) as new:
        assert new == staging
        new.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["report"]


def test_the_marking_file_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "build.json").write_text("{}")
    (tree / "data").write_text("x")

    def interrupted(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", interrupted)
        with pytest.raises(KeyboardInterrupt):
            files.remove_tree(tree, first="build.json")
    assert [p.name for p in tree.iterdir()] == ["data"]
    files.remove_tree(tree, first="build.json")
    files.remove_tree(tree)
    assert not tree.exists()


def test_room_is_reported_with_both_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(100, 90, 5 * 2**20))
    files.require_space(tmp_path, 5 * 2**20, "write")
    with pytest.raises(DiskFullError, match=r"to write in .*: 6\.0 MiB needed, 5\.0 MiB free"):
        files.require_space(tmp_path, 6 * 2**20, "write")


@pytest.mark.parametrize(
    ("number", "expected"),
    [(errno.ENOSPC, DiskFullError), (errno.EDQUOT, DiskFullError), (errno.EACCES, StoreError), (errno.EIO, StoreError)],
)
def test_what_the_system_refuses_is_mapped(number: int, expected: type[StoreError]) -> None:
    refused = OSError(number, os.strerror(number))
    told = "cannot write in place.*" if expected is DiskFullError else "Cannot write in place: "
    told += re.escape(os.strerror(number))
    with pytest.raises(StoreError, match=told) as caught, files.os_errors("write", Path("place")):
        raise refused
    assert type(caught.value) is expected
    assert caught.value.__cause__ is refused


def test_allocated_counts_data_not_holes(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"x" * 2**20)
    with open(tmp_path / "hole", "wb") as file:
        file.truncate(2**30)
    assert 2**20 <= files.allocated(tmp_path) < 2**21

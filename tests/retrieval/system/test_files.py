from __future__ import annotations

import errno
import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from retrieval.errors import DiskFullError, StoreError
from retrieval.system import disk

Usage = namedtuple("Usage", "total used free")


def test_holes_stay_holes(tmp_path: Path) -> None:
    source = tmp_path / "source"
    with open(source, "wb") as file:
        file.write(b"head")
        file.seek(8 * 2**20)
        file.write(b"middle")
        file.truncate(32 * 2**20)
    if source.stat().st_blocks * 512 > 2**20:
        pytest.skip("this file system keeps no holes")
    target = tmp_path / "target"
    disk.copy_sparse(source, target)
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_blocks * 512 < 2**20


@pytest.mark.parametrize("size", [0, 1, 2**20, 3 * 2**20 + 17])
def test_copies_are_equal_whatever_the_system_offers(
    tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(size))
    for name in ("with holes", "without"):
        target = tmp_path / name
        target.write_bytes(b"what was there before " * 500_000)
        disk.copy_sparse(source, target)
        assert target.read_bytes() == source.read_bytes()
        monkeypatch.delattr(os, "SEEK_DATA", raising=False)


def test_a_second_pass_copies_what_changed_and_drops_what_left(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "deep/er").mkdir(parents=True)
    for name in ("a", "deep/b", "deep/er/c"):
        (source / name).write_text(name)
    first = disk.copy_changed(source, target, None)
    (target / "deep/b").write_text("kept: it looks unchanged in the source")
    (source / "a").write_text("changed")
    (source / "deep/er/c").unlink()
    (source / "new").write_text("new")
    disk.copy_changed(source, target, first)
    assert {str(p.relative_to(target)): p.read_text() for p in target.rglob("*") if p.is_file()} == {
        "a": "changed",
        "new": "new",
        "deep/b": "kept: it looks unchanged in the source",
    }


def test_a_replaced_file_leaves_no_temporary(tmp_path: Path) -> None:
    path = tmp_path / "CURRENT"
    disk.replace_file(path, "one")
    disk.replace_file(path, "two ä")
    assert path.read_text(encoding="utf-8") == "two ä"
    assert [p.name for p in tmp_path.iterdir()] == ["CURRENT"]


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
            disk.remove_tree(tree, first="build.json")
    assert [p.name for p in tree.iterdir()] == ["data"]
    disk.remove_tree(tree, first="build.json")
    disk.remove_tree(tree)
    assert not tree.exists()


def test_room_is_reported_with_both_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(100, 90, 5 * 2**20))
    disk.require_space(tmp_path, 5 * 2**20, "write")
    with pytest.raises(DiskFullError, match=r"expected 6\.0 MiB free to write .* received 5\.0 MiB"):
        disk.require_space(tmp_path, 6 * 2**20, "write")


@pytest.mark.parametrize(
    ("number", "expected"),
    [(errno.ENOSPC, DiskFullError), (errno.EDQUOT, DiskFullError), (errno.EACCES, StoreError), (errno.EIO, StoreError)],
)
def test_what_the_system_refuses_is_mapped(number: int, expected: type[StoreError]) -> None:
    refused = OSError(number, os.strerror(number))
    with pytest.raises(StoreError, match="expected") as caught, disk.os_errors("write", Path("place")):
        raise refused
    assert type(caught.value) is expected
    assert caught.value.__cause__ is refused


def test_allocated_counts_data_not_holes(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"x" * 2**20)
    with open(tmp_path / "hole", "wb") as file:
        file.truncate(2**30)
    assert 2**20 <= disk.allocated(tmp_path) < 2**21

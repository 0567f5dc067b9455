from __future__ import annotations

import os
from pathlib import Path

import pytest

from retrieval.index.embedded import copy


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
    copy.copy_sparse(source, target)
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
        copy.copy_sparse(source, target)
        assert target.read_bytes() == source.read_bytes()
        monkeypatch.delattr(os, "SEEK_DATA", raising=False)


def test_a_second_pass_copies_what_changed_and_drops_what_left(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "deep/er").mkdir(parents=True)
    for name in ("a", "deep/b", "deep/er/c"):
        (source / name).write_text(name)
    first = copy.copy_changed(source, target, None)
    (target / "deep/b").write_text("kept: it looks unchanged in the source")
    (source / "a").write_text("changed")
    (source / "deep/er/c").unlink()
    (source / "new").write_text("new")
    copy.copy_changed(source, target, first)
    assert {str(p.relative_to(target)): p.read_text() for p in target.rglob("*") if p.is_file()} == {
        "a": "changed",
        "new": "new",
        "deep/b": "kept: it looks unchanged in the source",
    }

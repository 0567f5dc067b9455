"""A full disk is an error with numbers, never a signal, and what was acknowledged stays."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from retrieval.errors import DiskFullError
from retrieval.index.embedded.index import EmbeddedIndex
from retrieval.index.open import open_index
from tests.contract.samples import MODEL, contents, fill, sample_points
from tests.faults.conftest import ROOT

Usage = namedtuple("Usage", "total used free")
MOUNT = 'mount -t tmpfs -o size=140m none "$0" && exec "$@"'


def room(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(2**40, 2**40 - free, free))


def test_a_write_without_room_changes_nothing_and_can_be_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = open_index(str(tmp_path / "index"))
    points = sample_points(300)
    with index.writer(MODEL) as build:
        build.store.upsert(points[:100])
        with monkeypatch.context() as patch:
            room(patch, 90 * 2**20)
            with pytest.raises(DiskFullError, match=r": 96\.\d MiB needed, 90\.0 MiB free") as caught:
                build.store.upsert(points[100:])
            with pytest.raises(DiskFullError):
                build.store.set_metadata({points[0].record.image_id: {"a": 1}})
            with pytest.raises(DiskFullError):
                build.store.delete([points[0].record.image_id])
        assert caught.value.hint
        assert build.store.count() == 100
    with index.writer(MODEL) as build:
        assert build.resumed
        build.store.upsert(points[100:])
        build.commit(catalog="/c", metadata_keys=())
    assert len(contents(index)) == 300


def test_an_index_is_not_begun_or_copied_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = open_index(str(tmp_path / "index"))
    points = sample_points(100)
    for held, new in ((0, points[:50]), (50, points[50:])):
        with monkeypatch.context() as patch, index.writer(MODEL) as build:
            room(patch, 50 * 2**20)
            with pytest.raises(DiskFullError):
                build.store.upsert(new)
            assert build.store.count() == held
            assert len(list((tmp_path / "index/generations").iterdir())) == (held > 0)
        fill(index, new)
    assert len(contents(index)) == 100


def test_no_room_to_optimize_keeps_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = EmbeddedIndex(tmp_path / "index", hnsw_from=1)
    with index.writer(MODEL) as build:
        build.store.upsert(sample_points(100))
        with monkeypatch.context() as patch:
            room(patch, 96 * 2**20)
            with pytest.raises(DiskFullError, match="optimize"):
                build.commit(catalog="/c", metadata_keys=())
    assert index.manifest() is None
    with index.writer(MODEL) as build:
        assert build.resumed
        assert build.store.count() == 100
        build.commit(catalog="/c", metadata_keys=())
    assert len(contents(index)) == 100


def test_a_really_full_disk_never_kills_the_process(tmp_path: Path) -> None:
    mount = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", MOUNT, str(tmp_path))
    if not shutil.which("unshare") or subprocess.run([*mount, "true"], capture_output=True).returncode != 0:
        pytest.skip("this system does not let a user mount a file system of limited size")
    command = [*mount, sys.executable, "-m", "tests.faults.workers", "write_until_full", str(tmp_path / "index")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    *acknowledged, last = done.stdout.splitlines()
    assert len(acknowledged) > 1
    assert last.startswith(("refused DiskFullError Not enough disk space to ", "refused DiskFullError Disk full: "))

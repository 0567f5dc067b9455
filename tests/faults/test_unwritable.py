"""Reading needs no writing: read-only mounts, indexes of other users, full disks; and readers leave nothing behind."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cli.main import invoke
from retrieval.errors import StoreError
from retrieval.index.embedded import private_copy
from retrieval.index.embedded.index import EmbeddedIndex
from retrieval.index.open import open_index
from tests.contract.samples import MODEL, contents, fill, sample_points
from tests.fakes import write_catalog
from tests.faults.forked import forked
from tests.places import ROOT

POINTS = sample_points(30)
ASK = """
import sys
from retrieval.index.open import open_index
for _ in range(2):
    with open_index(sys.argv[1]).reader() as (store, manifest):
        print(store.count(), len(list(store.records())), len(store.values("category")))
"""
READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && exec "$2" -c "$3" "$1"'
FULL = """
mount -t tmpfs -o size=40m none "$1" && cp -a --sparse=always "$4" "$1/index" || exit 9
dd if=/dev/zero of="$1/fill" bs=4k 2> /dev/null
"$2" -c "$3" "$1/index" && "$2" -m cli.main gc --index "$1/index" --json
"""


def may_mount() -> bool:
    probe = ["unshare", "-m", "sh", "-c", "mount -t tmpfs none /mnt"]
    return bool(shutil.which("unshare")) and subprocess.run(probe, capture_output=True).returncode == 0


def run(*command: str, **more: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, **more)  # type: ignore[call-overload,no-any-return]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    index = open_index(str(tmp_path / "index"))
    fill(index, POINTS[:10])
    fill(index, POINTS)
    return tmp_path / "index"


def as_nobody(place: Path) -> int | str:
    """How many pictures another user reads, or what that user is told; in a process of its own, which never returns.

    Not in a new Python, which that user may not be allowed to read.
    """
    os.setgid(65534)
    os.setuid(65534)
    try:
        return len(contents(EmbeddedIndex(place)))
    except StoreError as error:
        return f"{type(error).__name__}: {error.message}"


def tree(place: Path) -> set[str]:
    return {str(p.relative_to(place)) for p in place.rglob("*")}


def test_a_read_only_mount_answers_and_says_once_what_it_costs(place: Path, tmp_path: Path) -> None:
    if not may_mount():
        pytest.skip("this system lets nobody mount")
    before = tree(place)
    copies = tmp_path / "copies"
    copies.mkdir()
    done = run("env", f"TMPDIR={copies}", "unshare", "-m", "sh", "-c", READ_ONLY, "sh", str(place), sys.executable, ASK)
    assert (done.returncode, done.stdout.split("\n")) == (0, ["30 30 3", "30 30 3", ""]), done.stderr
    assert done.stderr.count("answering from a private copy") == 1
    assert f"private copy in {copies}" in done.stderr
    assert f"{place} cannot be written" in done.stderr
    assert tree(place) == before
    assert not list(copies.iterdir())


def test_the_command_answers_from_a_read_only_mount(tmp_path: Path) -> None:
    if not may_mount():
        pytest.skip("this system lets nobody mount")
    catalog, place = write_catalog(tmp_path / "catalog", products=2, views=1), tmp_path / "index"
    assert invoke(["index", str(catalog), "--index", str(place)]) == 0
    words = ["query", str(catalog / "p000/0.png"), "--index", str(place), "--json"]
    code = f"from cli.main import run; run({words!r})"
    done = run("unshare", "-m", "sh", "-c", READ_ONLY, "sh", str(place), sys.executable, code)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["results"][0]["matches"][0]["product_id"] == "p000"
    assert done.stderr.count("answering from a private copy") == 1


def test_a_full_disk_answers_and_can_be_cleared(place: Path, tmp_path: Path) -> None:
    if not may_mount():
        pytest.skip("this system lets nobody mount")
    (tmp_path / "full").mkdir()
    done = run("unshare", "-m", "sh", "-c", FULL, "sh", str(tmp_path / "full"), sys.executable, ASK, str(place))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("30 30 3\n30 30 3\n")
    assert '"generation": 1' in done.stdout
    assert "the disk of" in done.stderr


def test_an_index_of_another_user_answers(place: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can act as somebody else")
    for path in (place.parent, place, *place.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    outer = place.parent.parent
    if any(not p.stat().st_mode & 1 for p in [outer, *outer.parents]) or not os.access(sys.executable, os.X_OK):
        moved = Path("/dev/shm") / f"itemrec-other-{os.getpid()}"
        shutil.copytree(place, moved)
        place = moved
    try:
        before = tree(place)
        assert forked(lambda: as_nobody(place)) == 30
        assert tree(place) == before
        # What may not be read is no damage.
        for name in (
            "generations/gen-000002/shard/edge_config.json",
            "generations/gen-000002/manifest.json",
            "CURRENT",
        ):
            (place / name).chmod(0o600)
            assert "StoreError: Cannot read" in str(forked(lambda: as_nobody(place)))
    finally:
        if place.parent == Path("/dev/shm"):
            shutil.rmtree(place)


def test_a_new_generation_gets_a_new_copy(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from retrieval.index.embedded import place as places

    index = open_index(str(place))
    monkeypatch.setattr(places, "_has_room", lambda shard: False)
    with caplog.at_level(logging.WARNING):
        for expected in (30, 30, 5):
            if expected == 5:
                fill(index, POINTS[:5], rebuild=True)
            assert len(contents(index)) == expected
    assert caplog.text.count("private copy") == 2
    monkeypatch.setattr(private_copy, "_folder_for", lambda needed, shard: pytest.fail("made again"))
    assert len(contents(index)) == 5


def test_what_killed_readers_left_is_removed_and_never_copied(place: Path) -> None:
    shard = place / "generations/gen-000002/shard"
    (segment,) = (shard / "segments").iterdir()
    for folder in (shard, segment):
        (folder / ".atomicwriteABCDEF").mkdir()
        (folder / ".atomicwriteABCDEF/tmpfile.tmp").write_bytes(b"half")
    index = open_index(str(place))
    with index.writer(MODEL) as build:
        build.store.upsert(sample_points(31))
        assert not list((place / "generations/gen-000003").rglob(".atomicwrite*"))
        build.commit(catalog="/catalog", metadata_keys=())
    assert not list((place / "generations/gen-000003").rglob(".atomicwrite*"))
    index.rollback(2)
    assert len(contents(index)) == 30
    assert not list(place.rglob(".atomicwrite*"))

"""`itemrec snapshot` and `restore` in processes of their own, and files that others made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pytest

from cli.main import invoke
from retrieval.index.open import open_index
from retrieval.index.snapshot import FromSnapshot
from retrieval.index.transfer import FromIndex, snapshot
from tests.contract.samples import fill, sample_points
from tests.places import ROOT

LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
from cli.main import run
run(sys.argv[1:])
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    fill(open_index("a"), sample_points(40))
    fill(open_index("b"), sample_points(60, prefix="other", seed=5))
    return tmp_path


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot, which nobody changes."""
    place = tmp_path_factory.mktemp("saved")
    fill(open_index(str(place / "a")), sample_points(40))
    snapshot(FromIndex(open_index(str(place / "a"))), place / "s")
    return place / "s"


def itemrec(place: Path, *words: str, program: tuple[str, ...] = ("-m", "cli.main")) -> subprocess.Popen[str]:
    command = [sys.executable, *program, *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_two_to_one_name_give_the_file_of_one_and_the_other_says_so(place: Path) -> None:
    # The first is held up in the middle by a pipe of its own: it waits for its index's reader lock.
    import fcntl

    with open(place / "a" / "reader.lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        first = itemrec(place, "snapshot", "s", "--index", "a", "--json")
        while not (place / ".s.lock").exists():
            assert first.poll() is None
        second = itemrec(place, "snapshot", "s", "--index", "b", "--json")
        out, errors = second.communicate(timeout=60)
        assert (second.returncode, json.loads(out)["error"]) == (3, "IndexBusyError"), errors
        assert f"process {first.pid}" in errors
    out, errors = first.communicate(timeout=60)
    assert (first.returncode, json.loads(out)["images"]) == (0, 40), errors
    with FromSnapshot(place / "s").open() as (manifest, batches):
        assert manifest.images == sum(map(len, batches)) == 40
    assert sorted(p.name for p in place.iterdir()) == ["a", "b", "s"]


def test_what_a_killed_snapshot_left_is_removed_by_the_next(place: Path) -> None:
    for name in (".s.tmp", ".s.0123456789ab.tmp", ".s.lock", ".s.json"):
        (place / name).write_bytes(b"left")
    for name in (".sh.0123456789ab.tmp", ".s.notes.tmp"):
        (place / name).write_bytes(b"of somebody else")
    snapshot(FromIndex(open_index("a")), place / "s")
    assert sorted(p.name for p in place.iterdir()) == [".s.notes.tmp", ".sh.0123456789ab.tmp", "a", "b", "s"]


def rewrite(source: Path, target: Path, **members: bytes) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, members.get(name.partition(".")[0].replace("-", "_"), old.read(name)))


def test_three_gigabytes_of_blanks_are_refused_before_they_are_unpacked(place: Path) -> None:
    """A records member of 3 GB that is packed to 3 MB, read with one gigabyte of address space."""
    snapshot(FromIndex(open_index("a")), place / "s")
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(b" " * 10_000_000) + packer.flush(zlib.Z_FULL_FLUSH)
    with zipfile.ZipFile("s") as old, zipfile.ZipFile("bomb", "w") as new:
        for name in old.namelist():
            new.writestr(name, block * 300 + b"\3\0" if name == "records-000001.jsonl" else old.read(name))
    bomb = bytearray(Path("bomb").read_bytes())
    entry = bomb.rindex(b"records-000001.jsonl") - 46
    bomb[entry + 10 : entry + 12] = (8).to_bytes(2, "little")
    bomb[entry + 24 : entry + 28] = (3_000_000_000).to_bytes(4, "little")
    Path("bomb").write_bytes(bomb)
    assert len(bomb) < 4_000_000
    # And one that says to be small.
    bomb[entry + 24 : entry + 28] = (1000).to_bytes(4, "little")
    Path("lying").write_bytes(bomb)
    for name, reason in (("bomb", "expected at most 268,435,456 bytes"), ("lying", "Cannot read the snapshot")):
        process = itemrec(place, "restore", name, "--index", "new", program=("-c", LIMITED))
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, reason in errors, "unexpected" in errors) == (3, True, False), errors
    assert not (place / "new" / "CURRENT").exists()


def test_the_manifest_is_under_the_checksum_and_older_snapshots_restore(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    snapshot(FromIndex(open_index("a")), place / "s")
    with zipfile.ZipFile("s") as archive:
        manifest, checksum = archive.read("manifest.json"), json.loads(archive.read("checksum.json"))
    rewrite(Path("s"), Path("changed"), manifest=manifest.replace(b'"/catalog"', b'"/elsewhere"'))
    assert invoke(["restore", "changed", "--index", "new"]) == 3
    assert "manifest.json is not what was written" in capsys.readouterr().err
    del checksum["manifest_sha256"]
    older = json.loads(manifest)
    older.pop("checksum", None)
    rewrite(Path("s"), Path("older"), manifest=json.dumps(older).encode(), checksum=json.dumps(checksum).encode())
    assert invoke(["restore", "older", "--index", "new"]) == 0
    assert "40 images" in capsys.readouterr().out


@pytest.mark.parametrize(
    "changes",
    [
        {"images": "40"}, {"images": True}, {"products": None}, {"hnsw": 1}, {"generation": 0}, {"metadata_keys": "a"},
        {"metadata_keys": [1]}, {"catalog": ["x"]}, {"model": 3}, {"created": 7}, {"distance": "dot"},
        {"checksum": "x"},
        {"model": {"fingerprint": "a", "dimension": -4, "name": "x", "path": "y"}},
        {"model": {"fingerprint": "a", "dimension": 16, "name": None, "path": "y"}},
    ],
)  # fmt: skip
def test_every_field_of_a_manifest_is_checked(
    saved: Path,
    tmp_path: Path,
    changes: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile(saved) as archive:
        manifest, checksum = (json.loads(archive.read(f"{n}.json")) for n in ("manifest", "checksum"))
    del checksum["manifest_sha256"]
    members = {"manifest": json.dumps(manifest | changes).encode(), "checksum": json.dumps(checksum).encode()}
    rewrite(saved, Path("odd"), **members)
    assert invoke(["restore", "odd", "--index", "new"]) == 3
    errors = capsys.readouterr().err
    assert "Cannot read the snapshot odd: " in errors
    assert "unexpected" not in errors


def test_names_from_a_snapshot_are_printed_escaped(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    snapshot(FromIndex(open_index("a")), place / "s")
    with zipfile.ZipFile("s") as archive:
        manifest, checksum = (json.loads(archive.read(f"{n}.json")) for n in ("manifest", "checksum"))
    del checksum["manifest_sha256"]
    manifest["model"]["name"] = "\x1b[31mred\nline"
    rewrite(Path("s"), Path("odd"), manifest=json.dumps(manifest).encode(), checksum=json.dumps(checksum).encode())
    assert invoke(["restore", "odd", "--index", "new"]) == 0
    assert invoke(["generations", "--index", "new"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert r"\x1b[31mred\nline" in out


def test_what_is_no_regular_file_is_refused_at_once(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo("pipe")
    for name in ("pipe", "a", "/dev/zero"):
        assert invoke(["restore", name, "--index", "new"]) == 2
        assert "no regular file" in capsys.readouterr().err

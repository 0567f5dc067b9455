"""`itemrec prepare`, killed between any two steps, ends where an uninterrupted run ends."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from retrieval.errors import DiskFullError
from tests.faults.conftest import ROOT
from tests.forking import ITEMREC, ForkServer
from tests.trainer.prepare.samples import files, run, write_raw

KILLS = 6
_MOUNT = 'mount -t tmpfs -o size=100k none "$0" && exec "$@"'
_DYING = """
import os, signal, sys
from pathlib import Path
left = int(sys.argv[4])
def counted(owner, name):
    real = getattr(owner, name)
    def step(*arguments, **options):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)
    setattr(owner, name, step)
counted(os, "replace"); counted(os, "unlink"); counted(os, "rmdir"); counted(os, "mkdir"); counted(os, "sync")
from trainer.prepare import Options, prepare
prepare(Path(sys.argv[1]), Path(sys.argv[2]), Options(seed=int(sys.argv[3])), threads=1)
"""


def dying(forks: ForkServer, raw: Path, out: Path, seed: int, step: int) -> bool:
    """A run that dies at its n-th change of the disk; False when it has fewer."""
    done = forks.run(_DYING, raw, out, seed, step)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode != 0


def expect_same(out: Path, whole: Path) -> None:
    assert files(out) == files(whole)
    assert os.listdir(out / ".prepare") == ["lock"]
    assert [name for name in os.listdir(out) if name.startswith(".")] == [".prepare"]


def test_killed_at_any_change_of_the_disk(tmp_path: Path, forks: ForkServer) -> None:
    raw = write_raw(tmp_path / "raw", products=2, views=5)
    run(raw, tmp_path / "whole")
    run(raw, tmp_path / "other", seed=1)
    killed = 0
    for step in range(1, 200, 5):
        out = tmp_path / f"out{step}"
        if not dying(forks, raw, out, 0, step):
            break
        killed += 1
        # Sometimes it goes on with other options: what the first run left must not stay.
        if step % 2:
            run(raw, out)
            expect_same(out, tmp_path / "whole")
        else:
            run(raw, out, seed=1)
            expect_same(out, tmp_path / "other")
        shutil.rmtree(out)
    assert killed >= 5


def test_an_update_killed_at_any_change_of_the_disk(tmp_path: Path, forks: ForkServer) -> None:
    raw = write_raw(tmp_path / "raw", products=2, views=6)
    run(raw, tmp_path / "before")
    shutil.copytree(tmp_path / "before", tmp_path / "whole")
    (raw / "p0/2.jpg").unlink()
    (raw / "p0/1.jpg").rename(raw / "p0/moved.jpg")
    one, other = raw / "p1/0.jpg", raw / "p1/1.jpg"
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)
    run(raw, tmp_path / "whole", seed=3)
    killed = 0
    for step in range(1, 100, 2):
        out = tmp_path / f"out{step}"
        shutil.copytree(tmp_path / "before", out)
        (out / "train/p0/mine.jpg").write_bytes(b"mine")
        if not dying(forks, raw, out, 3, step):
            break
        killed += 1
        dying(forks, raw, out, 1, 5)  # and once more, on the way elsewhere
        run(raw, out, seed=3)
        assert (out / "train/p0/mine.jpg").read_bytes() == b"mine"
        (out / "train/p0/mine.jpg").unlink()
        expect_same(out, tmp_path / "whole")
        shutil.rmtree(out)
    assert killed >= 4


@pytest.mark.timeout(600)
def test_the_command_killed_at_random(tmp_path: Path, forks: ForkServer) -> None:
    raw = write_raw(tmp_path / "raw", products=10, views=40)
    run(raw, tmp_path / "whole")
    words = ["prepare", str(raw), str(tmp_path / "out"), "--json", "--threads", "2"]
    rng, kills = random.Random(0), 0
    for _ in range(KILLS):
        process = forks.start(ITEMREC, *words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not (tmp_path / "out/.prepare").is_dir():
            time.sleep(0.005)
        time.sleep(rng.uniform(0.0, 0.15))  # a fast machine is done in three tenths of a second
        if process.poll() is None:
            process.kill()
            kills += 1
        process.wait()
    assert kills >= 2, "the runs ended before they could be killed: use more pictures"
    command = [sys.executable, "-m", "cli.main", *words]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout)["counts"]["images"] == 400
    expect_same(tmp_path / "out", tmp_path / "whole")


@pytest.mark.parametrize("at", [1, 4, 10])
def test_a_full_disk_is_one_error_and_the_next_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    raw = write_raw(tmp_path / "raw", products=2, views=5)
    run(raw, tmp_path / "whole")
    written = 0
    real = Path.write_bytes

    def write_bytes(self: Path, data: bytes) -> int:
        nonlocal written
        written += 1
        if written >= at:
            real(self, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", write_bytes)
        with pytest.raises(DiskFullError, match=r"cannot write pictures in .*No space left"):
            run(raw, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.tmp"))
    assert run(raw, tmp_path / "out").resumed == (at > 1)
    expect_same(tmp_path / "out", tmp_path / "whole")


def test_a_really_full_disk_is_one_line(tmp_path: Path) -> None:
    raw = write_raw(tmp_path / "raw", products=5, views=10)
    out = tmp_path / "out"
    out.mkdir()
    mount = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _MOUNT, str(out))
    if not shutil.which("unshare") or subprocess.run([*mount, "true"], capture_output=True).returncode != 0:
        pytest.skip("this system does not let a user mount a file system of limited size")
    command = [*mount, sys.executable, "-m", "cli.main", "prepare", str(raw), str(out), "--quiet"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stdout == ""
    error, hint = done.stderr.splitlines()
    assert error.startswith("itemrec: error: Disk full: cannot write ")
    assert "run the same command again" in hint

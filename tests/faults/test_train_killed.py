"""A training that is killed with -9 and resumed ends in the model that an uninterrupted one makes."""

import os
import signal
import subprocess
import sys
import time

import numpy as np

from cli.main import invoke
from retrieval.models.bundle import read_bundle
from retrieval.models.encoder import load_encoder
from tests.places import ROOT
from tests.trainer.datasets import short_cnn, write_dataset

EPOCHS = 6

SHORT = """
import sys
import trainer.networks.assemble as assemble
from cli.main import invoke
from tests.trainer.datasets import short_cnn
assemble.small_cnn = short_cnn
sys.exit(invoke(sys.argv[1:]))
"""


def arguments(dataset, out, *options):
    return [
        *("train", str(dataset), "--out", str(out), "--backbone", "small-cnn"),
        *("--size", "32", "--dimension", "16", "--epochs", str(EPOCHS), "--quiet", *options),
        *("--hold-out", "0"),  # trainings after the one that is killed: trainer/test_held_out.py resumes those
    ]


def test_killed_and_resumed_is_the_same_as_whole(tmp_path, monkeypatch, capsys, small_built_in):
    monkeypatch.setattr("trainer.networks.assemble.small_cnn", short_cnn)
    dataset = write_dataset(tmp_path / "data", products=24, splits={"train": 8, "val": 3})
    environment = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "ITEMREC_HOME": str(tmp_path / "home")}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert invoke(arguments(dataset, tmp_path / "whole")) == 0

    log = tmp_path / "cut.run" / "log.jsonl"
    command = [sys.executable, "-c", SHORT, *arguments(dataset, tmp_path / "cut")]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while not (log.exists() and log.read_text().count("\n") >= 2):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "cut").exists()

    capsys.readouterr()
    assert invoke(arguments(dataset, tmp_path / "cut", "--resume")) == 0
    assert "Continuing after epoch" in capsys.readouterr().err
    lines = log.read_text().splitlines()
    assert len(lines) == EPOCHS
    pixels = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    whole, cut = (load_encoder(read_bundle(tmp_path / name), threads=1).encode(pixels) for name in ("whole", "cut"))
    np.testing.assert_allclose(cut, whole, atol=1e-4)

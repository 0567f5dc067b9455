"""`itemrec index`, killed again and again in the middle, ends where an uninterrupted run ends."""

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from retrieval.index.open import open_index
from retrieval.models.bundle import Bundle
from retrieval.types import Point
from tests.fakes import picture
from tests.forking import ITEMREC, Forked, ForkServer

KILLS = 20
PICTURES = 1500


def contents(index: Path) -> dict[str, Point]:
    with open_index(str(index)).reader() as (store, _):
        points = [p for batch in store.points() for p in batch]
    assert len({p.record.image_id for p in points}) == len(points)
    return {p.record.image: p for p in points}


def started(forks: ForkServer, words: list[str], index: Path, environment: dict[str, str]) -> Forked:
    """A run that has its build under way: what it still has to do is reading, embedding and writing."""
    process = forks.start(
        ITEMREC, *words, "--index", index, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    while process.poll() is None and not list(index.glob("generations/*/build.json")):
        time.sleep(0.005)
    return process


@pytest.mark.timeout(600)
def test_killed_runs_lose_nothing_and_double_nothing(tmp_path: Path, forks: ForkServer, tiny_bundle: Bundle) -> None:
    catalog = tmp_path / "catalog"
    for n in range(PICTURES):
        folder = catalog / f"p{n // 5:03}"
        folder.mkdir(parents=True, exist_ok=True)
        picture(n // 5, view=n % 5, side=24).save(folder / f"{n % 5}.png", compress_level=1)
    environment = {**os.environ, "HOME": str(tmp_path), "ITEMREC_HOME": str(tmp_path / "home")}
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    words = ["index", str(catalog), "--model", str(tiny_bundle.path), "--json"]
    process = started(forks, words, whole, environment)
    begun = time.monotonic()
    assert process.wait() == 0
    # In shares of this machine's own time: fixed waits outlast the run on a fast one.
    duration = time.monotonic() - begun

    rng = random.Random(0)
    kills = 0
    for _ in range(KILLS):
        process = started(forks, words, broken, environment)
        time.sleep(duration * rng.uniform(0.02, 0.2))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills >= 2, "the runs ended before they could be killed"
    done = forks.run(ITEMREC, *words, "--index", broken, check=True, env=environment)
    report = json.loads(done.stdout)
    assert report["images"] == PICTURES
    assert report["added"] + report["unchanged"] == PICTURES

    expected, received = contents(whole), contents(broken)
    assert received.keys() == expected.keys()
    for image, point in expected.items():
        assert received[image].record == point.record
        np.testing.assert_allclose(received[image].vector, point.vector, atol=1e-6)

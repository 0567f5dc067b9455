"""The tiers are what `make test-fast` takes them for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import TIERS, left_out, tiers

HERE = Path(__file__).parent
FILES = sorted(HERE.rglob("test_*.py"))


@pytest.mark.parametrize("place", [place for places in TIERS.values() for place in places])
def test_every_place_of_a_tier_is_there(place: str) -> None:
    assert (HERE / place).exists()


@pytest.mark.parametrize(
    ("tier", "named", "word"),
    [
        ("kill", r"faults/test_.*(kill|crash)", r"SIGKILL|start: Start|forks: ForkServer"),
        ("browser", r"browser/", r"needs_chromium|tensorboard\("),
        ("server", r"server_errors", r"LocalCluster"),
    ],
)
def test_what_its_name_or_its_text_tells_is_in_the_tier(tier: str, named: str, word: str) -> None:
    found = [
        file
        for file in FILES
        if file != Path(__file__)
        and (re.search(named, file.as_posix()) or re.search(word, file.read_text(encoding="utf-8")))
    ]
    assert found
    assert [file.name for file in found if tier not in tiers(file)] == []


@pytest.mark.parametrize(
    ("place", "wanted", "expected"),
    [
        ("cli/test_train.py", "not (train or kill)", True),
        ("cli/test_train.py", "kill", False),  # a test in it may be both
        ("cli/test_train.py", "kill and not train", True),
        ("cli/test_train.py", "not (train or hypothesis)", False),
        ("cli/test_main.py", "train", False),
    ],
)
def test_only_files_of_which_nothing_is_wanted_stay_unopened(place: str, wanted: str, expected: bool) -> None:
    assert left_out(HERE / place, wanted) is expected

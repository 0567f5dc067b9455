"""The tiers are what `make test-fast` takes them for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import TIERS, tiers

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

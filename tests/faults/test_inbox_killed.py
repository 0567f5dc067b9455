"""Two processes with one inbox, one of them killed: what was acknowledged is there, once, and the other goes on."""

from __future__ import annotations

from pathlib import Path

from retrieval.images import pictures
from retrieval.inbox.inbox import Inbox
from tests.faults.conftest import Start
from tests.faults.workers import UNKNOWN
from tests.forking import Forked


def acknowledged(process: Forked, photos: int) -> list[list[str]]:
    assert process.stdout is not None
    return [process.stdout.readline().split() for _ in range(photos)]


def test_a_killed_process_loses_nothing_that_it_acknowledged(tmp_path: Path, start: Start) -> None:
    killed, other = (start("keep_photos", tmp_path / "inbox", first, 40) for first in (0, 1000))
    seen = acknowledged(killed, 12)
    killed.kill()
    rest, _ = killed.communicate()
    seen += [words for words in map(str.split, rest.splitlines()) if len(words) == 2]
    seen += acknowledged(other, 40)
    other.communicate()
    assert other.returncode == 0
    with Inbox(tmp_path / "inbox", make=False) as inbox:
        there = {entry.photo: entry for entry in inbox.entries()}
        for kind, photo in seen:
            assert there[photo].times == 1
            assert (there[photo].label is not None) == (kind == "labeled")
            assert pictures.decode(inbox.picture(photo)).size == (200, 200)
        inbox.keep(inbox.picture(seen[0][1]), UNKNOWN, request="next")  # whoever comes next is not held up

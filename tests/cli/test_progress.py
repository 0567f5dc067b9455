"""What long jobs show: plain lines off a terminal, one live line on it, nothing when quiet."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from cli import render
from cli.progress import about, estimate, shown
from trainer.progress import EpochLog


@pytest.fixture(autouse=True)
def _voice() -> Iterator[None]:
    render.configure()
    yield
    render.configure()


class Clock:
    """Time that moves when it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def epoch(number: int, loss: float, val: float | None = None) -> EpochLog:
    return EpochLog(number, loss, 0.2, 1.5, 0.9, seconds=2.5, val_at_far=val)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "a few seconds"),
        (9.9, "a few seconds"),
        (12, "about 10 s"),
        (54, "about 50 s"),
        (58, "about 1 min"),
        (250, "about 4 min"),
        (14 * 60, "about 15 min"),
        (59 * 60, "about 1 h"),
        (100 * 60, "about 1 h 40 min"),
        (7205, "about 2 h"),
    ],
)
def test_estimates_are_as_exact_as_estimates_are(seconds: float, words: str) -> None:
    assert about(seconds) == words
    assert estimate(seconds) == f"{words} on this machine"


def test_off_a_terminal_stages_and_epochs_are_lines(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with shown(training=True) as view:
        view.stage("Caching features", 2640)
        clock.now += 12
        view.advance(2640)
        view.stage("Fine-tuning", 30, "steps", epochs=3)
        for number, val in ((1, 0.5), (2, None), (3, 0.75)):
            for _ in range(10):
                clock.now += 0.25
                view.advance()
            view.epoch(epoch(number, 1 / number, val))
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.splitlines() == [
        "Caching features: 2,640 images …",
        "Caching features: 2,640 images, 0:12",
        "Fine-tuning: 3 epochs …",
        "Fine-tuning: epoch 1/3, loss 1.000, VAL@FAR 1 % 0.500, 2.5 s, 0:05 left",
        "Fine-tuning: epoch 2/3, loss 0.500, 2.5 s, 0:02 left",
        "Fine-tuning: epoch 3/3, loss 0.333, VAL@FAR 1 % 0.750, 2.5 s",
        "Fine-tuning: 3 epochs, 0:08, loss 0.333, VAL@FAR 1 % 0.750",
    ]


def test_a_long_stage_shows_signs_of_life(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with shown(training=True) as view:
        view.stage("Caching", 100, "views")
        for _ in range(100):
            clock.now += 1
            view.advance()
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "Caching: 100 views …",
        "Caching: 30/100 views, 1:10 left",
        "Caching: 60/100 views, 0:40 left",
        "Caching: 90/100 views, 0:10 left",
        "Caching: 100 views, 1:40",
    ]


def test_a_resumed_stage_counts_only_its_own_pace(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with shown(training=True) as view:
        view.stage("Training", 20, "epochs", done=15)
        clock.now += 3
        view.epoch(epoch(16, 0.5))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Training: continuing after 15 of 20 epochs …"
    assert lines[1] == "Training: epoch 16/20, loss 0.500, 2.5 s, 0:12 left"
    assert lines[2] == "Training: 16 epochs, 0:03, loss 0.500"  # stopped early


def test_stages_of_unknown_length_and_calls_between_stages(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with shown(training=True) as view:
        view.advance()
        view.epoch(epoch(1, 1.0))
        view.stage("Exporting", None, "checks")
        view.advance(3)
    assert capsys.readouterr().err.splitlines() == ["Exporting: …", "Exporting: 3 checks, 0:00"]


def test_an_error_ends_the_view_without_a_word_of_success(capsys: pytest.CaptureFixture[str]) -> None:
    def breaks() -> None:
        with shown(training=True) as view:
            view.stage("Caching", 10)
            view.advance(2)
            raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        breaks()
    assert capsys.readouterr().err.splitlines() == ["Caching: 10 images …"]


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    render.configure(quiet=True)
    with shown(training=True) as view:
        view.stage("Training", 1, "epochs")
        view.epoch(epoch(1, 1.0))
    assert capsys.readouterr().err == ""


_ON_A_TERMINAL = """
import time
from cli import render
from cli.progress import shown
from trainer.progress import EpochLog
with shown(training=True) as view:
    view.stage("Caching", 100)
    view.advance(100)
    view.stage("Fine-tuning", 4, "epochs")
    for number in range(1, 4):
        time.sleep(0.15)
        view.epoch(EpochLog(number, 1 / number, 0.2, 1.5, 0.9, 0.15, val_at_far=0.25 * number))
    render.say("a word [in] between")
    time.sleep(0.4)
"""


def on_a_terminal(columns: int, script: str = _ON_A_TERMINAL, **environment: str) -> str:
    """What a terminal of so many columns receives."""
    import pty

    host, device = pty.openpty()
    given = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns), **environment}
    given = {k: v for k, v in given.items() if v != "" and (k != "NO_COLOR" or k in environment)}
    child = subprocess.Popen([sys.executable, "-c", script], stderr=device, stdout=device, env=given)
    os.close(device)
    received = b""
    while select.select([host], [], [], 60)[0]:
        try:
            chunk = os.read(host, 4096)
        except OSError:
            break
        if not chunk:
            break
        received += chunk
    os.close(host)
    assert child.wait(60) == 0
    return received.decode()


def without_escapes(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are of Unix")
@pytest.mark.parametrize("columns", [100, 60])
def test_on_a_terminal_one_line_lives_and_finished_stages_stay(columns: int) -> None:
    text = on_a_terminal(columns)
    plain = without_escapes(text)
    assert "Caching: 100 images, 0:00" in plain
    assert re.search(r"Fine-tuning .*epoch 4/4 +loss 0.333 +VAL@FAR 1 % 0.750", plain)
    assert "a word [in] between" in plain
    assert re.search(r"Fine-tuning: 3 epochs, 0:0\d, loss 0.333, VAL@FAR 1 %\s+0.750", plain)
    assert "…" not in plain
    assert ("━" in plain) == (columns == 100)
    assert re.search(r"\x1b\[[0-9;]*3[0-9]", text)  # in color
    assert "\x1b[?25h" in text  # the cursor is back


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are of Unix")
def test_no_color_is_respected() -> None:
    text = on_a_terminal(100, NO_COLOR="1")
    assert "VAL@FAR 1 % 0.750" in text
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", text)


_WHILE_A_RUNTIME_GREETS = """
import os, time
from cli.progress import shown
from retrieval.system.stderr import held_back

with shown() as view:
    view.stage("Indexing", 40)
    for _ in range(4):
        view.advance(10)
        with held_back(drop=(b"INFO:",)):
            time.sleep(0.25)
            os.write(2, b"INFO: Created a delegate\\n")
print("done")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are of Unix")
def test_the_live_line_goes_on_where_stderr_is_held_back_meanwhile() -> None:
    text = on_a_terminal(80, _WHILE_A_RUNTIME_GREETS)
    for done in (10, 20, 30, 40):
        assert f"{done}/40 images" in without_escapes(text)
    assert "INFO" not in text
    # Nothing of the line is written behind what erased it.
    assert without_escapes(text[text.rindex("\x1b[2K") :]).strip() == "done"


def test_a_short_job_says_nothing_off_a_terminal(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with shown() as view:
        view.stage("Indexing", 10)
        for _ in range(10):
            clock.now += 0.4
            view.advance(note="1 refused")
    assert capsys.readouterr().err == ""


def test_a_long_job_says_how_far_it_is_every_few_seconds(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with shown() as view:
        view.stage("Indexing", 3000)
        for done in range(12):
            clock.now += 1
            view.advance(250, note="1 refused" if done == 2 else "")
    assert capsys.readouterr().err.splitlines() == [
        "Indexing: 1,250/3,000 images, 250 images/s, 0:07 left, 1 refused",
        "Indexing: 2,500/3,000 images, 250 images/s, 0:02 left, 1 refused",
        "Indexing: 3,000/3,000 images, 250 images/s",
    ]


def test_a_total_that_is_known_late_is_shown_from_then_on(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with shown() as view:
        view.stage("Downloading", None, "bytes")
        clock.now += 5
        view.advance(2_500_000)
        view.known(10_000_000)
        clock.now += 5
        view.advance(2_500_000)
        view.stage("Checking")
    assert capsys.readouterr().err.splitlines() == [
        "Downloading: 2.5 MB, 0.5 MB/s",
        "Downloading: 5.0/10.0 MB, 0.5 MB/s, 0:10 left",
        "Downloading: 5.0/10.0 MB, 0.5 MB/s",
    ]


def test_notes_are_lines_of_their_own_even_when_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    render.configure(quiet=True)
    with shown() as view:
        view.stage("Indexing", 2)
        view.note("two\nlines")
    assert capsys.readouterr().err.splitlines() == ["itemrec: warning: two\\nlines"]


_UNKNOWN_AT_FIRST = """
import sys, time
from cli.progress import shown
with shown() as view:
    assert not any(name.partition(".")[0] == "rich" for name in sys.modules)
    view.stage("Indexing")
    for _ in range(3):
        view.advance(20, note="2 refused")
        time.sleep(0.2)
    print("[then]", flush=True)
    view.known(100)
    for _ in range(2):
        view.advance(20)
        time.sleep(0.2)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are of Unix")
def test_on_a_terminal_the_bar_comes_when_the_total_does() -> None:
    before, after = without_escapes(on_a_terminal(100, _UNKNOWN_AT_FIRST)).split("[then]", 1)
    assert re.search(r"Indexing +\d+ images .*2 refused", before)
    assert "━" not in before
    assert re.search(r"Indexing ━+.* \d+/100 images .*2 refused", after)
    assert "Indexing: " not in after

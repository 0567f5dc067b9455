"""The log of a training: every epoch once, whole lines after any kill, and TensorBoard reads the same."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

from retrieval.errors import ItemrecError, UsageError
from trainer.loop import logs
from trainer.loop.logs import LOG, ScalarLog, read_log
from trainer.progress import EpochLog


def epoch(number: int, loss: float = 1.0, **measured: float) -> EpochLog:
    return EpochLog(number, loss, anchor_positive=0.25, anchor_negative=1.5, spread=0.75, seconds=2.0, **measured)


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    """What TensorBoard's own reader makes of the run directory."""
    # As where TensorBoard is installed alone: it would import TensorFlow to read a file.
    sys.modules.setdefault("tensorboard.compat.notf", ModuleType("notf"))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(folder))
    reader.Reload()
    return [(event.step, event.value) for event in reader.Scalars(tag)]


def test_an_epoch_is_one_json_line_and_one_step(tmp_path: Path) -> None:
    with ScalarLog(tmp_path / "runs" / "one") as log:
        log.epoch(epoch(1, 0.5, val_at_far=0.25, r_at_1=0.5, learning_rate=0.125, active_triplets=1.0))
        log.epoch(epoch(2, 0.25))
    lines = (tmp_path / "runs" / "one" / LOG).read_text().splitlines()
    assert json.loads(lines[0]) == {
        "epoch": 1,
        "loss": 0.5,
        "anchor_positive": 0.25,
        "anchor_negative": 1.5,
        "active_triplets": 1.0,
        "spread": 0.75,
        "val_at_far": 0.25,
        "r_at_1": 0.5,
        "seconds": 2.0,
        "learning_rate": 0.125,
    }
    assert json.loads(lines[1])["val_at_far"] is None
    assert scalars(log.folder, "training/loss") == [(1, 0.5), (2, 0.25)]
    assert scalars(log.folder, "validation/val_at_far") == [(1, 0.25)]
    assert read_log(log.folder)[1] == epoch(2, 0.25)


def test_a_loss_that_is_no_number_is_logged_as_none(tmp_path: Path) -> None:
    with ScalarLog(tmp_path) as log:
        log.epoch(epoch(1, math.nan))
    assert '"loss": null' in (tmp_path / LOG).read_text()
    assert math.isnan(read_log(tmp_path)[0].loss)
    assert math.isnan(scalars(tmp_path, "training/loss")[0][1])


def test_a_resumed_training_has_every_epoch_once(tmp_path: Path) -> None:
    with ScalarLog(tmp_path) as log:
        for number in range(1, 6):
            log.epoch(epoch(number, 10.0 + number))
    with ScalarLog(tmp_path, after=3) as log:  # killed behind the checkpoint of epoch 3
        assert [line.epoch for line in read_log(tmp_path)] == [1, 2, 3]
        log.epoch(epoch(4, 20.0))
    expected = [(1, 11.0), (2, 12.0), (3, 13.0), (4, 20.0)]
    assert [(line.epoch, line.loss) for line in read_log(tmp_path)] == expected
    assert scalars(tmp_path, "training/loss") == expected
    assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 2


def test_a_new_training_in_the_same_place_begins_anew(tmp_path: Path) -> None:
    with ScalarLog(tmp_path) as log:
        for number in range(1, 4):
            log.epoch(epoch(number))
    with ScalarLog(tmp_path) as log:
        log.epoch(epoch(1, 5.0))
    assert [line.loss for line in read_log(tmp_path)] == [5.0]
    assert scalars(tmp_path, "training/loss") == [(1, 5.0)]


_WRITES_UNTIL_KILLED = """
import sys
from pathlib import Path
from types import ModuleType
from trainer.loop.logs import ScalarLog
from trainer.progress import EpochLog

with ScalarLog(Path(sys.argv[1])) as log:
    for number in range(1, 1_000_000):
        log.epoch(EpochLog(number, 1 / 3, 0.1, 0.2, 0.3, 0.4))
"""


@pytest.mark.parametrize("seconds", [0.05, 0.3])
def test_a_kill_leaves_whole_lines(tmp_path: Path, seconds: float) -> None:
    writer = subprocess.Popen([sys.executable, "-c", _WRITES_UNTIL_KILLED, str(tmp_path)])
    while not read_log(tmp_path):
        assert writer.poll() is None
        time.sleep(0.01)
    time.sleep(seconds)
    writer.kill()
    writer.wait()
    numbers = [line.epoch for line in read_log(tmp_path)]
    assert numbers == list(range(1, len(numbers) + 1))
    with ScalarLog(tmp_path, after=1) as log:
        log.epoch(epoch(2, 7.0))
    assert [line.epoch for line in read_log(tmp_path)] == [1, 2]
    assert [step for step, _ in scalars(tmp_path, "training/loss")] == [1, 2]


def test_neither_log_nor_projection_imports_tensorflow() -> None:
    code = """
import sys, tempfile
from pathlib import Path
from types import ModuleType
import numpy as np
from trainer.loop.logs import ScalarLog
from trainer.progress import EpochLog
from trainer.projector.write import write_projection
with tempfile.TemporaryDirectory() as folder, ScalarLog(Path(folder)) as log:
    log.epoch(EpochLog(1, 1.0, 1.0, 1.0, 1.0, 1.0))
    pictures = np.zeros((2, 8, 8, 3), np.uint8)
    write_projection(Path(folder), np.eye(2, dtype=np.float32), ["a", "b"], ["a", "b"], pictures)
print(sorted({"tensorflow", "keras"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"epoch": 1}', '{"epoch": "1"}', '{"epoch": 1, "loss": "x", "anchor_positive": 0}']
)
def test_a_log_that_is_none_stays_and_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / LOG).write_text(line + "\n")
    with pytest.raises(ItemrecError, match=LOG) as caught:
        ScalarLog(tmp_path, after=3)
    assert caught.value.hint
    assert (tmp_path / LOG).read_text() == line + "\n"


def test_what_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        ScalarLog(tmp_path / "file" / "run")

    def full(file: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    with ScalarLog(tmp_path / "run") as log:
        monkeypatch.setattr(logs, "replace_file", full)
        with pytest.raises(UsageError, match="No space left"):
            log.epoch(epoch(1))


def test_without_tensorboard_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto", None)
    with pytest.raises(ItemrecError) as caught:
        ScalarLog(tmp_path)
    assert caught.value.message == "TensorBoard is not installed; the log of a training needs it"
    assert "[train]" in caught.value.hint

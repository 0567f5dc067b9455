"""A training tells any progress how far it is, and importing what starts one costs little."""

import subprocess
import sys

from retrieval.system import progress
from trainer.progress import EpochLog, Silent, TrainingProgress, told


class Counts(progress.Silent):
    def __init__(self) -> None:
        self.heard: list[object] = []

    def stage(self, name: str, total: int | None = None, unit: str = "images", *, done: int = 0) -> None:
        self.heard.append((name, total, unit, done))

    def advance(self, n: int = 1, *, note: str = "") -> None:
        self.heard.append((n, note))

    def note(self, text: str) -> None:
        self.heard.append(text)


def test_a_progress_that_knows_no_epochs_sees_them_counted() -> None:
    counts = Counts()
    shown = told(counts)
    shown.estimate(90.0)
    shown.stage("Training", 3, "epochs", done=1)
    shown.epoch(EpochLog(2, 0.5, 0.2, 1.5, 0.9, 1.0))
    shown.note("done")
    assert counts.heard == [("Training", 3, "epochs", 1), (1, "loss 0.500"), "done"]


def test_a_progress_of_trainings_is_told_itself() -> None:
    silent = Silent()
    assert told(silent) is silent
    assert isinstance(silent, TrainingProgress)


def test_importing_the_front_function_imports_neither_tensorflow_nor_numpy() -> None:
    code = "import sys, trainer.train; print([m for m in ('tensorflow', 'keras', 'numpy', 'PIL') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

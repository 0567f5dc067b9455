"""A model that kills its runtime, hangs it or eats memory costs its import, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from retrieval.errors import EncoderError, UsageError
from retrieval.models.inspection import inspect_model
from retrieval.models.trial import try_model
from tests.places import ROOT
from tests.retrieval.models import deadly_trial
from tests.retrieval.networks import tflite

DEADLY = deadly_trial.__name__


def test_a_trial_answers_as_an_inspection_does() -> None:
    assert try_model(tflite("two_outputs"), "litert", output=1) == inspect_model(
        tflite("two_outputs"), "litert", output=1
    )


def test_a_refusal_keeps_its_kind_and_its_words() -> None:
    with pytest.raises(UsageError) as here:
        inspect_model(tflite("tokens"), "litert")
    with pytest.raises(UsageError) as there:
        try_model(tflite("tokens"), "litert")
    assert (there.value.message, there.value.hint) == (here.value.message, here.value.hint)


@pytest.mark.parametrize(
    ("what", "said"),
    [("die", "died of"), ("eat", "died of"), ("exit", "exit code 7"), ("lie", "died of"), ("hang", "within 1 seconds")],
)
def test_what_a_model_does_to_its_child(tmp_path: Path, what: str, said: str) -> None:
    (tmp_path / "m.onnx").write_text(what)
    with pytest.raises(EncoderError, match=said) as caught:
        try_model(tmp_path / "m.onnx", "onnx", seconds=1 if what == "hang" else 60, memory=1 << 30, program=DEADLY)
    assert caught.value.hint
    if what == "hang":
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_an_import_that_is_ended_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_text("hang")
    (tmp_path / "temporary").mkdir()
    code = (
        "import sys; from retrieval.models import trial; "
        f"trial.try_model.__kwdefaults__['program'] = {DEADLY!r}; "
        "from cli.main import invoke; sys.exit(invoke(['models', 'import', 'm.onnx', '--name', 'mine']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "ITEMREC_HOME": str(tmp_path / "home"),
            "TMPDIR": str(tmp_path / "temporary"),
        },
        stderr=subprocess.PIPE,
        text=True,
    )
    for _ in range(600):
        if waiting := list((tmp_path / "temporary").glob("*/pid")):
            break
        time.sleep(0.05)
    pid = int(waiting[0].read_text())
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (143, "Terminated.\n")
    assert list((tmp_path / "temporary").iterdir()) == []
    assert not list((tmp_path / "home").glob("models/*"))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)

"""Exit 1 means "the answer is no", whatever becomes of the output: real processes and pipes, a device that is full."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.main import COMMANDS, GROUPS
from retrieval.inbox.inbox import Inbox
from tests.fakes import picture, tiny_model, write_catalog
from tests.forking import ITEMREC, ForkServer
from tests.places import ROOT
from tests.retrieval.networks import tflite
from tests.retrieval.servers import serving

PROGRAM = [sys.executable, "-m", "cli.main"]

# Their work takes long, and is not what is asked about here: they print a canned outcome.
DEMO = """
from pathlib import Path
import trainer.synthetic.demo as demo
photos = sorted(Path("data/test").glob("*/*.png"))
demo.write_demo = lambda folder: demo.DemoLayout(
    Path("catalog"), Path("data/test"), Path("data/val"), {photo: photo.parent.name for photo in photos}
)
from cli.main import run
run()
"""
TRAIN = """
from pathlib import Path
import trainer.train
from retrieval.models.installed import find_model
from trainer.report import TrainedModel, TrainReport
model = TrainedModel(find_model("starter"), None, None, None, None, (), 0.01)
trainer.train.train = lambda *_, **__: TrainReport(model, None, 4, 2, 0, 1, (), 1.0, Path("model.run"))
from cli.main import run
run()
"""

WORDS = {
    "index": "index catalog",
    "query": "query data/test --json",
    "prepare": "prepare data/train out",
    "train": "train data --out model",
    "evaluate": "evaluate --data data --gallery train",
    "calibrate": "calibrate --data data --gallery train --force --out calibrated",
    "audit": "audit catalog",
    "doctor": "doctor",
    "generations": "generations",
    "rollback": "rollback",
    "gc": "gc",
    "copy": "copy --from .itemrec --to second",
    "snapshot": "snapshot saved.itemrec",
    "restore": "restore shop.itemrec --index third",
    "demo": "demo . --quiet",
    "refuse": "refuse",
    "refuse add": "refuse add data/test/p000/9.png",
    "refuse list": "refuse list",
    "inbox": "inbox",
    "inbox list": "inbox list --inbox inbox",
    "inbox gc": "inbox gc --inbox inbox",
    "models": "models",
    "models list": "models list",
    "models show": "models show starter",
    "models import": "models import net.tflite --name imported",
    "models pull": "models pull URL --sha256 SHA256 --name pulled --allow-private --allow-http",
    "keys": "keys",
    "keys add": "keys add keys.json till",
    "--help": "--help",
    "--version": "--version",
}


def environment(shop: Path, **more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("ITEMREC_") and "proxy" not in k.lower()}
    return {**kept, "PYTHONPATH": str(ROOT), "ITEMREC_HOME": str(shop / "home"), "ITEMREC_MODEL": "tiny", **more}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, forks: ForkServer) -> Path:
    """A shop with a catalog, photos of its products, an index of two generations, and a snapshot of it."""
    shop = tmp_path_factory.mktemp("shop")
    write_catalog(shop / "catalog", products=3, views=3)
    for place, split in enumerate(("train", "val", "test")):
        for product in range(3):
            (shop / "data" / split / f"p{product:03}").mkdir(parents=True)
            for n in range(3):
                view = 3 + 3 * place + n
                picture(product, view).save(shop / "data" / split / f"p{product:03}" / f"{view}.png")
    shutil.copyfile(tflite("embed"), shop / "net.tflite")
    Inbox(shop / "inbox").close()
    tiny_model(shop / "home" / "models" / "tiny")
    for words in ("index catalog", "index catalog --rebuild", "snapshot shop.itemrec"):
        forks.run(ITEMREC, *words.split(), cwd=shop, env=environment(shop), check=True)
    return shop


@pytest.fixture
def shop(prepared: Path, tmp_path: Path) -> Path:
    return shutil.copytree(prepared, tmp_path / "shop", symlinks=True)


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(shop: Path, forks: ForkServer) -> Run:
    """Runs a command; the exit code and what was said on stderr."""

    def run(words: str, **streams: int) -> tuple[int, str]:
        content = (shop / "net.tflite").read_bytes()
        first, *_ = words.split()
        known = {"SHA256": hashlib.sha256(content).hexdigest()}
        with contextlib.ExitStack() as stack:
            if "URL" in words:
                known["URL"] = stack.enter_context(serving(lambda request: request.serve(content))).url()
            done = forks.run(
                {"demo": DEMO, "train": TRAIN}.get(first, ITEMREC),
                *(known.get(word, word) for word in words.split()),
                cwd=shop,
                env=environment(shop),
                **streams,
            )
        return done.returncode, done.stderr

    return run


def errors(said: str) -> list[str]:
    return [line for line in said.splitlines() if line.startswith("itemrec: error: ")]


def test_no_command_is_forgotten() -> None:
    # They run until they are ended.
    assert {*COMMANDS, *GROUPS} - {"serve", "watch", "mcp"} <= set(WORDS)


@pytest.mark.parametrize("command", list(WORDS))
def test_whether_anybody_reads_is_no_answer(run: Run, command: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        code, said = run(WORDS[command], stdout=writer)
    finally:
        os.close(writer)
    assert (code, errors(said)) == (141, []), said
    assert "Traceback" not in said
    assert "BrokenPipe" not in said
    # What the first run did, it did: the same command again is right, or says what is there already.
    again = {"rollback": "--to 2", "calibrate": "--out again", "models import": "--replace", "models pull": "--replace"}
    with open("/dev/full", "w") as full:
        code, said = run(f"{WORDS[command]} {again.get(command, '')}", stdout=full.fileno())
    assert code == 3, said
    [line] = errors(said)
    assert "standard output: No space left on device" in line
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "words", ["evaluate --data data --gallery train --require top1>1", "query stranger.png", "audit twins"]
)
def test_no_is_one_only_where_somebody_was_told(shop: Path, run: Run, words: str) -> None:
    picture(40).save(shop / "stranger.png")
    write_catalog(shop / "twins", products=2, views=3)
    shutil.copyfile(shop / "twins/p000/0.png", shop / "twins/p001/7.png")
    assert run(words, stdout=subprocess.DEVNULL)[0] == 1
    with open("/dev/full", "w") as full:
        assert run(words, stdout=full.fileno())[0] == 3


def test_a_failure_keeps_its_code(run: Run) -> None:
    with open("/dev/full", "w") as full:
        for words in ("query nothing.png --json", "query --json", "query nothing.png"):
            code, said = run(words, stdout=full.fileno())
            assert (code, len(errors(said))) == (2, 1), said


def test_talk_may_get_lost(run: Run) -> None:
    with open("/dev/full", "w") as full:
        assert run("index catalog", stdout=subprocess.DEVNULL, stderr=full.fileno())[0] == 0
        assert run("query nothing.png", stdout=subprocess.DEVNULL, stderr=full.fileno())[0] == 2
        assert run("--version", stdout=full.fileno(), stderr=full.fileno())[0] == 3


@pytest.mark.parametrize(
    ("closed", "code"), [(">&-", 3), ("2>&-", 0), ("<&-", 0), ("<&- 2>&-", 0), ("<&- >&- 2>&-", 3)], ids=str
)
def test_streams_that_were_closed_at_start(shop: Path, run: Run, closed: str, code: int) -> None:
    words = "index catalog --prune" if code == 0 else "query data/test"
    done = subprocess.run(
        ["sh", "-c", f'"$@" {closed}', "sh", *PROGRAM, *words.split()],
        cwd=shop,
        env=environment(shop),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    # Nothing that was opened later took the place of a stream, and its output.
    assert run("doctor", stdout=subprocess.DEVNULL)[0] == 0


def test_photo_from_a_closed_input_is_refused(shop: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", '"$@" <&-', "sh", *PROGRAM, "query", "-", "--json"],
        cwd=shop,
        env=environment(shop),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert json.loads(done.stdout)["schema"] == "itemrec.error/1"


def test_any_other_broken_pipe_is_a_failure(shop: Path, forks: ForkServer) -> None:
    code = """
import cli.query_text, errno
def broken(*_, **__):
    raise BrokenPipeError(errno.EPIPE, "Broken pipe")
cli.query_text.find_photos = broken
from cli.main import run
run()
"""
    for debug in ({}, {"ITEMREC_DEBUG": "1"}):
        done = forks.run(code, "query", "x.png", cwd=shop, env=environment(shop, **debug))
        assert done.returncode == 3
        assert "BrokenPipeError" in done.stderr
        assert ("Traceback" in done.stderr) == bool(debug)

"""`itemrec inbox` as a user types it, and measuring on what it holds out."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli import options
from cli.main import invoke
from retrieval.inbox.inbox import Inbox
from retrieval.recognition.api import Recognizer
from tests.fakes import use_pixel_encoder
from tests.retrieval.inbox.shop import ask, make_shop, photo, tree

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def _shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ITEMREC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ITEMREC_INDEX", str(tmp_path / "index"))
    monkeypatch.delenv("ITEMREC_MODEL", raising=False)
    options._config.cache_clear()
    use_pixel_encoder(monkeypatch)
    make_shop(tmp_path)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command on the inbox with --json and return its exit code and document."""

    def go(*words: str) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = invoke(["inbox", *words, "--inbox", "inbox", "--json"])
        return code, json.loads(capsys.readouterr().out)

    return go


def asked(*photos: bytes) -> list[str]:
    with Inbox(Path("inbox")) as inbox, Recognizer("index") as shop:
        return ask(inbox, shop, photos)


def test_list_label_and_undo(run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    before = tree(tmp_path / "catalog")
    ident, other = asked(photo(7), photo(1))
    code, listed = run("list", "--unlabeled", "--verdict", "unknown")
    assert (code, listed["stacks"][0]["photos"][0]["photo"]) == (0, ident)
    code, said = run("label", ident, "--new", "p7", "--name", "<b>Seven</b>")
    assert (code, [item["state"] for item in said["items"]]) == (0, ["taught"])
    assert invoke(["query", "catalog/p7/" + next(p.name for p in Path("catalog/p7").glob("*.jpg"))]) == 0
    code, said = run("label", other, "0" * 24, "--product", "nobody")
    assert (code, [item["code"] for item in said["items"]]) == (2, ["no-product", "no-photo"])
    assert invoke(["inbox", "list", "--inbox", "inbox"]) == 0
    assert "p7 (taught)" in capsys.readouterr().out
    assert run("undo", ident)[0] == 0
    assert tree(tmp_path / "catalog") == before


def test_the_held_out_fifth_is_what_evaluate_measures(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    taught = asked(*(photo(n, view=6) for n in range(3)))
    for number, ident in enumerate(taught):
        run("label", ident, "--product", f"p00{number}")
    assert invoke(["evaluate", "--data", "inbox", "--threshold", "0.05"]) == 2
    assert "held out" in capsys.readouterr().err
    with Inbox(Path("inbox")) as inbox, inbox.database.write() as rows:
        rows.execute("DELETE FROM photos")  # so that near-equal shots of another stack can come
    held = asked(*(photo(n, view=4, held_out=True) for n in range(2)))
    assert len({e["held_out"] for s in run("list")[1]["stacks"] for e in s["photos"]}) == 1
    for number, ident in enumerate(held):
        assert run("label", ident, "--product", f"p00{number}")[1]["items"][0]["state"] == "measured"
    capsys.readouterr()
    assert invoke(["evaluate", "--data", "inbox", "--threshold", "0.05", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["data"]["folder"], document["data"]["found"]) == ("inbox", 2)


def test_export_and_gc(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["inbox", "export", "out", "--inbox", "inbox"]) == 2
    assert "received nothing" in capsys.readouterr().err
    [ident] = asked(photo(1, view=7))
    assert invoke(["inbox", "export", "out", "--inbox", "inbox"]) == 2
    run("label", ident, "--product", "p001")
    assert run("export", "out")[1]["photos"] == 1
    assert [f.suffix for f in Path("out").rglob("*.jpg")] == [".jpg"]
    assert run("export", "out.zip")[0] == 0
    assert len(zipfile.ZipFile("out.zip").namelist()) == 1
    assert invoke(["inbox", "export", "out", "--inbox", "inbox"]) == 2
    assert run("gc", "--photos", "0")[1]["held"]["photos"] == 0


def test_one_thing_is_said_of_a_photo(capsys: pytest.CaptureFixture[str]) -> None:
    asked(photo(1))
    for words in (["--skip", "--not-ours"], []):
        assert invoke(["inbox", "label", "0" * 24, "--inbox", "inbox", *words]) == 2
        assert "expected one of --product" in capsys.readouterr().err


def test_too_few_confirmed_photos_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    asked(photo(1))
    assert invoke(["calibrate", "--inbox", "inbox"]) == 2
    assert "confirmed photos" in capsys.readouterr().err
    assert invoke(["calibrate", "--inbox", "inbox", "--data", "x"]) == 2
    assert "expected --inbox alone" in capsys.readouterr().err

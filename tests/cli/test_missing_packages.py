"""Whatever is not installed is one clear line, with the command that brings it to this installation."""

import sys
from pathlib import Path

import pytest

from cli import options, render
from cli.main import invoke
from tests.fakes import fake_bundle, picture, use_pixel_encoder, write_catalog
from tests.places import ROOT

HEIC = ROOT / "tests" / "data" / "upright.heic"
ENCODER = ("ai_edge_litert.interpreter", "LiteRT (ai-edge-litert)", "")
BASE = [
    (("index", "catalog", "--index", "new"), *ENCODER),
    (("query", "known.png"), *ENCODER),
    (("index", "catalog", "--index", "new"), "qdrant_edge", "qdrant_edge", ""),
    (("query", "known.png"), "qdrant_edge", "qdrant_edge", ""),
    (("query", str(HEIC)), "pi_heif", "pi-heif", ""),
]
EXTRAS = [
    (("query", "known.png", "--index", "http://localhost:6333"), "qdrant_client", "qdrant-client", "server"),
    (("index", "catalog", "--index", "http://localhost:6333"), "qdrant_client", "qdrant-client", "server"),
    (("models", "import", "m.onnx", "--name", "mine"), "onnxruntime", "ONNX Runtime", "onnx"),
    (("evaluate", "--data", "data", "--html", "report.html"), "matplotlib", "Matplotlib", "report"),
    (("train", "data", "--out", "mine"), "keras", "Keras", "train"),
    (("watch", "catalog", "--quiet"), "watchfiles", "watchfiles", "watch"),
    (("mcp",), "mcp", "The Python package mcp", "mcp"),
]


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalog, a photo and a dataset."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ITEMREC_HOME", str(tmp_path / "home"))
    for variable in ("ITEMREC_INDEX", "ITEMREC_MODEL"):
        monkeypatch.delenv(variable, raising=False)
    options._config.cache_clear()
    write_catalog(tmp_path / "catalog", products=3, views=2)
    write_catalog(tmp_path / "data" / "train", products=3, views=2)
    write_catalog(tmp_path / "data" / "test", products=3, views=3)
    picture(1, view=9).save(tmp_path / "known.png")
    (tmp_path / "m.onnx").write_bytes(b"\x08\x08")
    return tmp_path


def pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    use_pixel_encoder(monkeypatch)
    fake_bundle(Path("bundle"))
    monkeypatch.setenv("ITEMREC_MODEL", "bundle")


@pytest.mark.parametrize(("words", "hidden", "name", "extra"), [*BASE, *EXTRAS], ids=lambda v: v if v else None)
def test_one_line_names_it_and_how_to_get_it(
    words: tuple[str, ...],
    hidden: str,
    name: str,
    extra: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if not name.startswith("LiteRT"):
        pixels(monkeypatch)
    assert invoke(["index", "catalog", "--quiet"]) == 0
    capsys.readouterr()
    monkeypatch.setitem(sys.modules, hidden, None)
    # A child process would find the package: it is hidden in this one alone.
    monkeypatch.setattr("retrieval.models.trial.can_start", lambda: False)
    assert invoke([*words]) in (2, 3)
    out, err = capsys.readouterr()
    assert out == ""
    message, hint = err.splitlines()[-2:]
    assert message.startswith("itemrec: error: ")
    assert f"{name} is not installed; " in message
    assert hint.startswith("  Install it: ")
    assert (f"[{extra}]" in hint) is bool(extra)


def test_where_there_is_no_litert_another_runtime_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert invoke(["index", "catalog"]) == 3
    message, hint = capsys.readouterr().err.splitlines()[-2:]
    assert "LiteRT (ai-edge-litert) is not installed; " in message
    assert ".onnx" in hint


def test_answers_need_no_pictures(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pixels(monkeypatch)
    monkeypatch.setattr(render, "in_color", lambda: True)
    monkeypatch.setitem(sys.modules, "textual_image", None)
    assert invoke(["index", "catalog", "--quiet"]) == 0
    capsys.readouterr()
    answers = {}
    for words in ([], ["--no-thumbnails"], ["--thumbnails"]):
        assert invoke(["query", "known.png", "--quiet", *words]) == 0
        answers[tuple(words)] = capsys.readouterr()
    plain, without, asked = answers.values()
    assert plain.err == without.err == ""
    assert plain.out.count("\n") == without.out.count("\n") == asked.out.count("\n")
    (line,) = asked.err.splitlines()
    assert "textual-image is not installed; --thumbnails needs it" in line
    assert "[thumbnails]" in line


def test_a_script_that_asks_for_json_hears_nothing_of_pictures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels(monkeypatch)
    monkeypatch.setitem(sys.modules, "textual_image", None)
    assert invoke(["index", "catalog", "--quiet"]) == 0
    capsys.readouterr()
    assert invoke(["query", "known.png", "--quiet", "--thumbnails", "--json"]) == 0
    assert capsys.readouterr().err == ""


def test_with_the_extra_pictures_are_drawn(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("textual_image")
    pixels(monkeypatch)
    shown: list[int] = []
    monkeypatch.setattr("cli.thumbnails.show", lambda _, pictures: shown.append(len(pictures)))
    assert invoke(["index", "catalog", "--quiet"]) == 0
    assert invoke(["query", "known.png", "--quiet", "--thumbnails"]) == 0
    assert shown == [1]
    assert capsys.readouterr().err == ""

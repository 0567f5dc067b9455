import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli import options, render
from cli.main import COMMANDS, invoke
from retrieval.errors import ItemrecError
from tests.fakes import fake_bundle, use_pixel_encoder, write_catalog
from tests.places import ROOT
from tests.retrieval.networks import tflite


@pytest.fixture(autouse=True)
def _fresh_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options._config.cache_clear()


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["--help"]) == 0
    text = capsys.readouterr().out
    for command in ("index", "query", "doctor", "demo", "models"):
        assert command in text
    assert "Exit codes" in text
    assert not any(line.endswith("...") for line in text.splitlines()[1:]), "a summary that is cut off"


@pytest.mark.parametrize("words", [[], ["models"]], ids=["itemrec", "itemrec models"])
def test_without_a_command_the_help_is_shown(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(words) == 0
    shown = capsys.readouterr()
    assert invoke([*words, "--help"]) == 0
    assert shown == capsys.readouterr()
    assert shown.err == ""


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_command_teaches_by_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke([command, "--help"]) == 0
    assert f"itemrec {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [["index"], ["query"], ["nonsense"], ["index", ".", "--threads", "x"], ["query", "a.jpg", "--top", "0"], ["--no"]],
    ids=" ".join,
)
def test_wrong_usage_is_one_clear_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(words) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    first, hint = streams.err.splitlines()
    assert first.startswith("itemrec: error: ")
    assert "--help" in hint


def test_wrong_usage_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["query", "--json"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "itemrec.error/1"
    assert set(document) == {"schema", "error", "message", "hint"}


def test_missing_index_and_missing_catalog(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["query", "photo.jpg"]) == 2
    assert "index" in capsys.readouterr().err
    assert invoke(["index", "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_a_bug_is_one_line_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("retrieval.indexing.run.read_catalog", broken)
    assert invoke(["index", "."]) == 3
    error = capsys.readouterr().err
    assert "ZeroDivisionError" in error
    assert "Traceback" not in error
    monkeypatch.setenv("ITEMREC_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        invoke(["index", "."])


def test_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("retrieval.indexing.run.read_catalog", interrupted)
    assert invoke(["index", "."]) == 130


def test_precedence_flag_environment_file_default(tmp_path: Path) -> None:
    assert options.index_location(None) == options.DEFAULT_INDEX
    Path("itemrec.toml").write_text('index = "from-file"\ntop = 3\n', encoding="utf-8")
    options._config.cache_clear()
    assert options.index_location(None) == "from-file"
    assert options.index_location("from-flag") == "from-flag"
    assert options.setting("top", None, 5) == 3


@pytest.mark.parametrize("text", ["index = 3", "colour = 'red'", "index = ", "top = true"])
def test_a_bad_configuration_is_a_clear_error(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("itemrec.toml").write_text(text, encoding="utf-8")
    options._config.cache_clear()
    assert invoke(["query", "x.jpg"]) == 2
    assert "itemrec.toml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "flag"),
    [
        ("top = 0", ["--top", "0"]),
        ("top = 1001", ["--top", "1001"]),
        ("top = 2.5", ["--top", "2.5"]),
        ("threshold = -0.1", ["--threshold", "-0.1"]),
        ("threshold = 4.5", ["--threshold", "4.5"]),
        ("threshold = nan", ["--threshold", "nan"]),
        ("threshold = '1'", ["--threshold", "one"]),
        ("index = ''", ["--index", ""]),
    ],
    ids=str,
)
def test_a_setting_may_be_what_its_flag_may_be(
    text: str, flag: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ITEMREC_HOME", str(tmp_path / "home"))
    write_catalog(tmp_path / "catalog", products=2, views=2)
    use_pixel_encoder(monkeypatch)
    fake_bundle(tmp_path / "bundle")
    assert invoke(["index", "catalog", "--index", "i", "--model", "bundle", "-q"]) == 0
    where = [] if "index" in text else ["--index", "i"]
    assert invoke(["query", "catalog/p000/0.png", *where, *flag]) == 2
    capsys.readouterr()
    Path("itemrec.toml").write_text(text, encoding="utf-8")
    options._config.cache_clear()
    assert invoke(["query", "catalog/p000/0.png", *where]) == 2
    said = capsys.readouterr().err
    assert "itemrec.toml" in said
    assert text.split()[0] in said
    assert said.count("\n") == 2


def test_everything_that_is_wrong_in_a_settings_file_is_said_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    Path("itemrec.toml").write_text('colour = 1\ntop = 0\nthreshold = 9\n"\\u001b[2J" = 2\n', encoding="utf-8")
    options._config.cache_clear()
    assert invoke(["query", "x.jpg"]) == 2
    first, hint = capsys.readouterr().err.splitlines()
    for part in ("colour, which are no settings", "top = 0", "from 1 to 1000", "threshold = 9", "from 0 to 4"):
        assert part in first
    assert "\x1b" not in first
    assert "itemrec.toml" in hint


@pytest.mark.parametrize("content", [b"\xff\xfei\x00", b"a = [" * 5000, b"= 3", b"a = 1\na = 2"], ids=range(4))
def test_a_settings_file_that_is_none_is_one_clear_line(content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    Path("itemrec.toml").write_bytes(content)
    options._config.cache_clear()
    assert invoke(["query", "x.jpg"]) == 2
    first, _ = capsys.readouterr().err.splitlines()
    assert "itemrec.toml that cannot be read" in first


def test_a_folder_or_a_pipe_of_that_name_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo("itemrec.toml")
    assert invoke(["query", "x.jpg"]) == 2
    assert "expected itemrec.toml to be a file" in capsys.readouterr().err


def test_a_settings_file_may_begin_with_a_byte_order_mark() -> None:
    Path("itemrec.toml").write_bytes(b'\xef\xbb\xbfindex = "from-file"\r\nthreshold = 1\r\n')
    options._config.cache_clear()
    assert options.index_location(None) == "from-file"
    assert options.setting("threshold", None) == 1


def test_hostile_settings_of_the_environment_are_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_catalog(tmp_path / "catalog", products=2, views=2)
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "empty").mkdir()
    network = str(tflite("embed"))
    for name, value, words in (
        ("ITEMREC_INDEX", "", ["query", "catalog/p000/0.png"]),
        ("ITEMREC_INDEX", "file", ["index", "catalog"]),
        ("ITEMREC_INDEX", "file", ["query", "catalog/p000/0.png"]),
        ("ITEMREC_INDEX", "file", ["generations"]),
        ("ITEMREC_INDEX", "http://", ["query", "catalog/p000/0.png"]),
        ("ITEMREC_INDEX", "http://127.0.0.1:99999/x", ["query", "catalog/p000/0.png"]),
        ("ITEMREC_MODEL", "", ["index", "catalog"]),
        ("ITEMREC_MODEL", "empty", ["index", "catalog"]),
        ("ITEMREC_MODEL", "file", ["index", "catalog"]),
        ("ITEMREC_MODEL", "./nowhere", ["index", "catalog"]),
        ("ITEMREC_HOME", "file", ["models", "import", network, "--name", "x"]),
        ("ITEMREC_HOME", "/dev/null", ["models", "import", network, "--name", "x"]),
    ):
        with monkeypatch.context() as context:
            context.setenv(name, value)
            code = invoke(words)
        out, said = capsys.readouterr()
        assert (code, out) == (2, ""), (name, value, words, said)
        assert said.startswith("itemrec: error: "), said
        assert said.count("\n") == 2, said
    with monkeypatch.context() as context:
        context.setenv("ITEMREC_HOME", "file")
        assert invoke(["index", "catalog", "-q"]) == 0, "nothing of it is needed"


def test_control_characters_never_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    render.report_error(ItemrecError("file \x1b[2J\n\udcff.jpg"), as_json=False)
    error = capsys.readouterr().err
    assert "\x1b" not in error
    assert error.count("\n") == 1


def test_plain_table_is_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    render.table(("product", "score"), [("milk", "0.5"), ("a longer name", "12.25")], right=(1,))
    assert capsys.readouterr().out.splitlines() == [
        "product        score",
        "milk             0.5",
        "a longer name  12.25",
    ]


def test_output_survives_an_ascii_terminal() -> None:
    code = "from cli import render; render.emit_json({'a': 'ö'}); render.emit('ö 😀')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONIOENCODING": "ascii", "PATH": ""},
        capture_output=True,
        check=True,
    )
    text = done.stdout.decode("ascii")
    assert json.loads(text[: text.index("}") + 1]) == {"a": "ö"}


def test_a_closed_pipe_is_no_failure() -> None:
    done = subprocess.run(
        f"{sys.executable} -m cli.main --help | head -c 1",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert "Traceback" not in done.stderr


def test_a_command_does_not_import_the_others() -> None:
    code = (
        "import sys; from cli.main import invoke; invoke(['doctor', '--help']); "
        "print(sorted(m for m in sys.modules if m.startswith('cli.')), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "['cli.doctor', 'cli.main', 'cli.options', 'cli.render']"


def test_help_starts_without_the_heavy_parts() -> None:
    code = (
        "import sys; from cli.main import invoke; invoke(['--help']); "
        "heavy = {'numpy', 'PIL', 'ai_edge_litert', 'qdrant_edge', 'httpx', 'rich', 'tensorflow', 'keras'}; "
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_indexing_and_querying_import_nothing_that_trains(tmp_path: Path) -> None:
    write_catalog(tmp_path / "catalog", products=2, views=2)
    code = (
        "import sys; from cli.main import invoke; "
        "codes = [invoke(['index', 'catalog']), invoke(['query', 'catalog/p000', '--top', '1'])]; "
        "heavy = {'tensorflow', 'keras', 'torch', 'jax', 'qdrant_client', 'httpx', 'matplotlib'}; "
        "print(codes, sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    root = ROOT
    environment = {**os.environ, "PYTHONPATH": str(root), "ITEMREC_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path, env=environment
    )
    assert done.stderr.splitlines()[-1] == "[0, 0] []"


def test_an_interrupt_during_the_imports_is_silent(tmp_path: Path) -> None:
    # A stand-in for typer, in front of it on the path, that is interrupted while it is imported.
    (tmp_path / "typer.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGINT)\n")
    root = ROOT
    # Shells start background jobs with this signal ignored, and Python leaves it so.
    listening = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    done = subprocess.run(
        [sys.executable, "-c", f"{listening}from itemrec.__main__ import main; main()", "--help"],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(root)])},
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")

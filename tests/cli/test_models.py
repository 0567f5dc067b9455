from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from cli import options
from cli.main import invoke
from retrieval.models import installed
from retrieval.models.bundle import Calibration, OperatingPoint, read_bundle, set_calibration
from tests.retrieval.networks import bundle_of, needs_onnxruntime, onnx_model, tflite
from tests.retrieval.servers import Request, serving

TINY = str(tflite("embed"))
CONTENT = tflite("embed").read_bytes()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def itemrec_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    options._config.cache_clear()
    monkeypatch.setenv("ITEMREC_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(installed, "starter_path", lambda: tmp_path / "starter")
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*words: str, code: int = 0) -> tuple[str, str]:
        assert invoke(["models", *words]) == code
        streams = capsys.readouterr()
        return streams.out, streams.err

    return run


@pytest.fixture
def document(said: Any) -> Any:
    def run(*words: str, code: int = 0) -> dict[str, Any]:
        out, _ = said(*words, "--json", code=code)
        return json.loads(out)

    return run


@pytest.mark.parametrize("command", ["list", "show", "import", "pull"])
def test_help_teaches_by_example(said: Any, command: str) -> None:
    out, err = said(command, "--help")
    assert f"itemrec models {command}" in out
    assert err == ""


def test_without_models(said: Any, document: Any, itemrec_home: Path) -> None:
    out, err = said("list")
    assert out == ""
    assert "models import" in err
    assert document("list") == {"schema": "itemrec.models/1", "directory": str(itemrec_home / "models"), "models": []}


def test_import_list_and_show(said: Any, document: Any, itemrec_home: Path) -> None:
    made = document(
        "import", TINY, "--name", "mine", "--preset", "minus-one-one", "--threshold", "0.4", "--license", "MIT"
    )
    bundle = read_bundle(itemrec_home / "models" / "mine")
    assert (made["schema"], made["name"], made["fingerprint"]) == ("itemrec.model/1", "mine", bundle.fingerprint)
    assert made["preprocessing"]["mean"] == [1.0, 1.0, 1.0]
    assert (made["calibration"]["threshold"], made["license"], made["dimension"]) == (0.4, "MIT", 8)
    assert document("show", "mine") == made
    assert document("show", str(bundle.path)) == made
    [entry] = document("list")["models"]
    assert (entry["name"], entry["usable"], entry["threshold"]) == ("mine", True, 0.4)
    assert entry["fingerprint"] == bundle.fingerprint
    out, _ = said("list")
    heading, row = out.splitlines()
    assert heading.split() == ["name", "vector", "input", "runtime", "threshold", "MB", "fingerprint", "note"]
    assert row.split()[:5] == ["mine", "8", "16x16", "litert", "0.4"]
    out, _ = said("show", "mine")
    assert bundle.fingerprint in out
    assert "# mine" in out
    assert "given" in out


def test_import_says_what_to_type_next(said: Any, tmp_path: Path) -> None:
    out, err = said("import", TINY, "--name", "mine")
    assert "fingerprint" in out
    assert "itemrec index CATALOG --model mine" in err
    _, err = said("import", TINY, "--name", "mine", "--to", "here")
    assert f"--model {tmp_path / 'here'}" in err
    _, err = said("import", TINY, "--name", "quiet", "--quiet")
    assert err == ""


def test_every_preprocessing_flag_arrives(document: Any) -> None:
    flags = {
        "--size": "24x20", "--fit": "crop", "--crop-fraction": "0.5", "--resample": "area", "--scale": "2",
        "--mean": "0.5", "--std": "1,2,3", "--layout": "NHWC", "--output": "0", "--pool": "none",
    }  # fmt: skip
    words = [word for pair in flags.items() for word in pair]
    made = document("import", str(tflite("any_size")), "--name", "mine", *words)
    assert made["preprocessing"] == {
        "height": 24, "width": 20, "fit": "crop", "crop_fraction": 0.5, "resample": "area", "scale": 2.0,
        "mean": [0.5, 0.5, 0.5], "std": [1.0, 2.0, 3.0], "layout": "NHWC",
    }  # fmt: skip


def test_an_output_by_name_and_by_number(document: Any) -> None:
    by_name = document("import", str(tflite("two_outputs")), "--name", "a", "--output", "Identity_1")
    by_number = document("import", str(tflite("two_outputs")), "--name", "b", "--output", "1")
    assert by_name["fingerprint"] == by_number["fingerprint"]
    assert by_name["output"] == 1


@needs_onnxruntime
def test_an_onnx_model(document: Any, tmp_path: Path) -> None:
    made = document("import", str(onnx_model(tmp_path / "m.onnx")), "--name", "mine")
    assert (made["runtime"], made["preprocessing"]["layout"]) == ("onnx", "NCHW")


@pytest.mark.parametrize(
    ("words", "code", "hint"),
    [
        (["import", "missing.tflite", "--name", "x"], 2, "Check the path"),
        (["import", TINY], 2, "models import --help"),
        (["import", TINY, "--name", "a/b"], 2, "--name"),
        (["import", TINY, "--name", "starter"], 2, "--name"),
        (["import", TINY, "--name", "x", "--size", "big"], 2, ""),
        (["import", TINY, "--name", "x", "--size", "1x2x3"], 2, ""),
        (["import", TINY, "--name", "x", "--size", "99"], 2, "--size"),
        (["import", TINY, "--name", "x", "--mean", "1,2"], 2, ""),
        (["import", TINY, "--name", "x", "--std", "a"], 2, ""),
        (["import", TINY, "--name", "x", "--std", "0"], 2, "preprocessing options"),
        (["import", TINY, "--name", "x", "--mean", "nan"], 2, "preprocessing options"),
        (["import", TINY, "--name", "x", "--preset", "best"], 2, "--help"),
        (["import", TINY, "--name", "x", "--threshold", "9"], 2, ""),
        (["import", str(tflite("tokens")), "--name", "x"], 2, "--pool"),
        (["import", str(tflite("two_outputs")), "--name", "x"], 2, "--output"),
        (["import", str(tflite("flex")), "--name", "x"], 3, "built-in operations"),
        (["import", str(tflite("constant")), "--name", "x"], 3, "--preset"),
        (["show", "nobody"], 2, "models list"),
        (["pull", "https://host/x", "--name", "x"], 2, "models pull --help"),
        (["pull", "https://host/x", "--name", "x", "--sha256", "abc"], 2, "sha256sum"),
        (["pull", "http://127.0.0.1:1/x", "--name", "x", "--sha256", SHA256], 3, "--allow-private"),
        (["pull", TINY, "--name", "x", "--sha256", SHA256], 2, "models import"),
    ],
    ids=lambda value: " ".join(str(v).rsplit("/", 1)[-1] for v in value) if isinstance(value, list) else str(value),
)
def test_failures_are_one_line_and_a_hint(
    said: Any, itemrec_home: Path, words: list[str], code: int, hint: str
) -> None:
    out, err = said(*words, code=code)
    assert out == ""
    assert err.startswith(("itemrec: error: expected ", "itemrec: error: LiteRT cannot run ")) or "--" in err
    assert len(err.splitlines()) == (2 if hint else 1)
    assert hint in err
    failure, _ = said(*words, "--json", code=code)
    assert json.loads(failure)["schema"] == "itemrec.error/1"
    assert not list((itemrec_home / "models").glob("*")) if (itemrec_home / "models").exists() else True


def test_replace_must_be_said(said: Any, document: Any) -> None:
    first = document("import", TINY, "--name", "mine")
    _, err = said("import", TINY, "--name", "mine", "--preset", "none", code=2)
    assert "--replace" in err
    assert document("show", "mine") == first
    second = document("import", TINY, "--name", "mine", "--preset", "none", "--replace")
    assert document("show", "mine") == second != first


def test_a_damaged_model_is_listed_with_its_problem(said: Any, document: Any, itemrec_home: Path) -> None:
    said("import", TINY, "--name", "mine")
    (itemrec_home / "models" / "mine" / "encoder.tflite").write_bytes(b"spoiled")
    [entry] = document("list")["models"]
    assert entry["usable"] is False
    assert "damaged" in entry["problem"]
    assert "unusable" in said("list")[0]
    assert "damaged" in said("show", "mine", code=3)[1]


def test_show_prints_the_operating_points_with_their_counts(said: Any, tmp_path: Path) -> None:
    bundle_of(tflite("embed"), tmp_path / "b")
    point = OperatingPoint(
        "far=0.01", 0.31, far=0.0099, val=0.62, accepted_same=62, same_pairs=100, accepted_different=99,
        different_pairs=10_000,
    )  # fmt: skip
    set_calibration(tmp_path / "b", Calibration(0.31, "far=0.01", (point,), "photos of val"))
    out, _ = said("show", "./b")
    assert "0.0099 (99/10,000)" in out
    assert "0.6200 (62/100)" in out
    assert "photos of val" in out


def test_what_a_bundle_says_cannot_drive_the_terminal(said: Any, tmp_path: Path) -> None:
    bundle_of(tflite("embed"), tmp_path / "b", card="# x\x1b]0;owned\x07\n", source="\x1b[2J")
    out, err = said("show", "./b")
    assert "\x1b" not in out + err
    assert "owned" in out


def ok(request: Request) -> None:
    request.serve(CONTENT, ETag='"1"')


def test_pull_installs_and_cleans_up(document: Any, itemrec_home: Path) -> None:
    with serving(ok) as server:
        made = document("pull", server.url("/m.tflite?token=s3cr3t", userinfo="me:s3cr3t@"),
                        "--sha256", SHA256, "--name", "mine", "--allow-private", "--preset", "zero-one")  # fmt: skip
    assert made["encoder_sha256"] == SHA256
    assert "/m.tflite?…" in made["source"]
    assert "s3cr3t" not in json.dumps(made)
    assert "m.tflite" in made["card"]
    assert list((itemrec_home / "downloads").iterdir()) == []
    [entry] = document("list")["models"]
    assert entry["name"] == "mine"


def test_a_pull_that_could_not_be_imported_is_not_fetched_again(said: Any, document: Any) -> None:
    content = tflite("tokens").read_bytes()
    with serving(lambda request: request.answer(content)) as server:
        words = ["pull", server.url(), "--sha256", hashlib.sha256(content).hexdigest(), "--name", "mine"]
        _, err = said(*words, "--allow-private", code=2)
        assert "--pool" in err
        made = document(*words, "--allow-private", "--pool", "mean")
        assert len(server.requests) == 1
    assert made["pool"] == "mean"


def test_a_pull_looks_before_it_fetches(said: Any, document: Any) -> None:
    document("import", TINY, "--name", "mine")
    with serving(ok) as server:
        words = ["pull", server.url(), "--sha256", SHA256, "--allow-private"]
        said(*words, "--name", "mine", code=2)
        said(*words, "--name", "a/b", code=2)
        said(*words, "--name", "x", "--threshold", "9", code=2)
        assert server.requests == []


def test_a_pull_of_something_else(said: Any, itemrec_home: Path) -> None:
    with serving(ok) as server:
        words = ["pull", server.url(), "--name", "mine", "--allow-private"]
        assert "SHA-256" in said(*words, "--sha256", "0" * 64, code=3)[1]
        assert "--max-size" in said(*words, "--sha256", SHA256, "--max-size", "0.001", code=3)[1]
    assert list((itemrec_home / "downloads").iterdir()) == []


def test_an_onnx_pull_without_the_extra_fetches_nothing(said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.models.importer.find_spec", lambda _: None)
    with serving(ok) as server:
        _, err = said("pull", server.url("/m.onnx"), "--sha256", SHA256, "--name", "x", "--allow-private", code=3)
        assert server.requests == []
    assert "ONNX Runtime is not installed" in err
    assert "[onnx]" in err

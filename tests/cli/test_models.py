from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cli import options
from cli.main import invoke
from retrieval.models import installed
from retrieval.models.available import available_models
from retrieval.models.bundle import Calibration, OperatingPoint, read_bundle, set_calibration
from retrieval.models.inspection import inspect_model
from retrieval.models.projection import Projection
from retrieval.models.runtimes.base import Tensor
from tests.retrieval.networks import bundle_of, needs_onnxruntime, onnx_model, pictures, tflite
from tests.retrieval.servers import Request, serving

TINY = str(tflite("embed"))
CONTENT = tflite("embed").read_bytes()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def itemrec_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    options._config.cache_clear()
    monkeypatch.setenv("ITEMREC_HOME", str(tmp_path / "home"))
    # Not in a child process: tests/retrieval/models/test_trial.py is about that.
    monkeypatch.setattr("retrieval.models.importer.try_model", inspect_model)
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


@pytest.mark.parametrize("command", ["list", "show", "import", "available", "pull", "measure"])
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


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A table whose only model is a small network behind a redirect, on a server of the test's."""

    def table(server: Any, sha256: str = SHA256) -> None:
        (tmp_path / "available.toml").write_text(f"""
[[model]]
name = "tiny"
what = "a network of the tests"
license = "MIT"
url = "{server.url("/resolve/1234/m.tflite")}"
bytes = {len(CONTENT)}
sha256 = "{sha256}"
dimension = 8
preset = "siglip"
resample = "bilinear"
layout = "NHWC"
size = 16
output = 0
pool = "none"
""")
        monkeypatch.setattr("retrieval.models.available.table_path", lambda: tmp_path / "available.toml")

    return table


def redirecting(request: Request) -> None:
    """As Hugging Face answers: first where the file is, relative, then absolute with a signature, then the file."""
    if request.path.startswith("/resolve/"):
        request.answer(status="307 Temporary Redirect", Location="/api/cache/m.tflite")
    elif request.path.startswith("/api/"):
        port = request.connection.getsockname()[1]
        request.answer(status="302 Found", Location=f"http://127.0.0.1:{port}/cdn/{SHA256}?Signature=x&Expires=1")
    else:
        request.serve(CONTENT, ETag='"1"')


def test_a_listed_model_needs_its_name_alone_until_the_first_answer(
    said: Any, document: Any, listed: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(redirecting) as server:
        listed(server)
        [entry] = document("available")["models"]
        assert (entry["name"], entry["installed"], entry["measured"], entry["measured_by"]) == ("tiny", [], None, None)
        assert "not measured by us" in said("available")[0]
        made = document("pull", "tiny", "--allow-private")
        assert [request.path.split("?")[0] for request in server.requests] == [
            "/resolve/1234/m.tflite", "/api/cache/m.tflite", f"/cdn/{SHA256}",
        ]  # fmt: skip
    assert (made["name"], made["license"], made["encoder_sha256"]) == ("tiny", "MIT", SHA256)
    seen = made["preprocessing"]
    assert (seen["fit"], seen["resample"], seen["mean"], seen["height"]) == ("squash", "bilinear", [0.5] * 3, 16)
    assert "Signature" not in json.dumps(made)
    [entry] = document("available")["models"]
    assert entry["installed"] == ["tiny"]
    for product in ("a", "b"):
        for number in range(3):
            file = tmp_path / "shop" / product / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            shade = 40 + 150 * (product == "b") + number
            shown = Image.new("RGB", (32, 32), (shade, 90, 250 - shade))
            shown.paste((250, 250, 90), (0, 0, 32, 8))
            shown.save(file)
    assert invoke(["index", "shop", "--model", "tiny", "--quiet"]) == 0
    capsys.readouterr()
    assert invoke(["query", "shop/b/0.png", "--threshold", "0.5", "--json"]) == 0
    [result] = json.loads(capsys.readouterr().out)["results"]
    assert result["matches"][0]["product_id"] == "b"


def test_a_listed_model_from_a_file_fetched_elsewhere(said: Any, document: Any, listed: Any, tmp_path: Path) -> None:
    (tmp_path / "other.tflite").write_bytes(tflite("fixed").read_bytes())
    with serving(redirecting) as server:
        listed(server)
        _, err = said("pull", "tiny", "--file", "other.tflite", code=2)
        assert f"SHA-256 {SHA256}" in err
        assert "Fetch it again from http://127.0.0.1" in err
        made = document("pull", "tiny", "--file", TINY, "--name", "mine", "--preset", "zero-one")
        assert server.requests == []
    assert (made["name"], made["preprocessing"]["fit"]) == ("mine", "pad")
    assert Path(TINY).is_file()


def test_a_listed_model_whose_file_is_another(said: Any, listed: Any, itemrec_home: Path) -> None:
    with serving(redirecting) as server:
        listed(server, sha256="0" * 64)
        assert "SHA-256" in said("pull", "tiny", "--allow-private", code=3)[1]
    assert list((itemrec_home / "downloads").iterdir()) == []


def test_a_name_that_is_not_listed(said: Any) -> None:
    _, err = said("pull", "dinov9", code=2)
    assert "dinov2-small, dinov2-small-int8, siglip2-base, tinyclip-int8, received 'dinov9'" in err
    assert "models available" in err
    assert "Leave --sha256 out" in said("pull", "dinov2-small", "--sha256", SHA256, code=2)[1]


def test_the_table_is_complete() -> None:
    for model in available_models():
        assert re.fullmatch(r"[0-9a-f]{64}", model.sha256)
        assert re.search(r"/[0-9a-f]{40}/", model.url), "a revision that means the same file for ever"
        assert model.url.startswith("https://")
        assert model.license in ("Apache-2.0", "MIT")
        found = model.choices.preprocessing(Tensor("pixel_values", (None, None, None, None), "float32"))
        assert (found.layout, found.height, found.width) == ("NCHW", 224, 224)


def test_measuring_fills_the_list(said: Any, document: Any, tmp_path: Path) -> None:
    said("import", TINY, "--name", "mine", "--license", "MIT")
    for product in range(3):
        for number in range(4):
            file = tmp_path / "shop" / f"p{product}" / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pictures(1, 32, seed=10 * product + number)[0] // 8 + 70 * product).save(file)
    found = document("measure", "mine", "--data", "shop")
    assert (found["schema"], found["photos"], found["pictures"], found["products"]) == ("itemrec.measured/1", 6, 6, 3)
    assert found["top5"] == {"rate": 1.0, "part": 6, "whole": 6}
    assert found["dir_at_fpir"] is None, "six photos say nothing of that"
    assert found["ms_a_picture"] >= 0
    entry = document("available")["models"][-1]
    assert (entry["name"], entry["measured_by"], entry["measured"]) == ("mine", "you", found)
    out, _ = said("available")
    assert "by you, on shop" in out
    out, _ = said("measure", "mine", "--data", "shop")
    assert "6 of 6 among the first five" in out


def test_measuring_needs_two_pictures_of_a_product(said: Any, tmp_path: Path) -> None:
    said("import", TINY, "--name", "mine")
    for product in ("a", "b"):
        (tmp_path / "shop" / product).mkdir(parents=True)
        Image.new("RGB", (32, 32), (200, 30, 10)).save(tmp_path / "shop" / product / "1.png")
    _, err = said("measure", "mine", "--data", "shop", code=2)
    assert "two pictures or more" in err
    assert "received nothing" in said("measure", "mine", "--data", "nowhere", code=2)[1]


def test_what_was_learned_on_top_of_a_listed_model_is_another_model(
    document: Any, said: Any, listed: Any, tmp_path: Path
) -> None:
    with serving(redirecting) as server:
        listed(server)
        document("pull", "tiny", "--allow-private")
    projection = Projection(np.zeros(8, np.float32), np.eye(8, 3, dtype=np.float32))
    mine = bundle_of(tflite("embed"), installed.models_directory() / "mine", dimension=3, projection=projection)
    shown = document("show", "mine")
    assert (shown["dimension"], shown["features"], shown["projected"]) == (3, 8, True)
    assert "from 8 values" in said("show", "mine")[0]
    for product in range(3):
        for number in range(4):
            file = tmp_path / "shop" / f"p{product}" / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pictures(1, 32, seed=10 * product + number)[0] // 8 + 70 * product).save(file)
    document("measure", "mine", "--data", "shop")
    entry, other = document("available")["models"]
    assert (entry["name"], entry["installed"], entry["measured"]) == ("tiny", ["tiny"], None)
    assert (other["name"], other["measured_by"], other["sha256"]) == ("mine", "you", mine.encoder_sha256)

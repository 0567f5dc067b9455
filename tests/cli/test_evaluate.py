"""`itemrec evaluate` and `itemrec calibrate` as a user types them."""

from __future__ import annotations

import json
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from cli import options
from cli.main import invoke
from retrieval.evaluation import EvaluationDoc
from retrieval.models.bundle import Calibration, read_bundle, set_calibration
from tests.audit_catalog import view_file
from tests.fakes import fake_bundle, use_pixel_encoder
from tests.retrieval.evaluation.test_evaluate import conforms

PRODUCTS = 12
VIEWS = {"train": 4, "val": 5, "test": 5}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of drawn photos: the same products in every split, every photo another view."""
    root = tmp_path_factory.mktemp("dataset") / "data"
    start = 0
    for split, views in VIEWS.items():
        for product in range(PRODUCTS):
            folder = root / split / f"p{product:03}"
            folder.mkdir(parents=True)
            for number in range(start, start + views):
                (folder / f"{number}.png").write_bytes(view_file(product, number))
        start += views
    rows = ["product_id,category", *(f"p{p:03},{'Milk' if p % 2 else 'Juice'}" for p in range(PRODUCTS))]
    (root / "train" / "products.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(autouse=True)
def _shop(drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ITEMREC_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ITEMREC_INDEX", raising=False)
    monkeypatch.delenv("ITEMREC_MODEL", raising=False)
    options._config.cache_clear()
    use_pixel_encoder(monkeypatch)
    fake_bundle(tmp_path / "bundle", threshold=0.05)
    shutil.copytree(drawn, tmp_path / "data")


def run(*arguments: str) -> int:
    return invoke([*arguments, "--model", "bundle", "--quiet"])


def evaluated(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    assert run("evaluate", "--data", "data", "--json", *arguments) == code
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_one_document_of_the_documented_shape(capsys: pytest.CaptureFixture[str]) -> None:
    document = evaluated(capsys)
    conforms(document, EvaluationDoc)
    assert (document["schema"], document["split"]) == ("itemrec.evaluate/1", "test")
    assert document["gallery"]["source"] == "train"
    assert document["gallery"]["images"] == PRODUCTS * VIEWS["train"]
    assert document["data"]["found"] == PRODUCTS * VIEWS["test"]
    assert document["photos"] == document["data"]["found"] - len(document["excluded"]["list"])
    assert document["identification"]["top1"] > 0.8
    assert {g["name"] for g in document["identification"]["per_category"]} == {"Juice", "Milk"}
    for probe in document["probes"]:
        assert (Path(document["data"]["folder"]) / probe["source"]).is_file()
        for match in probe["matches"]:
            assert (Path(document["gallery"]["folder"]) / match["evidence"][0]["image"]).is_file()


def test_a_product_whose_name_two_systems_write_differently_is_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = evaluated(capsys, "--split", "test", "--gallery", "train")
    for split, form in (("train", "NFC"), ("val", "NFC"), ("test", "NFD")):
        (tmp_path / "data" / split / "p000").rename(
            tmp_path / "data" / split / unicodedata.normalize(form, "cr\u00e8me")
        )
    document = evaluated(capsys, "--split", "test", "--gallery", "train")
    assert document["products"] == PRODUCTS
    assert document["identification"]["top1"] == before["identification"]["top1"]
    assert document["pairs"]["same"] == before["pairs"]["same"]


def test_a_category_that_is_no_column_is_refused_and_the_columns_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("evaluate", "--data", "data", "--category", "kind") == 2
    assert "received 'kind'; the columns are: category\n" in capsys.readouterr().err
    assert evaluated(capsys, "--category", "category")["identification"]["category_column"] == "category"


def test_index_and_train_galleries_agree(capsys: pytest.CaptureFixture[str]) -> None:
    train = evaluated(capsys, "--gallery", "train")
    assert run("index", "data/train") == 0
    capsys.readouterr()
    index = evaluated(capsys)
    assert index["gallery"]["source"] == "index"
    assert index["gallery"]["digest"] == train["gallery"]["digest"]
    assert index["excluded"] == train["excluded"]
    for section in ("pairs", "threshold"):
        assert index[section] == train[section]
    for key in ("top1", "top5", "knn_top1", "map_at_r", "confusions"):
        assert index["identification"][key] == train["identification"][key]
    assert index["open_set"]["verdicts"] == train["open_set"]["verdicts"]


def test_a_gallery_whose_files_are_gone_is_measured_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("index", "data/train") == 0
    (tmp_path / "data" / "train").rename(tmp_path / "moved")
    capsys.readouterr()
    document = evaluated(capsys, "--gallery", "index")
    assert document["excluded"]["unchecked"] == PRODUCTS * VIEWS["train"]
    assert any("could not be searched for near duplicates" in w for w in document["warnings"])


def test_a_planted_duplicate_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(tmp_path / "data/train/p003/0.png", tmp_path / "data/test/p003/planted.png")
    from PIL import Image

    with Image.open(tmp_path / "data/train/p004/1.png") as im:
        im.resize((90, 90)).save(tmp_path / "data/test/p004/again.jpg", quality=70)
    found = {t["source"]: (t["reason"], t["image"]) for t in evaluated(capsys)["excluded"]["list"]}
    assert found["p003/planted.png"] == ("same-hash", "p003/0.png")
    assert found["p004/again.jpg"] == ("near-duplicate", "p004/1.png")


def test_a_gate_exits_1_with_the_failing_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("evaluate", "--data", "data", "--require", "top5>=0.5") == 0
    capsys.readouterr()
    assert run("evaluate", "--data", "data", "--require", "top5>=50%", "--require", "val@far=0.01>1") == 1
    err = capsys.readouterr().err
    assert "failed: val@far=0.01>1, measured" in err
    assert "top5" not in err
    document = evaluated(capsys, "--require", "fpir<0", code=1)
    assert document["requirements"][0]["passed"] is False


def test_a_wrong_requirement_is_refused_before_any_photo_is_embedded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retrieval.models.embedding.load_encoder", lambda bundle, threads=1: pytest.fail("embedded"))
    for option, value, reason in (
        ("--require", "top5 is fine", "received 'top5 is fine'"),
        ("--split", "holdout", "expected the split 'holdout'"),
        ("--calibrate-on", "test", "received 'test' for both"),
        ("--far", "120%", "received '120%'"),
        ("--compare", "nothing.json", "Cannot read the evaluation nothing.json: No such file"),
        ("--out", "nowhere/x.json", f"There is no directory {tmp_path / 'nowhere'} to write x.json in"),
        ("--html", "nowhere/x.html", f"There is no directory {tmp_path / 'nowhere'} to write x.html in"),
        ("--gallery", "nowhere", "received 'nowhere'"),
    ):
        assert run("evaluate", "--data", "data", option, value) == 2, option
        assert reason in capsys.readouterr().err
    (tmp_path / "data" / "test").rename(tmp_path / "gone")
    assert run("evaluate", "--data", "data") == 2
    assert "a folder with train, val" in capsys.readouterr().err
    assert run("evaluate", "--data", "nowhere") == 2
    assert "itemrec prepare" in capsys.readouterr().err


def test_data_comes_from_the_flag_or_the_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("evaluate") == 2
    assert "itemrec.toml" in capsys.readouterr().err
    (tmp_path / "itemrec.toml").write_text('data = "data"\n')
    options._config.cache_clear()
    assert run("evaluate") == 0


def test_people_get_the_verdict_first_and_the_warnings_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("evaluate", "--data", "data") == 0
    out, err = capsys.readouterr()
    assert out.startswith("At threshold 0.050, ")
    assert "photos of unknown products get" in out.splitlines()[0]
    assert "Not enough data for FAR 0.1 %" in err
    assert out.count("95 %") >= 4


def test_calibrate_on_another_split_chooses_there(capsys: pytest.CaptureFixture[str]) -> None:
    document = evaluated(capsys, "--calibrate-on", "val", "--far", "5%")
    use = document["threshold"]
    assert (use["source"], use["name"], use["same_photos"]) == ("split", "far=0.05", False)
    assert use["chosen_on"].startswith("val: ")
    assert "0.05" in document["pairs"]["at_far"]
    assert not document["pairs"]["at_far"]["0.05"]["same_photos"]


def test_photos_of_both_splits_choose_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(tmp_path / "data/test/p000/9.png", tmp_path / "data/val/p000/same.png")
    document = evaluated(capsys, "--calibrate-on", "val")
    assert document["warnings"][0] == "1 photos of val are also in test; thresholds were chosen without them."
    shutil.rmtree(tmp_path / "data/val")
    shutil.copytree(tmp_path / "data/test", tmp_path / "data/val")
    assert run("evaluate", "--data", "data", "--calibrate-on", "val") == 2
    assert "the same ones" in capsys.readouterr().err


def test_out_and_compare(capsys: pytest.CaptureFixture[str]) -> None:
    written = evaluated(capsys, "--out", "old.json")
    assert json.loads(Path("old.json").read_text()) == written
    compared = evaluated(capsys, "--compare", "old.json")["comparison"]
    assert {row["difference"] for row in compared["rows"]} <= {0.0, None}
    assert run("evaluate", "--data", "data", "--compare", "old.json", "--threshold", "1.0") == 0
    assert "photos that both measured" in capsys.readouterr().out


def test_the_report_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    assert run("evaluate", "--data", "data", "--html", "report.html") == 0
    page = (tmp_path / "report.html").read_text()
    assert "At threshold 0.050, " in page
    assert "data:image" in page


def test_calibrate_in_place_leaves_the_index_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("index", "data/train") == 0
    before = read_bundle(tmp_path / "bundle")
    capsys.readouterr()
    assert run("calibrate", "--data", "data", "--far", "5%", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "itemrec.calibrate/1"
    after = read_bundle(tmp_path / "bundle")
    assert after.fingerprint == before.fingerprint == document["model"]["fingerprint"]
    assert after.calibration is not None
    assert json.loads(json.dumps(after.calibration.to_json())) == document["calibration"]
    assert after.calibration.chosen == "far=0.05"
    assert run("query", "data/test/p000") in (0, 1)
    measured = evaluated(capsys_reset(capsys))
    assert measured["threshold"]["name"] == "far=0.05"
    same = evaluated(capsys, "--split", "val")
    assert same["threshold"]["same_photos"]
    assert "very photos" in same["warnings"][0]


def test_a_calibration_sticks_to_its_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index_again = ["index", "data/train", "--model", "bundle"]
    assert invoke(index_again) == 0
    assert "In force: verdicts by threshold 0.0500 (given" in capsys.readouterr().err
    assert run("calibrate", "--data", "data", "--far", "5%", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["index"] == ".itemrec"
    assert document["replaced"]["chosen"] == "given"
    shutil.copytree(tmp_path / ".itemrec", tmp_path / "elsewhere")
    given = Calibration.given(0.05)
    set_calibration(tmp_path / "bundle", given)  # another machine has the model, and not what was calibrated here
    for index in (".itemrec", "elsewhere"):
        capsys.readouterr()
        assert run("query", "data/test/p000/9.png", "--json", "--index", index) in (0, 1)
        answered = json.loads(capsys.readouterr().out)
        assert answered["threshold"] == document["calibration"]["threshold"]
        assert answered["calibration"]["operating_point"] == "far=0.05"
    assert run("calibrate", "--data", "data", "--far", "10%") == 0
    assert "Replaces threshold" in capsys.readouterr().out
    assert run("doctor") == 0
    assert "the index's own calibration" in capsys.readouterr().out
    assert invoke(index_again) == 0
    assert "FAR 10 %; the index's own calibration" in capsys.readouterr().err


def capsys_reset(capsys: pytest.CaptureFixture[str]) -> pytest.CaptureFixture[str]:
    capsys.readouterr()
    return capsys


def test_too_few_photos_are_refused_unless_forced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (tmp_path / "bundle" / "bundle.json").read_bytes()
    assert run("calibrate", "--data", "data", "--far", "0.01%") == 2
    err = capsys.readouterr().err
    assert "300,000 needed (rule of 30)" in err
    assert "--force" in err
    assert (tmp_path / "bundle" / "bundle.json").read_bytes() == before
    assert run("calibrate", "--data", "data", "--far", "0.01%", "--force") == 0
    assert "Not enough data for" in capsys.readouterr().err
    calibration = read_bundle(tmp_path / "bundle").calibration
    assert calibration is not None
    assert "Not enough data for" in calibration.point(calibration.chosen).note


def test_out_writes_a_copy_and_leaves_the_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (tmp_path / "bundle" / "bundle.json").read_bytes()
    assert run("calibrate", "--data", "data", "--far", "5%", "--out", "copy") == 0
    assert "--model" in capsys.readouterr().out
    assert (tmp_path / "bundle" / "bundle.json").read_bytes() == before
    copy = read_bundle(tmp_path / "copy")
    assert copy.fingerprint == read_bundle(tmp_path / "bundle").fingerprint
    assert copy.calibration is not None
    assert copy.calibration.chosen == "far=0.05"
    assert run("calibrate", "--data", "data", "--far", "5%", "--out", "copy") == 2


def test_the_builtin_model_is_copied_and_never_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_bundle(tmp_path / "package" / "starter", name="starter", threshold=0.05)
    monkeypatch.setattr("retrieval.models.installed.starter_path", lambda: tmp_path / "package" / "starter")
    before = (tmp_path / "package" / "starter" / "bundle.json").read_bytes()
    for _ in range(2):
        assert invoke(["calibrate", "--data", "data", "--far", "5%", "--quiet"]) == 0
        assert "Use it with --model starter-calibrated" in capsys.readouterr().out
    assert (tmp_path / "package" / "starter" / "bundle.json").read_bytes() == before
    assert invoke(["evaluate", "--data", "data", "--model", "starter-calibrated", "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["threshold"]["name"] == "far=0.05"


def test_far_and_fpir_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("calibrate", "--data", "data", "--far", "1%", "--fpir", "5%") == 2
    assert "received both" in capsys.readouterr().err


def test_confidence_is_shown_by_query_after_calibration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from retrieval.calibration.confidence import Confidence
    from retrieval.metrics import LogisticMap
    from retrieval.models.bundle import Calibration, set_calibration

    fitted = Confidence("margin", LogisticMap(4.0, -1.0), 4.0, "val", 200, 0.2)
    given = Calibration.given(4.0)
    set_calibration(tmp_path / "bundle", Calibration(4.0, given.chosen, given.points, "val", confidence=fitted))
    assert run("index", "data/train") == 0
    photo = "data/test/p000/9.png"
    capsys.readouterr()
    assert run("query", photo, "--json") == 0
    matches = json.loads(capsys.readouterr().out)["results"][0]["matches"]
    assert 0.0 < matches[0]["confidence"] < 1.0
    assert all("confidence" not in m for m in matches[1:])
    assert run("query", photo) == 0
    out = capsys.readouterr().out
    assert "sure" in out.splitlines()[1]
    assert f"{100 * matches[0]['confidence']:.0f} % sure" in out
    assert run("query", photo, "--threshold", "1.0") == 0
    assert "not calibrated" in capsys.readouterr().out

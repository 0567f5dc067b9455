"""What `itemrec train` prints at its end: what was measured, for which catalog, and a command that runs as printed."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from cli.main import invoke
from cli.train_report import print_report
from retrieval.calibration.galleries import Expectation, GalleryShape
from retrieval.calibration.points import Calibration, ForGallery, OperatingPoint
from retrieval.calibration.verdict_table import GroupVerdicts, LookAlike, VerdictTable
from tests.fakes import fake_bundle
from trainer.report import Comparison, Found, TrainedModel, TrainReport

TABLE = VerdictTable(
    0.8,
    0.5,
    (
        GroupVerdicts("known", 10, 150, 4, 40, 2, 4),
        GroupVerdicts("look_alikes", 2, 0, 30, 0, 50, 20),
        GroupVerdicts("others", 3, 0, 5, 0, 45, 50),
    ),
    (LookAlike("orange", "grapefruit", 57, 42),),
)


def report(folder: Path) -> TrainReport:
    points = (OperatingPoint("strangers=0.2", 0.4, fpir=0.6, fnir=0.1, probes=200, strangers=200),)
    studio = Calibration(0.4, "strangers=0.2", points, "val", verdicts=TABLE)
    expect = (Expectation("new", 58, 95, 100, 17),)
    calibration = Calibration(
        0.4,
        "strangers=0.2",
        points,
        "val",
        galleries=(ForGallery("studio", GalleryShape(81, 81, 1.0), studio, expect),),
    )
    bundle = replace(fake_bundle(folder, threshold=0.4), calibration=calibration)
    model = TrainedModel(bundle, calibration, 0.9, 0.8, None, (), 0.01, 180, 200)
    return TrainReport(model, None, 900, 40, 20, 8, (), 60.0, folder)


@pytest.mark.parametrize("with_catalog", [True, False])
def test_the_next_command_runs_as_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], with_catalog: bool
) -> None:
    dataset, catalog = tmp_path / "my data", tmp_path / "my catalog"
    for folder in (dataset / "train" / "a", catalog / "a"):
        folder.mkdir(parents=True)
        Image.new("RGB", (40, 40), "red").save(folder / "1.png")
    print_report(report(tmp_path / "bundle"), dataset, catalog if with_catalog else None)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Next: ")]
    program, *arguments = shlex.split(line.removeprefix("Next: "))
    assert (program, arguments[0]) == ("itemrec", "index")
    assert arguments[1] == str(catalog if with_catalog else dataset / "train")
    assert invoke([*arguments, "--dry-run", "--index", str(tmp_path / "index")]) == 0


def test_each_kind_of_catalog_has_its_own_promise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_report(report(tmp_path / "bundle"), tmp_path, None)
    out = capsys.readouterr().out
    assert "A catalog of studio pictures: of 100 photos expect 58 first and 95 among five shown for new products" in out
    assert "Against the pictures of train it identifies" in out
    assert "orange for grapefruit" in out
    rows = [line.split() for line in out.splitlines()]
    assert ["known", "products", "75", "2", "20", "1", "2", "200"] in rows
    assert ["look-alikes", "of", "one", "-", "30", "-", "50", "20", "100"] in rows
    assert ["other", "unknown", "products", "-", "5", "-", "45", "50", "100"] in rows


@pytest.mark.parametrize(("known", "said"), [(170, True), (171, False)])
def test_a_training_that_is_no_better_than_the_built_in_model_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], known: int, said: bool
) -> None:
    whole = report(tmp_path / "bundle")
    both = Comparison(Found(known, 200), Found(170, 200), Found(30, 40), Found(38, 40))
    print_report(replace(whole, model=replace(whole.model, beside=both)), tmp_path, None)
    out = capsys.readouterr().out
    assert f"Found first on val: {known} of 200 photos; by the built-in model 170." in out
    assert "Of products held out of training: 30 of 40; by the built-in model 38." in out
    assert ("It is no better than the built-in model" in out) is said

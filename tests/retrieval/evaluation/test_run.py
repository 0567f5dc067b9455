"""Whole jobs as a library: what the commands print, typed; as a notebook shows it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from retrieval.audit import audit_catalog
from retrieval.catalog.read import Catalog, Refusal
from retrieval.errors import ModelNotFoundError, UsageError
from retrieval.evaluation.results import EvaluationReport
from retrieval.evaluation.run import calibrate_model, evaluate_dataset
from retrieval.models.bundle import read_bundle
from retrieval.types import CatalogImage
from tests.audit_catalog import view_file
from tests.fakes import fake_bundle, use_pixel_encoder
from tests.progress import Recorder
from tests.retrieval.system.test_html import Checker

PRODUCTS = 12
EVIL = "<b>evil</b>"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset of drawn photos; the first product's name would be bold in HTML."""
    use_pixel_encoder(monkeypatch)
    fake_bundle(tmp_path / "bundle", threshold=0.05)
    number = 0
    for split in ("train", "val", "test"):
        for product in range(PRODUCTS):
            folder = tmp_path / "data" / split / (EVIL if product == 0 else f"p{product:03}")
            folder.mkdir(parents=True)
            for _ in range(4):
                number += 1
                # One product's photos lie under another: it is taken for it.
                shown = 1 if product == 0 and split == "test" else product
                (folder / f"{number}.png").write_bytes(view_file(shown, number))
    return tmp_path / "data"


def test_an_evaluation_in_one_call(data: Path) -> None:
    progress = Recorder()
    report = evaluate_dataset(str(data), model=str(data.parent / "bundle"), require=["top1>=0.5"], progress=progress)
    assert isinstance(report, EvaluationReport)
    assert report.verdict == report.document["verdict"]
    assert report.passed
    assert report.rates["top1"]["whole"] == report.document["photos"]
    assert report.document["gallery"]["source"] == "train"
    assert json.loads(json.dumps(report.to_json()))["requirements"][0]["passed"] is True
    assert [stage for stage in progress.stages if stage[2] == "images"] == [
        ("Embedding the gallery", PRODUCTS * 4, "images"),
        ("Embedding test", PRODUCTS * 4, "images"),
    ]


def test_every_folder_is_listed_once(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[str] = []
    entries = Catalog.entries

    def counted(catalog: Catalog) -> Iterator[CatalogImage | Refusal]:
        listed.append(catalog.root.name)
        return entries(catalog)

    monkeypatch.setattr(Catalog, "entries", counted)
    evaluate_dataset(data, model=tmp_path / "bundle", calibrate_on="val")
    assert sorted(listed) == ["test", "train", "val"]
    listed.clear()
    audit_catalog(data / "test", tmp_path / "bundle")
    assert listed == ["test"]


def test_an_evaluation_is_compared_with_one_that_was_saved(data: Path, tmp_path: Path) -> None:
    first = evaluate_dataset(data, model=tmp_path / "bundle", calibrate_on="val", far=[0.05])
    assert first.document["threshold"]["name"] == "far=0.05"
    first.save(tmp_path / "first.json")
    second = evaluate_dataset(data, model=tmp_path / "bundle", threshold=0.5, compare=tmp_path / "first.json")
    assert second.comparison is not None
    assert second.comparison.photos == first.document["photos"]
    with pytest.raises(UsageError, match="Cannot write the document to"):
        first.save(tmp_path)


def test_what_cannot_be_evaluated_is_refused_before_the_work(data: Path, tmp_path: Path) -> None:
    for options in (
        {"far": [1.5]},
        {"gallery": "index"},
        {"gallery": "nowhere"},
        {"split": "none"},
        {"calibrate_on": "test"},
        {"require": ["top1"]},
        {"compare": tmp_path / "none.json"},
    ):
        progress = Recorder()
        with pytest.raises(UsageError):
            evaluate_dataset(data, model=tmp_path / "bundle", progress=progress, **options)  # type: ignore[arg-type]
        assert progress.stages == []
    with pytest.raises(ModelNotFoundError):
        evaluate_dataset(data, model=tmp_path / "none")


def test_a_calibration_in_one_call(data: Path, tmp_path: Path) -> None:
    report = calibrate_model(data, far=0.05, model=tmp_path / "bundle", out=tmp_path / "copy")
    assert report.threshold == report.calibration.threshold
    assert read_bundle(tmp_path / "copy").calibration == report.calibration
    assert (report.reference, report.gallery) == (str(tmp_path / "copy"), "train")
    assert report.model == tmp_path / "bundle"
    assert report.to_json()["schema"] == "itemrec.calibrate/1"
    for options in ({"far": 0.01, "fpir": 0.1}, {"far": 0.0}, {"fpir": 2.0}):
        with pytest.raises(UsageError):
            calibrate_model(data, model=tmp_path / "bundle", **options)


def test_a_notebook_shows_tables_and_pictures_and_runs_no_name(data: Path, tmp_path: Path) -> None:
    evaluation = evaluate_dataset(data, model=tmp_path / "bundle", threshold=0.5, require=["top1>=0.99"])
    calibration = calibrate_model(data, far=0.05, model=tmp_path / "bundle", out=tmp_path / "copy")
    audit = audit_catalog(data / "test", tmp_path / "bundle")
    assert not audit.clean
    shown = {name: result._repr_html_() for name, result in locals().items() if hasattr(result, "_repr_html_")}
    assert len(shown) == 3
    for html in shown.values():
        Checker(html)
        assert "<b>" not in html
    assert evaluation.verdict in shown["evaluation"]
    assert "taken for" in shown["evaluation"]
    assert "failed: top1&gt;=0.99" in shown["evaluation"]
    assert "FAR 5 % (in use)" in shown["calibration"]
    for name in ("evaluation", "audit"):
        assert 'src="data:image/jpeg;base64,' in shown[name]
        assert "&lt;b&gt;evil&lt;/b&gt;" in shown[name]

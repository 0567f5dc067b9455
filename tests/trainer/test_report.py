"""What a notebook shows of trainings and datasets: tables, and no name that runs."""

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

from retrieval.calibration.points import Calibration, OperatingPoint
from tests.fakes import fake_bundle, write_catalog
from trainer.prepare import Options, prepare
from trainer.report import TrainedModel, TrainReport


class Checker(HTMLParser):
    """Fails at tags that no fragment of ours has."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in {"div", "p", "strong", "table", "thead", "tbody", "tr", "th", "td", "ul", "li"}, tag


def report(folder: Path) -> TrainReport:
    bundle = replace(fake_bundle(folder / "bundle"), name="<script>model")
    point = OperatingPoint("far=0.01", 0.5, note="Not enough data <b>")
    calibration = Calibration(0.5, "far=0.01", (point,), "val")
    warnings = ("Not enough data <b>", "of another point")
    model = TrainedModel(bundle, calibration, 0.9, 0.8, None, warnings, 0.0125)
    return TrainReport(model, replace(model, calibration=None, warnings=()), 48, 8, 0, 3, (), 61.2, folder / "run")


def test_a_notebook_shows_what_a_training_brought(tmp_path: Path) -> None:
    shown = report(tmp_path)._repr_html_()
    Checker().feed(shown)
    assert "48 pictures of 8 products learned in 61 s" in shown
    assert "&lt;script&gt;model" in shown
    assert "Threshold 0.5000 (squared L2): FAR 1 %." in shown
    assert "Not enough data &lt;b&gt;" in shown
    assert "of another point" not in shown
    assert shown.count("12.5 ms") == 2


def test_the_document_has_the_int8_model_where_there_is_one(tmp_path: Path) -> None:
    both = report(tmp_path)
    document = both.to_json()
    assert document["schema"] == "itemrec.train/1"
    assert document["model"]["val_photos"] == {"found": 0, "probes": 0}
    assert document["model"]["val"] == {"top1": 0.9, "val@far=0.01": 0.8, "val@far=0.001": None}
    assert document["int8"]["calibration"] is None
    assert "int8" not in replace(both, int8=None).to_json()


def test_warnings_are_pressing_where_they_are_about_the_threshold_in_use(tmp_path: Path) -> None:
    model = report(tmp_path).model
    assert model.operating_point is not None
    assert model.pressing == ("Not enough data <b>",)
    assert replace(model, calibration=None).pressing == model.warnings


def test_a_notebook_shows_a_dataset(tmp_path: Path) -> None:
    catalog = write_catalog(tmp_path / "raw", products=4, views=3)
    (catalog / "p001" / "broken.png").write_bytes(b"no")
    shown = prepare(catalog, tmp_path / "data", Options(), dry_run=True)._repr_html_()
    Checker().feed(shown)
    assert "of 4 products (nothing written)" in shown
    assert "<td" in shown
    assert "dropped" in shown

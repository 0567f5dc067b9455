"""What is learned on top of a frozen model: on folds of products, in numpy, and served behind any network."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli import options
from cli.main import invoke
from retrieval.errors import UsageError
from retrieval.evaluation import gather_folder
from retrieval.models.bundle import Readout, read_bundle
from tests.fakes import picture_file
from tests.retrieval.networks import PREPROCESSING, bundle_of, needs_onnxruntime, onnx_model, tflite
from trainer import on_top
from trainer.on_top import judge, train_on_top
from trainer.progress import Silent
from trainer.train import train

FLAT = Readout(pool="flatten")
NCHW = replace(PREPROCESSING, layout="NCHW")


class Told(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def shop(folder: Path, products: int = 24, photos: int = 6, splits: tuple[str, ...] = ("train", "val")) -> Path:
    for s, split in enumerate(splits):
        for product in range(products):
            place = folder / split / f"p{product:02}"
            place.mkdir(parents=True)
            for view in range(photos):
                (place / f"{view}.png").write_bytes(picture_file(product, view + s * photos))
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shop(tmp_path_factory.mktemp("on-top") / "data")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_built_in: None) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ITEMREC_HOME", str(tmp_path / "home"))
    options._config.cache_clear()


def clouds(products: int = 30, photos: int = 8, width: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Products that differ in a few directions, photos that differ more in all the others; unit vectors."""
    rng = np.random.default_rng(0)
    where = np.zeros((products, width))
    where[:, :6] = rng.normal(size=(products, 6))
    noise = rng.normal(size=(products, photos, width)) * np.where(np.arange(width) < 6, 0.2, 1.5)
    vectors = (where[:, None] + noise).reshape(-1, width)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), np.repeat([f"p{i:02}" for i in range(products)], photos)


def test_unseen_products_decide_and_a_projection_finds_what_tells_them_apart() -> None:
    vectors, names = clouds()
    unseen = np.unique(names)[::5]
    seen = ~np.isin(names, unseen)
    labels = np.unique(names[seen], return_inverse=True)[1]
    mean, matrix = on_top.discriminant(vectors[seen], labels, 12)
    projected = on_top.unit_rows((vectors - mean) @ matrix)
    before, after = judge(vectors, names, unseen, 0), judge(projected, names, unseen, 0)
    assert before[0] < 0.3 < 0.7 < after[0]
    assert before[1] < 0.3 < 0.7 < after[1]


def test_a_model_learns_on_top_and_serves_what_it_learned(
    dataset: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("tensorflow", "keras"):
        monkeypatch.setitem(sys.modules, name, None)
    frozen = bundle_of(tflite("tokens"), tmp_path / "frozen", dimension=64, readout=FLAT, license="MIT")
    told = Told()
    report = train_on_top(dataset, tmp_path / "mine", frozen, dimension=5, progress=told)
    bundle = report.model.bundle
    assert bundle == read_bundle(tmp_path / "mine")
    assert (bundle.dimension, bundle.features, bundle.encoder_sha256) == (5, 64, frozen.encoder_sha256)
    assert bundle.fingerprint != frozen.fingerprint
    assert bundle.license == "MIT"
    assert (report.pictures, report.products, report.held_out, report.run) == (144, 24, 20, None)
    assert report.model.calibration is not None
    assert "held out" in report.model.calibration.measured_on
    assert bundle.training["trained_on"] == {"photos": 144, "catalog_pictures": 0, "products": 24}
    ways = bundle.training["folds"]
    assert [(way["ridge"], way["dimension"]) for way in ways] == [(None, 64), (0.0, 5), (0.1, 5), (1.0, 5)]
    assert "| none |" in bundle.card()
    assert f"{ways[1]['r_at_1']:.3f}" in bundle.card()
    json.dumps(report.to_json())
    served = gather_folder(dataset / "val", bundle)
    assert served.vectors.shape == (144, 5)
    assert report.model.probes == 144
    assert invoke(["index", str(dataset / "train"), "--model", "frozen", "--quiet"]) == 0
    capsys.readouterr()
    assert invoke(["query", str(dataset / "val" / "p03" / "0.png"), "--model", "mine"]) == 2
    [line, hint] = capsys.readouterr().err.splitlines()
    assert f"built by another model: tiny ({frozen.fingerprint[:12]}), not mine ({bundle.fingerprint[:12]})" in line
    assert "--rebuild" in hint
    assert invoke(["index", str(dataset / "train"), "--model", "mine", "--rebuild", "--quiet"]) == 0
    capsys.readouterr()
    assert invoke(["query", str(dataset / "train" / "p03" / "0.png"), "--threshold", "0.5", "--json"]) == 0
    [result] = json.loads(capsys.readouterr().out)["results"]
    assert result["matches"][0]["product_id"] == "p03"


@needs_onnxruntime
def test_whatever_runs_it(dataset: Path, tmp_path: Path) -> None:
    file = onnx_model(tmp_path / "m.onnx")
    frozen = bundle_of(file, tmp_path / "frozen", preprocessing=NCHW)
    report = train(dataset, tmp_path / "mine", model=tmp_path / "frozen", dimension=4, catalog=dataset / "val")
    bundle = report.model.bundle
    assert (bundle.runtime, bundle.dimension) == ("onnx", 4)
    assert report.pictures == 288
    flat = dataset / "train"  # without splits: no threshold is chosen, which takes longest
    first = train(flat, tmp_path / "first", model=tmp_path / "frozen", dimension=4)
    again = train(flat, tmp_path / "again", model=tmp_path / "mine", dimension=4)
    assert again.model.bundle.fingerprint == first.model.bundle.fingerprint, (
        "of a model with a projection the network is taken"
    )
    assert frozen.fingerprint != bundle.fingerprint


def test_where_nothing_is_better_the_model_stays_as_it_is(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_top, "judge", lambda vectors, *_: (1.0, float(vectors.shape[1] == 8)))
    frozen, told = bundle_of(tflite("embed"), tmp_path / "frozen"), Told()
    report = train_on_top(dataset / "train", tmp_path / "mine", frozen, dimension=3, progress=told)
    assert report.model.bundle.fingerprint == frozen.fingerprint
    assert report.model.bundle.projection() is None
    assert any("No projection tells products apart better" in note for note in told.notes)


def test_too_few_products(tmp_path: Path) -> None:
    frozen = bundle_of(tflite("embed"), tmp_path / "frozen")
    few = shop(tmp_path / "few", products=6, photos=2)
    with pytest.raises(UsageError, match=r"at least 10 products with two photos each, .* received 6 of 6"):
        train_on_top(few, tmp_path / "mine", frozen, progress=Told())
    single = shop(tmp_path / "single", products=12, photos=1)
    with pytest.raises(UsageError, match="received 0 of 12"):
        train_on_top(single, tmp_path / "mine", frozen, progress=Told())
    assert not (tmp_path / "mine").exists()


def test_without_val_there_is_a_model_and_no_threshold(tmp_path: Path) -> None:
    frozen = bundle_of(tflite("embed"), tmp_path / "frozen")
    report = train_on_top(shop(tmp_path / "d", splits=("train",)) / "train", tmp_path / "mine", frozen, progress=Told())
    assert report.model.calibration is None
    assert report.model.warnings


def test_options_of_a_network_are_refused_beside_a_model(dataset: Path, capsys: Any) -> None:
    words = ["train", str(dataset), "--out", "mine", "--model", "starter"]
    assert invoke([*words, "--epochs", "3", "--preset", "best", "--int8"]) == 2
    assert "received --preset, --epochs, --int8" in capsys.readouterr().err
    assert invoke([*words[:-1], "nobody"]) == 2
    assert "models list" in capsys.readouterr().err

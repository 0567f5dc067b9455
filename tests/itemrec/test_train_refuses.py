"""What cannot end well is refused by `itemrec train` before TensorFlow is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes import picture
from tests.places import ROOT

CODE = """
import contextlib, io, json, os, sys
from cli.main import invoke
for folder, words in json.load(sys.stdin):
    os.chdir(folder)
    with contextlib.redirect_stderr(io.StringIO()) as said:
        code = invoke(words)
    print(json.dumps([code, said.getvalue(), sorted({'tensorflow', 'keras', 'jax', 'torch'} & set(sys.modules))]))
"""
"""Asks one interpreter everything: what one command does not import, none before it did."""

CASES = [
    ({"val": 3, "test": 3}, 2, [], "expected DATASET with train/"),
    ({"train": 3}, 1, [], "expected at least 2 products"),
    ({"train": 0, "val": 1}, 2, [], "expected product folders with pictures"),
    ({"train": 3, "val": 0}, 2, [], "expected product folders with pictures"),
    ({"train": 3}, 2, ["--far", "1%"], "no val/"),
    ({"train": 3}, 2, ["--fpir", "5%"], "no val/"),
    ({"train": 6, "val": 3}, 2, ["--far", "1%"], "Not enough data for FAR 1 %: 9 impostor pairs, 3,000 needed"),
    ({"train": 6, "val": 3}, 2, ["--fpir", "5%"], "Not enough data for FPIR 5 %: 6 photos of unknown products"),
    ({"train": 3, "val": 3}, 2, ["--catalog", "empty"], "expected"),
    ({"train": 3, "val": 3}, 2, ["--out", "taken"], "holds something else"),
]


def dataset(folder: Path, splits: dict[str, int], products: int = 2) -> Path:
    for split, count in splits.items():
        for product in range(products):
            place = folder / split / f"p{product}"
            place.mkdir(parents=True)
            for n in range(count):
                picture(product, n).save(place / f"{n}.png")
    return folder


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, list[object]]]:
    """Where each case was tried; its exit code, what it said, and which heavy libraries were there afterwards."""
    folders, jobs = [], []
    for splits, products, options, _ in CASES:
        folder = tmp_path_factory.mktemp("refused")
        dataset(folder / "data", splits, products)
        (folder / "empty").mkdir()
        (folder / "taken").mkdir()
        (folder / "taken" / "file").touch()
        out = [] if "--out" in options else ["--out", "model"]
        folders.append(folder)
        jobs.append([str(folder), ["train", "data", *out, *options]])
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        input=json.dumps(jobs),
        env={**os.environ, "PYTHONPATH": str(ROOT), "ITEMREC_HOME": str(tmp_path_factory.mktemp("home"))},
        capture_output=True,
        text=True,
        check=True,
    )
    return list(zip(folders, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("case", range(len(CASES)))
def test_before_tensorflow(refusals: list[tuple[Path, list[object]]], case: int) -> None:
    *_, says = CASES[case]
    folder, (code, said, heavy) = refusals[case]
    assert (code, heavy) == (2, []), said
    assert says in str(said)
    assert "Traceback" not in str(said)
    assert not (folder / "model").exists()
    assert not (folder / "model.run").exists()


def test_an_empty_val_is_refused_too(tmp_path: Path) -> None:
    from retrieval.errors import CatalogError
    from trainer.train import train

    dataset(tmp_path / "data", {"train": 2})
    (tmp_path / "data" / "val").mkdir()
    with pytest.raises(CatalogError):
        train(tmp_path / "data", tmp_path / "model")

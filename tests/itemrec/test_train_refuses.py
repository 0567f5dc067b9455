"""What cannot end well is refused by `itemrec train` before TensorFlow is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes import picture
from tests.places import ROOT

CODE = (
    "import sys; from cli.main import invoke; code = invoke(sys.argv[1:]); "
    "print(code, sorted({'tensorflow', 'keras', 'jax', 'torch'} & set(sys.modules)))"
)


def dataset(folder: Path, splits: dict[str, int], products: int = 2) -> Path:
    for split, count in splits.items():
        for product in range(products):
            place = folder / split / f"p{product}"
            place.mkdir(parents=True)
            for n in range(count):
                picture(product, n).save(place / f"{n}.png")
    return folder


@pytest.mark.parametrize(
    ("splits", "products", "options", "says"),
    [
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
    ],
)
def test_before_tensorflow(
    tmp_path: Path, splits: dict[str, int], products: int, options: list[str], says: str
) -> None:
    dataset(tmp_path / "data", splits, products)
    (tmp_path / "empty").mkdir()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    out = [] if "--out" in options else ["--out", "model"]
    done = subprocess.run(
        [sys.executable, "-c", CODE, "train", "data", *out, *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "ITEMREC_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "2 []\n", done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "model").exists()
    assert not (tmp_path / "model.run").exists()


def test_an_empty_val_is_refused_too(tmp_path: Path) -> None:
    from retrieval.errors import CatalogError
    from trainer.train import train

    dataset(tmp_path / "data", {"train": 2})
    (tmp_path / "data" / "val").mkdir()
    with pytest.raises(CatalogError):
        train(tmp_path / "data", tmp_path / "model")

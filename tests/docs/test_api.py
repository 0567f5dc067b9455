"""The examples of docs/api.md run as they stand, one after the other, on a small shop."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import itemrec
from tests.fakes import picture, write_catalog
from tests.places import ROOT

PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python( tier=train)?\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the page talks of: catalog/, photos/ and photo.jpg."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ITEMREC_HOME", str(tmp_path / "home"))
    catalog = write_catalog(tmp_path / "catalog", products=6, views=3)
    rows = [f"p{n:03},Product {n},{'Milk' if n % 2 else 'Juice'}" for n in range(6)]
    (catalog / "products.csv").write_text("\n".join(["product_id,name,category", *rows]) + "\n")
    picture(2, view=1, side=80).save(tmp_path / "photo.jpg")
    for product in range(6):
        folder = tmp_path / "photos" / f"p{product:03}"
        folder.mkdir(parents=True)
        for view in range(6):
            picture(product, view=view, side=64).save(folder / f"{view}.jpg")
    return tmp_path


def run(blocks: list[str]) -> dict[str, Any]:
    names: dict[str, Any] = {"itemrec": itemrec}
    for block in blocks:
        exec(compile(block, "docs/api.md", "exec"), names)
    return names


def test_the_examples_run(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = run([code for tier, code in BLOCKS if not tier])
    assert names["answer"].matches
    assert names["measured"].document["schema"] == "itemrec.evaluate/1"
    assert "..." in capsys.readouterr().out


@pytest.mark.train
@pytest.mark.usefixtures("small_built_in")
def test_the_examples_of_training_run(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.trainer.datasets import tiny_backbone

    monkeypatch.setattr("trainer.networks.assemble.backbone", tiny_backbone)
    itemrec.prepare("photos", "data")
    names = run([code for tier, code in BLOCKS if tier])
    assert names["trained"].products == 6
    assert (shop / "learned.index").is_dir()


def test_the_page_names_every_function() -> None:
    for name in ("index", "Recognizer", "prepare", "train", "evaluate", "calibrate", "audit"):
        assert re.search(rf"itemrec\.{name}\b|`{name}`", PAGE), name

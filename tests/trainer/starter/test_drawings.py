"""Drawings for the built-in model are drawn once, and go on where they were."""

from pathlib import Path

import pytest
from PIL import Image

from trainer.starter import drawings
from trainer.starter.drawings import Drawings, draw

FEW = Drawings(products=3, seed=11, photos=1, difficulty=(0.3, 0.3))


@pytest.fixture
def plain_drawings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures that take no time."""

    def picture(product: object, *, size: int, **_: object) -> Image.Image:
        return Image.new("RGB", (size, size), (hash(str(product)) % 256, 80, 10))

    monkeypatch.setattr(drawings, "studio_picture", picture)
    monkeypatch.setattr(drawings, "photograph", picture)
    monkeypatch.setattr(drawings, "_SIDE", 16)


@pytest.mark.usefixtures("plain_drawings")
def test_an_interrupted_drawing_goes_on_where_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "drawn"
    folder.mkdir()
    drawings._draw_some([0, 1], FEW, folder)
    names = list(FEW.families())
    assert sorted(entry.name for entry in folder.iterdir()) == sorted(names[:2])
    assert sorted(file.name for file in (folder / names[0]).iterdir()) == ["0.jpg", "1.jpg"]
    stamp = (folder / names[0] / "0.jpg").stat().st_mtime_ns
    drawings._draw_some([2], FEW, folder)
    assert (folder / names[0] / "0.jpg").stat().st_mtime_ns == stamp
    assert len(list(folder.iterdir())) == 3


def test_what_is_drawn_already_is_not_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / f"drawings-{drawings._key(FEW)}"
    for name in FEW.families():
        (folder / name).mkdir(parents=True)
    monkeypatch.setattr(drawings, "ProcessPoolExecutor", None)
    assert draw(FEW, tmp_path) == folder

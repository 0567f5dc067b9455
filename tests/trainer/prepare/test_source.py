"""What counts as a source, and what as one that is divided already."""

from pathlib import Path

import pytest

from retrieval.catalog.read import Refusal
from retrieval.errors import CatalogError, UsageError
from tests.retrieval.catalogs import put
from trainer.prepare.source import Found, open_source


def found(root: Path, *, keep_splits: bool = False) -> list[tuple[str, str, str, str | None]]:
    source = open_source(root, keep_splits=keep_splits)
    return [(e.product_id, e.source, e.name, e.split) for e in source.entries() if isinstance(e, Found)]


def refused(root: Path, *, keep_splits: bool = False) -> dict[str, str]:
    source = open_source(root, keep_splits=keep_splits)
    return {e.path: e.code for e in source.entries() if isinstance(e, Refusal)}


def test_folders_with_folders_in_them(tmp_path: Path) -> None:
    put(tmp_path, "p/1.jpg", "p/front/top/2.png", "q q/3.HEIC", "notes.txt")
    assert found(tmp_path) == [
        ("p", "p/1.jpg", "1.jpg", None),
        ("p", "p/front/top/2.png", "front/top/2.png", None),
        ("q q", "q q/3.HEIC", "3.HEIC", None),
    ]
    assert refused(tmp_path) == {"notes.txt": "not-a-picture"}


def test_a_table_of_pictures(tmp_path: Path) -> None:
    put(tmp_path, "flat/1.jpg", "flat/2.jpg", "flat/3.jpg")
    (tmp_path / "images.csv").write_text("product_id,image\np,flat/1.jpg\na/b,flat/2.jpg\n..,flat/3.jpg\n")
    assert found(tmp_path) == [("p", "flat/1.jpg", "flat/1.jpg", None)]
    assert refused(tmp_path) == {"flat/2.jpg": "bad-product-id", "flat/3.jpg": "bad-product-id"}
    assert found(tmp_path / "images.csv") == [("p", "flat/1.jpg", "flat/1.jpg", None)]


@pytest.mark.parametrize(
    "names",
    [
        ("train/p/1.jpg", "val/p/2.jpg", "test/p/3.jpg"),
        ("train/p/1.jpg",),
        ("Train/p/1.jpg", "valid/p/2.jpg", "readme/x.txt"),
        ("train/1.jpg", "test/2.jpg"),
    ],
    ids=" ".join,
)
def test_a_divided_source_is_not_taken_for_products(tmp_path: Path, names: tuple[str, ...]) -> None:
    put(tmp_path, *names)
    with pytest.raises(UsageError, match="divided already") as caught:
        open_source(tmp_path, keep_splits=False)
    assert "--keep-splits" in caught.value.hint
    assert "rain" in caught.value.hint


@pytest.mark.parametrize("names", [("test/1.jpg", "apple/1.jpg"), ("train/front/1.jpg", "a/1.jpg", "b/1.jpg")])
def test_a_product_may_be_called_like_a_split(tmp_path: Path, names: tuple[str, ...]) -> None:
    put(tmp_path, *names)
    assert [p for p, *_ in found(tmp_path)] == sorted(name.split("/")[0] for name in names)


def test_pictures_that_a_table_names_may_lie_in_folders_called_like_splits(tmp_path: Path) -> None:
    put(tmp_path, "train/a/1.jpg", "test/a/2.jpg")
    (tmp_path / "images.csv").write_text("product_id,image\np,train/a/1.jpg\np,test/a/2.jpg\n")
    assert [s for _, s, *_ in found(tmp_path)] == ["train/a/1.jpg", "test/a/2.jpg"]


def test_splits_are_kept_when_asked(tmp_path: Path) -> None:
    put(tmp_path, "train/p/1.jpg", "validation/p/x/2.jpg", "extra/q/3.jpg")
    (tmp_path / "train" / "products.csv").write_text("product_id,name\np,Pear\n")
    assert found(tmp_path, keep_splits=True) == [
        ("p", "train/p/1.jpg", "1.jpg", "train"),
        ("p", "validation/p/x/2.jpg", "x/2.jpg", "val"),
    ]
    assert refused(tmp_path, keep_splits=True) == {"extra": "not-a-split"}
    assert open_source(tmp_path, keep_splits=True).metadata() == {"p": {"name": "Pear"}}


def test_nothing_to_keep_is_said(tmp_path: Path) -> None:
    put(tmp_path, "p/1.jpg")
    with pytest.raises(UsageError, match="to keep, received none"):
        open_source(tmp_path, keep_splits=True)
    put(tmp_path, "val/p/1.jpg", "valid/p/1.jpg")
    with pytest.raises(UsageError, match="each split once"):
        open_source(tmp_path, keep_splits=True)


def test_no_source(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="received nothing"):
        open_source(tmp_path / "missing", keep_splits=False)
    with pytest.raises(CatalogError, match="received none"):
        open_source(tmp_path, keep_splits=False)

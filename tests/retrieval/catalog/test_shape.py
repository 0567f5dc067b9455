"""Which level of folders holds the products: understood, said, asked for; and what is never a product."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrieval.catalog.read import read_catalog
from retrieval.errors import CatalogError, UsageError
from tests.retrieval.catalogs import fails, pictures, put, refusals


def products(root: Path, level: int | None = None) -> set[str]:
    catalog = read_catalog(root, product_level=level)
    found = {product for product, _ in pictures(catalog)}
    assert found <= set(catalog.products)
    return found


def test_products_in_the_second_level(tmp_path: Path) -> None:
    put(tmp_path, "Fruit/Pear/1.jpg", "Fruit/Apple/2.jpg", "Milk/Arla/3.jpg", "Milk/Arla/back/4.jpg")
    catalog = read_catalog(tmp_path)
    assert catalog.level == 2
    assert catalog.notes == ("3 products in the second level of folders; --product-level 1 for the 2 in the first",)
    assert pictures(catalog) == [
        ("Apple", "Fruit/Apple/2.jpg"),
        ("Pear", "Fruit/Pear/1.jpg"),
        ("Arla", "Milk/Arla/3.jpg"),
        ("Arla", "Milk/Arla/back/4.jpg"),
    ]
    assert products(tmp_path, 1) == {"Fruit", "Milk"}
    assert list(catalog.products) == ["Apple", "Pear", "Arla"]


def test_products_in_the_third_level_beside_some_in_the_second(tmp_path: Path) -> None:
    put(tmp_path, "Fruit/Avocado/1.jpg", "Fruit/Apple/Gala/2.jpg", "Fruit/Apple/Lady/3.jpg", "Packages/Milk/Arla/4.jpg")
    catalog = read_catalog(tmp_path)
    assert catalog.level == 3
    assert {product for product, _ in pictures(catalog)} == {"Avocado", "Gala", "Lady", "Arla"}
    assert "4 products in the third level" in catalog.notes[0]


def test_a_flat_catalog_stays_one_and_says_nothing(tmp_path: Path) -> None:
    put(tmp_path, "p1/1.jpg", "p1/views/2.jpg", "p2/3.jpg", "p3/4.jpg")
    (tmp_path / "empty").mkdir()
    catalog = read_catalog(tmp_path)
    assert (catalog.level, catalog.notes) == (1, ())
    put(tmp_path, "p4/front/5.jpg")
    catalog = read_catalog(tmp_path)
    assert catalog.level == 1
    assert {product for product, _ in pictures(catalog)} == {"p1", "p2", "p3", "p4"}
    assert "--product-level 2" in catalog.notes[0]


def test_folders_of_views_are_no_products(tmp_path: Path) -> None:
    put(tmp_path / "a", *(f"p{n}/{view}/1.jpg" for n in range(3) for view in ("ansicht", "ruecken")))
    put(tmp_path / "b", *(f"Fruit/p{n}/{view}/1.jpg" for n in range(3) for view in ("front", "back")))
    assert products(tmp_path / "a") == products(tmp_path / "b") == {"p0", "p1", "p2"}


@pytest.mark.parametrize(
    "names",
    [
        ("Misc/1.jpg", "Fruit/Pear/2.jpg"),
        ("Fruit/Pear/1.jpg", "Fruit/Pear/front/2.jpg", "Milk/Arla/front/3.jpg"),
        ("Fruit/Other/1.jpg", "Milk/Other/2.jpg", "Milk/Arla/3.jpg"),
        ("train/Pear/1.jpg", "test/Pear/2.jpg"),
    ],
)
def test_what_may_be_either_is_asked(tmp_path: Path, names: tuple[str, ...]) -> None:
    put(tmp_path, *names)
    assert "one level" in fails(tmp_path)
    with pytest.raises(CatalogError) as caught:
        read_catalog(tmp_path)
    assert "--product-level 1 (2 products" in (caught.value.hint or "")
    assert "--product-level 2 (" in (caught.value.hint or "")
    for level in (1, 2):
        assert products(tmp_path, level)


def test_folders_of_one_name_are_one_product_where_the_level_is_given(tmp_path: Path) -> None:
    put(tmp_path, "Fruit/Other/1.jpg", "Milk/Other/1.jpg", "Milk/Arla/3.jpg", "Milk/banner.jpg")
    catalog = read_catalog(tmp_path, product_level=2)
    assert {product for product, _ in pictures(catalog)} == {"Other", "Arla"}
    assert catalog.notes == ("2 folders are one product, Other: 'Fruit/Other', 'Milk/Other'",)
    assert refusals(catalog) == {"Milk/banner.jpg": "outside-product"}


def test_a_table_tells_which_level_is_meant(tmp_path: Path) -> None:
    put(tmp_path, "Misc/1.jpg", "Fruit/Pear/2.jpg")
    (tmp_path / "products.csv").write_text("product_id\nPear\nMisc\n")
    catalog = read_catalog(tmp_path)
    assert (catalog.level, set(catalog.products)) == (2, {"Misc", "Pear"})


def test_splits_of_a_dataset_have_one_shape(tmp_path: Path) -> None:
    put(tmp_path, "train/p/1.jpg", "train/q/2.jpg", "test/p/new/3.jpg")
    assert products(tmp_path / "test") == {"p"}


def test_levels_begin_at_one(tmp_path: Path) -> None:
    put(tmp_path, "p/1.jpg")
    with pytest.raises(UsageError, match="from 1 on"):
        read_catalog(tmp_path, product_level=0)
    assert products(tmp_path, 3) == {"p"}


LITTER = [
    *("#recycle", "@Recycle", "@Recently-Snapshot", "$RECYCLE.BIN", "RECYCLER", "System Volume Information"),
    *("lost+found", ".Trash-1000", ".Trashes", ".snapshot", "#snapshot", ".AppleDouble", "@eaDir", ".@__thumb"),
    *("~snapshot", "Network Trash Folder", "FOUND.000", ".zfs", "@tmp"),
]


@pytest.mark.parametrize("name", LITTER)
def test_recycle_bins_and_snapshots_are_no_products(tmp_path: Path, name: str) -> None:
    put(tmp_path, "pear/1.jpg", f"{name}/1.jpg", f"pear/{name}/2.jpg")
    catalog = read_catalog(tmp_path)
    assert pictures(catalog) == [("pear", "pear/1.jpg")]
    assert refusals(catalog) == {}
    assert (list(catalog.products), catalog.ignored) == (["pear"], 2)


def test_an_ignore_file(tmp_path: Path) -> None:
    put(tmp_path, "pear/1.jpg", "pear/1_thumb.jpg", "pear/keep_thumb.jpg", "drafts/2.jpg", "x.txt")
    put(tmp_path, "milk/0.jpg", "milk/drafts/3.jpg")
    (tmp_path / ".itemrecignore").write_bytes("\ufeff# ours\n*_thumb.jpg\n!keep_thumb.jpg\n/drafts/\n*.txt\n".encode())
    catalog = read_catalog(tmp_path)
    assert pictures(catalog) == [
        ("milk", "milk/0.jpg"),
        ("milk", "milk/drafts/3.jpg"),
        ("pear", "pear/1.jpg"),
        ("pear", "pear/keep_thumb.jpg"),
    ]
    assert refusals(catalog) == {}
    assert (list(catalog.products), catalog.ignored) == (["milk", "pear"], 4)
    (tmp_path / "images.csv").write_text("product_id,image\npear,pear/1.jpg\n")
    assert "drafts/2.jpg" not in refusals(read_catalog(tmp_path))


def test_an_ignore_file_that_is_wrong(tmp_path: Path) -> None:
    put(tmp_path, "pear/1.jpg")
    (tmp_path / ".itemrecignore").write_text("!\n")
    assert "patterns as .gitignore" in fails(tmp_path)

"""Folders of pictures without product folders: which names are pictures of one product."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrieval.catalog.columns import Reading
from retrieval.catalog.flat import understand_names
from retrieval.catalog.read import read_catalog
from retrieval.errors import CatalogError, UsageError
from tests.retrieval.catalogs import fails, pictures, put, refusals


def products(*names: str, rows: tuple[str, ...] = (), split: str | None = None) -> dict[str, str]:
    return dict(understand_names(names, rows, split=split).products)


def test_pictures_of_one_product(tmp_path: Path) -> None:
    put(tmp_path, "4711.jpg", "4711_2.jpg", "4711-back.jpg", "4711 (2).jpg", "4712.png", "4712.JPG", "4713-front.webp")
    catalog = read_catalog(tmp_path)
    assert catalog.kind == "flat"
    assert sorted(pictures(catalog)) == [
        ("4711", "4711 (2).jpg"),
        ("4711", "4711-back.jpg"),
        ("4711", "4711.jpg"),
        ("4711", "4711_2.jpg"),
        ("4712", "4712.JPG"),
        ("4712", "4712.png"),
        ("4713", "4713-front.webp"),
    ]
    assert catalog.notes == ("3 products by the names of the files (4711 (2) is a picture of 4711)",)
    assert list(catalog.products) == ["4711", "4712", "4713"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("AB-12", "AB-13", "AB-20"), ("AB-12", "AB-13", "AB-20")),  # ids with hyphens, none the first or second
        (("AB-12", "AB-12_2", "AB-13", "AB-13_2"), ("AB-12", "AB-12", "AB-13", "AB-13")),
        (("AB_1", "AB_1-1", "AB_1-2"), ("AB_1",) * 3),
        (("4711", "4711_1", "4711_2", "4712_1", "4712_2"), ("4711", "4711", "4711", "4712", "4712")),
        (("piggy-back", "apple", "pear"), ("piggy-back", "apple", "pear")),  # a word that is no view here
        (("shirt-front", "shirt-back", "shoe-front"), ("shirt", "shirt", "shoe")),
        (("shirt-front-2", "shirt-front", "shirt"), ("shirt",) * 3),
        (("pear", "pear - Copy", "pear - Copy (2)", "pear(1)"), ("pear",) * 4),
        (("pear.1", "pear", "pear 2"), ("pear",) * 3),
        (("pear--2", "pear", "pear - 2", "pear - Kopie", "pear - back"), ("pear",) * 5),
        (("PEAR_2", "pear"), ("pear", "pear")),
        (("cre\u0300me", "cr\u00e8me_2"), ("cr\u00e8me", "cr\u00e8me")),
        (("4711", "4711_3"), ("4711", "4711")),
        (("0012", "0012_02", "0012_01"), ("0012",) * 3),
        (("shirt-38", "shirt-40", "shirt-42"), ("shirt-38", "shirt-40", "shirt-42")),
    ],
)
def test_names_that_are_clear(names: tuple[str, ...], expected: tuple[str, ...]) -> None:
    found = understand_names(names)
    assert tuple(map(found.product, names)) == expected


@pytest.mark.parametrize(
    "names",
    [
        ("10-1", "10-2", "11-1", "11-2"),  # four products, or two
        ("4711", "4711-12"),
        ("4711", "4711a"),
        tuple(f"A{'' if n == 0 else f'-{n}'}" for n in range(50)),
    ],
)
def test_names_that_are_not_are_asked_about(tmp_path: Path, names: tuple[str, ...]) -> None:
    put(tmp_path, *(f"{name}.jpg" for name in names))
    with pytest.raises(CatalogError) as caught:
        read_catalog(tmp_path)
    assert "or a product of its own" in caught.value.message
    assert f"--split-names none ({len(names)} products)" in str(caught.value.hint)
    assert read_catalog(tmp_path, reading=Reading(split_names="none")).count() == len(names)
    assert len(read_catalog(tmp_path, reading=Reading(split_names="none")).products) == len(names)


def test_what_the_user_says_is_done() -> None:
    assert set(products("10-1", "10-2", "11-1", split="-").values()) == {"10", "11"}
    assert set(products("a_red", "a_blue_2", "a", split="_").values()) == {"a", "a_blue"}
    assert set(products("pear 1", "pear 2 (3)", split="space").values()) == {"pear"}
    with pytest.raises(UsageError, match=r"--split-names _, -, \., space or none"):
        understand_names(["a"], split="x")


def test_names_that_cameras_give_are_no_products(tmp_path: Path) -> None:
    put(tmp_path, "IMG_0001.jpg", "IMG_0002.jpg", "20240102_101112.jpg", "PXL_20240102_1.jpg")
    assert "names that cameras give" in fails(tmp_path)
    assert read_catalog(tmp_path, reading=Reading(split_names="none")).count() == 4


def test_the_ids_of_a_table_are_not_cut(tmp_path: Path) -> None:
    put(
        tmp_path,
        "AB_1.jpg",
        "AB_1_2.jpg",
        "AB_2.jpg",
        "AB-3-back.jpg",
        "ab_2 (1).jpg",
        "47.jpg",
        "4711.jpg",
        "4711b.jpg",
    )
    (tmp_path / "products.csv").write_text("product_id,name\nAB_1,One\nAB_2,Two\nAB-3,Three\n4711,Four\nAB_9,Nine\n")
    catalog = read_catalog(tmp_path)
    assert {image: product for product, image in pictures(catalog)} == {
        "AB_1.jpg": "AB_1",
        "AB_1_2.jpg": "AB_1",
        "AB_2.jpg": "AB_2",
        "ab_2 (1).jpg": "AB_2",
        "AB-3-back.jpg": "AB-3",
        "47.jpg": "47",
        "4711.jpg": "4711",
        "4711b.jpg": "4711",
    }
    assert catalog.notes == (
        "5 products by the names of the files, 7 of 8 files by ids that are known (4711b is a picture of 4711)",
    )
    assert (catalog.join.rows, catalog.join.folders) == (("AB_9",), ("47",))
    assert catalog.metadata("AB_1") == {"name": "One"}


def test_what_a_table_leaves_open_is_refused_by_name(tmp_path: Path) -> None:
    put(tmp_path, "7.jpg", "X-1.jpg", "X-2.jpg")
    (tmp_path / "products.csv").write_text("product_id\n7\n")
    catalog = read_catalog(tmp_path)
    assert pictures(catalog) == [("7", "7.jpg")]
    assert refusals(catalog) == {"X-1.jpg": "doubtful", "X-2.jpg": "doubtful"}


def test_a_folder_of_pictures_beside_its_table(tmp_path: Path) -> None:
    put(tmp_path, "images/4711.jpg", "images/4711_2.jpg", "images/4712.jpg", "readme.txt")
    (tmp_path / "export.csv").write_text("SKU;Title\n4711;Pear\n4712;Apple\n")
    catalog = read_catalog(tmp_path)
    assert pictures(catalog) == [
        ("4711", "images/4711.jpg"),
        ("4711", "images/4711_2.jpg"),
        ("4712", "images/4712.jpg"),
    ]
    assert refusals(catalog) == {"readme.txt": "not-a-picture"}
    assert catalog.metadata("4711") == {"name": "Pear"}


def test_a_folder_called_images_is_no_product(tmp_path: Path) -> None:
    put(tmp_path, "Images/4711.jpg", "Images/4711_2.jpg", "Images/4712.jpg")
    assert pictures(read_catalog(tmp_path)) == [
        ("4711", "Images/4711.jpg"),
        ("4711", "Images/4711_2.jpg"),
        ("4712", "Images/4712.jpg"),
    ]
    assert read_catalog(tmp_path, product_level=1).products.keys() == {"Images"}
    put(tmp_path, "4713/a.jpg")
    assert read_catalog(tmp_path).products.keys() == {"4713", "Images"}


def test_folders_of_categories_whose_files_a_table_names(tmp_path: Path) -> None:
    put(tmp_path, "Fruit/4711.jpg", "Fruit/4711_2.jpg", "Milk/low fat/4712.jpg", "Milk/readme.txt")
    (tmp_path / "products.csv").write_text("product_id,name\n4711,Pear\n4712,Milk\n")
    catalog = read_catalog(tmp_path)
    assert pictures(catalog) == [
        ("4711", "Fruit/4711.jpg"),
        ("4711", "Fruit/4711_2.jpg"),
        ("4712", "Milk/low fat/4712.jpg"),
    ]
    assert refusals(catalog) == {"Milk/readme.txt": "not-a-picture"}
    assert read_catalog(tmp_path, product_level=1).products.keys() >= {"Fruit", "Milk"}
    (tmp_path / "products.csv").write_text("product_id,name\nFruit,Pear\nMilk,Milk\n")
    assert read_catalog(tmp_path).kind == "folders"


def test_splits_of_a_dataset_read_names_alike(tmp_path: Path) -> None:
    put(tmp_path, "train/4711.jpg", "train/4711_2.jpg", "train/AB-12.jpg", "test/4711_3.jpg", "test/AB-12_1.jpg")
    assert pictures(read_catalog(tmp_path / "test")) == [("4711", "4711_3.jpg"), ("AB-12", "AB-12_1.jpg")]


def test_pictures_beside_product_folders_are_no_flat_catalog(tmp_path: Path) -> None:
    put(tmp_path, "4711/a.jpg", "4712.jpg")
    catalog = read_catalog(tmp_path)
    assert catalog.kind == "folders"
    assert refusals(catalog) == {"4712.jpg": "outside-product"}


def test_files_that_come_later_are_products_of_their_own(tmp_path: Path) -> None:
    put(tmp_path, "4711.jpg", "4711_2.jpg")
    catalog = read_catalog(tmp_path)
    put(tmp_path, "9.jpg", "notes/about.txt")
    assert pictures(catalog)[-1] == ("9", "9.jpg")
    assert refusals(catalog) == {"notes/about.txt": "not-a-picture"}

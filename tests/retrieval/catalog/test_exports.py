"""Tables that other programs write: exports of shops, feeds, workbooks, and any with the usual names."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

from retrieval.catalog.columns import Reading, pictures_in
from retrieval.catalog.read import Catalog, read_catalog
from retrieval.catalog.tables import read_table
from retrieval.errors import CatalogError
from tests.retrieval.catalogs import fails, pictures, put, refusals

SHOPIFY = """\
Handle,Title,Body (HTML),Vendor,Tags,Size,Variant SKU,Price,Image Src,Image Position,Image Alt Text,Variant Image
pear,Pear,"<p>A pear,
green</p>",Farm,"fruit, green",Small,P-S,1.00,https://cdn.example/pear.jpg?v=1,1,Front,
pear,,,,,Large,P-L,2.00,https://cdn.example/pear-2.jpg?v=1,2,,https://cdn.example/large.jpg
pear,,,,,,,,https://cdn.example/pear-3.jpg,3,,
apple,Apple,,Farm,,,A,1.50,https://cdn.example/apple.jpg,1,,
"""
WOOCOMMERCE = """\
ID,Type,SKU,Name,Published,Regular price,Categories,Images,Parent
10,simple,4711,Pear,1,1.99,"Fruit, Green","https://shop.example/a.jpg, https://shop.example/b,1.jpg",
11,variable,4712,Apple,1,,Fruit,https://shop.example/c.jpg,
12,variation,4712-R,Apple - red,1,2.5,,https://shop.example/red.jpg,4712
13,variation,4712-G,Apple - green,1,2.5,,,4712
"""
MERCHANT = (
    "id\ttitle\timage link\tadditional image link\tprice\tbrand\n"
    "4711\tPear\thttps://shop.example/a.jpg\thttps://shop.example/b.jpg,https://shop.example/c.jpg\t1.99 EUR\tFarm\n"
)
FEED = """<?xml version="1.0" encoding="UTF-8"?>
<!-- made by a shop -->
<rss version="2.0" xmlns:g="http://base.google.com/ns/1.0"><channel><title>Shop</title>
<item><title>Pear of the page</title><g:title>Pear</g:title><g:id>4711</g:id><link>https://shop.example/pear</link>
<g:image_link>https://shop.example/a.jpg</g:image_link>
<g:additional_image_link>https://shop.example/b.jpg</g:additional_image_link>
<g:additional_image_link>https://shop.example/c.jpg</g:additional_image_link>
<g:price>1.99 EUR</g:price><g:shipping><g:country>DE</g:country><g:price>4 EUR</g:price></g:shipping></item>
</channel></rss>"""
ATOM = """<feed xmlns="http://www.w3.org/2005/Atom" xmlns:g="http://base.google.com/ns/1.0"><title>Shop</title>
<entry><g:id>4711</g:id><title>Pear</title><link href="https://shop.example/pear"/>
<g:image_link>https://shop.example/a.jpg</g:image_link></entry></feed>"""


def listed(catalog: Catalog) -> list[tuple[str, str]]:
    """What its table names; nothing is fetched."""
    return [(row.product_id, row.image) for row in catalog._listed]


def write(folder: Path, name: str, text: str, *, encoding: str = "utf-8") -> Path:
    file = folder / name
    file.write_text(text, encoding=encoding)
    return file


def test_an_export_of_shopify(tmp_path: Path) -> None:
    file = write(tmp_path, "products_export_1.csv", SHOPIFY, encoding="utf-8-sig")
    for path in (file, tmp_path):
        catalog = read_catalog(path)
        cdn = "https://cdn.example"
        assert listed(catalog) == [
            ("pear", f"{cdn}/pear.jpg?v=1"),
            ("pear", f"{cdn}/pear-2.jpg?v=1"),
            ("pear", f"{cdn}/large.jpg"),
            ("pear", f"{cdn}/pear-3.jpg"),
            ("apple", f"{cdn}/apple.jpg"),
        ]
        assert catalog.metadata("pear") == {
            "name": "Pear",
            "Body (HTML)": "<p>A pear,\ngreen</p>",
            "Vendor": "Farm",
            "Tags": "fruit, green",
            "Size": ["Small", "Large"],
            "Variant SKU": ["P-S", "P-L"],
            "Price": ["1.00", "2.00"],
        }
        assert catalog.notes == (
            "products_export_1.csv is an export of Shopify: products in Handle,"
            " pictures in Image Src and Variant Image, name in Title",
        )


def test_variants_of_shopify_as_products(tmp_path: Path) -> None:
    catalog = read_catalog(
        write(tmp_path, "e.csv", SHOPIFY), reading=Reading(id_column="variant sku", image_column="Image Src")
    )
    assert {product for product, _ in listed(catalog)} == {"P-S", "P-L", "A"}
    assert [(r.path, r.code) for r in catalog.refused_rows] == [("e.csv, line 5", "bad-row")]
    assert "2 variants of pear" in catalog.refused_rows[0].reason


def test_an_export_of_woocommerce(tmp_path: Path) -> None:
    catalog = read_catalog(write(tmp_path, "wc.csv", WOOCOMMERCE, encoding="utf-8-sig"))
    shop = "https://shop.example"
    assert listed(catalog) == [
        ("4711", f"{shop}/a.jpg"),
        ("4711", f"{shop}/b,1.jpg"),
        ("4712", f"{shop}/c.jpg"),
        ("4712-R", f"{shop}/red.jpg"),
    ]
    assert catalog.metadata("4711")["name"] == "Pear"
    assert catalog.notes[0] == "wc.csv: 1 variation without pictures: no products of their own"
    without = WOOCOMMERCE.replace("simple,4711,", "simple,,")
    assert [product for product, _ in listed(read_catalog(write(tmp_path, "wc.csv", without)))] == [
        "10",
        "10",
        "11",
        "12",
    ]


@pytest.mark.parametrize(
    ("name", "text"), [("feed.tsv", MERCHANT), ("feed.txt", MERCHANT), ("feed.csv", MERCHANT), ("feed.xml", FEED)]
)
def test_feeds_of_google_merchant(tmp_path: Path, name: str, text: str) -> None:
    catalog = read_catalog(write(tmp_path, name, text))
    assert listed(catalog) == [("4711", f"https://shop.example/{letter}.jpg") for letter in "abc"]
    known = catalog.metadata("4711")
    assert (known["name"], known["price"]) == ("Pear", "1.99 EUR")
    assert catalog.notes[0].startswith(f"{name} is an export of Google Merchant: products in id, pictures in image")


def test_a_feed_in_atom(tmp_path: Path) -> None:
    catalog = read_catalog(write(tmp_path, "feed.xml", ATOM).parent)
    assert listed(catalog) == [("4711", "https://shop.example/a.jpg")]
    assert catalog.metadata("4711") == {"name": "Pear", "link": "https://shop.example/pear"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><rss><item><id>&b;</id></item></rss>',
            "declares entities",
        ),
        (
            '<!DOCTYPE r [<!ENTITY a SYSTEM "file:///etc/passwd">]><rss><item><id>&a;</id></item></rss>',
            "declares entities",
        ),
        ("<rss><item><id>1</id></rss>", "well-formed XML"),
        ("", "well-formed XML"),
        ("<html><body/></html>", "without an item or entry"),
        ("<rss><item><color>1</color></item></rss>", "expected a product_id column"),
        ('<?xml version="1.0" encoding="x-none"?><rss/>', "encoding"),
    ],
)
def test_xml_that_is_no_feed(tmp_path: Path, text: str, said: str) -> None:
    assert said in fails(write(tmp_path, "products.xml", text))


def test_any_table_by_its_usual_names(tmp_path: Path) -> None:
    put(tmp_path, "pics/a.jpg", "pics/b.jpg")
    table = write(tmp_path, "artikel.csv", "Art. Nr.;Bezeichnung;Foto\n4711;Birne;pics/a.jpg|pics/b.jpg\n")
    catalog = read_catalog(table)
    assert pictures(catalog) == [("4711", "pics/a.jpg"), ("4711", "pics/b.jpg")]
    assert catalog.metadata("4711") == {"name": "Birne"}
    assert catalog.notes == ("artikel.csv: products in Art. Nr., pictures in Foto, name in Bezeichnung",)


def test_the_columns_that_a_user_names(tmp_path: Path) -> None:
    put(tmp_path, "a.jpg", "b.jpg")
    table = write(tmp_path, "t.csv", "sku,number,what,shot\nx,1,Pear,a.jpg\ny,2,Apple,b.jpg\n")
    catalog = read_catalog(table, reading=Reading("Number", "shot", "what"))
    assert pictures(catalog) == [("1", "a.jpg"), ("2", "b.jpg")]
    assert catalog.metadata("1") == {"sku": "x", "name": "Pear"}
    for reading in (Reading("none"), Reading(image_column="none"), Reading(name_column="none")):
        with pytest.raises(CatalogError, match=r"expected a column none in t\.csv, received sku, number, what, shot"):
            read_catalog(table, reading=reading)


def test_addresses_beside_product_folders_are_metadata_unless_named(tmp_path: Path) -> None:
    put(tmp_path, "0012/a.jpg")
    write(tmp_path, "products.csv", "product_id,name,image\n0012,Pear,https://x.example/1.jpg\n")
    catalog = read_catalog(tmp_path)
    assert (catalog.kind, pictures(catalog)) == ("folders", [("0012", "0012/a.jpg")])
    assert "is metadata; the pictures are those in the folders (--image-column image" in catalog.notes[0]
    assert catalog.metadata("0012")["image"] == "https://x.example/1.jpg"
    chosen = read_catalog(tmp_path, reading=Reading(image_column="image"))
    assert (chosen.kind, listed(chosen)) == ("table", [("0012", "https://x.example/1.jpg")])
    # In a folder without pictures there is nothing else that the addresses could be.
    (tmp_path / "0012" / "a.jpg").unlink()
    (tmp_path / "0012").rmdir()
    assert read_catalog(tmp_path).kind == "table"


def test_a_table_that_was_named_lies_beside_anything(tmp_path: Path) -> None:
    put(tmp_path, "holiday/a.jpg")
    table = write(tmp_path, "products.csv", "sku,image\n0012,https://x.example/1.jpg\n")
    assert listed(read_catalog(table)) == [("0012", "https://x.example/1.jpg")]
    assert read_catalog(tmp_path).kind == "folders"


def test_a_table_of_any_name_that_speaks_of_the_pictures_beside_it(tmp_path: Path) -> None:
    put(tmp_path, "img/1.jpg", "img/1_2.jpg", "img/2.jpg")
    write(tmp_path, "export.csv", "sku;title;photo\n1;Pear;img/1.jpg\n2;Apple;img/2.jpg\n")
    write(tmp_path, "notes.csv", "a;b\nsku;c\n")
    assert pictures(read_catalog(tmp_path)) == [("1", "img/1.jpg"), ("2", "img/2.jpg")]
    (tmp_path / "img").rename(tmp_path / "1")
    catalog = read_catalog(tmp_path)
    assert catalog.kind == "folders"
    assert {product for product, _ in pictures(catalog)} == {"1"}
    # One of other things is none of the catalog's.
    write(tmp_path, "export.csv", "sku;warehouse\n77;north\n78;south\n")
    assert read_catalog(tmp_path).metadata("1") == {}


def test_paths_as_windows_writes_them(tmp_path: Path) -> None:
    put(tmp_path, "img/a.jpg")
    put(tmp_path.parent, "secret.jpg")
    write(tmp_path, "products.csv", "sku,image\n1,img\\a.jpg\n2,..\\secret.jpg\n")
    catalog = read_catalog(tmp_path)
    assert pictures(catalog) == [("1", "img/a.jpg")]
    assert list(refusals(catalog).values()) == ["missing"]


def test_a_wrong_column_is_answered_with_those_that_are_there(tmp_path: Path) -> None:
    table = write(tmp_path, "t.csv", "sku;title\n1;Pear\n")
    with pytest.raises(CatalogError, match="received sku, title"):
        read_catalog(table, reading=Reading("nope"))


def test_two_tables_of_any_name_are_asked_about(tmp_path: Path) -> None:
    write(tmp_path, "a.csv", "sku,image\n1,a.jpg\n")
    write(tmp_path, "b.csv", "sku,image\n1,a.jpg\n")
    assert "expected one table" in fails(tmp_path)


@pytest.mark.parametrize(
    ("cell", "ours", "found"),
    [
        ("a, b; c.jpg", True, ["a, b; c.jpg"]),
        ("a.jpg, b.png", False, ["a.jpg", "b.png"]),
        ("Smith, John.jpg", False, ["Smith, John.jpg"]),
        ("a.jpg|b.jpg;c.jpg\nd.jpg", False, ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]),
        (" https://x/a,b.jpg , http://y/c.jpg ", True, ["https://x/a,b.jpg", "http://y/c.jpg"]),
        ("https://x/a.jpg\nhttps://x/b.jpg https://x/c.jpg", False, [f"https://x/{n}.jpg" for n in "abc"]),
        (["a.jpg", "https://x/b.jpg"], False, ["a.jpg", "https://x/b.jpg"]),
        ("", False, []),
        (None, True, []),
    ],
)
def test_the_pictures_of_a_cell(cell: object, ours: bool, found: list[str]) -> None:
    assert pictures_in(cell, ours=ours) == found


def test_a_workbook(tmp_path: Path) -> None:
    from openpyxl import Workbook

    put(tmp_path, "4711/a.jpg", "0012/a.jpg", "5/a.jpg")
    book = Workbook()
    sheet = book.active
    for row in (
        ["SKU", "Name", "Price", "Since"],
        ["0012", "Pear", 3.5, None],
        [None] * 4,
        [4711, "Apple", 4, None],
        ["5"],
    ):
        sheet.append(row)
    book.create_sheet("Notes")
    book.save(tmp_path / "products.xlsx")
    catalog = read_catalog(tmp_path)
    assert {product for product, _ in pictures(catalog)} == {"0012", "4711", "5"}
    assert catalog.metadata("0012") == {
        "name": "Pear",
        "Price": 3.5,
        "Since": "",
    }
    assert catalog.metadata("4711")["Price"] == 4
    assert catalog.notes[0] == "products.xlsx: the first of 2 sheets is read, Sheet"


def test_workbooks_that_are_none(tmp_path: Path) -> None:
    file = write(tmp_path, "products.xlsx", "product_id\n1\n")
    assert "expected a workbook in products.xlsx" in fails(file)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("xl/workbook.xml", "<workbook/>")
    assert "expected a workbook in products.xlsx" in fails(file)


def test_a_stray_cell_in_the_last_row_costs_no_memory(tmp_path: Path) -> None:
    from openpyxl import Workbook

    book = Workbook()
    book.active.append(["product_id", "name"])
    book.active.append(["1", "Pear"])
    book.active["XFD20000"] = "stray"
    book.save(tmp_path / "products.xlsx")
    rows = read_table(tmp_path / "products.xlsx").rows
    assert [getattr(row, "product_id", row.line) for row in rows] == ["1"]


def test_without_the_extra_a_workbook_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(CatalogError, match=r"openpyxl.*reading products\.xlsx") as caught:
        read_catalog(write(tmp_path, "products.xlsx", ""))
    assert "[xlsx]" in str(caught.value.hint)

"""Tables of a catalog: metadata beside product folders, lists of pictures, and every way to get them wrong."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from retrieval.catalog.read import Refusal, read_catalog
from retrieval.errors import CatalogError
from tests.retrieval.catalogs import fails, pictures, put, refusals

CSV = 'product_id,name,price\nmilk,Milk 1l,1.20\nbread,"Bread, dark\nsliced",2\nbutter,Butter,3\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_csv_adds_metadata(tmp_path: Path, encoding: str, delimiter: str, newline: str) -> None:
    put(tmp_path, "milk/a.jpg", "bread/b.jpg", "unlisted/c.jpg")
    text = CSV if delimiter == "," else CSV.replace("Bread, dark", "Bread. dark").replace(",", delimiter)
    (tmp_path / "products.csv").write_bytes(text.replace("\n", newline).encode(encoding))
    catalog = read_catalog(tmp_path)
    assert catalog.kind == "folders"
    assert catalog.metadata_keys == ("name", "price")
    assert catalog.metadata("milk") == {"name": "Milk 1l", "price": "1.20"}
    bread = catalog.metadata("bread")["name"]
    assert isinstance(bread, str)
    assert bread.replace(".", ",").replace("\r", "") == "Bread, dark\nsliced"
    assert catalog.metadata("unlisted") == {}
    assert catalog.count() == 3
    assert catalog.products_without_pictures() == ("butter",)
    assert refusals(catalog) == {}
    assert catalog.products["milk"].metadata == catalog.metadata("milk")


def test_a_jsonl_keeps_types(tmp_path: Path) -> None:
    put(tmp_path, "1001/a.jpg", "milk/b.jpg")
    (tmp_path / "products.jsonl").write_text(
        '{"product_id": 1001, "price": 1.5, "stock": 9223372036854775807, "bio": true, "note": null}\n\n'
        '{"product_id": " milk ", "größe": " 1 l", "tags": ["a ", 2]}\n'
    )
    catalog = read_catalog(tmp_path)
    assert catalog.metadata("1001") == {"price": 1.5, "stock": 2**63 - 1, "bio": True, "note": None}
    assert catalog.metadata("milk") == {"größe": "1 l", "tags": ["a", 2]}
    assert catalog.metadata_keys == ("price", "stock", "bio", "note", "größe", "tags")


def complaint(path: Path) -> str:
    """The line that refuses a catalog, or the lines that refuse its rows."""
    try:
        found = read_catalog(path).refused_rows
    except CatalogError:
        return fails(path)
    assert [e for e in read_catalog(path).entries() if isinstance(e, Refusal) and e.code == "bad-row"] == list(found)
    assert all(f"{row.path}: {row.reason}".isprintable() for row in found)
    return "\n".join(f"{row.path}: {row.reason}" for row in found)


def test_rows_and_folders_meet_in_any_unicode_form(tmp_path: Path) -> None:
    composed, apart = unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café")
    for folder, row in ((apart, composed), (composed, apart)):
        root = tmp_path / ("a" if folder == apart else "b")
        put(root, f"{folder}/x.jpg")
        (root / "products.csv").write_text(f"product_id,name\n {row} ,Coffee\n")
        catalog = read_catalog(root)
        assert pictures(catalog) == [(composed, f"{folder}/x.jpg")]
        assert catalog.metadata(composed) == {"name": "Coffee"}
        assert catalog.products_without_pictures() == ()
    root = tmp_path / "c"
    put(root, f"{composed}/x.jpg", f"{apart}/x.jpg")
    if len(list(root.iterdir())) == 2:
        catalog = read_catalog(root)
        assert pictures(catalog) == [(composed, f"{name}/x.jpg") for name in sorted((composed, apart))]
        assert list(catalog.products) == [composed]
        assert "2 folders are one product" in catalog.notes[0]
    root = tmp_path / "d"
    put(root, f"{composed}/x.jpg")
    (root / "products.csv").write_text(f"product_id\n{composed}\n{apart}\n")
    assert "once" in complaint(root)


def test_a_table_can_be_named_itself(tmp_path: Path) -> None:
    put(tmp_path, "milk/a.jpg")
    (tmp_path / "products.csv").write_text("product_id,name\nmilk,Milk\n")
    catalog = read_catalog(tmp_path / "products.csv")
    assert (catalog.root, catalog.kind) == (tmp_path, "folders")
    assert catalog.metadata("milk") == {"name": "Milk"}
    assert pictures(catalog) == [("milk", "milk/a.jpg")]


def test_a_table_of_pictures(tmp_path: Path) -> None:
    put(tmp_path, "shots/1.jpg", "shots/2.jpg", "3.png", "unlisted.jpg", "shots/notes.txt", "shots/.DS_Store")
    (tmp_path / "images.csv").write_text(
        "product_id,image,name\nmilk,shots/1.jpg,Milk\nbread,./shots/2.jpg,Bread\nmilk,3.png,\n"
        "milk,shots/gone.jpg,Milk\nwater,,Water\nbread,../bread.jpg,\nbread,/etc/bread.jpg,\n"
        "bread,shots/notes.txt,\n"
    )
    catalog = read_catalog(tmp_path)
    assert catalog.kind == "table"
    assert pictures(catalog) == [("milk", "shots/1.jpg"), ("bread", "shots/2.jpg"), ("milk", "3.png")]
    assert [e.code for e in catalog.entries() if isinstance(e, Refusal)] == [
        "missing",
        "outside-catalog",
        "outside-catalog",
        "not-a-picture",
        "not-a-picture",
        "not-in-table",
    ]
    assert catalog.metadata("milk") == {"name": "Milk"}
    assert catalog.metadata_keys == ("name",)
    assert catalog.products_without_pictures() == ("water",)
    assert catalog.ignored == 1
    named = read_catalog(tmp_path / "images.csv")
    assert pictures(named) == pictures(catalog)
    assert "unlisted.jpg" not in refusals(named)


@pytest.mark.parametrize("name", ["products.jsonl", "images.jsonl", "products.csv"])
def test_a_products_table_with_images_is_flat(tmp_path: Path, name: str) -> None:
    put(tmp_path, "1.jpg", "2.jpg")
    rows = {
        "csv": "product_id;image;size\nmilk;1.jpg;1 l\nmilk;2.jpg;1 l\n",
        "jsonl": '{"product_id": "milk", "image": "1.jpg", "size": "1 l"}\n{"product_id": "milk", "image": "2.jpg"}',
    }
    (tmp_path / name).write_text(rows[name.split(".")[1]])
    catalog = read_catalog(tmp_path)
    assert pictures(catalog) == [("milk", "1.jpg"), ("milk", "2.jpg")]
    assert catalog.metadata("milk") == {"size": "1 l"}


def test_a_table_of_pictures_beside_a_table_of_products(tmp_path: Path) -> None:
    put(tmp_path, "1.jpg")
    (tmp_path / "images.csv").write_text("product_id,image,shop\nmilk,1.jpg,north\n")
    (tmp_path / "products.jsonl").write_text('{"product_id": "milk", "price": 2}\n')
    catalog = read_catalog(tmp_path)
    assert catalog.metadata("milk") == {"price": 2, "shop": "north"}
    assert refusals(catalog) == {}


def test_pictures_of_a_table_stay_inside(tmp_path: Path) -> None:
    root = tmp_path / "root"
    put(root, "a.jpg", "..fine.jpg")
    put(tmp_path, "secret.jpg")
    (root / "link.jpg").symlink_to("../secret.jpg")
    (root / "images.csv").write_text(
        "product_id,image\nmilk,link.jpg\nmilk,a/../../secret.jpg\nmilk,..fine.jpg\nmilk,shots\\a.jpg\n"
    )
    catalog = read_catalog(root / "images.csv")
    assert pictures(catalog) == [("milk", "..fine.jpg")]
    assert list(refusals(catalog).values()) == ["outside-catalog", "outside-catalog", "missing"]
    assert any("forward slashes" in e.reason for e in catalog.entries() if isinstance(e, Refusal))


def test_a_table_finds_names_in_the_other_unicode_form(tmp_path: Path) -> None:
    apart = unicodedata.normalize("NFD", "é.jpg")
    put(tmp_path, apart)
    (tmp_path / "images.csv").write_text("product_id,image\nmilk,é.jpg\n", encoding="utf-8")
    ((_, image),) = pictures(read_catalog(tmp_path))
    assert image in {apart, "é.jpg"}
    assert refusals(read_catalog(tmp_path)) == {}


def test_paths_that_hold_no_catalog(tmp_path: Path) -> None:
    assert "nothing at" in fails(tmp_path / "no\nwhere")
    assert "product folders" in fails(tmp_path)
    put(tmp_path, ".hidden/b.jpg")
    assert "product folders" in fails(tmp_path)
    put(tmp_path, "a.jpg")
    assert "table" in fails(tmp_path / "a.jpg")
    assert "received" in fails(tmp_path / "nul\0")
    (tmp_path / "milk").mkdir()
    assert read_catalog(tmp_path).count() == 0
    for name in ("products.csv", "products.jsonl"):
        (tmp_path / name).write_text("")
    assert "both products.csv and products.jsonl" in fails(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "product_id column"),
        ("color,label\n1,Milk\n", "received color, label"),
        ("product_id,name,name\n", "'name' twice"),
        ("product_id,name,\nmilk,Milk,\n", "an empty one"),
        ("product_id,name\nmilk,Milk,,x\n", "line 2: expected 2 fields, received 4"),
        ("product_id,name\nmilk,Milk,2\n", "line 2: expected 2 fields, received 3"),
        ("product_id,name\nmilk,Milk\n,Bread\n", "line 3: expected a product_id"),
        (f"product_id\n{'m' * 257}\n", "1 to 256 characters, received 257"),
        ('product_id,name\nmilk,"Mi\nlk"\n\nmilk,x\n', "line 5: expected every product_id once"),
        ('product_id,name\nmilk,"Milk\n', "line 2: expected well-formed CSV"),
        ('product_id,name\nmilk,"Mi"lk\n', "line 2: expected well-formed CSV"),
        ("product_id,name\nmilk," + "x" * 70_000 + "\n", "at most 65,536 bytes"),
        ("product_id," + ",".join(f"c{n}" for n in range(257)) + "\nmilk" + "," * 257, "at most 256 columns"),
    ],
)
def test_csv_errors_name_the_line(tmp_path: Path, text: str, said: str) -> None:
    put(tmp_path, "milk/a.jpg")
    (tmp_path / "products.csv").write_text(text)
    assert said in complaint(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"product_id": "milk"}\nnot json\n', "line 2: expected a JSON object"),
        ('["milk"]\n', "line 1: expected a JSON object, received list"),
        ('{"name": "Milk"}\n', "line 1: expected a product_id, received none"),
        ('{"product_id": true}\n', "expected a product_id, received True"),
        ('{"product_id": ["milk"]}\n', "expected a product_id"),
        ('{"product_id": "  "}\n', "received 0"),
        ('{"product_id": "milk", "tags": [["a"]]}\n', "for 'tags', received a list"),
        ('{"product_id": "milk", "tags": [{}]}\n', "for 'tags', received an object"),
        ('{"product_id": "milk", "size": {"w": 1}}\n', "for 'size', received an object"),
        ('{"product_id": "milk", "price": NaN}\n', "NaN, which is not JSON"),
        ('{"product_id": "milk", "price": 1e999}\n', "a finite number"),
        ('{"product_id": "milk", "stock": 9223372036854775808}\n', "at most 64 bits"),
        ('{"product_id": "milk", "stock": ' + "9" * 5000 + "}\n", "line 1"),
        ('{"product_id": "milk", "name": "\\ud800"}\n', "in Unicode"),
        ('{"product_id": "milk", "": 1}\n', "a name for every value"),
        ('{"product_id": "milk", "a": 1, "a": 2}\n', "the same key twice"),
        ('{"product_id": "milk", "a": ' + "[" * 100_000 + "}\n", "line 1"),
        ('{"product_id": "milk"}\n{"product_id": "milk"}\n', "also at products.jsonl, line 1"),
    ],
)
def test_jsonl_errors_name_the_line(tmp_path: Path, text: str, said: str) -> None:
    put(tmp_path, "milk/a.jpg")
    (tmp_path / "products.jsonl").write_text(text)
    assert said in complaint(tmp_path)


SHEET = "product_id,name\nmilk,Käse – 1€\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252"])
def test_tables_in_the_encodings_of_spreadsheets(tmp_path: Path, encoding: str) -> None:
    put(tmp_path, "milk/a.jpg")
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    (tmp_path / "products.csv").write_bytes((mark + SHEET.replace(",", "\t")).encode(encoding))
    catalog = read_catalog(tmp_path)
    assert catalog.metadata("milk") == {"name": "Käse – 1€"}
    assert [note for note in catalog.notes if "Windows-1252" in note] == list(catalog.notes)
    assert bool(catalog.notes) == (encoding == "cp1252")


def test_a_table_in_no_encoding_that_we_read(tmp_path: Path) -> None:
    put(tmp_path, "milk/a.jpg")
    (tmp_path / "products.csv").write_bytes(b"product_id,name\nmilk,\x81\xe9\n")
    assert "in UTF-8" in fails(tmp_path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("products.csv", "product_id,name,size\n0012,Pear,\n,,\n ,\t,\n"),
        ("products.csv", "sep=;\nproduct_id;name;size\n0012;Pear;\n"),
        ("products.csv", 'SEP=|\r\n"product_id"|name|size\r\n0012|Pear\r\n'),
        ("products.csv", "product_id,name,size\n0012,Pear\n"),
        ("products.csv", "product_id,name,size\n0012, Pear ,,,\n"),
        ("Products.CSV", "PRODUCT_ID;name;size\n0012;Pear;\n"),
        ("products.tsv", "Product ID\tname\tsize\n0012\tPear\t\n"),
    ],
)
def test_tables_as_spreadsheets_write_them(tmp_path: Path, name: str, text: str) -> None:
    put(tmp_path, "0012/a.jpg")
    (tmp_path / name).write_bytes(text.encode("utf-8-sig"))
    catalog = read_catalog(tmp_path)
    assert catalog.metadata("0012") == {"name": "Pear", "size": ""}
    assert (catalog.refused_rows, refusals(catalog), list(catalog.products)) == ((), {}, ["0012"])


def test_bad_rows_are_named_all_at_once_and_the_rest_is_read(tmp_path: Path) -> None:
    put(tmp_path, "milk/a.jpg", "bread/b.jpg", "tea/c.jpg")
    rows = (",No", "milk,Milk", "milk,Again", "bread,B,x", 'tea,"T"ea', "bread,Bread")
    (tmp_path / "products.csv").write_text("\n".join(("product_id,name", *rows)))
    catalog = read_catalog(tmp_path)
    assert [row.path for row in catalog.refused_rows] == [f"products.csv, line {line}" for line in (2, 4, 5, 6)]
    assert catalog.metadata("milk") == {"name": "Milk"}
    assert catalog.metadata("bread") == {"name": "Bread"}
    assert len(pictures(catalog)) == 3


def test_a_column_of_addresses_does_not_turn_a_folder_catalog_over(tmp_path: Path) -> None:
    put(tmp_path, "0012/a.jpg")
    for values, what in (("https://x.example/1.jpg", "addresses"), ("1.jpg", "files that are not there")):
        (tmp_path / "products.csv").write_text(f"product_id,name,Image\n0012,Pear,{values}\n0013,Plum,\n")
        catalog = read_catalog(tmp_path)
        assert catalog.kind == "folders"
        assert pictures(catalog) == [("0012", "0012/a.jpg")]
        assert catalog.metadata("0012") == {"name": "Pear", "image": values}
        assert what in catalog.notes[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("product_id,image\n", "names pictures"),
        ("product_id,name\nmilk,Milk\n", "line 2: expected an image"),
        ("product_id,image\nmilk,1.jpg\nmilk,./1.jpg\n", "line 3: expected every picture once"),
        (
            "product_id,image,name\nmilk,1.jpg,Milk\nmilk,2.jpg,\nmilk,3.jpg,Butter\n",
            "line 4: expected one name for product milk, received 'Butter' and in an earlier row 'Milk'",
        ),
    ],
)
def test_errors_of_a_table_of_pictures(tmp_path: Path, text: str, said: str) -> None:
    put(tmp_path, "1.jpg", "2.jpg", "3.jpg")
    (tmp_path / "images.csv").write_text(text)
    assert said in complaint(tmp_path)


def test_an_image_must_be_a_path(tmp_path: Path) -> None:
    (tmp_path / "images.jsonl").write_text('{"product_id": "milk", "image": 7}\n')
    assert "the path of a picture, received 7" in fails(tmp_path)


def test_a_table_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "milk/a.jpg")
    (tmp_path / "products.csv").write_text("product_id\nmilk\n")

    def denied(*_: object, **__: object) -> Iterator[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(CatalogError, match="Permission denied"):
        read_catalog(tmp_path)


@pytest.mark.parametrize("name", ["products.csv", "products.jsonl", "images.csv"])
def test_a_table_that_is_a_pipe_or_a_link_out_of_the_folder_is_refused_unopened(tmp_path: Path, name: str) -> None:
    catalog = tmp_path / "catalog"
    put(catalog, "milk/a.jpg")
    (tmp_path / "secret.csv").write_text("product_id,name\nmilk,secret\n")
    table = catalog / name
    os.mkfifo(table)
    with pytest.raises(CatalogError, match="a pipe or a device"):
        read_catalog(catalog)
    table.unlink()
    for target, says in ((tmp_path / "secret.csv", "a link that leaves it"), (catalog / "gone", "a link to nothing")):
        table.symlink_to(target)
        with pytest.raises(CatalogError, match=says):
            read_catalog(catalog)
        table.unlink()


def test_both_sides_of_the_join(tmp_path: Path) -> None:
    put(tmp_path, *(f"{name}/a.jpg" for name in ("0012", "Pear", "red apple", "tea", "same")))
    (tmp_path / "products.csv").write_text("product_id\n12\npear\nRed  Apple\nmilk\nsame\n")
    join = read_catalog(tmp_path).join
    assert join.rows == ("12", "pear", "Red  Apple", "milk")
    assert join.folders == ("0012", "Pear", "red apple", "tea")
    assert join.pairs == (("12", "0012"), ("pear", "Pear"), ("Red  Apple", "red apple"))
    (tmp_path / "products.csv").unlink()
    assert read_catalog(tmp_path).join.folders == ()

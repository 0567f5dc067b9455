"""A row of products.csv is changed, removed and put back; every other byte stays, however the table is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrieval.catalog.product_table import ProductTable
from retrieval.errors import UsageError

TABLES = {
    "ended": "product_id,name\np1,a\np2,b\n",
    "open": "product_id,name\np1,a\np2,b",
    "header": "product_id,name\n",
    "open header": "product_id,name",
    "windows": 'product_id;name\r\np1;"x\r\ny"\r\np2;b\r\n',
    "quoted": '\ufeff"product_id"\t"name"\np1\t"a ""b"""\n p2 \tb\n',
}


@pytest.mark.parametrize("product_id", ["p1", "p2", "p9"])
@pytest.mark.parametrize("text", TABLES.values(), ids=TABLES.keys())
def test_a_row_is_written_and_put_back_byte_for_byte(tmp_path: Path, text: str, product_id: str) -> None:
    file = tmp_path / "products.csv"
    file.write_bytes(text.encode())

    def saved(table: ProductTable) -> ProductTable:
        table.save()
        return ProductTable(tmp_path)

    table = ProductTable(tmp_path)
    header, (place, row) = table.header, table.row(product_id) or (0, None)
    table.set(product_id, {"name": 'new, "q";\nz', "ean": "0731"})
    table = saved(table)
    assert table.values(product_id) == {"name": 'new, "q";\nz', "ean": "0731"}
    table.put(product_id, row, place)
    table.put_header(header)
    table = saved(table)
    assert file.read_bytes() == text.encode()
    if row is not None:
        table.put(product_id, None, place)
        table = saved(table)
        assert table.row(product_id) is None
        table.put(product_id, row, place)
        saved(table)
        assert file.read_bytes() == text.encode()


@pytest.mark.parametrize("text", ["sku,name\np1,a\n", "", "product_id,name\np1,a\xff"])
def test_tables_of_another_form_are_left_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "products.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match="with a column product_id"):
        ProductTable(tmp_path)

"""One round of damaging a table: its catalog is read, or refused with one line."""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from random import Random

from retrieval.catalog.read import read_catalog
from retrieval.errors import ItemrecError
from tests.faults.mutations import mutate
from tests.retrieval.catalog.test_exports import ATOM, FEED, MERCHANT, SHOPIFY, WOOCOMMERCE

TRIES = 20
"""Tables in one round."""


@cache
def tables() -> dict[str, bytes]:
    """A table of every kind that is read, by its name."""
    from openpyxl import Workbook

    book = Workbook()
    book.active.append(["sku", "name", "image"])
    book.active.append([4711, "Pear", "a.jpg"])
    file = io.BytesIO()
    book.save(file)
    texts = {
        "shopify.csv": SHOPIFY,
        "woocommerce.csv": WOOCOMMERCE,
        "merchant.tsv": MERCHANT,
        "rss.xml": FEED,
        "atom.xml": ATOM,
        "ours.jsonl": '{"product_id": "p", "image": "a.jpg", "tags": ["x", 1]}\n{"product_id": 7, "image": "b.jpg"}\n',
        "sheet.csv": "sep=;\nArtikel-Nr;Bezeichnung;Foto\n4711;Birne;a.jpg|b.jpg\n",
    }
    return {name: text.encode() for name, text in texts.items()} | {"book.xlsx": file.getvalue()}


def table_round(place: Path, seed: int) -> None:
    """Damage tables of every kind and read their catalogs, of which nothing is fetched."""
    random = Random(seed)
    for _ in range(TRIES):
        name = random.choice(sorted(tables()))
        file = place / name
        file.write_bytes(mutate(tables()[name], random))
        try:
            catalog = read_catalog(file)
            for refusal in catalog.refused_rows:
                assert refusal.reason.isprintable()
            for product in catalog.products.values():
                product.product_id.encode()
        except ItemrecError as error:
            if not str(error).isprintable():
                raise AssertionError(f"seed {seed}, {name}: {error!r}") from error
        except Exception as error:
            raise AssertionError(f"seed {seed}, {name}: {type(error).__name__}: {error}") from error
        finally:
            file.unlink()

"""What exports of shop systems spread over several rows: a product's further pictures, and its variants."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from retrieval.catalog.columns import Meaning, plain
from retrieval.system.text import one_form, plural
from retrieval.types import JsonValue

Found = list[tuple[int, dict[str, JsonValue] | str]]
"""Rows, or what is wrong with one, by line."""


def arranged(rows: Found, meaning: Meaning, header: Sequence[str]) -> tuple[Found, Meaning, list[str]]:
    """The rows of an export, each with its product; what the columns mean then; what a person may want to know.

    Cells without a value are left out: an export has a column for everything.
    """
    notes: list[str] = []
    filled: Found = [
        (line, row if isinstance(row, str) else {k: v for k, v in row.items() if v not in (None, "", [])})
        for line, row in rows
    ]
    if meaning.source == "Shopify":
        filled = _of_shopify(filled, meaning, header)
    elif meaning.source == "WooCommerce":
        filled, meaning = _of_woocommerce(filled, meaning, header, notes)
    return filled, meaning, notes


def _of_shopify(rows: Found, meaning: Meaning, header: Sequence[str]) -> Found:
    """Rows of one handle are one product; where variants are the products, a picture of its only one is that one's."""
    handle = next((name for name in header if plain(name) in ("handle", "url_handle")), meaning.id)
    if handle == meaning.id:
        return rows
    variants: dict[str, set[str]] = defaultdict(set)
    for _, row in rows:
        if isinstance(row, dict) and meaning.id in row:
            variants[str(row.get(handle))].add(str(row[meaning.id]))
    found: Found = []
    for line, row in rows:
        if isinstance(row, dict) and meaning.id not in row:
            of = variants[str(row.get(handle))]
            if len(of) == 1:
                row = {**row, meaning.id: next(iter(of))}
            else:
                row = f"expected a {meaning.id}, received none, and {plural(len(of), 'variant')} of {row.get(handle)}"
        found.append((line, row))
    return found


def _of_woocommerce(rows: Found, meaning: Meaning, header: Sequence[str], notes: list[str]) -> tuple[Found, Meaning]:
    """A product is its SKU where every row has one of its own, else its ID; variations without pictures are dropped."""
    by_plain = {plain(name): name for name in header}
    kind, images = by_plain.get("type", ""), meaning.images[:1]
    kept: Found = []
    dropped = 0
    for line, row in rows:
        variation = isinstance(row, dict) and str(row.get(kind, "")).strip().lower() == "variation"
        if variation and not any(image in row for image in images):
            dropped += 1
        else:
            kept.append((line, row))
    if dropped:
        notes.append(f"{plural(dropped, 'variation')} without pictures: no products of their own")
    skus = [one_form(str(row.get(meaning.id, ""))) for _, row in kept if isinstance(row, dict)]
    if meaning.spare_id and (not all(skus) or len(set(skus)) < len(skus)):
        meaning = replace(meaning, id=meaning.spare_id)
    return kept, meaning

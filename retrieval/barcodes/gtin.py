"""Pure: the numbers that barcodes carry, whatever length they are printed or written down in.

EAN-8, UPC-A (12 digits), EAN-13 and GTIN-14 are one family: the same number with zeros before it, and a check digit at
its end. All are compared as 14 digits.
"""

from __future__ import annotations

import re

LENGTHS = (8, 12, 13, 14)
"""Digits of the codes of the family."""

_COLUMN = re.compile(
    r"(variant_|product_)?(gtin|ean|upc|barcode)(_?(8|12|13|14|a|e))?(_?(code|number|no|nr))?s?"
    r"|global_unique_id|gtin,?_upc,?_ean,?_or_isbn"
)
"""Columns of codes, as `retrieval.catalog.columns.plain` spells names: also those of Shopify and WooCommerce."""


def is_code_column(plain_name: str) -> bool:
    """True for a column whose usual meaning is a product's barcode.

    Args:
        plain_name: its name as `retrieval.catalog.columns.plain` spells it.
    """
    return _COLUMN.fullmatch(plain_name) is not None


def check_digit(digits: str) -> str:
    """The last digit of a code, from those before it: weights 3 and 1 in turn, from the right."""
    weighted = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(digits)))
    return str(-weighted % 10)


def normal(text: object) -> str | None:
    """A code as 14 digits, or None for what is none of the family or has a wrong check digit.

    Args:
        text: as it was read or written down: with blanks and hyphens, as a number, with zeros lost at its front.
    """
    if isinstance(text, float) and text.is_integer():
        text = int(text)
    digits = re.sub(r"[\s\-]", "", str(text))
    if not re.fullmatch(r"[0-9]{6,14}", digits) or not int(digits):
        return None
    padded = digits.rjust(14, "0")
    if check_digit(padded[:-1]) == padded[-1]:
        return padded
    return None


def spellings(code: str) -> list[str | int]:
    """How a table may have written a code down: with 14, 13, 12 and 8 digits where zeros stand before them, or fewer.

    Args:
        code: 14 digits.
    """
    shortest = code.lstrip("0")
    found = [code[-length:] for length in reversed(LENGTHS) if len(shortest) <= length]
    return [*dict.fromkeys((*found, shortest)), int(code)]


def in_store(code: str) -> bool:
    """True for a number that a shop gives out itself, for weighed goods and coupons: it names no product of the world.

    Args:
        code: 14 digits.
    """
    if code.startswith("000000"):  # EAN-8, whose prefixes 0 and 2 are the shops' own
        return code[6] in "02"
    return code[1:3] in ("02", "04") or code[1] == "2" or code[1:3] in ("05", "98", "99")

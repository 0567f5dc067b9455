"""Pure: the numbers that barcodes carry, whatever length they are printed or written down in.

EAN-8, UPC-A (12 digits), EAN-13 and GTIN-14 are one family: the same number with zeros before it, and a check digit at
its end. All are compared as 14 digits.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import accumulate

LENGTHS = (8, 12, 13, 14)
"""Digits of the codes of the family."""

MOSTLY = 0.8
"""Part of the names that are codes where names are codes: shops sell some things without one."""
_GROUPS = {8: (4, 4), 12: (1, 5, 5, 1), 13: (1, 6, 6), 14: (1, 2, 5, 5, 1)}
"""How the digits under the bars are printed."""
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


def are_codes(names: Sequence[str]) -> bool:
    """True where the names of products are their barcodes: nearly all have the digits of one, the check digit included.

    Args:
        names: of the products; some hundreds tell.
    """
    codes = sum(
        name.isascii() and name.isdigit() and len(name) in LENGTHS and normal(name) is not None for name in names
    )
    return codes > 0 and codes >= MOSTLY * len(names)


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
    digits = re.sub(r"[\s\-]", "", str(text).removeprefix("'").removesuffix(".0"))
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


def as_printed(code: str) -> list[str]:
    """How a person may have written a code down: in the groups in which it is printed, or as a spreadsheet marks text.

    Args:
        code: 14 digits.
    """
    found = []
    for digits in spellings(code):
        if isinstance(digits, int):
            continue
        found += [f"'{digits}", f"{digits}.0"]
        groups = [_GROUPS[len(digits)]] if len(digits) in _GROUPS else []
        # A book's number: how long its country's and its publisher's parts are is in a list of thousands.
        if len(digits) == 13 and digits[:3] in ("978", "979"):
            groups += [(3, a, b, 9 - a - b, 1) for a in range(1, 6) for b in range(2, 8) if a + b < 9]
        for lengths in groups:
            ends = list(accumulate(lengths))
            parts = [digits[end - length : end] for length, end in zip(lengths, ends, strict=True)]
            found += [sign.join(parts) for sign in " -"]
    return found


def in_store(code: str) -> bool:
    """True for a number that a shop gives out itself, for weighed goods and coupons: it names no product of the world.

    Args:
        code: 14 digits.
    """
    if code.startswith("000000"):  # EAN-8, whose prefixes 0 and 2 are the shops' own
        return code[6] in "02"
    return code[1:3] in ("02", "04") or code[1] == "2" or code[1:3] in ("05", "98", "99")

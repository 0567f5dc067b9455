"""What the columns of a table mean: which is the product, which its pictures, which its name.

A table of ours says ``product_id`` and ``image``. Exports of Shopify, WooCommerce and Google Merchant say it in their
own words; of any other table the columns are guessed from usual names, and the guess is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from retrieval.errors import CatalogError
from retrieval.system.text import one_form, printable

Source = Literal["itemrec", "Shopify", "WooCommerce", "Google Merchant", "another"]

ADDRESS = re.compile(r"\s*(https?|ftp|s3|gs)://", re.IGNORECASE)

_IDS = (
    *("product_id", "productid", "sku", "variant_sku", "item_id", "itemid", "article_number", "article_no"),
    *("article_id", "articlenumber", "art_no", "article", "item_number", "item_no", "product_number", "product_code"),
    *("productcode", "item_code", "artikelnummer", "artikelnr", "artikel_nr", "art_nr", "artnr", "artikel"),
    *("référence", "reference", "ref", "mpn", "gtin", "ean", "ean13", "upc", "barcode", "handle", "url_handle"),
    *("code", "id", "key"),
)
_IMAGES = (
    *("image", "images", "image_src", "image_link", "image_url", "image_urls", "imageurl", "image_path"),
    *("image_file", "imagelink", "product_image_url", "product_image", "main_image", "main_image_url"),
    *("primary_image", "img", "img_url", "picture", "pictures", "picture_url", "photo", "photos", "photo_url"),
    *("bild", "bilder", "bild_url", "bildurl", "foto", "thumbnail", "thumbnail_url", "filename", "file_name"),
    *("file", "path"),
)
_MORE_IMAGES = (
    *("additional_image_link", "additional_image_links", "additional_images"),
    *("variant_image", "variant_image_url"),
)
_NAMES = (
    *("name", "title", "product_name", "product_title", "item_name", "bezeichnung", "artikelname", "designation"),
    "titel",
)
_BETWEEN_ADDRESSES = re.compile(r"[,;|\s]\s*(?=\w{2,5}://)")
"""A comma may be part of an address: one that separates stands before the next address."""
_OF_PICTURES = frozenset({"image_position", "image_alt_text"})
"""Columns of Shopify that speak of a picture and not of the product."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a user says of how a catalog is to be read; None for what it tells itself.

    Attributes:
        id_column: the column of its table that holds the products' ids.
        image_column: the column that names their pictures.
        name_column: the column that holds their names.
        split_names: for pictures without product folders: after which separator a file's name counts the pictures of a
            product (``_``, ``-``, ``.``, ``space``), or ``none``.
        allow_private: fetch pictures from private and loopback addresses, too.
    """

    id_column: str | None = None
    image_column: str | None = None
    name_column: str | None = None
    split_names: str | None = None
    allow_private: bool = False


AS_FOUND = Reading()
"""Nothing said: the catalog tells."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """What the columns of a table mean.

    Attributes:
        id: the column of the product's id.
        images: columns that name pictures, in the order in which they are taken.
        name: the column that becomes ``name``; empty for none.
        source: whose export it is.
        chosen: the user named the column of pictures.
        spare_id: of WooCommerce: the column that every row has.
    """

    id: str
    images: tuple[str, ...] = ()
    name: str = ""
    source: Source = "itemrec"
    chosen: bool = False
    spare_id: str = ""

    @property
    def merges(self) -> bool:
        """Whether several rows are one product, and what differs in them a list."""
        return self.source in ("Shopify", "WooCommerce", "Google Merchant")

    def note(self, table: str, *, pictures: bool) -> str:
        """What was understood, a line; empty for a table of ours.

        Args:
            table: its name.
            pictures: whether its pictures are taken.
        """
        if self.source == "itemrec" and not self.chosen:
            return ""
        images = " and ".join(self.images) if pictures else ""
        named = {"products": self.id, "pictures": images, "name": self.name}
        parts = ", ".join(f"{what} in {printable(column)}" for what, column in named.items() if column)
        return f"{printable(table)}{f' is an export of {self.source}' if self.merges else ''}: {parts}"


def plain(name: str) -> str:
    """A column's name without what differs from export to export: case, blanks, hyphens, the prefix ``g:``."""
    return re.sub(r"[\s\-_.]+", "_", one_form(name).lower().removeprefix("g:")).strip("_")


def is_image_column(name: str) -> bool:
    """True for a column whose usual meaning is a picture: these may stand in a table more than once."""
    return plain(name) in (*_IMAGES, *_MORE_IMAGES)


def find_meaning(header: Sequence[str], given: Reading, table: str) -> Meaning:
    """Tell what the columns of a table mean.

    Args:
        header: their names, each once.
        given: what the user says.
        table: its name, for messages.

    Raises:
        CatalogError: no column names products, or one that the user named is not there.
    """
    by_plain: dict[str, str] = {}
    for name in header:
        by_plain.setdefault(plain(name), name)
    chosen = {
        option: _named(value, header, by_plain, option, table)
        for option, value in (("id", given.id_column), ("image", given.image_column), ("name", given.name_column))
        if value is not None
    }
    source = _source(by_plain)
    spare = ""
    if source == "Shopify":
        key = by_plain.get("handle") or by_plain["url_handle"]
    elif source == "WooCommerce":
        key = by_plain.get("sku") or by_plain["id"]
        spare = by_plain["id"] if "sku" in by_plain and "id" in by_plain else ""
    elif source == "Google Merchant":
        key = by_plain["id"]
    else:
        key = next((by_plain[name] for name in _IDS if name in by_plain), "")
    if "id" in chosen:
        key, spare = chosen["id"], ""
    if not key:
        received = ", ".join(header[:10]) or "an empty file"
        raise CatalogError(
            printable(f"expected a product_id column in {table}, received {received}"),
            hint="The first line names the columns: product_id,name,category; or name the one: --id-column COLUMN",
        )
    if "image" in chosen:
        images: tuple[str, ...] = (chosen["image"],)
    else:
        own = [by_plain[name] for name in _IMAGES if name in by_plain and by_plain[name] != key]
        images = (*own[:1], *(name for name in header if plain(name) in _MORE_IMAGES and name != key))
    name = chosen.get("name") or next((by_plain[n] for n in _NAMES if n in by_plain and by_plain[n] != key), "")
    if source == "itemrec" and not chosen:
        # A table of ours is as ever: what is called title stays title.
        return Meaning(key, images)
    return Meaning(key, images, name, source, "image" in chosen, spare)


def clears(source: Source, column: str) -> bool:
    """True for a column that says something of a picture and nothing of the product."""
    return source == "Shopify" and plain(column) in _OF_PICTURES


def pictures_in(value: object, *, ours: bool) -> list[str]:
    """The pictures that a cell names: a path, an address, or several of these.

    Args:
        value: the cell.
        ours: the column is our ``image``: text is one path, whatever is in it.
    """
    if isinstance(value, list):
        return [found for one in value for found in pictures_in(one, ours=ours)]
    text = str(value or "").strip()
    if ADDRESS.match(text):
        parts = _BETWEEN_ADDRESSES.split(text)
    elif ours:
        parts = [text]
    else:
        parts = re.split(r"[;|\n]", text)
        commas = [part.strip() for part in text.replace(";", ",").replace("|", ",").replace("\n", ",").split(",")]
        if all(re.search(r"\.\w{3,4}$", part) for part in commas if part):
            parts = commas
    return [part for part in (part.strip(" \t\n,;|") for part in parts) if part]


def _source(names: Iterable[str]) -> Source:
    found = set(names)
    if "product_id" in found:
        return "itemrec"
    if "handle" in found and found & {"image_src", "variant_sku"}:
        return "Shopify"
    if "url_handle" in found and found & {"product_image_url", "sku"}:
        return "Shopify"
    if "images" in found and found & {"sku", "id"} and found & {"type", "parent", "published", "regular_price"}:
        return "WooCommerce"
    if {"id", "image_link"} <= found:
        return "Google Merchant"
    return "another"


def _named(value: str, header: Sequence[str], by_plain: dict[str, str], option: str, table: str) -> str:
    name = one_form(value)
    found = name if name in header else by_plain.get(plain(name))
    if found is None:
        raise CatalogError(
            printable(f"expected a column {name} in {table}, received {', '.join(header[:20]) or 'an empty file'}"),
            hint=f"Name one that is there: --{option}-column COLUMN",
        )
    return found

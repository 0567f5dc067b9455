"""Read a product feed in XML: RSS 2.0 or Atom with the attributes of Google Merchant, namespace or none."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

from retrieval.errors import CatalogError
from retrieval.system.text import printable
from retrieval.types import JsonValue

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_ITEMS = frozenset({"item", "entry"})
_GOOGLE = "{http://base.google.com/ns/"


def read_feed(table: str, data: bytes) -> Iterator[tuple[int, dict[str, JsonValue]]]:
    """The products of a feed: their number, from 1, and their attributes, those that repeat as lists.

    Args:
        table: the file's name, for messages.
        data: its bytes. Entities that it declares itself are refused: they are how a kilobyte becomes a gigabyte.

    Raises:
        CatalogError: it is no XML, or no feed.
    """
    # Catalogs with folders alone do not pay for the import.
    from xml.etree.ElementTree import ParseError

    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import iterparse

    number = 0
    try:
        for _, element in iterparse(io.BytesIO(data), events=("end",)):
            if _local(element.tag) in _ITEMS:
                number += 1
                yield number, _attributes(element)
                element.clear()
    except ParseError as error:
        raise CatalogError(
            printable(f"expected well-formed XML in {table}, received {error}"), hint="Export the feed again."
        ) from error
    except DefusedXmlException as error:
        raise CatalogError(
            printable(f"expected a feed of products in {table}, received XML that declares entities"),
            hint="Export the feed again; a feed needs no entities of its own.",
        ) from error
    except (LookupError, ValueError) as error:
        raise CatalogError(
            printable(f"expected XML in an encoding that is known in {table}, received {error}"),
            hint="Export the feed again, in UTF-8.",
        ) from error
    if not number:
        raise CatalogError(
            printable(f"expected a feed of products in {table}, received XML without an item or entry"),
            hint="A feed is RSS or Atom: one <item> or <entry> a product, with id, title and image_link.",
        )


def _attributes(item: Element) -> dict[str, JsonValue]:
    found: dict[str, list[str]] = {}
    google: set[str] = set()
    for child in item:
        name = _local(child.tag)
        text = " ".join(" ".join(child.itertext()).split()) or child.get("href", "")
        if child.tag.startswith(_GOOGLE) and name not in google:
            # <title> of RSS and <g:title> say the same twice; the attribute of the feed counts.
            google.add(name)
            found[name] = []
        elif name in google and not child.tag.startswith(_GOOGLE):
            continue
        if text:
            found.setdefault(name, []).append(text)
    return {name: texts[0] if len(texts) == 1 else [*texts] for name, texts in found.items() if texts}


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]

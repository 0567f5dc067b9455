"""The page of `itemrec query --many`: each photo with its items drawn in, and how many there are of each product."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from markupsafe import Markup

from retrieval.detection.drawing import draw_items, to_bytes
from retrieval.detection.found import FoundItems
from retrieval.detection.planogram import Compliance, sentences
from retrieval.report.page import Section, page, table, wide_figure
from retrieval.system.html import items as bullets
from retrieval.system.text import plural


def items_page(photos: Sequence[tuple[bytes, FoundItems, Compliance | None]]) -> str:
    """The whole document.

    Args:
        photos: the bytes of each, what was found in it, and how that differs from the planogram.

    Raises:
        ImageError: a photo cannot be read.
    """
    total = sum(len(found.items) for _, found, _ in photos)
    products = {item.product_id for _, found, _ in photos for item in found.items}
    right = all(compliance is None or compliance.holds for _, _, compliance in photos)
    sections = [
        Section(f"photo-{number}", found.source, _body(data, found, compliance), count=len(found.items))
        for number, (data, found, compliance) in enumerate(photos, 1)
    ]
    return page(
        "Items",
        verdict=f"{plural(total, 'item')} of {plural(len(products), 'product')} in {plural(len(photos), 'photo')}",
        tone="good" if right and total else "warn",
        sections=sections,
    )


def _body(data: bytes, found: FoundItems, compliance: Compliance | None) -> Markup:
    drawn = base64.b64encode(to_bytes(draw_items(data, found), ".jpg")).decode("ascii")
    counts = ", ".join(f"{count:,} {product_id}" for product_id, count in found.counts.items()) or "nothing found"
    picture = Markup('<img src="data:image/jpeg;base64,{}" alt="{}" style="max-width:100%">').format(drawn, counts)
    unsure = {p: sum(i.product_id == p and i.verdict == "ambiguous" for i in found.items) for p in found.counts}
    rows = [(p, f"{count:,}", f"{unsure[p]:,}") for p, count in found.counts.items()]
    parts = [
        wide_figure(picture, f"{plural(len(found.items), 'item')}; those with ? look like another product, too."),
        table(("product", "items", "not sure"), rows, numeric=(1, 2), label="Items of each product"),
    ]
    if compliance is not None:
        said = sentences(compliance) or ["all stands as it should"]
        parts.append(Markup("<p>{}</p>").format(f"Planogram: {compliance.right:,} of {compliance.expected:,} right."))
        parts.append(bullets(said))
    return Markup("").join(parts)

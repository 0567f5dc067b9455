"""Escaped HTML fragments: what a notebook shows of a result.

Text becomes HTML only through `markupsafe.Markup`, whose ``format`` and ``join`` escape whatever is not Markup
already: a product named ``<script>`` is shown, not run. Styles are inline, since a notebook's page is not ours, and
take the page's own colors. Whole pages are made by `retrieval.report.page`; pictures by `retrieval.images.inline`.

    return fragment("It finds 83 of 100", table(["", "rate"], [["top 1", "83 %"]], numeric=(1,)))
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from markupsafe import Markup

from retrieval.system.text import printable

_TURNS_TEXT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_CELL = "padding:.2em .8em .2em 0;vertical-align:top;text-align:"


def visible(html: str) -> str:
    """The HTML with control and bidirectional characters shown by their number: a name must not turn its page."""
    return _TURNS_TEXT.sub(lambda found: printable(found[0]), html)


def fragment(heading: str, *parts: str | Markup) -> str:
    """What a ``_repr_html_`` returns.

    Args:
        heading: the one line that matters most.
        parts: under it: paragraphs (text) or blocks (Markup); empty ones are left out.
    """
    body = _blocks(parts)
    return visible(str(Markup("<div><p><strong>{}</strong></p>{}</div>").format(heading, body)))


def _blocks(parts: Iterable[str | Markup]) -> Markup:
    return Markup("").join(part if isinstance(part, Markup) else paragraph(part) for part in parts if part)


def paragraph(text: str | Markup) -> Markup:
    """A paragraph of its own."""
    return Markup("<p>{}</p>").format(text)


def dimmed(*parts: str | Markup) -> Markup:
    """Paragraphs (text) and blocks (Markup) that are beside the point, paler than the rest."""
    body = _blocks(parts)
    return Markup('<div style="opacity:.6">{}</div>').format(body)


def items(texts: Iterable[str | Markup]) -> Markup:
    """A list with bullets; nothing without any item."""
    listed = Markup("").join(Markup("<li>{}</li>").format(text) for text in texts)
    return Markup("<ul>{}</ul>").format(listed) if listed else listed


def row(blocks: Iterable[Markup]) -> Markup:
    """Blocks side by side, in as many lines as they need."""
    return Markup('<div style="display:flex;flex-wrap:wrap;gap:.6em">{}</div>').format(Markup("").join(blocks))


def table(headings: Sequence[str], rows: Iterable[Sequence[str | Markup]], *, numeric: Sequence[int] = ()) -> Markup:
    """A table.

    Args:
        headings: one for each column.
        rows: cells, one for each column.
        numeric: indices of right-aligned columns.
    """

    def cells(tag: str, contents: Sequence[str | Markup]) -> Markup:
        return Markup("").join(
            Markup('<{0} style="{1}{2}">{3}</{0}>').format(
                Markup(tag), _CELL, "right" if i in numeric else "left", content
            )
            for i, content in enumerate(contents)
        )

    head = cells("th", headings)
    body = Markup("").join(Markup("<tr>{}</tr>").format(cells("td", contents)) for contents in rows)
    return Markup('<table style="border-collapse:collapse"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>').format(
        head, body
    )

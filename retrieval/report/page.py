"""What every HTML report shares: one self-contained file, escaped by construction.

Text becomes HTML only through `markupsafe.Markup`, whose ``format`` and ``join`` escape whatever
is not Markup already. So a product named ``<script>`` is shown, not run. Nothing is fetched: the
style is inline, pictures are ``data:`` URIs, there is no script, and the content security policy
forbids all of it, should a mistake slip in.

    body = section("worst", "Worst failures", Markup("").join(card(title, ...) for ...), count=3)
    html = page("Evaluation", verdict="It finds 83 of 100", tone="good", sections=[body])
    write_page(Path("report.html"), html)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from markupsafe import Markup

from retrieval.errors import UsageError
from retrieval.system.files import replace_file
from retrieval.system.html import visible
from retrieval.system.text import printable

Tone = Literal["plain", "good", "warn", "bad"]

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page with a heading that the contents line links to.

    Attributes:
        anchor: its id in the page: letters, digits and dashes.
        title: the heading.
        body: what is in it.
        count: a number beside the heading; None for none.
        tone: the color of that number.
    """

    anchor: str
    title: str
    body: Markup
    count: int | None = None
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Tile:
    """A number worth seeing first, and what it counts."""

    value: str
    label: str
    tone: Tone = "plain"


def page(
    title: str,
    *,
    verdict: str,
    tone: Tone = "plain",
    lead: Iterable[str | Markup] = (),
    tiles: Sequence[Tile] = (),
    sections: Sequence[Section] = (),
    footer: str | Markup = "",
) -> str:
    """The whole document.

    Args:
        title: what the report is about; the small line above the verdict and the window's title.
        verdict: the one sentence that a reader in a hurry needs.
        tone: how good that sentence is.
        lead: paragraphs under it.
        tiles: numbers under those.
        sections: the rest, in order.
        footer: where the numbers come from: model, settings, version, date.
    """
    contents = Markup("")
    if len(sections) > 1:
        links = Markup("").join(
            Markup('<li><a href="#{}">{}{}</a></li>').format(s.anchor, s.title, _badge(s)) for s in sections
        )
        contents = Markup('<nav aria-label="Contents"><ul>{}</ul></nav>').format(links)
    html = str(
        _DOCUMENT.format(
            policy=_POLICY,
            title=title,
            style=_style(),
            tone=tone,
            verdict=_unbroken(verdict),
            lead=Markup("").join(Markup("<p>{}</p>").format(p) for p in lead),
            tiles=tile_row(tiles),
            contents=contents,
            sections=Markup("").join(_section(s) for s in sections),
            footer=Markup("<footer>{}</footer>").format(footer) if footer else Markup(""),
        )
    )
    return visible(html)


_DOCUMENT = Markup(
    """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="referrer" content="no-referrer">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<header>
<h1>{title}</h1>
<p class="verdict {tone}">{verdict}</p>
{lead}
{tiles}
{contents}
</header>
<main id="content">
{sections}
</main>
{footer}
</body>
</html>
"""
)


def tile_row(tiles: Sequence[Tile]) -> Markup:
    """Numbers side by side; nothing without any."""
    if not tiles:
        return Markup("")
    cells = (
        Markup('<li class="tile {}"><b>{}</b><span>{}</span></li>').format(t.tone, _unbroken(t.value), t.label)
        for t in tiles
    )
    return Markup('<ul class="tiles">{}</ul>').format(Markup("").join(cells))


def cards(items: Iterable[Markup], *, narrow: bool = False) -> Markup:
    """A list of cards, see `card`; ``narrow`` ones stand side by side where there is room."""
    return Markup('<ul class="cards{}">{}</ul>').format(" narrow" if narrow else "", Markup("").join(items))


def card(title: str | Markup, *parts: str | Markup, tone: Tone = "plain") -> Markup:
    """One entry of `cards`: a heading, and paragraphs (text) or blocks (Markup) under it."""
    body = Markup("").join(p if isinstance(p, Markup) else Markup("<p>{}</p>").format(p) for p in parts if p)
    return Markup('<li class="card {}"><h3>{}</h3>{}</li>').format(tone, title, body)


def strip(figures: Iterable[Markup], *, heading: str = "") -> Markup:
    """Pictures in a row that wraps, with a line above."""
    items = Markup("").join(Markup("<li>{}</li>").format(f) for f in figures)
    above = Markup("<p>{}</p>").format(heading) if heading else Markup("")
    return Markup('<div class="group">{}<ul class="strip">{}</ul></div>').format(above, items)


def groups(*strips: Markup) -> Markup:
    """Rows of pictures side by side where the screen is wide enough."""
    return Markup('<div class="groups">{}</div>').format(Markup("").join(strips))


def figure(uri: str | None, caption: str, *, alt: str, missing: str = "cannot be shown", mark: bool = False) -> Markup:
    """A thumbnail with its caption.

    Args:
        uri: what `retrieval.images.inline.data_uri` returned; None draws a frame that says ``missing``.
        caption: under the picture.
        alt: what a reader who cannot see it is told.
        missing: why there is no picture.
        mark: draw a frame around the one that matters.
    """
    shown = (
        Markup('<img src="{}" alt="{}" loading="lazy">').format(uri, alt)
        if uri
        else Markup('<div class="gone" role="img" aria-label="{}">{}</div>').format(alt, missing)
    )
    opening = Markup('<figure class="mark">') if mark else Markup("<figure>")
    return opening + shown + Markup("<figcaption>{}</figcaption></figure>").format(caption)


def wide_figure(drawing: Markup, caption: str) -> Markup:
    """A plot as wide as the page; ``drawing`` is SVG or an ``img`` that is safe already."""
    return Markup('<figure class="wide">{}<figcaption>{}</figcaption></figure>').format(drawing, caption)


def plot_row(*blocks: Markup) -> Markup:
    """Plots, or a plot and its table, side by side where the screen is wide enough."""
    return Markup('<div class="plots">{}</div>').format(Markup("").join(blocks))


def table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str | Markup]],
    *,
    numeric: Sequence[int] = (),
    caption: str = "",
    label: str = "",
    compact: bool = False,
) -> Markup:
    """A table whose rows become blocks of ``heading: cell`` on a phone; the first cell is the row's heading.

    Args:
        headings: one for each column.
        rows: cells, one for each column.
        numeric: indices of right-aligned columns.
        caption: what the table shows, above it.
        label: the same for screen readers only, where a heading above says it already.
        compact: a few narrow columns, which stay a table on a phone too.
    """

    def cell(i: int, tag: str, content: str | Markup, scope: str = "") -> Markup:
        return Markup("<{}{}{}{}>{}</{}>").format(
            Markup(tag),
            Markup(' scope="{}"').format(scope) if scope else Markup(""),
            Markup(' class="num"') if i in numeric else Markup(""),
            Markup(' data-label="{}"').format(headings[i]) if tag == "td" else Markup(""),
            _unbroken(content),
            Markup(tag),
        )

    head = Markup("").join(cell(i, "th", name, "col") for i, name in enumerate(headings))
    body = Markup("").join(
        Markup("<tr>{}</tr>").format(
            Markup("").join(cell(i, "td" if i else "th", c, "" if i else "row") for i, c in enumerate(row))
        )
        for row in rows
    )
    above = Markup("<caption>{}</caption>").format(caption) if caption else Markup("")
    # Focusable, because a keyboard must be able to scroll it.
    return Markup(
        '<div class="scroll" tabindex="0" role="region" aria-label="{}">'
        '<table class="{}">{}<thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>'
    ).format(caption or label or "Table", "compact" if compact else "stacked", above, head, body)


def bars(rows: Iterable[tuple[str, float | None, str]], *, label: str) -> Markup:
    """Rates as short bars, in as many columns as fit: a name, its rate in [0, 1], and the text beside it."""
    items = Markup("").join(
        Markup(
            '<li><span class="name">{}</span><span class="bar" style="--part:{}"></span><span>{}</span></li>'
        ).format(name, f"{min(max(part or 0.0, 0.0), 1.0):.3f}", text)
        for name, part, text in rows
    )
    return Markup('<ul class="bars" aria-label="{}">{}</ul>').format(label, items)


def details(summary: str, body: Markup, *, unfolded: bool = False) -> Markup:
    """Something folded away, unless ``unfolded``; on paper it is open."""
    opening = Markup("<details open>") if unfolded else Markup("<details>")
    return opening + Markup("<summary>{}</summary>{}</details>").format(summary, body)


def write_page(path: Path, html: str) -> None:
    """Write the file, whole or not at all.

    Raises:
        UsageError: that place cannot be written.
    """
    try:
        # A file name that is not Unicode may have come in; the page must still be written.
        replace_file(path, html.encode("utf-8", "backslashreplace"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"Cannot write the report to {printable(path)}: {reason}", hint="Name another file."
        ) from error


def _section(section: Section) -> Markup:
    return Markup('<section id="{}" aria-labelledby="{}-title"><h2 id="{}-title">{}{}</h2>{}</section>').format(
        section.anchor, section.anchor, section.anchor, section.title, _badge(section), section.body
    )


def _unbroken(text: str | Markup) -> str | Markup:
    """The text with its percent signs kept beside their numbers."""
    return text if isinstance(text, Markup) else text.replace(" %", "\u00a0%")


def _badge(section: Section) -> Markup:
    if section.count is None:
        return Markup("")
    return Markup(' <span class="badge {}">{:,}</span>').format(section.tone, section.count)


@cache
def _style() -> Markup:
    return Markup(Path(__file__).with_name("page.css").read_text(encoding="utf-8"))


__all__ = [
    "Markup",
    "Section",
    "Tile",
    "Tone",
    "bars",
    "card",
    "cards",
    "details",
    "figure",
    "groups",
    "page",
    "plot_row",
    "strip",
    "table",
    "tile_row",
    "wide_figure",
    "write_page",
]

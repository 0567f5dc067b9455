"""The table of one answer: which columns it has, and which give way where there is no room for them.

An id is never broken: where a table is wider than the terminal, columns are left out instead, those first that say
least.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cli import render
from retrieval.system.text import printable
from retrieval.types import Match

_NAMES = ("name", "title")
_EXPLAINED = ("score", "share", "votes", "distance", "evidence")
_NUMBERS = ("price", "sure", "score", "share", "votes", "distance")
_FIRST_TO_GO = ("evidence", "price", "title", "name", "votes", "share", "score", "distance", "sure")
_EVIDENCE_SHOWN = 2
_GAP = 2


def print_products(products: Sequence[Match], *, explain: bool = False, dim: bool = False) -> None:
    """Write ranked products to stdout, one a line.

    Args:
        products: at least one, best first.
        explain: with what decided: score, share, votes, distance and the pictures that voted.
        dim: they are no answer, only what is nearest.
    """
    rows = [_cells(product) for product in products]
    # A catalog without a table has no names, a model that is not calibrated does not say how sure.
    columns = [c for c in rows[0] if any(row[c] for row in rows) and (explain or c not in _EXPLAINED)]
    # What a product is called is said once.
    columns = [c for c in columns if c not in _NAMES or c == next(name for name in _NAMES if name in columns)]
    if not render.on_terminal():
        numbers = [place for place, name in enumerate(columns) if name in _NUMBERS]
        render.table(columns, [[row[name] for name in columns] for row in rows], right=numbers)
        return
    from rich.cells import cell_len
    from rich.console import Console
    from rich.text import Text

    console = Console()
    columns = _that_fit(columns, rows, console.width, cell_len)
    widths = {c: max(cell_len(text) for text in (c, *(row[c] for row in rows))) for c in columns}
    for row, style in [({c: c for c in columns}, "dim bold"), *((row, "dim" if dim else "") for row in rows)]:
        line = (" " * _GAP).join(_padded(row[c], widths[c] - cell_len(row[c]), c in _NUMBERS) for c in columns)
        console.print(Text(line.rstrip(), style), no_wrap=True, overflow="ignore", crop=False, soft_wrap=True)


def _that_fit(
    columns: list[str], rows: Sequence[dict[str, str]], room: int, cell_len: Callable[[str], int]
) -> list[str]:
    """The columns that a line of ``room`` cells has place for."""
    kept = list(columns)
    for name in _FIRST_TO_GO:
        widths = [max(cell_len(text) for text in (c, *(row[c] for row in rows))) for c in kept]
        if sum(widths) + _GAP * (len(kept) - 1) <= room:
            break
        if name in kept:
            kept.remove(name)
    return kept


def _padded(text: str, room: int, right: bool) -> str:
    return " " * room + text if right else text + " " * room


def _cells(product: Match) -> dict[str, str]:
    known = {key: product.metadata.get(key) for key in (*_NAMES, "price")}
    cells = {
        "product": product.product_id,
        **{key: "" if value is None else str(value) for key, value in known.items()},
        "sure": "" if product.confidence is None else percent(product.confidence),
        "score": f"{product.score:.3f}",
        "share": f"{product.share:.0%}",
        "votes": str(product.votes),
        "distance": f"{product.best_distance:.3f}",
        "evidence": "  ".join(
            f"{e.image.removeprefix(product.product_id + '/')} {e.distance:.3f}"
            for e in product.evidence[:_EVIDENCE_SHOWN]
        ),
    }
    return {name: printable(text) for name, text in cells.items()}


def percent(probability: float) -> str:
    """A probability as people read it; never 100 % or 0 %, which no measurement says."""
    if probability > 0.99:
        return "> 99 %"
    return "< 1 %" if probability < 0.01 else f"{100.0 * probability:.0f} %"

"""Which rates of a section people are shown: those of the rule that queries go by.

The document keeps what the threshold does beside what probabilities do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from retrieval.evaluation.document import RateDoc, RefusalsDoc, ViewsDoc, ViewsRowDoc


def headings_of_views(views: ViewsDoc) -> tuple[str, str]:
    """What the rates of `rates_of_views` are called."""
    if all(row.get("served") for row in views["rows"]):
        return "match, and right", "unknown: match"
    return "near enough (DIR)", "unknown named (FPIR)"


def rates_of_views(row: ViewsRowDoc) -> tuple[RateDoc, RateDoc]:
    """Known items that are named rightly, and unknown ones that are named."""
    served = row.get("served")
    return (row["dir"], row["fpir"]) if served is None else (served["match_right"], served["unknown_match"])


def rates_of_refusals(refusals: RefusalsDoc) -> list[tuple[str, RateDoc, RateDoc]]:
    """What each rate is of, without the refusals, and with them."""
    served = refusals.get("served")
    if served is None:
        found = [("right product first", refusals["known"]), ("leave-one-out unknowns named", refusals["unknown"])]
        if refusals["outsiders"] is not None:
            found.append(("photos outside the gallery named", refusals["outsiders"]))
        return [(name, rates["before"], rates["after"]) for name, rates in found]
    before, after = served["before"], served["after"]
    rows = [
        ("match, and right", before["match_right"], after["match_right"]),
        ("leave-one-out unknowns: match", before["unknown_match"], after["unknown_match"]),
    ]
    outside = before["outsiders_match"], after["outsiders_match"]
    if outside[0] is not None and outside[1] is not None:
        rows.append(("photos outside the gallery: match", outside[0], outside[1]))
    return rows

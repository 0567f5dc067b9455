"""Pure: what holds for most of a catalog is one finding, not one for each product.

Eighty lines that say the same of eighty of 81 products hide the three that say something of one. And what most products
have in common is nobody's mistake: that a shop has one picture of each is how the shop is, and that a model cannot tell
half of the catalog apart is the model's fault. Both are notes, so that an audit fails for what a person can act on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from retrieval.audit.findings import Finding, Kind, Settings, Shown

_LEAST = 10
"""In a catalog of fewer products every one is named."""
_SHOWN = 8
_NOTES: frozenset[Kind] = frozenset({"few-views", "indistinguishable"})
"""Kinds that are no mistake where they hold for most products."""
_KINDS: frozenset[Kind] = _NOTES | {"no-metadata", "no-pictures", "repeated-picture", "tiny"}


def summarized(findings: Iterable[Finding], products: int, pictures: int, settings: Settings) -> list[Finding]:
    """The findings, those of a kind in one where they concern most products.

    Args:
        findings: all of them.
        products: in the catalog.
        pictures: readable ones.
        settings: its ``most`` says what most is, its ``model`` names the model.
    """
    grouped: dict[Kind, list[Finding]] = {}
    for finding in findings:
        grouped.setdefault(finding.kind, []).append(finding)
    out: list[Finding] = []
    for kind, found in grouped.items():
        # An error is about that file, however many there are.
        alike = [finding for finding in found if finding.products and finding.severity != "error"]
        named = list(dict.fromkeys(p for finding in alike for p in finding.products))
        if kind in _KINDS and len(alike) > 1 and products >= _LEAST and len(named) > settings.most * products:
            out += [finding for finding in found if finding not in alike]
            out.append(_one(kind, alike, named, products, pictures, settings))
        else:
            out += found
    return out


def _one(
    kind: Kind, found: Sequence[Finding], named: Sequence[str], products: int, pictures: int, settings: Settings
) -> Finding:
    by_strength = sorted(found, key=lambda finding: -finding.strength)
    return Finding(
        kind=kind,
        severity="info" if kind in _NOTES else min((f.severity for f in found), key=("error", "warning", "info").index),
        products=tuple(named),
        message=_message(kind, found, len(named), products, pictures, settings),
        strength=by_strength[0].strength,
        numbers={"products": len(named), "of": products, "findings": len(found)},
        pictures=tuple(shown for finding in by_strength for shown in _one_of_each(finding))[:_SHOWN],
    )


def _one_of_each(finding: Finding) -> list[Shown]:
    """The first picture of each product: of two that cannot be told apart, both."""
    first: dict[str, Shown] = {}
    for shown in finding.pictures:
        first.setdefault(shown.product_id, shown)
    return list(first.values())


def _message(kind: Kind, found: Sequence[Finding], named: int, products: int, pictures: int, settings: Settings) -> str:
    whom = f"{named:,} of {products:,} products"
    if kind == "few-views":
        counts = {int(finding.numbers["pictures"]) for finding in found}
        if counts == {1}:
            return f"{whom} have a single picture"
        return f"{whom} have fewer than {settings.min_views} pictures"
    if kind == "tiny":
        return (
            f"{len(found):,} of {pictures:,} pictures, of {whom}, are smaller than the model's input of "
            f"{settings.min_side} pixels"
        )
    if kind == "indistinguishable":
        return f"{settings.model} cannot tell {whom} from another, in {len(found):,} pairs"
    if kind == "repeated-picture":
        return f"{whom} hold a picture several times"
    return f"{whom} have no row in the table" if kind == "no-metadata" else f"{whom} have no picture"

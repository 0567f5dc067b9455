"""The audit as a page: the problems of a catalog, with the pictures side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from retrieval.audit.findings import KINDS, AuditReport, Finding, Kind, Severity, Shown, ThresholdSource, advice
from retrieval.catalog.fetched import locate
from retrieval.errors import ImageError
from retrieval.images import pictures
from retrieval.images.inline import data_uri
from retrieval.report.page import (
    Markup,
    Section,
    Tile,
    Tone,
    card,
    cards,
    figure,
    groups,
    page,
    strip,
    table,
    write_page,
)
from retrieval.system.text import plural
from retrieval.system.version import release

Read = Callable[[str], bytes]

SHOWN_FINDINGS = 24
_SHOWN_PICTURES = 8

_TONES: Mapping[Severity, Tone] = {"error": "bad", "warning": "warn", "info": "plain"}
_COMPARED: frozenset[Kind] = frozenset({"mislabeled", "indistinguishable"})
_COPIES: frozenset[Kind] = frozenset({"same-picture", "near-same-picture", "repeated-picture"})
_LISTED: frozenset[Kind] = frozenset({"unreadable", "unused-file", "no-pictures"})
_SINGLE: frozenset[Kind] = frozenset({"few-views", "blank", "tiny"})
_SOURCES: Mapping[ThresholdSource, str] = {
    "given": "as given",
    "model": "the model's calibration",
    "catalog": "FAR 1 % on this catalog, since the model is not calibrated",
}


def write_audit(path: Path, report: AuditReport, *, shown: int = SHOWN_FINDINGS) -> None:
    """Write the page, with pictures from the catalog's folder; ``shown`` as in `audit_page`.

    Raises:
        UsageError: the place cannot be written.
    """
    root = Path(report.catalog)
    write_page(
        path,
        audit_page(
            report,
            lambda image: _read(*locate(root, image)),
            version=release(),
            created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            shown=shown,
        ),
    )


def _read(file: Path, home: Path) -> bytes:
    return pictures.read_file(file, root=home)


def audit_page(report: AuditReport, read: Read, *, version: str, created: str, shown: int = SHOWN_FINDINGS) -> str:
    """The whole HTML document.

    Args:
        report: what was found.
        read: the bytes of a picture, by its path in the catalog; raises ImageError.
        version: itemrec's version, for the footer.
        created: when, for the footer.
        shown: how many findings of a kind are drawn; the counts are always of all.
    """
    album = _Album(read)
    sections = [
        Section(
            anchor=kind,
            title=KINDS[kind].title,
            count=len(found),
            tone=_TONES[found[0].severity],
            body=_body(kind, found, album, shown),
        )
        for kind, found in report.by_kind().items()
    ]
    counts = report.counts()
    verdict, tone = _verdict(report)
    settings = report.settings
    return page(
        f"Catalog audit: {report.catalog}",
        verdict=verdict,
        tone=tone,
        lead=_lead(report),
        tiles=[
            Tile(f"{counts['error']:,}", "errors: they cause wrong answers", "bad" if counts["error"] else "plain"),
            Tile(f"{counts['warning']:,}", "warnings: to review", "warn" if counts["warning"] else "plain"),
            Tile(f"{counts['info']:,}", "notes: harmless"),
            Tile(f"{report.pictures:,}", "pictures read"),
            Tile(f"{report.products:,}", "products"),
        ],
        sections=sections,
        footer=Markup("").join(
            Markup("<p>{}</p>").format(line)
            for line in (
                f"Model {report.model}, fingerprint {report.fingerprint[:12]}. Distances are squared L2 of unit"
                f" vectors, 0 to 4; pictures of one product are expected within {settings.threshold:.3f}"
                f" ({_SOURCES[settings.threshold_source]}).",
                f"itemrec {version}, {created}, {report.seconds:,.1f} s.",
            )
        ),
    )


def _verdict(report: AuditReport) -> tuple[str, Tone]:
    counts = report.counts()
    need = counts["error"] + counts["warning"]
    if not need:
        return "No errors and no warnings in this catalog.", "good"
    return f"{plural(need, 'finding')} to review.", "bad" if counts["error"] else "warn"


def _lead(report: AuditReport) -> list[str]:
    if report.clean:
        return ["No picture is broken, duplicate or mislabeled, as far as this model can tell."]
    return ["The most damaging kind first, in each kind the clearest case. Nothing was changed."]


def _body(kind: Kind, found: Sequence[Finding], album: _Album, shown: int) -> Markup:
    above = Markup("<p>{}</p>").format(advice(kind, found))
    common, found = [f for f in found if f.common], [f for f in found if not f.common]
    for finding in common:
        pictures_of = strip(album.draw(p, p.product_id or _name(p)) for p in finding.pictures)
        above += cards([card(finding.message, pictures_of, tone=_TONES[finding.severity])])
    if not found:
        return above
    drawn = found[:shown]
    if kind in _LISTED:
        body = table(
            ["", "File or product", "What is wrong"],
            [[_severity(f), _subject(f), f.message.removeprefix(f"{_subject(f)}: ")] for f in drawn],
            label=KINDS[kind].title,
        )
    elif kind in _SINGLE:
        body = strip(album.draw(p, _short(f), alt=f.message) for f in drawn for p in f.pictures[:1])
    else:
        body = cards((_card(f, album) for f in drawn), narrow=kind not in _COMPARED)
    rest = len(found) - len(drawn)
    more = (
        Markup('<p class="soft">{}</p>').format(f"and {rest:,} less clear ones; itemrec audit --json lists them all.")
        if rest
        else Markup("")
    )
    return above + body + more


def _card(finding: Finding, album: _Album) -> Markup:
    if finding.kind in _COMPARED:
        rows = _compared(finding, album)
    else:
        by_product: dict[str, list[Shown]] = {}
        for shown in finding.pictures:
            by_product.setdefault(shown.product_id, []).append(shown)
        most = max(1, _SHOWN_PICTURES // len(by_product)) if by_product else 1
        rows = [
            strip((album.draw(p, _name(p)) for p in pictures[:most]), heading=_heading(product, pictures, most))
            for product, pictures in list(by_product.items())[:_SHOWN_PICTURES]
        ]
    return card(_title(finding), groups(*rows), tone=_TONES[finding.severity])


def _title(finding: Finding) -> str:
    """The message, or for copies (whose paths stand under the pictures) where they lie."""
    if finding.kind in _COPIES:
        shown = [*finding.products[:3], *([f"{len(finding.products) - 3} more"] if len(finding.products) > 3 else [])]
        return f"{finding.numbers['pictures']} times in {' and '.join(shown)}"
    return finding.message


def _compared(finding: Finding, album: _Album) -> list[Markup]:
    parts: list[tuple[str, list[Shown]]] = []
    own, other = finding.products[0], finding.products[-1]
    for role, heading in (("subject", "this picture"), ("own", own), ("other", other)):
        chosen = [p for p in finding.pictures if p.role == role]
        if chosen:
            parts.append((heading, chosen))
    return [
        strip((album.draw(p, _distance(p), mark=p.role == "subject") for p in pictures), heading=heading)
        for heading, pictures in parts
    ]


class _Album:
    """Thumbnails by path, each read once."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._uris: dict[str, str | None] = {}

    def draw(self, shown: Shown, caption: str, *, alt: str = "", mark: bool = False) -> Markup:
        if shown.image not in self._uris:
            try:
                self._uris[shown.image] = data_uri(self._read(shown.image))
            except ImageError:
                self._uris[shown.image] = None
        return figure(self._uris[shown.image], caption, alt=alt or f"{shown.image} of {shown.product_id}", mark=mark)


def _distance(shown: Shown) -> str:
    name = _name(shown)
    return name if shown.distance is None else f"{shown.distance:.2f} away: {name}"


def _name(shown: Shown) -> str:
    return shown.image.rsplit("/", 1)[-1]


def _heading(product: str, pictures: Sequence[Shown], most: int) -> str:
    hidden = len(pictures) - most
    return product + (f" (and {hidden} more)" if hidden > 0 else "")


def _short(finding: Finding) -> str:
    if finding.kind == "few-views":
        return f"{finding.products[0]}: {plural(int(finding.numbers['pictures']), 'picture')}"
    if finding.kind == "tiny" and "width" in finding.numbers:
        return f"{finding.pictures[0].image}: {finding.numbers['width']} x {finding.numbers['height']} px"
    return finding.pictures[0].image


def _subject(finding: Finding) -> str:
    return finding.pictures[0].image if finding.pictures else ", ".join(finding.products)


def _severity(finding: Finding) -> Markup:
    return Markup('<span class="badge {}">{}</span>').format(_TONES[finding.severity], finding.severity)

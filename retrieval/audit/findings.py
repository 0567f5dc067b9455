"""What an audit returns: findings, kinds, settings and the report. Only a notebook's thumbnails are read from disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from markupsafe import Markup

from retrieval.distance import MAX_DISTANCE
from retrieval.images.inline import figure
from retrieval.images.perceptual_hash import NEAR_BITS
from retrieval.system.html import fragment, paragraph, row
from retrieval.system.text import plural

Severity = Literal["error", "warning", "info"]
Role = Literal["subject", "own", "other"]
ThresholdSource = Literal["given", "model", "catalog"]
Kind = Literal[
    "unreadable",
    "blank",
    "same-picture",
    "near-same-picture",
    "mislabeled",
    "indistinguishable",
    "few-views",
    "no-pictures",
    "no-metadata",
    "tiny",
    "unused-file",
    "repeated-picture",
]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")

_DRAWN = 6
"""Pictures of a finding that a notebook shows."""


@dataclass(frozen=True, slots=True)
class KindText:
    """The heading of a kind of finding, and what to do about it; ``note`` where it is a note, if that differs."""

    title: str
    advice: str
    note: str = ""


KINDS: Mapping[Kind, KindText] = {
    "unreadable": KindText(
        "Files that cannot be read",
        "Copy or export the file again as JPEG or PNG, or remove it.",
    ),
    "blank": KindText(
        "Pictures that show nothing",
        "Remove them: they resemble every plain photo and vote for their product.",
    ),
    "same-picture": KindText(
        "The same picture under several products",
        "Keep it where it belongs and remove the other copy; if it belongs to both, the products may be the same.",
    ),
    "near-same-picture": KindText(
        "Nearly the same picture under several products",
        "Look closely: a re-saved copy belongs to one product only; a photo of a variant should show what differs.",
    ),
    "mislabeled": KindText(
        "Pictures that look like another product",
        "Compare the marked picture with both rows; move it to the product it shows, or remove it.",
    ),
    "indistinguishable": KindText(
        "Products that the model cannot tell apart",
        "If it is one item entered twice, merge the two; if they are variants, add views of what differs.",
        "Nothing is wrong with them: another model may tell them apart (itemrec train, itemrec models).",
    ),
    "few-views": KindText(
        "Products with too few pictures",
        "Add pictures from other sides, distances and lights.",
    ),
    "no-pictures": KindText(
        "Products or rows without a picture",
        "Add the picture, or remove the row or folder: such a product can never be found.",
    ),
    "no-metadata": KindText(
        "Products or pictures that the table does not name",
        "Add the row; without one, matches have no metadata and filters never find them.",
    ),
    "tiny": KindText(
        "Tiny pictures",
        "Replace them by larger ones: detail that is not in the file cannot be compared.",
    ),
    "unused-file": KindText(
        "Files that are not part of a product",
        "Move pictures into their product's folder; other files can stay or go.",
    ),
    "repeated-picture": KindText(
        "The same picture several times in one product",
        "Keep one: copies add no view, and each votes.",
    ),
}
"""Every kind, most damaging first: the order of every report."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What counts as a problem. The defaults were tuned with ``benchmarks/audit.py``.

    Attributes:
        threshold: squared L2 at which pictures count as the same product.
        threshold_source: where it comes from: given, the model's calibration, or this catalog's own
            pairs at FAR 1 %.
        min_views: fewer readable pictures of a product are too few.
        min_side: pictures whose shorter side has fewer pixels are tiny: the model's input.
        min_bytes: smaller files are tiny.
        min_contrast: pictures whose gray values deviate less (of 255) show nothing.
        near_bits: perceptual hashes that differ in at most so many bits are nearly the same picture.
        mislabel_ratio: how many times nearer another product has to be than the own one, at least.
        mislabel_outlier: and how many robust deviations above the catalog's usual ratio.
        confusion: how mixed two products must be to count as indistinguishable, in (0, 1]; see
            `retrieval.audit.neighbors.mixing`.
        resemblance: from here on they are worth a note.
        most: what holds for a larger part of the products is said in one line: it is how the catalog is, or
            what the model cannot do, and nothing about one of them.
        model: the model's name, for what it cannot tell apart.
    """

    threshold: float
    threshold_source: ThresholdSource = "given"
    min_views: int = 2
    min_side: int = 64
    min_bytes: int = 1024
    min_contrast: float = 4.0
    near_bits: int = NEAR_BITS
    mislabel_ratio: float = 1.3
    mislabel_outlier: float = 2.5
    confusion: float = 0.25
    resemblance: float = 0.15
    most: float = 0.5
    model: str = "the model"

    def __post_init__(self) -> None:
        if not 0.0 <= self.threshold <= MAX_DISTANCE:
            raise ValueError(f"expected a threshold (squared L2) in [0, 4], received {self.threshold}")
        if self.min_views < 1:
            raise ValueError(f"expected at least 1 view, received {self.min_views}")


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture that a finding shows.

    Attributes:
        product_id: where it lies; empty when the file belongs to no product.
        image: its path relative to the catalog's root.
        role: ``subject`` is what the finding is about, ``own`` and ``other`` what it is compared with.
        distance: squared L2 to the subject, where that was measured.
    """

    product_id: str
    image: str
    role: Role = "subject"
    distance: float | None = None

    def to_json(self) -> dict[str, Any]:
        """One entry of a finding's ``pictures``."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to look at.

    Attributes:
        kind: which of `KINDS`.
        severity: ``error`` causes wrong answers, ``warning`` is to be reviewed, ``info`` may stay.
        products: the products concerned.
        message: what was found, in one line.
        strength: findings of a kind are ranked by it, strongest first.
        numbers: the measurements behind it.
        pictures: what to look at.
    """

    kind: Kind
    severity: Severity
    products: tuple[str, ...]
    message: str
    strength: float = 0.0
    numbers: Mapping[str, float | int] = field(default_factory=dict)
    pictures: tuple[Shown, ...] = ()

    @property
    def common(self) -> bool:
        """True for one finding about most products; see `retrieval.audit.common`."""
        return "of" in self.numbers

    def to_json(self) -> dict[str, Any]:
        """One entry of ``findings`` in ``itemrec.audit/1``."""
        return {
            "kind": self.kind,
            "severity": self.severity,
            "products": list(self.products),
            "message": self.message,
            "advice": advice(self.kind, [self]),
            "strength": self.strength,
            "numbers": dict(self.numbers),
            "pictures": [picture.to_json() for picture in self.pictures],
        }


@dataclass(frozen=True, slots=True)
class AuditReport:
    """Everything an audit found, ranked.

    Attributes:
        catalog: the catalog's root.
        model: the model's name.
        fingerprint: the model's fingerprint.
        settings: what counted as a problem.
        pictures: readable pictures.
        products: products with a folder or a row.
        findings: by kind in the order of `KINDS`, strongest first within a kind.
        seconds: how long it took.
        product_level: which level of folders holds the products, from 1.
        notes: what was understood of the catalog and a person may want to know, a line each.
    """

    catalog: str
    model: str
    fingerprint: str
    settings: Settings
    pictures: int
    products: int
    findings: tuple[Finding, ...]
    seconds: float = 0.0
    product_level: int = 1
    notes: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """True without errors and warnings."""
        return all(finding.severity == "info" for finding in self.findings)

    def counts(self) -> dict[Severity, int]:
        """Findings of each severity."""
        return {severity: sum(f.severity == severity for f in self.findings) for severity in SEVERITIES}

    def by_kind(self) -> dict[Kind, list[Finding]]:
        """The findings of every kind that has any, in the order of `KINDS`."""
        grouped: dict[Kind, list[Finding]] = {}
        for finding in self.findings:
            grouped.setdefault(finding.kind, []).append(finding)
        return grouped

    def to_json(self) -> dict[str, Any]:
        """The document ``itemrec.audit/1``."""
        return {
            "schema": "itemrec.audit/1",
            "catalog": self.catalog,
            "model": self.model,
            "fingerprint": self.fingerprint,
            "clean": self.clean,
            "pictures": self.pictures,
            "products": self.products,
            "product_level": self.product_level,
            "notes": list(self.notes),
            "counts": self.counts(),
            "kinds": {kind: len(found) for kind, found in self.by_kind().items()},
            "settings": asdict(self.settings),
            "seconds": round(self.seconds, 3),
            "findings": [finding.to_json() for finding in self.findings],
        }

    def _repr_html_(self) -> str:
        root, counts = Path(self.catalog), self.counts()
        parts: list[Markup] = []
        for kind, found in self.by_kind().items():
            shown = (figure(root / p.image, p.image, root=root) for p in found[0].pictures[:_DRAWN])
            parts += [paragraph(f"{KINDS[kind].title} ({len(found):,}): {found[0].message}"), row(shown)]
        return fragment(
            f"{plural(counts['error'], 'error')}, {plural(counts['warning'], 'warning')}, "
            f"{plural(counts['info'], 'note')} in {self.catalog}",
            f"{plural(self.pictures, 'picture')} of {plural(self.products, 'product')}, model {self.model}. "
            "The clearest finding of each kind:",
            *parts,
        )


def advice(kind: Kind, found: Sequence[Finding]) -> str:
    """What to do about some findings of a kind."""
    text = KINDS[kind]
    return text.note if text.note and all(finding.severity == "info" for finding in found) else text.advice


def ranked(findings: list[Finding]) -> tuple[Finding, ...]:
    """In the order of `KINDS`, then severity, then strength; ties by product and picture."""
    kinds = {kind: i for i, kind in enumerate(KINDS)}

    def key(finding: Finding) -> tuple[int, int, float, tuple[str, ...], str]:
        first = finding.pictures[0].image if finding.pictures else ""
        return (
            kinds[finding.kind],
            SEVERITIES.index(finding.severity),
            -finding.strength,
            finding.products,
            first,
        )

    return tuple(sorted(findings, key=key))

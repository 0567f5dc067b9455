"""What was found in a photo: items with their places, and how many of each product."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from retrieval.detection.planogram import Compliance
from retrieval.errors import ImageError
from retrieval.types import Match, Metadata, Quad, Verdict


@dataclass(frozen=True, slots=True)
class ItemMatch:
    """A product that an item of a photo may be.

    Attributes:
        product_id: which.
        image: the picture of it that was found again.
        inliers: points of the picture that agree on its place.
        correlation: of its pixels and those of the photo at that place, in [-1, 1].
        color: of their colors without brightness, in [-1, 1].
        metadata: what the catalog says about it.
    """

    product_id: str
    image: str
    inliers: int
    correlation: float
    color: float
    metadata: Metadata = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """One entry of ``matches`` of an item."""
        return {
            "product_id": self.product_id,
            "image": self.image,
            "inliers": self.inliers,
            "correlation": round(self.correlation, 4),
            "color": round(self.color, 4),
            "metadata": dict(self.metadata),
        }


@dataclass(frozen=True, slots=True)
class FoundItem:
    """One item of a photo.

    Attributes:
        verdict: ``ambiguous`` where a second product may as well lie at its place, or what lies there looks so little
            like the first that it may be a product that the catalog lacks.
        box: left, top, right and bottom, in pixels of the upright photo.
        quad: its corners, clockwise from its own upper left one; they may lie outside of the photo.
        matches: products, the most probable first.
    """

    verdict: Literal["match", "ambiguous"]
    box: tuple[float, float, float, float]
    quad: Quad
    matches: tuple[ItemMatch, ...]

    @property
    def product_id(self) -> str:
        """The product that it is most probably."""
        return self.matches[0].product_id

    def to_json(self) -> dict[str, Any]:
        """One entry of ``items`` in ``itemrec.items/1``."""
        return {
            "verdict": self.verdict,
            "box": [round(value, 1) for value in self.box],
            "quad": [[round(x, 1), round(y, 1)] for x, y in self.quad],
            "matches": [match.to_json() for match in self.matches],
        }


@dataclass(frozen=True, slots=True)
class FoundRegion:
    """A place in a row of items where something else stands: one thing or several side by side.

    Attributes:
        verdict: what the picture of it alone says, as of any photo; mostly ``unknown``.
        box: left, top, right and bottom, in pixels of the upright photo.
        matches: products that it may be; they are not counted.
    """

    verdict: Verdict
    box: tuple[float, float, float, float]
    matches: tuple[Match, ...]

    def to_json(self) -> dict[str, Any]:
        """One entry of ``regions`` in ``itemrec.items/1``."""
        return {
            "verdict": self.verdict,
            "box": [round(value, 1) for value in self.box],
            "matches": [{"product_id": m.product_id, "confidence": m.confidence} for m in self.matches],
        }


@dataclass(frozen=True, slots=True)
class FoundItems:
    """All items of the catalog that were found in one photo.

    Attributes:
        source: what the photo is called.
        size: its width and height, upright, pixels.
        items: row by row, each from left to right.
        regions: what else stands in the rows of these.
        pictures: catalog pictures that were looked for.
        missing: of those, the ones that are not in the catalog's folder any more.
        chosen: the products that were looked for where the catalog has too many to try all; empty where all were.
        timings_ms: what each step took.
    """

    source: str
    size: tuple[int, int]
    items: tuple[FoundItem, ...]
    pictures: int
    regions: tuple[FoundRegion, ...] = ()
    missing: int = 0
    chosen: tuple[str, ...] = ()
    timings_ms: Mapping[str, float] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """How many items of each product, the most frequent first."""
        return dict(Counter(item.product_id for item in self.items).most_common())

    def rows(self) -> list[list[FoundItem]]:
        """The items as they stand, row by row from the top, each from left to right."""
        return rows_of(self.items)

    def to_json(self) -> dict[str, Any]:
        """The ``itemrec.items/1`` document's part of this photo."""
        return {
            "source": self.source,
            "size": list(self.size),
            "items": [item.to_json() for item in self.items],
            "regions": [region.to_json() for region in self.regions],
            "counts": self.counts,
            "pictures": self.pictures,
            "missing": self.missing,
            "chosen": len(self.chosen) or None,
            "timings_ms": dict(self.timings_ms),
        }


def items_document(
    found: Sequence[tuple[FoundItems, Compliance | None]],
    refused: Sequence[tuple[str, ImageError]],
    *,
    fingerprint: str,
) -> dict[str, Any]:
    """The ``itemrec.items/1`` document, which `itemrec query --many --json` prints and the service answers.

    Args:
        found: what each photo shows, and how that differs from a planogram.
        refused: photos that could not be read, by name.
        fingerprint: the model's.
    """
    return {
        "schema": "itemrec.items/1",
        "fingerprint": fingerprint,
        "results": [
            items.to_json() | ({} if compliance is None else {"planogram": compliance.to_json()})
            for items, compliance in found
        ],
        "refused": [{"path": name, "reason": error.message, "code": error.reason} for name, error in refused],
    }


def rows_of(items: Sequence[FoundItem]) -> list[list[FoundItem]]:
    """Items in rows: one belongs to the row whose middle, near it, its own box reaches over.

    Rows of a photo that was taken askew rise or fall; so an item is compared with the last one that the row got, and
    the items come from left to right.
    """
    rows: list[list[FoundItem]] = []
    for item in sorted(items, key=lambda item: item.box[0]):
        middle, high = (item.box[1] + item.box[3]) / 2, item.box[3] - item.box[1]
        near = [
            (abs(middle - (row[-1].box[1] + row[-1].box[3]) / 2), place)
            for place, row in enumerate(rows)
            if abs(middle - (row[-1].box[1] + row[-1].box[3]) / 2) < 0.5 * max(high, row[-1].box[3] - row[-1].box[1])
        ]
        if near:
            rows[min(near)[1]].append(item)
        else:
            rows.append([item])
    return sorted(rows, key=lambda row: sum(item.box[1] + item.box[3] for item in row) / len(row))

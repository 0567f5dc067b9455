"""The data that travels between modules: frozen, checked once where it is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from retrieval.distance import MAX_DISTANCE

JsonScalar = str | int | float | bool | None
JsonValue = JsonScalar | list[str | int | float | bool | None]
Metadata = Mapping[str, JsonValue]
"""What a table says of a product; a filter finds a list by any of its values."""


class Compare(NamedTuple):
    """A condition on a column: ``<``, ``<=``, ``>`` or ``>=`` a number, or ``?``: it holds a value at all."""

    sign: str
    number: float = 0.0


Where = Mapping[str, tuple[JsonScalar | Compare, ...]]
"""A filter on product metadata: every key must hold one of its values, and satisfy every comparison."""

SPLITS = ("train", "val", "test")
"""The folders of a dataset, in this order."""

MAX_COLUMNS = 256
"""Most metadata columns of one product."""
MAX_VALUE_BYTES = 65_536
"""Longest metadata string, in UTF-8."""

Verdict = Literal["match", "ambiguous", "unknown"]

PictureKind = Literal["studio", "photo"]
"""From a studio, on a plain background, or a photo as people take them; see `retrieval.images.studio`."""
PICTURE_KINDS: tuple[PictureKind, ...] = get_args(PictureKind)

_NAMESPACE = "6f1c1d0e-3c57-5d0a-9d7a-1f4b7c1e7a10"


def image_id(product_id: str, image: str) -> str:
    """The stable id of a catalog picture: a UUIDv5 of its product and its path in the catalog."""
    # Only indexing makes ids: a query does not pay for the import.
    import uuid

    return str(uuid.uuid5(uuid.UUID(_NAMESPACE), f"{product_id}\n{image}"))


@dataclass(frozen=True, slots=True)
class Product:
    """A product of the catalog and what its table says about it."""

    product_id: str
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CatalogImage:
    """One picture of the catalog, not yet opened.

    Attributes:
        product_id: the product that it shows.
        image: its path relative to the catalog's root, with forward slashes; or its address.
        file: where it lies.
        folder: the product's folder that it lies in, relative to the root; empty where there is none.
        home: the folder that the file must not leave, where that is the cache of fetched pictures and not the root.
    """

    product_id: str
    image: str
    file: Path
    folder: str = field(default="", compare=False)
    home: Path | None = field(default=None, compare=False)

    @property
    def image_id(self) -> str:
        """The id of its point in the index."""
        return image_id(self.product_id, self.image)


@dataclass(frozen=True, slots=True)
class IndexedImage:
    """What the index knows of one picture, without its vector.

    ``kind`` is None in what releases of before wrote.
    """

    image_id: str
    product_id: str
    image: str
    content_hash: str
    metadata: Metadata = field(default_factory=dict)
    kind: PictureKind | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """One picture as it is written to the index: its record and its unit vector, shape (d,)."""

    record: IndexedImage
    vector: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Which model made the vectors: its fingerprint decides, the rest helps people find it again."""

    fingerprint: str
    dimension: int
    name: str
    path: str


@dataclass(frozen=True, slots=True)
class Neighbor:
    """An indexed picture near a photo. ``distance`` is squared L2, in [0, 4]; ``kind`` as in `IndexedImage`."""

    product_id: str
    image: str
    distance: float
    metadata: Metadata = field(default_factory=dict)
    kind: PictureKind | None = None

    @property
    def image_id(self) -> str:
        """The id of its point in the index. No answer needs it, and reading that of every hit would be felt."""
        return image_id(self.product_id, self.image)

    def __post_init__(self) -> None:
        if not 0.0 <= self.distance <= MAX_DISTANCE:
            raise ValueError(f"a squared L2 distance of unit vectors lies in [0, 4], received {self.distance}")


@dataclass(frozen=True, slots=True)
class Evidence:
    """A catalog picture that voted, and how far it was from the photo."""

    image: str
    distance: float


@dataclass(frozen=True, slots=True)
class Match:
    """A product that the photo may show.

    Attributes:
        product_id: which product.
        score: its vote in (0, 1]; the formula is in `retrieval.recognition.votes`.
        votes: how many of its pictures lie within the threshold; 0 for one that is merely nearest.
        share: its score over the sum of the five best scores, in (0, 1]; 0 for one that is merely nearest.
        best_distance: squared L2 to its nearest picture, in a catalog of two kinds of pictures scaled as
            `retrieval.calibration.gap` says.
        evidence: its nearest pictures within the threshold, or whatever their distance where none is; nearest
            first.
        metadata: what the catalog says about it.
        confidence: the probability that it is the right one, in [0, 1]; None where no calibration fits, and, where
            the verdict follows a threshold, for all but the first match.
    """

    product_id: str
    score: float
    votes: int
    share: float
    best_distance: float
    evidence: tuple[Evidence, ...]
    metadata: Metadata = field(default_factory=dict)
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class RefusedBy:
    """The picture nearest to a photo of those that are none of the catalog's.

    Attributes:
        refusal_id: its id.
        image: the name of the file that it came from.
        note: what was said of it; may be empty.
        distance: squared L2 to the photo, in [0, 4].
    """

    refusal_id: str
    image: str
    note: str
    distance: float

    def to_json(self) -> dict[str, Any]:
        """The ``refused_by`` of an entry of ``results`` in ``itemrec.query/1``."""
        return {"refusal_id": self.refusal_id, "image": self.image, "note": self.note, "distance": self.distance}


@dataclass(frozen=True, slots=True)
class Apart:
    """Two photos that were said to show one item and are farther apart than photos of one product are.

    Attributes:
        photos: what they are called.
        distance: squared L2 between them, in [0, 4].
        limit: within it lie nearly all pairs of photos of one product.
    """

    photos: tuple[str, str]
    distance: float
    limit: float

    def to_json(self) -> dict[str, Any]:
        """One entry of ``apart`` in an entry of ``results`` in ``itemrec.query/1``."""
        return {"photos": list(self.photos), "distance": self.distance, "limit": self.limit}


Quad = tuple[tuple[float, float], ...]
"""Four corners (x, y), one after the other around, in pixels of the photo as it is shown upright."""


@dataclass(frozen=True, slots=True)
class ReadCode:
    """A barcode that was read in a photo.

    Attributes:
        gtin: its number as 14 digits.
        quad: where.
        products: those of the catalog that carry it; none where it is not in the catalog.
        photo: which photo, where several show one item.
    """

    gtin: str
    quad: Quad
    products: tuple[str, ...] = ()
    photo: str = ""

    @property
    def number(self) -> str:
        """As people know it: with 13 digits, or 8 or 14 where it is such a one."""
        return self.gtin[-8:] if self.gtin.startswith("000000") else self.gtin.removeprefix("0")

    def to_json(self) -> dict[str, Any]:
        """One entry of ``codes`` in an entry of ``results`` in ``itemrec.query/1``."""
        found = {
            "gtin": self.gtin,
            "quad": [list(corner) for corner in self.quad],
            "products": list(self.products),
        }
        return found | ({"photo": self.photo} if self.photo else {})


@dataclass(frozen=True, slots=True)
class Conflict:
    """A code that says another product than the picture does.

    Attributes:
        picture: the product that the picture alone matches.
        gtin: the code, 14 digits.
        wins: ``barcode`` where a product of the catalog carries it; ``neither`` where none does, and the picture's
            product carries another one.
    """

    picture: str
    gtin: str
    wins: Literal["barcode", "neither"]

    def to_json(self) -> dict[str, Any]:
        """The ``conflict`` of an entry of ``results`` in ``itemrec.query/1``."""
        return {"picture": self.picture, "gtin": self.gtin, "wins": self.wins}


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a closer look saw of a product, or of a refused picture, in a photo.

    Attributes:
        product_id: which product; empty for a refused picture.
        image: the catalog picture that was looked for, or the name of the refused one.
        inliers: points of it that lie in the photo where one homography puts them; 0 where it was not found.
        quad: its corners in the photo, beginning with its own upper left one; empty where it was not found.
        correlation: of the brightness of picture and photo there, in [-1, 1]; None where it was not compared.
        color: of their colors, likewise.
        photo: which of several photos of one item was looked at; empty where there was one.
        refusal_id: which refused picture; empty for a product.
        leaning: of a product in a photo in which a refused picture was found, too: which of the two the photo is more
            like where they differ, about 0.5 for the product and -0.5 for the refused picture; None elsewhere.
    """

    product_id: str
    image: str
    inliers: int = 0
    quad: Quad = ()
    correlation: float | None = None
    color: float | None = None
    photo: str = ""
    refusal_id: str = ""
    leaning: float | None = None

    def in_words(self) -> str:
        """What was seen, for people."""
        if not self.inliers:
            return "not found in the photo"
        said = [f"{self.inliers} points agree"]
        if self.correlation is not None and self.color is not None:
            said += [f"brightness correlates {self.correlation:.2f}", f"color {self.color:.2f}"]
        if self.leaning is not None:
            said.append(f"where it and the refused picture differ, the photo leans {self.leaning:+.2f} to it")
        return ", ".join(said)

    def to_json(self) -> dict[str, Any]:
        """``closer_look.refusal``, or one entry of ``closer_look.seen``, of an answer in ``itemrec.query/1``."""
        what = {"refusal_id": self.refusal_id} if self.refusal_id else {"product_id": self.product_id}
        return (
            what
            | {
                "image": self.image,
                "inliers": self.inliers,
                "quad": [list(corner) for corner in self.quad],
                "correlation": self.correlation,
                "color": self.color,
            }
            | ({"photo": self.photo} if self.photo else {})
            | ({} if self.leaning is None else {"leaning": self.leaning})
        )


@dataclass(frozen=True, slots=True)
class CloserLook:
    """What a closer look saw, and what the answer had been without it.

    Attributes:
        seen: of each product that was looked for, in the order that they had before.
        first: the product that came first before.
        verdict: the verdict before.
        confidence: its probability before; None where there was none.
        changed: whether the first product or the verdict is another one now.
        refusal: what was seen of the refused picture that is near; None where that was not looked for.
    """

    seen: tuple[Sighting, ...]
    first: str
    verdict: Verdict
    confidence: float | None
    changed: bool
    refusal: Sighting | None = None

    def before_in_words(self) -> str:
        """What the answer had been without the look, for people."""
        sure = "" if self.confidence is None else f", {100 * self.confidence:.0f} % sure"
        how = "Changed by the look" if self.changed else "Not changed by the look"
        return f"{how}: it was {self.verdict}, {self.first}{sure}"

    def seen_in_words(self) -> tuple[str, ...]:
        """What was seen of each, for people: a line each."""
        said = [f"{one.product_id}: {one.in_words()}" for one in self.seen]
        one = self.refusal
        return (*said, *([] if one is None else [f"refused {one.image}: {one.in_words()}"]))

    def to_json(self) -> dict[str, Any]:
        """The ``closer_look`` of an entry of ``results`` in ``itemrec.query/1``."""
        return {
            "changed": self.changed,
            "before": {"product_id": self.first, "verdict": self.verdict, "confidence": self.confidence},
            "seen": [sighting.to_json() for sighting in self.seen],
        } | ({} if self.refusal is None else {"refusal": self.refusal.to_json()})


@dataclass(frozen=True, slots=True)
class Recognition:
    """The answer to one photo: verdict, ranked matches, and what it took.

    Attributes:
        source: what the photo is called.
        verdict: ``match``, ``ambiguous`` or ``unknown``.
        matches: products within the threshold, best first; empty when the verdict is ``unknown``.
        threshold: squared L2, in [0, 4].
        fingerprint: the model's.
        timings_ms: what each step took.
        nearest: products that are not near enough, best first; with the matches at most as many as were asked for.
        in_catalog: the probability that the photo shows any product of the catalog, which the verdict followed; None
            where it followed the threshold.
        refused_by: of a photo that would not be ``unknown`` without it, the picture that refuses it.
        photos: what the photos of one item are called, where several gave this answer.
        apart: those of them that can hardly show one item.
        by: ``barcode`` where a code decided; else empty: the picture did.
        codes: the barcodes that were read in it, where the catalog has a column of them.
        conflict: what the picture says where a code says otherwise.
        closer_look: what a closer look saw; None where there was none.
        blanks: what those of its photos are called that show nothing, one color or noise, and do not count; where
            none is left, the answer is ``unknown``.
    """

    source: str
    verdict: Verdict
    matches: tuple[Match, ...]
    threshold: float
    fingerprint: str
    timings_ms: Mapping[str, float] = field(default_factory=dict)
    nearest: tuple[Match, ...] = ()
    in_catalog: float | None = None
    refused_by: RefusedBy | None = None
    photos: tuple[str, ...] = ()
    apart: tuple[Apart, ...] = ()
    by: Literal["", "barcode"] = ""
    codes: tuple[ReadCode, ...] = ()
    conflict: Conflict | None = None
    closer_look: CloserLook | None = None
    blanks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.verdict == "unknown") != (not self.matches):
            raise ValueError("a photo is unknown exactly when no product is within the threshold")

    @property
    def blank(self) -> bool:
        """Whether it is unknown because none of its photos shows anything."""
        return not self.matches and len(self.blanks) == max(1, len(self.photos))

    @property
    def reason(self) -> str:
        """Why the photo is unknown, for people; empty where it is not."""
        if self.matches:
            return ""
        if self.blank:
            return "it shows nothing: one color, or noise"
        by = self.refused_by
        if by is None:
            sure = self.in_catalog
            return (
                f"nothing within {self.threshold:.3f}" if sure is None else f"{100 * sure:.0f} % sure that it is ours"
            )
        return f"refused by {by.image}{f' ({by.note})' if by.note else ''}, {by.distance:.3f} away"

    @property
    def said_of_codes(self) -> tuple[str, ...]:
        """What its barcodes say that the verdict does not, for people: a sentence each."""
        said = [f"barcode {code.number} is not in the catalog" for code in self.codes if not code.products]
        if self.conflict is None:
            return tuple(said)
        code = next(code for code in self.codes if code.gtin == self.conflict.gtin)
        if self.conflict.wins == "barcode":
            carried = f"barcode {code.number} is of {' and '.join(code.products)}, which counts"
            return (*said, f"the picture alone says {self.conflict.picture}; {carried}")
        return (*said, f"the picture alone says {self.conflict.picture}, which carries another barcode")

    def to_json(self) -> dict[str, Any]:
        """One entry of ``results`` in ``itemrec.query/1``."""
        return {
            "source": self.source,
            "verdict": self.verdict,
            "matches": [_match_json(m) for m in self.matches],
            "nearest": [_match_json(m) for m in self.nearest],
            "timings_ms": dict(self.timings_ms),
        } | self._where_said()

    def _where_said(self) -> dict[str, Any]:
        found: dict[str, Any] = {} if self.in_catalog is None else {"in_catalog": self.in_catalog}
        if self.refused_by is not None:
            found["refused_by"] = self.refused_by.to_json()
        if self.blanks:
            found["blanks"] = list(self.blanks)
        if self.photos:
            found |= {
                "photos": list(self.photos),
                "threshold": self.threshold,
                "apart": [pair.to_json() for pair in self.apart],
            }
        if self.by:
            found["by"] = self.by
        if self.codes:
            found["codes"] = [code.to_json() for code in self.codes]
        if self.conflict is not None:
            found["conflict"] = self.conflict.to_json()
        if self.closer_look is not None:
            found["closer_look"] = self.closer_look.to_json()
        return found


def _match_json(match: Match) -> dict[str, Any]:
    return {
        "product_id": match.product_id,
        "score": match.score,
        "votes": match.votes,
        "share": match.share,
        "best_distance": match.best_distance,
        "metadata": dict(match.metadata),
        "evidence": [{"image": e.image, "distance": e.distance} for e in match.evidence],
    } | ({} if match.confidence is None else {"confidence": match.confidence})

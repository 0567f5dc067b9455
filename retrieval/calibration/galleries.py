"""What kind of gallery a calibration holds for: studio pictures alone, few photos of each product, or many.

A threshold that was chosen against many photos of each product does not fit one studio picture of each: photos lie
farther from those (docs/decisions/0016-held-out-products.md). So a model's calibration keeps what was measured for each
kind of gallery that its data could show, an index knows which kind it is, and `retrieval.calibration.in_force` brings
the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["studio", "few", "many", "mixed"]

FEW = 10
"""Photos of a product, in the mean, up to which a gallery has few of them."""

_MOSTLY = 0.8
"""From this share of its products on a gallery is of studio pictures; from as much of the others on, of photos."""

_SPOKEN: Mapping[Kind, str] = {
    "studio": "studio pictures",
    "few": f"up to {FEW} photos of each product",
    "many": f"more than {FEW} photos of each product",
    "mixed": "some products in studio pictures, some in photos",
}


def spoken_kind(kind: Kind) -> str:
    """A kind of gallery as people say it."""
    return _SPOKEN[kind]


@dataclass(frozen=True, slots=True)
class GalleryShape:
    """What a gallery holds.

    Attributes:
        products: how many.
        pictures: of all of them.
        studio: share of its products that a studio picture shows, in [0, 1]: another source than the photos that are
            asked about; None where nobody looked.
    """

    products: int
    pictures: int
    studio: float | None = None

    def __post_init__(self) -> None:
        if self.products < 0 or self.pictures < self.products:
            raise ValueError(f"expected at least one picture a product, received {self}")
        if self.studio is not None and not 0.0 <= self.studio <= 1.0:
            raise ValueError(f"expected a share of studio pictures in [0, 1], received {self.studio}")

    @property
    def each(self) -> float:
        """Pictures of each product, in the mean."""
        return self.pictures / max(self.products, 1)

    @property
    def kind(self) -> Kind | None:
        """Which kind it is; None where nobody looked at its pictures."""
        if self.studio is None:
            return None
        if self.studio >= _MOSTLY:
            return "studio"
        if self.studio > 1.0 - _MOSTLY:
            return "mixed"
        return "few" if self.each <= FEW else "many"

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back."""
        return {"products": self.products, "pictures": self.pictures, "studio": self.studio}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> GalleryShape:
        """Read what `to_json` wrote; raises ValueError, TypeError or KeyError on anything else."""
        products, pictures, studio = data["products"], data["pictures"], data["studio"]
        if type(products) is not int or type(pictures) is not int:
            raise ValueError(f"expected whole numbers, received {products!r:.40} and {pictures!r:.40}")
        return cls(products, pictures, None if studio is None else float(studio))


@dataclass(frozen=True, slots=True)
class Expectation:
    """What was measured of one kind of gallery: of photos of its products, how many are found.

    Attributes:
        who: whose photos: ``new`` for products that no training saw, ``trained`` for those that it learned from.
        first: photos whose product came first.
        five: photos whose product was among the first five.
        photos: of all.
        products: distinct products of them.
    """

    who: Literal["new", "trained"]
    first: int
    five: int
    photos: int
    products: int

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.five <= self.photos or self.products < 0:
            raise ValueError(f"expected first <= five <= photos, received {self.first}, {self.five}, {self.photos}")
        if self.who not in ("new", "trained"):
            raise ValueError(f"expected new or trained, received {self.who!r:.40}")

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back."""
        counts = {key: getattr(self, key) for key in ("first", "five", "photos", "products")}
        return {"who": self.who} | counts

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Expectation:
        """Read what `to_json` wrote; raises ValueError, TypeError or KeyError on anything else."""
        counts = [data[key] for key in ("first", "five", "photos", "products")]
        if any(type(count) is not int for count in counts):
            raise ValueError(f"expected whole numbers, received {counts!r:.80}")
        return cls(data["who"], *counts)

"""What verdicts do to photos: counted for known products, for look-alikes of one, and for other unknown products."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

Group = Literal["known", "look_alikes", "others"]

_COUNTS = ("match_right", "match_wrong", "ambiguous_right", "ambiguous_wrong", "unknown")


@dataclass(frozen=True, slots=True)
class GroupVerdicts:
    """What became of the photos of a group.

    Attributes:
        group: ``known`` products; unknown products that are ``look_alikes`` of one of the catalog's; ``others``.
        products: distinct products of the photos.
        match_right: photos with the verdict match and the right product.
        match_wrong: the same with another product; of unknown products all with that verdict.
        ambiguous_right: photos with the verdict ambiguous and the right product among the candidates.
        ambiguous_wrong: the same without it.
        unknown: photos with the verdict unknown.
    """

    group: Group
    products: int
    match_right: int = 0
    match_wrong: int = 0
    ambiguous_right: int = 0
    ambiguous_wrong: int = 0
    unknown: int = 0

    def __post_init__(self) -> None:
        if self.group not in get_args(Group):
            raise ValueError(f"expected one of {', '.join(get_args(Group))}, received {self.group!r:.40}")
        if min(self.products, *(getattr(self, name) for name in _COUNTS)) < 0:
            raise ValueError(f"expected counts of at least 0, received {self}")

    @property
    def photos(self) -> int:
        """All of the group."""
        return sum(getattr(self, name) for name in _COUNTS)


@dataclass(frozen=True, slots=True)
class LookAlike:
    """An unknown product that is taken for one of the catalog's.

    Attributes:
        product: the unknown one.
        taken_for: the catalog's product that is nearest to most of its photos.
        photos: of it.
        nearest: photos of it that lie nearest to that product.
    """

    product: str
    taken_for: str
    photos: int
    nearest: int


@dataclass(frozen=True, slots=True)
class VerdictTable:
    """What two limits on probabilities do to photos that they were not fitted on.

    Attributes:
        sure: a match from this P(right) on.
        in_catalog: else ambiguous from this P(in catalog) on.
        groups: each with its counts.
        look_alikes: the pairs, those with the most photos first.
    """

    sure: float
    in_catalog: float
    groups: tuple[GroupVerdicts, ...]
    look_alikes: tuple[LookAlike, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back."""
        return {
            "sure": self.sure,
            "in_catalog": self.in_catalog,
            "groups": [
                {"group": g.group, "products": g.products} | {name: getattr(g, name) for name in _COUNTS}
                for g in self.groups
            ],
            "look_alikes": [
                {"product": p.product, "taken_for": p.taken_for, "photos": p.photos, "nearest": p.nearest}
                for p in self.look_alikes
            ],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> VerdictTable:
        """Read what `to_json` wrote; raises ValueError, TypeError or KeyError on anything else."""
        groups = tuple(
            GroupVerdicts(g["group"], _count(g["products"]), *(_count(g[name]) for name in _COUNTS))
            for g in data["groups"]
        )
        pairs = tuple(
            LookAlike(str(p["product"]), str(p["taken_for"]), _count(p["photos"]), _count(p["nearest"]))
            for p in data["look_alikes"]
        )
        return cls(float(data["sure"]), float(data["in_catalog"]), groups, pairs)


def _count(value: object) -> int:
    if type(value) is not int:
        raise ValueError(f"expected a whole number, received {value!r:.40}")
    return value

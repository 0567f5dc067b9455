"""How sure an answer is: the probability that its products are right, and that the photo shows any of the catalog's.

A score is no probability. `Sureness` maps two numbers of a ranked answer to two probabilities that held for the photos
it was fitted on: photos of the catalog's products, and photos of products that no training saw as a stated part of
all. Both are logistic:

    P(in catalog)          = 1 / (1 + exp(-(b0 + b1 distance + b2 lead + b3 log(size))))
    P(first | in catalog)  = the same form with weights of its own
    P(first)               = their product

``distance`` is that of the first product's nearest picture, ``lead`` the natural logarithm of its score over the
runner-up's. ``size`` is the number of products of the catalog, but no fewer and no more than the fit saw: what further
products do to an answer shows in its distance and its lead, and what a fit on 81 products would say of twenty thousand
claims too little (docs/measurements/catalog-size.md). Few numbers, on purpose: about 25 further ones refused unknown
products no better (docs/decisions/0016-held-out-products.md). Pure: a query applies this without numpy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from retrieval.types import Match, Verdict

NAMES = ("intercept", "distance", "lead", "log_products")
"""What weights are of, in this order."""

MOST_LEAD = 3.0
"""A lead counts up to this: a runner-up of a twentieth of the score says no more than none."""

Weights = tuple[float, float, float, float]


def numbers(ranked: Sequence[Match]) -> tuple[float, float]:
    """Distance and lead of an answer.

    Args:
        ranked: products as `retrieval.recognition.votes.rank` returns them, at least one; the first two decide.
    """
    return ranked[0].best_distance, min(whole_lead(ranked), MOST_LEAD)


def whole_lead(ranked: Sequence[Match]) -> float:
    """The lead of an answer, in [0, inf], however much of it counts.

    Args:
        ranked: as `numbers`.
    """
    first = ranked[0].score
    second = ranked[1].score if len(ranked) > 1 else 0.0
    if first <= 0.0:  # scores beyond what a float expresses are 0
        return 0.0
    return max(math.log(first / second), 0.0) if second > 0.0 else math.inf


@dataclass(frozen=True, slots=True)
class Limits:
    """From which probabilities on an answer gets which verdict.

    Attributes:
        sure: *match* from this probability of the first product on.
        in_catalog: no *match*, but *ambiguous* from this probability of being in the catalog on; below it *unknown*.

    Raises:
        ValueError: one is no probability.
    """

    sure: float = 0.8
    in_catalog: float = 0.5

    def __post_init__(self) -> None:
        if not (0.0 <= self.sure <= 1.0 and 0.0 <= self.in_catalog <= 1.0):
            raise ValueError(f"expected probabilities in [0, 1], received {self.sure} and {self.in_catalog}")


DEFAULT = Limits()


@dataclass(frozen=True, slots=True)
class Sure:
    """The probabilities of one answer.

    Attributes:
        in_catalog: that the photo shows a product of the catalog.
        products: that it shows each of the ranked products, in their order; what is left of ``in_catalog`` goes to
            those behind the first by their scores.
    """

    in_catalog: float
    products: tuple[float, ...]

    def within(self, in_catalog: float) -> Sure:
        """The same products in the same proportion, where the photo shows any of them with another probability."""
        part = in_catalog / self.in_catalog if self.in_catalog > 0.0 else 0.0
        return Sure(in_catalog, tuple(part * probability for probability in self.products))

    def verdict(self, limits: Limits) -> Verdict:
        """*match* where the first product is sure, *ambiguous* where the photo probably shows some, *unknown* else."""
        if not self.products:
            return "unknown"
        if self.products[0] >= limits.sure:
            return "match"
        return "ambiguous" if self.in_catalog >= limits.in_catalog else "unknown"


@dataclass(frozen=True, slots=True)
class Sureness:
    """Fitted weights, and what they were fitted on.

    Attributes:
        in_catalog: weights of P(in catalog).
        first: weights of P(first product is right, given that it is in the catalog).
        products: the smallest and the largest number of products in a gallery that it was fitted on.
        known: photos of catalog products that it was fitted on.
        unknown: photos of products that no training saw, likewise.
        unknown_products: distinct products of those.
        share: the part of all photos that is taken to show unknown products.
        fitted_on: which photos, for the record.
    """

    in_catalog: Weights
    first: Weights
    products: tuple[int, int]
    known: int
    unknown: int
    unknown_products: int
    share: float
    fitted_on: str = ""

    def __post_init__(self) -> None:
        for weights in (self.in_catalog, self.first):
            if len(weights) != len(NAMES) or not all(map(math.isfinite, weights)):
                raise ValueError(f"expected {len(NAMES)} finite weights, received {weights}")
        if not 1 <= self.products[0] <= self.products[1]:
            raise ValueError(f"expected a range of products from 1 on, received {self.products}")
        if min(self.known, self.unknown, self.unknown_products) < 0 or not 0.0 <= self.share <= 1.0:
            raise ValueError("expected no negative count, and a share of unknown products in [0, 1]")

    def at(self, distance: float, lead: float, products: int) -> Sure:
        """The probabilities by the numbers of an answer, see `numbers`, in a catalog of so many products."""
        values = (1.0, distance, lead, self._log_size(products))
        known = _logistic(self.in_catalog, values)
        return Sure(known, (known * _logistic(self.first, values),))

    def of(self, ranked: Sequence[Match], products: int) -> Sure:
        """The probabilities of an answer.

        Args:
            ranked: products as `retrieval.recognition.votes.rank` returns them, whatever their distance.
            products: in the whole catalog.
        """
        if not ranked:
            return Sure(0.0, ())
        best = self.at(*numbers(ranked), products)
        (first,), rest = best.products, math.fsum(match.score for match in ranked[1:])
        left = best.in_catalog - first
        others = (left * match.score / rest if rest > 0.0 else 0.0 for match in ranked[1:])
        return Sure(best.in_catalog, (first, *(min(p, first) for p in others)))

    def even(self, ranked: Sequence[Match], products: int) -> float | None:
        """The distance at which an answer with this lead is in the catalog with a probability of one half.

        Args:
            ranked: as `of`, at least one.
            products: as `of`.

        Returns:
            Squared L2; None where a larger distance does not lower the probability.
        """
        _, lead = numbers(ranked)
        intercept, distance, of_lead, log_products = self.in_catalog
        if distance >= 0.0:
            return None
        return -(intercept + of_lead * lead + log_products * self._log_size(products)) / distance

    def hopeless(self, limits: Limits, products: int) -> float:
        """The distance beyond which an answer is *unknown* whatever its lead, squared L2; inf where there is none.

        Args:
            limits: of the verdicts.
            products: as `of`.
        """
        intercept, distance, of_lead, log_products = self.in_catalog
        least = min(limits.sure, limits.in_catalog)
        if distance >= 0.0 or least <= 0.0:
            return math.inf
        if least >= 1.0:
            return 0.0
        most = intercept + max(of_lead * MOST_LEAD, 0.0) + log_products * self._log_size(products)
        # A little farther than computed: the sums of a probability are rounded, too.
        return max((math.log(least / (1.0 - least)) - most) / distance, 0.0) + 1e-9

    def _log_size(self, products: int) -> float:
        low, high = self.products
        return math.log(min(max(products, low), high))

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back."""
        return {
            "in_catalog": dict(zip(NAMES, self.in_catalog, strict=True)),
            "first": dict(zip(NAMES, self.first, strict=True)),
            "products": list(self.products),
            "known": self.known,
            "unknown": self.unknown,
            "unknown_products": self.unknown_products,
            "share": self.share,
            "fitted_on": self.fitted_on,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Sureness:
        """Read what `to_json` wrote; raises ValueError, TypeError or KeyError on anything else."""
        counts = [data["known"], data["unknown"], data["unknown_products"], *data["products"]]
        if any(type(count) is not int for count in counts) or not isinstance(data.get("fitted_on", ""), str):
            raise ValueError(f"expected whole counts and text, received {counts} and {data.get('fitted_on')!r}")
        low, high = data["products"]
        return cls(
            _weights(data["in_catalog"]),
            _weights(data["first"]),
            (low, high),
            data["known"],
            data["unknown"],
            data["unknown_products"],
            float(data["share"]),
            data.get("fitted_on", ""),
        )


def _weights(data: Mapping[str, Any]) -> Weights:
    if set(data) != set(NAMES):
        raise ValueError(f"expected weights of {', '.join(NAMES)}, received {', '.join(map(str, data))}")
    intercept, distance, lead, products = (float(data[name]) for name in NAMES)
    return intercept, distance, lead, products


def _logistic(weights: Sequence[float], values: Sequence[float]) -> float:
    z = math.fsum(w * v for w, v in zip(weights, values, strict=True))
    e = math.exp(-abs(z))
    return 1.0 / (1.0 + e) if z >= 0 else e / (1.0 + e)

"""Pure: which answers are looked at closer, and what is made of what was seen. The one place that decides it.

**When.** Where the score of the runner-up comes close: the logarithm of the first score over the second is below
`CLOSE`. Such answers hold nearly all errors among printed packages. And where a refusal is near enough to matter: what
the photo shows would be no *unknown* without it, and the product lies about as far as a refusal lets it (`beside`). All
other answers cost nothing.

**What.** For up to `CANDIDATES` products the catalog picture is looked for in the photo (`retrieval.verification`). A
product that is found has evidence, a number in the unit of leads, the logarithm of one score over another::

    evidence = COLOR * max(0, color correlation) + INLIERS * log(1 + inliers)

which is added to the logarithm of its score: order, lead and with it the calibrated probability follow. Where no
product is found in the photo, fruit for one, the answer stays as it was. The weights were fitted to photos of products
that no training saw: docs/measurements/verification.md, printed by ``python benchmarks/verification.py``.

A refused picture is looked for as products are. What is seen of it and of the first product moves how far away it
counts (`counted_as`): the product better, and the refusal loses its say; the refusal better, and it has more. Where
both are found, look-alikes mostly, it counts, too, which of them the photo is like where the two differ. What that does
is measured by ``python benchmarks/verification.py --refusals``.

**What it does not do.** A look-alike that is no product of the catalog is found in the photo as well as the product
itself: so without a refusal the probability that the photo shows any of the catalog's stays what it was, and *unknown*
stays unknown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from retrieval.distance import MAX_DISTANCE
from retrieval.types import Match, Sighting

CLOSE = 0.5
"""A lead from which on nobody looks closer."""
CANDIDATES = 3
"""Products that are looked for at most."""
PICTURES = 2
"""Pictures of each, the nearest ones."""
COLOR = 0.5
INLIERS = 0.03
BESIDE = 0.5
"""How far, as a logarithm, a product may lie from where a refusal draws the line for the refusal to be looked for."""
DIFFERING = 0.5
"""What it is worth to be what the photo is like where product and refused picture differ, see `Sighting.leaning`."""
OWED = 0.15
"""By so much evidence a printed product must be seen better than a refused picture for the refusal to count as before:
of what a refusal is near to, most is what it refuses."""


def candidates(ranked: Sequence[Match]) -> Sequence[Match]:
    """The products of a close call that are worth looking for, best first; none where the call is not close.

    Args:
        ranked: as `retrieval.recognition.votes.rank` returns them.
    """
    close = [match for match in ranked[:CANDIDATES] if _lead(ranked[0], match) < CLOSE]
    return close if len(close) > 1 else ()


def evidence(sighting: Sighting) -> float:
    """What seeing a product in the photo is worth, in the unit of leads; 0 where it was not found."""
    if not sighting.inliers:
        return 0.0
    return COLOR * max(0.0, sighting.color or 0.0) + INLIERS * math.log1p(sighting.inliers)


def tells(wanted: Sequence[Match], seen: Mapping[str, Sighting]) -> bool:
    """Whether a look says which product it is: several could be looked for, all of them, and one was found at least.

    A product whose picture nobody has keypoints of must not lose for that.
    """
    return (
        len(wanted) > 1
        and all(match.product_id in seen for match in wanted)
        and any(one.inliers for one in seen.values())
    )


def beside(first: Match, refusal: float, part: float) -> bool:
    """Whether a refusal is so near that a look at it may change the answer.

    Args:
        first: the product that comes first.
        refusal: squared L2 to the refused picture.
        part: see `retrieval.recognition.decision.beside_refusals`.
    """
    limit = part * refusal
    return limit > 0.0 and abs(math.log(limit / max(first.best_distance, 1e-9))) < BESIDE


def counted_as(refusal: float, product: Sighting | None, refused: Sighting | None) -> float:
    """How far away a refusal counts after a look.

    Where the photo shows neither, fruit for one, or where one of them could not be looked for, as far as it is.

    Args:
        refusal: squared L2 to the refused picture.
        product: what was seen of the product that comes first now; None where it could not be looked for.
        refused: likewise of the refused picture.
    """
    if product is None or refused is None or not (product.inliers or refused.inliers):
        return refusal
    better = evidence(product) - evidence(refused) + DIFFERING * (product.leaning or 0.0)
    return min(refusal * math.exp(better - OWED), MAX_DISTANCE)


def best_of(sightings: Sequence[Sighting]) -> dict[str, Sighting]:
    """Of each product the sighting with the most evidence; that of a refused picture has the empty name."""
    found: dict[str, Sighting] = {}
    for sighting in sightings:
        known = found.get(sighting.product_id)
        if known is None or evidence(sighting) > evidence(known):
            found[sighting.product_id] = sighting
    return found


def clearest(photos: Sequence[Sequence[Sighting]]) -> Sequence[Sighting]:
    """What was seen in that of several photos of one item in which most was.

    Products are compared within one photo: in another one, sharper or of the front, all of them are seen better.

    Args:
        photos: what was seen in each.
    """
    return max(photos, key=lambda seen: sum(map(evidence, best_of(seen).values())), default=())


def weighed(ranked: Sequence[Match], seen: Mapping[str, Sighting], *, threshold: float) -> list[Match]:
    """Ranked products in their order after the look, each with the score that order and probability follow.

    Products beyond the threshold stay behind those within. Scores of all are divided by what the best evidence is
    worth, so that they stay below 1, and leads are what they should be.

    Args:
        ranked: as `candidates`.
        seen: what was seen of some of them, by product.
        threshold: squared L2; inclusive.
    """
    worth = {product_id: evidence(sighting) for product_id, sighting in seen.items()}
    most = max(worth.values(), default=0.0)
    scored = [replace(match, score=match.score * math.exp(worth.get(match.product_id, 0.0) - most)) for match in ranked]
    return sorted(scored, key=lambda match: (match.best_distance > threshold, -match.score))


def _lead(first: Match, other: Match) -> float:
    if first.score <= 0.0 or other.score <= 0.0:
        return 0.0 if first.score == other.score else math.inf
    return math.log(first.score / other.score)

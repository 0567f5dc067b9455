"""Pure: neighbors -> ranked products.

**The score.** Let ``d_1 <= d_2 <= ...`` be the distances (squared L2) of one product's own
pictures, n of them in the gallery, of which its nearest ten are looked at. The nearer half of
these vote, and their mean vote is divided by what having many pictures is worth::

    score = (v_1 + ... + v_k) / k / m^0.4      m = min(10, n), k = m / 2, rounded up
    v_i   = exp(-d_i / 0.2)

Five of five pictures are farther from a photo than the nearest five of forty are: chance alone
brings some of many near. Were all five to vote, or a single picture to count as one of forty, a
new product, of which there are few pictures, would lose against old ones that only look alike.
Ten pictures are as good as forty here: so many of a product are fetched anyway, and none has to
be counted.

A product's score depends on its own pictures alone: a product with five hundred pictures
cannot drown one with five, and adding a product never changes another's score. With fewer of its
pictures known it can only be higher, since the nearest are known first and m counts no more than
are known: what `retrieval.recognition.recognizer.find` proves its ranking by.

**The order.** Products with a picture within the threshold come first, by score; then the
others, by score. `retrieval.recognition.decision` says what the threshold makes of them.

**The share** of a product within the threshold is its score over the sum of the five best scores
within: how far it stands out from its rivals, however many products are asked for.

The rule and its constants were chosen by measurement: docs/decisions/0006-votes.md,
printed by ``python benchmarks/votes.py``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import NamedTuple

from retrieval.types import Evidence, Match, Neighbor

EVIDENCE = 10
"""Pictures of a product that are looked at."""
VOTERS = 5
"""How many of them vote at most: the nearer half."""
TEMPERATURE = 0.2
CROWD = 0.4
RIVALS = 5


def vote(distance: float) -> float:
    """What one picture adds at a squared L2 distance, in (0, 1]."""
    return math.exp(-distance / TEMPERATURE)


def voters(pictures: int) -> int:
    """How many of a product's pictures vote: the nearer half of those that are looked at."""
    return (min(pictures, EVIDENCE) + 1) // 2


def crowd(pictures: int) -> float:
    """What having so many pictures is worth: the mean vote is divided by it, at least 1."""
    return float(min(pictures, EVIDENCE) ** CROWD)


def score(distances: Sequence[float]) -> float:
    """The score of one product, in (0, 1].

    Args:
        distances: squared L2 to its own nearest pictures, ascending; at least `EVIDENCE` of them,
            or all that the gallery has.
    """
    nearest = distances[: voters(len(distances))]
    return math.fsum(map(vote, nearest)) / len(nearest) / crowd(len(distances))


def rank(neighbors: Iterable[Neighbor], *, threshold: float, products: int | None = None) -> list[Match]:
    """Products with a picture within the threshold, then the others; each group by score, best first.

    Ties are broken by best distance, then by product id.

    Args:
        neighbors: pictures near the photo, in any order. Of each product that can win, at least
            its `EVIDENCE` nearest pictures (`retrieval.recognition.recognizer.find` sees to it).
        threshold: squared L2, in [0, 4]; inclusive.
        products: how many to return at most; None for all.

    Returns:
        One match per product. `Match.votes` counts its pictures within the threshold among those
        given, at most `EVIDENCE`; `Match.evidence` are these, or its nearest pictures where it has
        none. `Match.share` is right when the best `RIVALS` products are among those given.
    """
    order = standings(neighbors, threshold=threshold)
    total = math.fsum(one.score for one in order[:RIVALS] if one.nearest[0].distance <= threshold)
    matches = []
    for one in order[:products]:
        within = [n for n in one.nearest if n.distance <= threshold]
        matches.append(
            Match(
                product_id=one.product_id,
                score=one.score,
                votes=len(within),
                share=one.score / total if within else 0.0,
                best_distance=one.nearest[0].distance,
                evidence=tuple(Evidence(n.image, n.distance) for n in within or one.nearest),
                metadata=one.nearest[0].metadata,
            )
        )
    return matches


class Standing(NamedTuple):
    """A product among others.

    Attributes:
        product_id: which.
        score: its own.
        nearest: its `EVIDENCE` nearest pictures among those given, nearest first.
    """

    product_id: str
    score: float
    nearest: list[Neighbor]


def standings(neighbors: Iterable[Neighbor], *, threshold: float) -> list[Standing]:
    """Products in the order of `rank`, with what decides it and nothing else: a search needs it of all that it saw.

    Args:
        neighbors: as `rank`.
        threshold: as `rank`.
    """
    own: dict[str, list[Neighbor]] = {}
    for neighbor in neighbors:
        own.setdefault(neighbor.product_id, []).append(neighbor)
    order = []
    for product_id, pictures in own.items():
        if len(pictures) == 1:  # as most near a photo that are not what it shows
            reached = vote(pictures[0].distance)
        else:
            pictures.sort(key=_distance_and_image)
            del pictures[EVIDENCE:]
            reached = score([n.distance for n in pictures])
        order.append((*place(pictures[0].distance, reached, threshold), product_id, reached, pictures))
    order.sort()  # no further than by the ids, which differ
    return [Standing(product_id, reached, pictures) for *_, product_id, reached, pictures in order]


_distance_and_image = attrgetter("distance", "image")


def place(best_distance: float, score: float, threshold: float) -> tuple[bool, float, float]:
    """What products are ordered by: the smaller, the better.

    Args:
        best_distance: squared L2 to its nearest picture.
        score: its score.
        threshold: squared L2; inclusive.
    """
    return best_distance > threshold, -score, best_distance

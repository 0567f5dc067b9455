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


def rank(neighbors: Iterable[Neighbor], *, threshold: float) -> list[Match]:
    """Products with a picture within the threshold, then the others; each group by score, best first.

    Ties are broken by best distance, then by product id.

    Args:
        neighbors: pictures near the photo, in any order. Of each product that can win, at least
            its `EVIDENCE` nearest pictures (`retrieval.recognition.recognizer.find` sees to it).
        threshold: squared L2, in [0, 4]; inclusive.

    Returns:
        One match per product. `Match.votes` counts its pictures within the threshold among those
        given, at most `EVIDENCE`; `Match.evidence` are these, or its nearest pictures where it has
        none. `Match.share` is right when the best `RIVALS` products are among those given.
    """
    own: dict[str, list[Neighbor]] = {}
    for neighbor in neighbors:
        own.setdefault(neighbor.product_id, []).append(neighbor)
    nearest = {p: sorted(ns, key=lambda n: (n.distance, n.image))[:EVIDENCE] for p, ns in own.items()}
    scores = {p: score([n.distance for n in ns]) for p, ns in nearest.items()}
    order = sorted(nearest, key=lambda p: (*place(nearest[p][0].distance, scores[p], threshold), p))
    total = math.fsum(scores[p] for p in order[:RIVALS] if nearest[p][0].distance <= threshold)
    matches = []
    for product_id in order:
        ns = nearest[product_id]
        within = [n for n in ns if n.distance <= threshold]
        matches.append(
            Match(
                product_id=product_id,
                score=scores[product_id],
                votes=len(within),
                share=scores[product_id] / total if within else 0.0,
                best_distance=ns[0].distance,
                evidence=tuple(Evidence(n.image, n.distance) for n in within or ns),
                metadata=ns[0].metadata,
            )
        )
    return matches


def place(best_distance: float, score: float, threshold: float) -> tuple[bool, float, float]:
    """What products are ordered by: the smaller, the better.

    Args:
        best_distance: squared L2 to its nearest picture.
        score: its score.
        threshold: squared L2; inclusive.
    """
    return best_distance > threshold, -score, best_distance

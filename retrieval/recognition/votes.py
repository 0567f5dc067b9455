"""Pure: neighbors -> ranked products.

**The score.** Let ``d_1 <= d_2 <= ...`` be the distances (squared L2) of one product's own
pictures, n of them in the gallery. Its score is the mean vote of its nearest five pictures,
or of all where it has fewer::

    score = (v_1 + ... + v_k) / k      k = min(5, n)
    v_i   = exp(-d_i / T)

A product's score depends on its own pictures alone: a product with five hundred pictures
cannot drown one with five, adding a product never changes another's score, and a new
product with a single picture is not marked down for the pictures it does not have yet.

**The order.** Products with a picture within the threshold come first, by score; then the
others, by score. `retrieval.recognition.decision` says what the threshold makes of them.

**The share** of a product is its score over the sum of the five best scores: how far it stands
out from its rivals, however many products are asked for.

The rule and its constants were chosen by measurement: docs/decisions/0006-votes.md,
printed by ``python benchmarks/votes.py``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from retrieval.types import Evidence, Match, Neighbor

VOTERS = 5
TEMPERATURE = 0.2
EVIDENCE = 10
RIVALS = 5


def vote(distance: float) -> float:
    """What one picture adds at a squared L2 distance, in (0, 1]."""
    return math.exp(-distance / TEMPERATURE)


def score(distances: Sequence[float]) -> float:
    """The score of one product, in [0, 1].

    Args:
        distances: squared L2 to its own nearest pictures, ascending; at least `VOTERS` of them,
            or all that the gallery has.
    """
    nearest = distances[:VOTERS]
    return math.fsum(map(vote, nearest)) / len(nearest)


def rank(neighbors: Iterable[Neighbor], *, threshold: float) -> list[Match]:
    """Products with a picture within the threshold, then the others; each group by score, best first.

    Ties are broken by best distance, then by product id.

    Args:
        neighbors: pictures near the photo, in any order. Of each product that can win, at least
            its `VOTERS` nearest pictures (`retrieval.recognition.recognizer.find` sees to it).
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
    total = math.fsum(scores[p] for p in order[:RIVALS])
    matches = []
    for product_id in order:
        ns = nearest[product_id]
        within = [n for n in ns if n.distance <= threshold]
        matches.append(
            Match(
                product_id=product_id,
                score=scores[product_id],
                votes=len(within),
                share=scores[product_id] / total,
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

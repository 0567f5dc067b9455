"""Pure: neighbors within the threshold -> ranked products and a verdict.

**The score.** Let ``d_1 <= d_2 <= ...`` be the distances (squared L2) of one product's own
pictures within the threshold t. Its score is the mean of its three best votes, each vote
falling off with distance, and a missing vote counting as none::

    score = (v_1 + v_2 + v_3) / 3        v_i = exp(-d_i / T)   (0 where there is no i-th picture)

A product's score depends on its own pictures alone: a product with five hundred pictures
cannot drown one with five, and adding a product never changes another's score.

**The verdict.** *unknown* when no picture is within the threshold; *ambiguous* when the
runner-up's score is at least `AMBIGUOUS` times the winner's; *match* otherwise.

The rule and both constants were chosen by measurement: docs/decisions/0005-votes.md,
printed by ``python benchmarks/votes.py``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from retrieval.types import Evidence, Match, Neighbor, Verdict

VOTERS = 3
TEMPERATURE = 0.1
AMBIGUOUS = 0.9
EVIDENCE = 10


def score(distances: Sequence[float]) -> float:
    """The score of one product, in [0, 1].

    Args:
        distances: squared L2 to its own pictures within the threshold, ascending.
    """
    return math.fsum(math.exp(-d / TEMPERATURE) for d in distances[:VOTERS]) / VOTERS


def rank(neighbors: Iterable[Neighbor], *, threshold: float) -> list[Match]:
    """Products by score, best first; ties by best distance, then by product id.

    Args:
        neighbors: pictures near the photo, in any order; those beyond the threshold do not count.
        threshold: squared L2, in [0, 4]; inclusive.

    Returns:
        One match per product with a picture within the threshold. `Match.votes` counts the
        pictures given, at most `EVIDENCE` a product; `Match.share` is over all products found.
    """
    own: dict[str, list[Neighbor]] = {}
    for neighbor in neighbors:
        if neighbor.distance <= threshold:
            own.setdefault(neighbor.product_id, []).append(neighbor)
    found = {p: sorted(ns, key=lambda n: (n.distance, n.image))[:EVIDENCE] for p, ns in own.items()}
    scores = {p: score([n.distance for n in ns]) for p, ns in found.items()}
    total = math.fsum(scores.values())
    matches = [
        Match(
            product_id=product_id,
            score=scores[product_id],
            votes=len(ns),
            share=scores[product_id] / total if total > 0 else 1 / len(found),
            best_distance=ns[0].distance,
            evidence=tuple(Evidence(n.image, n.distance) for n in ns),
            metadata=ns[0].metadata,
        )
        for product_id, ns in found.items()
    ]
    return sorted(matches, key=lambda m: (-m.score, m.best_distance, m.product_id))


def verdict(matches: Sequence[Match]) -> Verdict:
    """What ranked matches say.

    Args:
        matches: as `rank` returns them.
    """
    if not matches:
        return "unknown"
    if len(matches) > 1 and matches[1].score >= AMBIGUOUS * matches[0].score:
        return "ambiguous"
    return "match"

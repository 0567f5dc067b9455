"""Pure: neighbors -> ranked products and a verdict.

**The score.** Let ``d_1 <= d_2 <= ...`` be the distances (squared L2) of one product's own
pictures, n of them in the gallery, and t the threshold. Its score is the mean vote of its
nearest five pictures, or of all where it has fewer::

    score = (v_1 + ... + v_k) / k      k = min(5, n)
    v_i   = exp(-d_i / T) where d_i <= t, else 0

A product's score depends on its own pictures alone: a product with five hundred pictures
cannot drown one with five, adding a product never changes another's score, and a new
product with a single picture is not marked down for the pictures it does not have yet.

**The verdict.** *unknown* when no picture is within the threshold; *ambiguous* when the
runner-up's score is at least `AMBIGUOUS` times the winner's; *match* otherwise.

**The share** of a product is its score over the sum of the five best scores: how far it stands
out from its rivals, however many products are asked for.

The rule and its constants were chosen by measurement: docs/decisions/0006-votes.md,
printed by ``python benchmarks/votes.py``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from retrieval.types import Evidence, Match, Neighbor, Verdict

VOTERS = 5
TEMPERATURE = 0.2
AMBIGUOUS = 0.9
EVIDENCE = 10
RIVALS = 5


def vote(distance: float) -> float:
    """What one picture adds at a squared L2 distance within the threshold, in (0, 1]."""
    return math.exp(-distance / TEMPERATURE)


def score(distances: Sequence[float], *, threshold: float) -> float:
    """The score of one product, in [0, 1].

    Args:
        distances: squared L2 to its own nearest pictures, ascending; at least `VOTERS` of them,
            or all that the gallery has.
        threshold: squared L2; pictures beyond it count as silent voters.
    """
    nearest = distances[:VOTERS]
    return math.fsum(vote(d) for d in nearest if d <= threshold) / len(nearest)


def rank(neighbors: Iterable[Neighbor], *, threshold: float) -> list[Match]:
    """Products by score, best first; ties by best distance, then by product id.

    Args:
        neighbors: pictures near the photo, in any order. Of each product that can win, at least
            its `VOTERS` nearest pictures, also those beyond the threshold
            (`retrieval.recognition.recognizer.find` sees to it).
        threshold: squared L2, in [0, 4]; inclusive.

    Returns:
        One match per product with a picture within the threshold. `Match.votes` counts its
        pictures within the threshold among those given, at most `EVIDENCE`; `Match.share` is
        right when the best `RIVALS` products are among those given.
    """
    own: dict[str, list[Neighbor]] = {}
    for neighbor in neighbors:
        own.setdefault(neighbor.product_id, []).append(neighbor)
    nearest = {p: sorted(ns, key=lambda n: (n.distance, n.image))[:EVIDENCE] for p, ns in own.items()}
    found = {p: ns for p, ns in nearest.items() if ns[0].distance <= threshold}
    scores = {p: score([n.distance for n in ns], threshold=threshold) for p, ns in found.items()}
    total = math.fsum(sorted(scores.values(), reverse=True)[:RIVALS])
    matches = []
    for product_id, ns in found.items():
        within = [n for n in ns if n.distance <= threshold]
        matches.append(
            Match(
                product_id=product_id,
                score=scores[product_id],
                votes=len(within),
                share=scores[product_id] / total,
                best_distance=within[0].distance,
                evidence=tuple(Evidence(n.image, n.distance) for n in within),
                metadata=within[0].metadata,
            )
        )
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

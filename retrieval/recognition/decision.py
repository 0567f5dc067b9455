"""Pure: ranked products -> what a photo's answer says.

The threshold is a label, not a filter: products are ranked whatever their distance, those with a picture within
it before those without, and it only says where `split` draws the line between what is answered and what is
merely nearest.

**The verdict by probability**, where a calibration fits the catalog: *match* from a probability of the first product
of `Limits.sure` on; *ambiguous* below that, while the photo shows some product of the catalog with a probability of
`Limits.in_catalog` at least; *unknown* otherwise. The candidates are those that are not improbable.

**The verdict by threshold**, where none fits or somebody gave one: *unknown* when no picture is within the threshold;
*ambiguous* when the runner-up within it reaches at least `AMBIGUOUS` times the winner's score; *match* otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from retrieval.calibration.sureness import Limits, Sure
from retrieval.types import Match, Verdict

AMBIGUOUS = 0.9
"""Chosen by measurement: docs/decisions/0006-votes.md."""


CANDIDATE = 0.01
"""A product behind the first is a candidate from this probability on."""


def by_probability(
    ranked: Sequence[Match], sure: Sure, limits: Limits, *, threshold: float
) -> tuple[Verdict, tuple[Match, ...], tuple[Match, ...]]:
    """The verdict, the candidates and what is merely nearest, each product with its probability.

    Args:
        ranked: as `retrieval.recognition.votes.rank` returns them for the largest distance there is.
        sure: their probabilities, of the first of them at least.
        limits: of the verdicts.
        threshold: squared L2; within it pictures count as votes and as evidence, which decide nothing here.
    """
    behind = (0.0,) * (len(ranked) - len(sure.products))
    probabilities = (*sure.products, *behind)
    products = tuple(
        _counted(replace(match, confidence=probability), threshold)
        for match, probability in zip(ranked, probabilities, strict=True)
    )
    verdict = sure.verdict(limits)
    if verdict == "unknown":
        return verdict, (), products
    count = 1 + sum(probability >= CANDIDATE for probability in probabilities[1:])
    return verdict, products[:count], products[count:]


def _counted(match: Match, threshold: float) -> Match:
    within = tuple(e for e in match.evidence if e.distance <= threshold)
    return replace(match, votes=len(within), evidence=within or match.evidence)


def split(ranked: Sequence[Match], threshold: float) -> tuple[tuple[Match, ...], tuple[Match, ...]]:
    """Ranked products that lie within the threshold, and those that do not, both best first.

    Args:
        ranked: as `retrieval.recognition.votes.rank` returns them.
        threshold: squared L2, in [0, 4]; inclusive.
    """
    within = tuple(m for m in ranked if m.best_distance <= threshold)
    behind = tuple(m for m in ranked if m.best_distance > threshold)
    return within, behind


def decide(ranked: Sequence[Match], *, threshold: float) -> Verdict:
    """What ranked products say.

    Args:
        ranked: as `retrieval.recognition.votes.rank` returns them, whatever their distance.
        threshold: squared L2, in [0, 4]; inclusive.
    """
    matches, _ = split(ranked, threshold)
    if not matches:
        return "unknown"
    if len(matches) > 1 and matches[1].score >= AMBIGUOUS * matches[0].score:
        return "ambiguous"
    return "match"

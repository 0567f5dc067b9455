"""Pure: ranked products -> what a photo's answer says.

The threshold is a label, not a filter: products are ranked whatever their distance, those with a picture within
it before those without, and it only says where `split` draws the line between what is answered and what is
merely nearest.

**The verdict by probability**, where a calibration fits the catalog: *match* from a probability of the first product
of `Limits.sure` on; *ambiguous* below that, while the photo shows some product of the catalog with a probability of
`Limits.in_catalog` at least; *unknown* otherwise. The candidates are those that are not improbable.

**The verdict by threshold**, where none fits or somebody gave one: *unknown* when no picture is within the threshold;
*ambiguous* when the runner-up within it reaches at least `AMBIGUOUS` times the winner's score; *match* otherwise.

**Refusals.** Pictures that are none of the catalog's vote against every product: a product counts as near enough
only where its nearest picture is near enough beside the nearest refusal, ``d <= min(threshold, c * r)``: clearly
nearer, with c = `NEARER`, among photos, and not much farther, with c = `NEARER_STUDIO`, among studio pictures, which
lie farther from a photo than any photo does (`beside_refusals`); by probability, the distance is stretched so that
P(in catalog) passes one half at the same place. A photo that is far from every refusal is answered as if there were
none. Chosen by measurement: docs/decisions/0020-refusals.md, printed by ``python benchmarks/refusals.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from retrieval.calibration.sureness import Limits, Sure, Sureness
from retrieval.distance import MAX_DISTANCE
from retrieval.recognition.same import as_single
from retrieval.types import Match, Verdict

AMBIGUOUS = 0.9
"""Chosen by measurement: docs/decisions/0006-votes.md."""
NEARER = 0.8
"""How near a product must be, as a part of the distance (squared L2) to the nearest refusal, in a gallery of photos."""
NEARER_STUDIO = 1.8
"""The same in a gallery of studio pictures: of the very product, too, one lies farther from a photo than a photo does
that was taken of something else in the same shop."""


def beside_refusals(studio: float | None) -> float:
    """How far a product may lie beside the nearest refusal, as a part of the distance to that.

    Args:
        studio: share of the gallery's products that a studio picture shows, in [0, 1]; None where nobody looked.
    """
    return NEARER + (NEARER_STUDIO - NEARER) * (studio or 0.0)


def near_enough(threshold: float, refusal: float | None, part: float = NEARER) -> float:
    """The threshold that holds for one photo.

    Args:
        threshold: the one that holds for all, squared L2, in [0, 4].
        refusal: squared L2 to the nearest picture that is none of the catalog's; None where there are none.
        part: see `beside_refusals`.
    """
    return threshold if refusal is None else min(threshold, part * refusal)


def beside(
    sureness: Sureness,
    ranked: Sequence[Match],
    products: int,
    refusal: float | None,
    length: float = 1.0,
    part: float = NEARER,
) -> Sure:
    """The probabilities of an answer to several photos, or to one that also lies near a refusal.

    Args:
        sureness: gives them, for single photos that are far from every refusal.
        ranked: as `by_probability`.
        products: in the whole catalog.
        refusal: as `near_enough`.
        length: of the mean of several photos, see `retrieval.recognition.same`.
        part: see `beside_refusals`.
    """
    even = sureness.even(ranked, products) if ranked else None
    if even is None:
        return sureness.of(ranked, products)
    stretched = as_single(ranked[0].best_distance, length)
    if refusal is not None and even > (limit := as_single(part * refusal, length)):
        stretched *= even / max(limit, 1e-9)
    first = replace(ranked[0], best_distance=min(max(stretched, 0.0), MAX_DISTANCE))
    return sureness.of([first, *ranked[1:]], products)


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

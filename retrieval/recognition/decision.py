"""Pure: ranked products -> what a photo's answer says.

The threshold is a label, not a filter: products are ranked whatever their distance, those with a picture within
it before those without, and it only says where `split` draws the line between what is answered and what is
merely nearest.

**The verdict.** *unknown* when no picture is within the threshold; *ambiguous* when the runner-up within it reaches
at least `AMBIGUOUS` times the winner's score; *match* otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

from retrieval.types import Match, Verdict

AMBIGUOUS = 0.9
"""Chosen by measurement: docs/decisions/0006-votes.md."""


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

"""The section ``refusals``: what the pictures of what is not ours cost, and what they save.

All other sections measure the answers without them, so that a model is measured alike whatever an index refuses.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from retrieval.distance import squared_l2
from retrieval.evaluation.answers import Answers, ProbeAnswer
from retrieval.evaluation.document import RateDoc, RefusalsDoc, ServedRatesDoc
from retrieval.evaluation.photos import Photos
from retrieval.evaluation.rate_docs import rate_of
from retrieval.evaluation.served_answers import RatesOfVerdicts, ServedAnswers
from retrieval.index.refusals import refusal_id_of_hash
from retrieval.recognition.decision import beside_refusals, near_enough
from retrieval.refusals import KnownRefusals


def refusals_section(
    photos: Photos,
    answers: Answers,
    known: KnownRefusals,
    threshold: float,
    *,
    studio: float | None = None,
    served: ServedAnswers | None = None,
) -> RefusalsDoc | None:
    """Answer every probe once more, with the refusals of the index.

    Args:
        photos: the split, without exclusions.
        answers: of every probe.
        known: the refusals; None is returned where there are none.
        threshold: the one in use.
        studio: share of the gallery's products that a studio picture shows; None where nobody looked.
        served: the photos as they are served; None where queries go by the threshold.
    """
    if not len(known.vectors):
        return None
    distances = squared_l2(photos.vectors, known.vectors)
    nearest = distances.argmin(axis=1)
    part = beside_refusals(studio)
    limits = [near_enough(threshold, float(d), part) for d in distances.min(axis=1)]
    # A photo that is itself refused measures nothing.
    refused = {r.refusal_id for r in known.pictures}
    counted = np.array([refusal_id_of_hash(h) not in refused for h in photos.content_hashes])
    own, unknown, outside = counted & answers.known, counted & answers.tried, counted & ~answers.known
    changed: dict[str, Counter[int]] = {"known": Counter(), "unknown": Counter()}

    def with_them(i: int, answer: ProbeAnswer, group: str) -> str | None:
        """The product that is still named first, if one is."""
        still = [m.product_id for m in answer.matches if m.best_distance <= limits[i]]
        if answer.matches and not still:
            changed[group][int(nearest[i])] += 1
        return still[0] if still else None

    def named(which: NDArray[np.bool_], given: tuple[ProbeAnswer, ...]) -> dict[str, RateDoc]:
        rows = np.flatnonzero(which).tolist()
        labels = answers.truth[which]
        after = [with_them(i, given[i], "unknown") is not None for i in rows]
        return {
            "before": rate_of(np.array([bool(given[i].matches) for i in rows], bool), labels),
            "after": rate_of(np.array(after, bool), labels),
        }

    rows = np.flatnonzero(own).tolist()
    labels = answers.truth[own]
    before = [bool(a.matches) and a.matches[0].product_id == p for a, p in _pairs(answers, rows)]
    after = [with_them(i, answers.answers[i], "known") == answers.truth[i] for i in rows]
    by_probability = None
    if served is not None:
        changed = {"known": Counter(), "unknown": Counter()}
        by_probability = _served(served, counted, nearest, distances.min(axis=1), part, changed)
    return RefusalsDoc(
        pictures=len(known.pictures),
        same_photos=int((~counted).sum()),
        known={"before": rate_of(np.array(before, bool), labels), "after": rate_of(np.array(after, bool), labels)},
        unknown=named(unknown, answers.left_one_out),
        outsiders=named(outside, answers.answers) if outside.any() else None,
        served=by_probability,
        each=[
            {
                "refusal_id": refusal.refusal_id,
                "image": refusal.image,
                "note": refusal.note,
                "known": changed["known"][i],
                "unknown": changed["unknown"][i],
            }
            for i, refusal in enumerate(known.pictures)
        ],
    )


def _pairs(answers: Answers, rows: list[int]) -> list[tuple[ProbeAnswer, str]]:
    return [(answers.answers[i], str(answers.truth[i])) for i in rows]


def _served(
    served: ServedAnswers,
    counted: NDArray[np.bool_],
    nearest: NDArray[np.intp],
    distances: NDArray[np.float32],
    part: float,
    changed: dict[str, Counter[int]],
) -> dict[str, ServedRatesDoc]:
    """Verdicts by probability without and with the refusals; ``changed`` gets the photos that each turned *unknown*."""
    before, after = (RatesOfVerdicts() for _ in range(2))
    for i, row in enumerate(served.rows):
        if not counted[row]:
            continue
        truth, known, refusal = str(served.answers.truth[i]), bool(served.answers.known[i]), float(distances[row])
        was, now = served.whole(i), served.whole(i, refusal=refusal, part=part)
        left = served.without_its_product(i)
        left_now = served.without_its_product(i, refusal=refusal, part=part)
        before.add(truth, was, left, known=known)
        after.add(truth, now, left_now, known=known)
        for group, one, other in (("known", was if known else None, now), ("unknown", left, left_now)):
            if one is not None and other is not None and one.verdict != "unknown" and other.verdict == "unknown":
                changed[group][int(nearest[row])] += 1
    return {"before": before.document(), "after": after.document()}

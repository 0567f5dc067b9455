"""The section ``open_set``: what becomes of photos of products that the gallery does not hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from retrieval.calibration.support import support
from retrieval.evaluation.answers import Answers, ProbeAnswer, within
from retrieval.evaluation.calibrate import open_set_distances
from retrieval.evaluation.document import (
    AmbiguousDoc,
    AtFarDoc,
    CoverageDoc,
    OpenSetDoc,
    OpenSetPointDoc,
    VerdictsDoc,
)
from retrieval.evaluation.photos import Photos
from retrieval.evaluation.rate_docs import number, plain_rate, rate_of
from retrieval.evaluation.thresholds import Thresholds
from retrieval.metrics import coverage_curve, open_set, open_set_at
from retrieval.recognition import decision

METHOD = "leave-one-product-out"

_CURVE_POINTS = 100


def fpir_thresholds(
    genuine: NDArray[np.float32],
    impostor: NDArray[np.float32],
    thresholds: Thresholds,
    targets: Sequence[float],
) -> dict[float, float | None]:
    """The threshold of each FPIR target: a calibration's, else chosen on these photos; see `open_set_distances`."""
    known, unknown = open_set_distances(genuine, impostor)
    read = dict(zip(targets, open_set(known, unknown, targets), strict=True))
    return {t: thresholds.fpir[t].threshold if t in thresholds.fpir else read[t].threshold for t in targets}


def open_set_section(
    photos: Photos,
    answers: Answers,
    thresholds: Thresholds,
    at_far: dict[str, AtFarDoc],
    at_fpir: dict[float, float | None],
    *,
    gallery_products: int,
) -> OpenSetDoc:
    """Measure rejection.

    Args:
        photos: the split, without exclusions.
        answers: of every probe, ranked at every threshold reported here.
        thresholds: provenance.
        at_far: the FAR targets of the section ``pairs``.
        at_fpir: as `fpir_thresholds` gives it.
        gallery_products: products in the gallery.
    """
    use = thresholds.use["value"]
    known = answers.known
    labels, outside = answers.truth[known], answers.truth[answers.tried]
    unknown = [answers.left_one_out[i] for i in np.flatnonzero(answers.tried).tolist()]
    matched = np.array([bool(a.matches) for a in unknown], bool)
    clear = np.array([a.verdict == "match" for a in unknown], bool)
    here = answers.outcomes[use]
    found = (here.ranks == 1)[known]
    rates = {
        "fpir": rate_of(matched, outside),
        "fpir_match": rate_of(clear, outside),
        "dir": rate_of(found, labels),
        "fnir": rate_of(~found, labels),
    }
    products = len(np.unique(outside))
    points = {}
    for target, threshold in at_fpir.items():
        chosen = thresholds.fpir.get(target)
        points[f"{target:g}"] = _point(
            answers,
            threshold,
            target=target,
            chosen_on=chosen.chosen_on if chosen else "the photos measured here",
            same_photos=thresholds.same_photos if chosen else True,
            refusal=support("FPIR", target, len(unknown), "photos of unknown products", products),
        )
    return OpenSetDoc(
        method=METHOD,
        held_out_products=products,
        gallery=max(gallery_products - 1, 0),
        strangers=len(unknown),
        fpir=rates["fpir"]["rate"],
        fnir=rates["fnir"]["rate"],
        rates=rates,
        outsiders=_not_in_gallery(answers),
        dir_at_far={
            key: _point(
                answers,
                doc["threshold"],
                target=doc["target"],
                chosen_on=doc["chosen_on"],
                same_photos=doc["same_photos"],
                refusal=doc["refusal"],
            )
            for key, doc in at_far.items()
        },
        at_fpir=points,
        curve=_curve(answers),
        verdicts=_verdicts(answers),
        ambiguous=_ambiguous(answers),
    )


def _point(
    answers: Answers,
    threshold: float | None,
    *,
    target: float | None,
    chosen_on: str,
    same_photos: bool,
    refusal: str,
) -> OpenSetPointDoc:
    labels, outside = answers.truth[answers.known], answers.truth[answers.tried]
    if threshold is None:
        ranks, matched = np.zeros(len(labels), np.int64), np.zeros(len(outside), bool)
    else:
        ranks = answers.outcomes[threshold].ranks[answers.known]
        matched = within(answers.impostor[answers.tried], threshold)
    first, five, fpir = (
        rate_of(ranks == 1, labels),
        rate_of((ranks >= 1) & (ranks <= 5), labels),
        rate_of(matched, outside),
    )
    return OpenSetPointDoc(
        target=target,
        threshold=threshold,
        dir=first["rate"],
        dir_ci=first["ci"],
        dir_top5=five["rate"],
        dir_top5_ci=five["ci"],
        fpir=fpir["rate"],
        fpir_ci=fpir["ci"],
        found=first["part"],
        found_top5=five["part"],
        probes=first["whole"],
        named=fpir["part"],
        strangers=fpir["whole"],
        chosen_on=chosen_on,
        same_photos=same_photos,
        refusal=refusal,
    )


def _not_in_gallery(answers: Answers) -> dict[str, object] | None:
    outside = np.flatnonzero(~answers.known)
    if not len(outside):
        return None
    labels = answers.truth[outside]
    mine = [answers.answers[i] for i in outside.tolist()]
    return {
        "photos": len(outside),
        "products": len(np.unique(labels)),
        "fpir": rate_of(np.array([bool(a.matches) for a in mine], bool), labels),
        "fpir_match": rate_of(np.array([a.verdict == "match" for a in mine], bool), labels),
    }


def _curve(answers: Answers) -> list[dict[str, float | None]]:
    """FPIR and DIR by the nearest picture, at thresholds that step through both."""
    known, unknown = open_set_distances(answers.genuine, answers.impostor)
    reached = np.sort(np.concatenate([known, unknown]))
    reached = np.unique(reached[np.isfinite(reached)])
    if not len(reached):
        return []
    places = np.unique(np.linspace(0, len(reached) - 1, _CURVE_POINTS).astype(int))
    rates = [open_set_at(known, unknown, t) for t in reached[places].tolist()]
    return [
        {
            "threshold": rate.threshold,
            "dir": number(rate.dir),
            "fpir": number(rate.fpir),
            "found": rate.found.part,
            "named": rate.false_matches.part,
        }
        for rate in rates
    ]


def _verdicts(answers: Answers) -> VerdictsDoc:
    known: Counter[str] = Counter({f"{v}_{r}": 0 for v in ("match", "ambiguous") for r in ("right", "wrong")})
    known["unknown"] = 0
    unknown: Counter[str] = Counter({"match": 0, "ambiguous": 0, "unknown": 0})
    for i in np.flatnonzero(answers.known).tolist():
        answer = answers.answers[i]
        right = "right" if first_is_right(answer, str(answers.truth[i])) else "wrong"
        known["unknown" if answer.verdict == "unknown" else f"{answer.verdict}_{right}"] += 1
    unknown.update(answers.left_one_out[i].verdict for i in np.flatnonzero(answers.tried).tolist())
    return VerdictsDoc(known=dict(known), strangers=dict(unknown))


def first_is_right(answer: ProbeAnswer, product: str) -> bool:
    """Whether the first match names the product."""
    return bool(answer.matches) and answer.matches[0].product_id == product


def _ambiguous(answers: Answers) -> AmbiguousDoc:
    numbers = np.flatnonzero(answers.known).tolist()
    mine = [answers.answers[i] for i in numbers]
    labels = answers.truth[answers.known]
    right = np.array([first_is_right(a, str(p)) for a, p in zip(mine, labels.tolist(), strict=True)], bool)
    verdicts = np.array([a.verdict for a in mine])
    offered = np.array(
        [str(p) in {m.product_id for m in a.matches} for a, p in zip(mine, labels.tolist(), strict=True)], bool
    )
    matched, clear, unclear = verdicts != "unknown", verdicts == "match", verdicts == "ambiguous"
    margins: NDArray[np.float64] = np.array([a.margin for a in mine], np.float64)
    curve = coverage_curve(margins, right) if len(margins) else None
    points = []
    if curve is not None:
        finite = np.flatnonzero(np.isfinite(curve.confidence))
        kept = finite[np.unique(np.linspace(0, len(finite) - 1, _CURVE_POINTS).astype(int))] if len(finite) else finite
        points = [
            CoverageDoc(
                margin=float(curve.confidence[i]),
                coverage=float(curve.coverage[i]),
                accuracy=float(curve.accuracy[i]),
                answered=int(curve.answered[i]),
                right=int(curve.right[i]),
            )
            for i in kept.tolist()
        ]
    return AmbiguousDoc(
        limit=1.0 - decision.AMBIGUOUS,
        all=rate_of(right[matched], labels[matched]),
        match=rate_of(right[clear], labels[clear]),
        coverage_of_match=rate_of(clear, labels) if len(labels) else plain_rate(0, 0),
        candidates=rate_of(offered[unclear], labels[unclear]),
        coverage=points,
    )

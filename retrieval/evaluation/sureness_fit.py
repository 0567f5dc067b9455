"""Fit the probabilities that verdicts follow, and count what those verdicts do to photos that the fit did not see."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.calibration.sureness import DEFAULT, MOST_LEAD, Limits, Sureness, numbers
from retrieval.calibration.verdict_table import GroupVerdicts, LookAlike, VerdictTable
from retrieval.distance import MAX_DISTANCE
from retrieval.evaluation.answers import Answers, ProbeAnswer, answer_all
from retrieval.evaluation.confidence_fit import LEAST_ANSWERS, UNKNOWN_SHARE
from retrieval.evaluation.photos import Photos
from retrieval.metrics.probability import fit_logistic_weights
from retrieval.types import Verdict

_FOLDS = 5
_PHOTOS = 500.0
"""What all trials of one size stand for, beside the prior that weights are small."""
_LOOK_ALIKE = 0.5
"""An unknown product is a look-alike when so much of its photos lies nearest to one product, as near as known ones."""
_FOUND = 0.9
"""As near as known ones: within the distance that so many of them are found at."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How the numbers of a network's answers compare with another's, of the same photos.

    Attributes:
        distance: the one's distances, as parts of the other's.
        lead: likewise, the leads.
    """

    distance: float = 1.0
    lead: float = 1.0


ALIKE = Scale()


@dataclass(frozen=True, slots=True)
class Trial:
    """One photo against one gallery.

    Attributes:
        product: that it shows.
        distance: see `retrieval.calibration.sureness.numbers`.
        lead: likewise.
        rank: of the right product from 1; 0 for unknown ones.
        shown: whether the right product is among the candidates of the answer.
        nearest: the product of the nearest picture.
        near: the distance of that.
        gallery: products in the gallery.
    """

    product: str
    distance: float
    lead: float
    rank: int
    shown: bool
    nearest: str
    near: float
    gallery: int


def try_all(probes: Photos, gallery: Photos, *, scale: Scale = ALIKE) -> list[Trial]:
    """Every photo ranked against a gallery, by the rule that is served.

    Args:
        probes: the photos.
        gallery: what they are compared with.
        scale: of the served network to the one that made these vectors.
    """
    if not len(probes) or not len(gallery):
        return []
    answers = answer_all(probes, gallery, MAX_DISTANCE, ())
    ranks = answers.outcomes[MAX_DISTANCE].ranks.tolist()
    products = len(gallery.products)
    return [
        _trial(product, answer, rank, products, scale)
        for product, rank, answer in zip(answers.truth.tolist(), ranks, answers.answers, strict=True)
    ]


def try_known_and_left_out(probes: Photos, gallery: Photos) -> tuple[list[Trial], list[Trial]]:
    """Photos of products in the gallery; and unknown ones: the same without their product in it, and all others.

    Args:
        probes: the photos.
        gallery: what they are compared with.
    """
    return known_and_left_out(answer_all(probes, gallery, MAX_DISTANCE, ()), len(gallery.products))


def known_and_left_out(answers: Answers, products: int) -> tuple[list[Trial], list[Trial]]:
    """As `try_known_and_left_out`, of photos that were answered already.

    Args:
        answers: whatever the distance.
        products: in the gallery.
    """
    ranks, truth = answers.outcomes[MAX_DISTANCE].ranks.tolist(), answers.truth.tolist()
    known, unknown = [], []
    for i, rank in enumerate(ranks):
        if answers.known[i]:
            known.append(_trial(truth[i], answers.answers[i], rank, products, ALIKE))
        if answers.tried[i]:
            unknown.append(_trial(truth[i], answers.left_one_out[i], 0, products - 1, ALIKE))
        elif not answers.known[i]:
            unknown.append(_trial(truth[i], answers.answers[i], 0, products, ALIKE))
    return known, unknown


def _trial(product: str, answer: ProbeAnswer, rank: int, products: int, scale: Scale) -> Trial:
    distance, lead = numbers(answer.matches)
    best = min(answer.matches, key=lambda match: match.best_distance)
    return Trial(
        product,
        distance * scale.distance,
        min(lead * scale.lead, MOST_LEAD),
        rank,
        any(match.product_id == product for match in answer.matches),
        best.product_id,
        best.best_distance * scale.distance,
        products,
    )


def fit_sureness(known: Sequence[Trial], unknown: Sequence[Trial], *, fitted_on: str) -> Sureness | None:
    """The weights that are likeliest, where `UNKNOWN_SHARE` of all photos shows unknown products.

    None where there is too little to learn from: fewer than `LEAST_ANSWERS` known photos, or no unknown one.

    Args:
        known: photos of products in the gallery, against galleries of one kind and of several sizes.
        unknown: photos of products that no training saw, likewise.
        fitted_on: which photos, for the record.
    """
    if len(known) < LEAST_ANSWERS or not unknown:
        return None
    right = np.array([t.rank == 1 for t in known], np.float64)
    if right.min() == right.max():  # no photo tells what a wrong answer looks like, and none is certain for that
        right = np.abs(right - 1.0 / (len(right) + 2.0))
    of_known, of_unknown = _numbers(known), _numbers(unknown)
    weight_known, weight_unknown = _counts_for(known, 1.0 - UNKNOWN_SHARE), _counts_for(unknown, UNKNOWN_SHARE)
    inside = fit_logistic_weights(
        np.concatenate([of_known, of_unknown]),
        np.arange(len(known) + len(unknown)) < len(known),
        np.concatenate([weight_known, weight_unknown]),
    )
    first = fit_logistic_weights(of_known, right, weight_known)
    sizes = [t.gallery for t in (*known, *unknown)]
    return Sureness(
        _four(inside),
        _four(first),
        (min(sizes), max(sizes)),
        known=len(known),
        unknown=len(unknown),
        unknown_products=len({t.product for t in unknown}),
        share=UNKNOWN_SHARE,
        fitted_on=fitted_on,
    )


def verdict_table(
    known: Sequence[Trial],
    unknown: Sequence[Trial],
    sureness: Sureness,
    limits: Limits = DEFAULT,
) -> VerdictTable:
    """What verdicts by these probabilities do.

    Args:
        known: photos of products in the gallery.
        unknown: photos of others.
        sureness: fitted on other photos; see `cross_checked` for when there are none.
        limits: of the verdicts.
    """

    def decided(trials: Sequence[Trial]) -> list[tuple[Trial, Verdict]]:
        return [(t, _verdict(t, sureness, limits)) for t in trials]

    return _counted(decided(known), decided(unknown), limits)


def cross_checked(
    known: Sequence[Trial],
    unknown: Sequence[Trial],
    *,
    whole: tuple[int, int] | None = None,
    limits: Limits = DEFAULT,
) -> VerdictTable | None:
    """`verdict_table` of photos, each by probabilities that were fitted without its product; in five folds.

    Args:
        known: see `fit_sureness`.
        unknown: likewise.
        whole: how many of each, from the first on, are counted; None for all.
        limits: of the verdicts.
    """
    counted = whole or (len(known), len(unknown))
    decided_known: list[tuple[Trial, Verdict]] = []
    decided_unknown: list[tuple[Trial, Verdict]] = []
    for fold in range(_FOLDS):
        fitted = fit_sureness(
            [t for t in known if fold_of(t.product) != fold],
            [t for t in unknown if fold_of(t.product) != fold],
            fitted_on="",
        )
        mine = [
            [t for t in trials[:count] if fold_of(t.product) == fold]
            for trials, count in zip((known, unknown), counted, strict=True)
        ]
        if fitted is None:
            if any(mine):
                return None
            continue
        decided_known += [(t, _verdict(t, fitted, limits)) for t in mine[0]]
        decided_unknown += [(t, _verdict(t, fitted, limits)) for t in mine[1]]
    return _counted(decided_known, decided_unknown, limits)


def fold_of(product: str) -> int:
    """Which of five folds a product is in; it follows from its name alone, so that it is the same in every run."""
    return int(hashlib.sha256(product.encode()).hexdigest()[:8], 16) % _FOLDS


def look_alikes(known: Sequence[Trial], unknown: Sequence[Trial]) -> tuple[LookAlike, ...]:
    """Unknown products that are taken for one of the catalog's: half of their photos lie nearest to it, and near."""
    own = sorted(t.distance for t in known if t.rank == 1)
    if not own:
        return ()
    near = own[min(int(_FOUND * len(own)), len(own) - 1)]
    photos: Counter[str] = Counter(t.product for t in unknown)
    nearest: Counter[tuple[str, str]] = Counter()
    for trial in unknown:
        if trial.near <= near:
            nearest[trial.product, trial.nearest] += 1
    found: dict[str, LookAlike] = {}
    for (product, other), count in nearest.most_common():
        if product not in found and count >= _LOOK_ALIKE * photos[product]:
            found[product] = LookAlike(product, other, photos[product], count)
    return tuple(sorted(found.values(), key=lambda pair: (-pair.nearest, pair.product)))


def _verdict(trial: Trial, sureness: Sureness, limits: Limits) -> Verdict:
    return sureness.at(trial.distance, trial.lead, trial.gallery).verdict(limits)


def _counted(
    known: Iterable[tuple[Trial, Verdict]],
    unknown: Iterable[tuple[Trial, Verdict]],
    limits: Limits,
) -> VerdictTable:
    known, unknown = list(known), list(unknown)
    pairs = look_alikes([t for t, _ in known], [t for t, _ in unknown])
    alike = {pair.product for pair in pairs}
    groups = [GroupVerdicts("known", *_counts(known))]
    if alike:
        groups.append(GroupVerdicts("look_alikes", *_counts([d for d in unknown if d[0].product in alike])))
    groups.append(GroupVerdicts("others", *_counts([d for d in unknown if d[0].product not in alike])))
    return VerdictTable(limits.sure, limits.in_catalog, tuple(groups), pairs)


def _counts(decided: Sequence[tuple[Trial, Verdict]]) -> tuple[int, int, int, int, int, int]:
    counts: Counter[str] = Counter()
    for trial, verdict in decided:
        if verdict == "unknown":
            counts["unknown"] += 1
        elif verdict == "match":
            counts["match_right" if trial.rank == 1 else "match_wrong"] += 1
        else:
            counts["ambiguous_right" if trial.shown else "ambiguous_wrong"] += 1
    return (
        len({t.product for t, _ in decided}),
        counts["match_right"],
        counts["match_wrong"],
        counts["ambiguous_right"],
        counts["ambiguous_wrong"],
        counts["unknown"],
    )


def _numbers(trials: Sequence[Trial]) -> NDArray[np.float64]:
    return np.array([(t.distance, t.lead, math.log(t.gallery)) for t in trials], np.float64)


def _counts_for(trials: Sequence[Trial], share: float) -> NDArray[np.float64]:
    """How much each trial counts, shape (n,): against a gallery of any size as much in all, of which this is a share.

    Of a product's, all together count the square root of their number: one with seventy photos must not decide for all.
    """
    photos = Counter((t.gallery, t.product) for t in trials)
    counts = np.array([photos[t.gallery, t.product] ** -0.5 for t in trials], np.float64)
    sizes = np.array([t.gallery for t in trials])
    for size in np.unique(sizes).tolist():
        counts[sizes == size] *= _PHOTOS * share / counts[sizes == size].sum()
    return counts


def _four(weights: NDArray[np.float64]) -> tuple[float, float, float, float]:
    intercept, distance, lead, products = weights.tolist()
    return intercept, distance, lead, products

"""The section ``served``: what the rule that queries go by does to the photos measured, where that is by probability.

Known photos are tried against the whole gallery; unknown ones are the same photos with their product taken out of it
(leave-one-out unknowns), and those of products that the gallery lacks anyway. The probabilities were fitted to so
many unknown photos of all, and unknown ones weigh as much here, whatever their number.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from retrieval.calibration.sureness import DEFAULT, Sureness
from retrieval.calibration.verdict_table import Group, VerdictTable
from retrieval.evaluation.document import ClaimedDoc, ReliabilityDoc, ServedDoc, WeightedBinDoc
from retrieval.evaluation.rate_docs import number, rate_of
from retrieval.evaluation.served_answers import ServedAnswers
from retrieval.evaluation.sureness_fit import Trial, known_and_left_out, verdict_table
from retrieval.metrics import ece_by_chance, reliability
from retrieval.metrics.intervals import rate_interval


def served_section(served: ServedAnswers) -> ServedDoc:
    """Verdicts by probability, and how far the probabilities hold."""
    return served_doc(*known_and_left_out(served.answers, served.products), served.sureness)


def served_doc(known: Sequence[Trial], unknown: Sequence[Trial], sureness: Sureness) -> ServedDoc:
    """The section of photos that were tried already.

    Args:
        known: photos of products in the gallery.
        unknown: photos of others.
        sureness: gives the probabilities.
    """
    table = verdict_table(known, unknown, sureness)
    verdicts = [sureness.at(t.distance, t.lead, t.gallery).verdict(DEFAULT) for t in known]
    labels = np.array([t.product for t in known])
    first = np.array([t.rank == 1 for t in known], bool)
    shown = np.array([t.shown for t in known], bool)
    clear = np.array([verdict == "match" for verdict in verdicts], bool)
    unclear = np.array([verdict == "ambiguous" for verdict in verdicts], bool)
    named = [sureness.at(t.distance, t.lead, t.gallery).verdict(DEFAULT) == "match" for t in unknown]
    return ServedDoc(
        sure=DEFAULT.sure,
        in_catalog=DEFAULT.in_catalog,
        share=sureness.share,
        photos=len(known) + len(unknown),
        verdicts=table.to_json(),
        match=rate_of(first[clear], labels[clear]),
        coverage_of_match=rate_of(clear, labels),
        candidates=rate_of(shown[unclear], labels[unclear]),
        unknown_match=rate_of(np.array(named, bool), np.array([t.product for t in unknown])),
        reliability=_reliability(known, unknown, sureness),
        claimed=_claimed(known, unknown, sureness, table),
    )


def _reliability(known: Sequence[Trial], unknown: Sequence[Trial], sureness: Sureness) -> dict[str, ReliabilityDoc]:
    trials = [*known, *unknown]
    products = np.array([t.product for t in trials])
    inside = np.arange(len(trials)) < len(known)
    weights = np.where(
        inside,
        (1.0 - sureness.share) / max(len(known), 1),
        sureness.share / max(len(unknown), 1),
    )
    claims = np.array([_both(t, sureness) for t in trials], np.float64).reshape(-1, 2)
    right = np.array([t.rank == 1 for t in trials], bool)
    return {
        "first": reliability_doc(claims[:, 0], right, products, weights),
        "in_catalog": reliability_doc(claims[:, 1], inside, products, weights),
    }


def reliability_doc(
    claimed: NDArray[np.float64],
    true: NDArray[np.bool_],
    products: NDArray[np.str_],
    weights: NDArray[np.float64],
) -> ReliabilityDoc:
    """How far claimed probabilities hold, with intervals by product.

    Args:
        claimed: shape (n,).
        true: what they were claimed of, shape (n,).
        products: of the photos, shape (n,).
        weights: what each counts, shape (n,).
    """
    measured = reliability(claimed, true, weights=weights)
    errors = (claimed - true) ** 2
    bins = []
    for one in measured.bins:
        inside = one.holds(claimed)
        bins.append(
            WeightedBinDoc(
                low=one.low,
                high=one.high,
                claimed=number(one.mean_confidence),
                true=number(one.rate),
                ci=_interval(true[inside], weights[inside], products[inside]),
                photos=one.right.whole,
            )
        )
    return ReliabilityDoc(
        photos=len(claimed),
        ece=number(measured.ece),
        ece_by_chance=number(ece_by_chance(claimed, weights=weights)),
        brier=number(measured.brier),
        brier_ci=_interval(errors, weights, products),
        bins=bins,
    )


def _interval(
    values: NDArray[np.generic], weights: NDArray[np.float64], products: NDArray[np.str_]
) -> list[float] | None:
    if not len(values):
        return None
    names, owner = np.unique(products, return_inverse=True)
    wholes = np.bincount(owner, weights, len(names))
    # The sums are rounded apart: a part never exceeds its whole.
    parts = np.minimum(np.bincount(owner, weights * np.asarray(values, np.float64), len(names)), wholes)
    return rate_interval(parts, wholes).to_json()


def _claimed(
    known: Sequence[Trial], unknown: Sequence[Trial], sureness: Sureness, table: VerdictTable
) -> list[ClaimedDoc]:
    alike = {pair.product for pair in table.look_alikes}
    groups: list[tuple[Group, list[Trial]]] = [
        ("known", list(known)),
        ("look_alikes", [t for t in unknown if t.product in alike]),
        ("others", [t for t in unknown if t.product not in alike]),
    ]
    found = []
    for group, trials in groups:
        if not trials:
            continue
        claims = np.array([_both(t, sureness) for t in trials], np.float64)
        inside = group == "known"
        right = np.array([t.rank == 1 for t in trials], bool)
        first, in_catalog = claims.mean(axis=0).tolist()
        errors = np.mean((claims - np.column_stack([right, np.full(len(trials), inside)])) ** 2, axis=0).tolist()
        found.append(
            ClaimedDoc(
                group=group,
                products=len({t.product for t in trials}),
                photos=len(trials),
                first=first,
                right=rate_of(right, np.array([t.product for t in trials])),
                first_brier=errors[0],
                in_catalog=in_catalog,
                is_in_catalog=inside,
                in_catalog_brier=errors[1],
            )
        )
    return found


def _both(trial: Trial, sureness: Sureness) -> tuple[float, float]:
    sure = sureness.at(trial.distance, trial.lead, trial.gallery)
    return sure.products[0], sure.in_catalog

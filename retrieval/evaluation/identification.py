"""The section ``identification``: which product is it, for photos whose product is in the gallery."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from retrieval.distance import MAX_DISTANCE, squared_l2
from retrieval.evaluation.answers import Answers, within
from retrieval.evaluation.document import (
    ConfusionDoc,
    ConfusionExampleDoc,
    GroupDoc,
    IdentificationDoc,
    RateDoc,
)
from retrieval.evaluation.photos import Photos
from retrieval.evaluation.rate_docs import number, plain_rate, rate_of
from retrieval.metrics import Confusion, Identification, Outcomes, identification, matching_test
from retrieval.metrics.intervals import by_product, rate_interval

CMC_LENGTH = 20
_CONFUSIONS = 100
_EXAMPLES = 3


def identification_section(
    photos: Photos, gallery: Photos, answers: Answers, threshold: float, *, category_column: str
) -> tuple[IdentificationDoc, Identification]:
    """Measure identification, by votes and by the nearest picture.

    Args:
        photos: the split, without exclusions.
        gallery: what they were compared with.
        answers: of every probe, ranked at ``threshold`` and at 4.0.
        threshold: the one in use.
        category_column: the metadata column that groups products.

    Returns:
        The section, and the ranking by nearest picture that it was made of.
    """
    nearest = identification(photos.vectors, photos.labels, gallery.vectors, gallery.labels)
    by_votes, within = answers.outcomes[MAX_DISTANCE], answers.outcomes[threshold]
    matching = _matching(photos, threshold)
    rates = {
        "top1": _top(by_votes, 1),
        "top5": _top(by_votes, 5),
        "knn_top1": _top(nearest.outcomes, 1),
        "map_at_r": _mean_precision(nearest),
        "matching_test_top5": matching,
    }
    categories = categories_of(photos, gallery, category_column)
    confused = by_votes.confusions(len(photos))
    return IdentificationDoc(
        gallery=len(gallery.products),
        probes=int(answers.known.sum()),
        top1=rates["top1"]["rate"],
        top5=rates["top5"]["rate"],
        knn_top1=rates["knn_top1"]["rate"],
        map_at_r=rates["map_at_r"]["rate"],
        matching_test_top5=matching["rate"],
        at_threshold={"top1": _top(within, 1), "top5": _top(within, 5)},
        rates=rates,
        cmc=[number(rate.value) for rate in nearest.outcomes.cmc(CMC_LENGTH)],
        by_votes=[number(rate.value) for rate in by_votes.cmc(CMC_LENGTH)],
        per_product=[
            GroupDoc(name=str(name), **plain_rate(rate.part, rate.whole)) for name, rate in by_votes.by_group().items()
        ],
        per_category=None if categories is None else _by_category(by_votes, categories),
        category_column=category_column,
        confused_pairs=len(confused),
        confusions=_confusions(photos, gallery, by_votes, confused[:_CONFUSIONS]),
    ), nearest


def categories_of(photos: Photos, gallery: Photos, column: str) -> list[str] | None:
    """The category of each photo, from the gallery's metadata, else the split's own; None without the column."""
    found: dict[str, str] = {}
    for product in photos.products.tolist():
        value = gallery.metadata.get(product, {}).get(column)
        if value is None:
            value = photos.metadata.get(product, {}).get(column)
        if value is not None:
            found[product] = str(value)
    return [found.get(label, "") for label in photos.labels.tolist()] if found else None


def _top(outcomes: Outcomes, k: int) -> RateDoc:
    hits = (outcomes.ranks >= 1) & (outcomes.ranks <= k)
    return rate_of(hits[outcomes.known], outcomes.truth[outcomes.known])


def _mean_precision(nearest: Identification) -> RateDoc:
    """MAP@R as a rate; its ``part`` is 0 of a mean, so that only rate and interval speak."""
    known = nearest.outcomes.known
    if not known.any():
        return plain_rate(0, 0)
    sums = by_product(nearest.average_precision[known], nearest.outcomes.truth[known])
    return RateDoc(rate=nearest.map_at_r, part=0, whole=int(known.sum()), ci=rate_interval(*sums).to_json())


def _matching(photos: Photos, threshold: float) -> RateDoc:
    rate, result = matching_test(photos.vectors, photos.labels, threshold)
    outcomes = result.outcomes
    hits = (outcomes.ranks >= 1) & (outcomes.ranks <= 5) & within(result.genuine, threshold)
    document = rate_of(hits, outcomes.truth)
    if document["part"] != rate.part:
        raise AssertionError(f"expected one matching test, received {document['part']} and {rate.part} hits")
    return document


def _by_category(outcomes: Outcomes, categories: list[str]) -> list[GroupDoc]:
    names = np.array(categories)
    hits = outcomes.ranks == 1
    groups = []
    for name in outcomes.by_group(categories):
        member = outcomes.known & (names == name)
        groups.append(GroupDoc(name=str(name), **rate_of(hits[member], outcomes.truth[member])))
    return groups


def _confusions(
    photos: Photos, gallery: Photos, outcomes: Outcomes, confused: Sequence[Confusion]
) -> list[ConfusionDoc]:
    documents = []
    for confusion in confused:
        wrong = (outcomes.truth == confusion.product) & (outcomes.predicted == confusion.taken_for) & outcomes.known
        pictures = np.flatnonzero(gallery.labels == confusion.taken_for)
        probes = np.flatnonzero(wrong)
        distances = squared_l2(photos.vectors[probes], gallery.vectors[pictures])
        nearest = distances.argmin(axis=1)
        order = np.argsort(distances.min(axis=1), kind="stable")[:_EXAMPLES]
        documents.append(
            ConfusionDoc(
                product=str(confusion.product),
                taken_for=str(confusion.taken_for),
                count=confusion.count,
                probes=confusion.probes,
                examples=[
                    ConfusionExampleDoc(
                        photo=photos.sources[probes[i]],
                        image=gallery.sources[pictures[nearest[i]]],
                        distance=float(distances[i, nearest[i]]),
                    )
                    for i in order.tolist()
                ],
            )
        )
    return documents


def nearest_own(photos: Photos, gallery: Photos) -> list[str | None]:
    """The gallery picture of the right product that is nearest to each photo; None for unknown products."""
    found: list[str | None] = [None] * len(photos)
    columns: dict[str, NDArray[np.int64]] = {
        product: np.flatnonzero(gallery.labels == product) for product in photos.products.tolist()
    }
    for product, pictures in columns.items():
        if len(pictures):
            rows = np.flatnonzero(photos.labels == product)
            places = squared_l2(photos.vectors[rows], gallery.vectors[pictures]).argmin(axis=1)
            for row, place in zip(rows.tolist(), places.tolist(), strict=True):
                found[row] = gallery.sources[pictures[place]]
    return found

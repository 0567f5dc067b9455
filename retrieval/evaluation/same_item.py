"""The section ``views``: what several photos of one item bring over a single one, on the photos measured.

Photos of one product, drawn without replacement, stand for photos of one item. Every row is over the same products,
those that have photos enough for the last row.
"""

from __future__ import annotations

import numpy as np

from retrieval.calibration.points import Calibration
from retrieval.calibration.sureness import Sureness
from retrieval.distance import MAX_DISTANCE
from retrieval.errors import UsageError
from retrieval.evaluation.answers import Answers, ProbeAnswer, answer_all
from retrieval.evaluation.document import ServedRatesDoc, ViewsDoc, ViewsRowDoc
from retrieval.evaluation.photos import Photos
from retrieval.evaluation.rate_docs import rate_of
from retrieval.evaluation.served_answers import RatesOfVerdicts, given
from retrieval.recognition import same

MOST = 10
_SEED = 0


def views_section(
    photos: Photos,
    gallery: Photos,
    threshold: float,
    views: int,
    calibration: Calibration | None,
    sureness: Sureness | None = None,
) -> ViewsDoc:
    """Answer groups of 1 to ``views`` photos of a product, each group as one item.

    Args:
        photos: the split, without exclusions.
        gallery: what a query would search.
        threshold: the one in use, for single photos.
        views: photos of an item, at least 2.
        calibration: says how far apart photos of one product are, if anything does.
        sureness: gives the probabilities that queries go by; None where they go by the threshold.

    Raises:
        UsageError: no product of the gallery has so many photos.
    """
    products, counts = np.unique(photos.labels, return_counts=True)
    enough = products[(counts >= views) & np.isin(products, gallery.products)].tolist()
    if not enough:
        raise UsageError(
            f"expected products with {views} photos or more for --views {views}, received at most {counts.max()}",
            hint="Ask for fewer views, or measure a split with more photos a product.",
        )
    limit = same.farthest(calibration)
    rows = [_row(photos, gallery, threshold, enough, size, limit, sureness) for size in range(1, views + 1)]
    return ViewsDoc(products=len(enough), limit=limit, rows=rows)


def _row(
    photos: Photos,
    gallery: Photos,
    threshold: float,
    products: list[str],
    size: int,
    limit: float | None,
    sureness: Sureness | None,
) -> ViewsRowDoc:
    random = np.random.default_rng(_SEED)
    groups: list[np.ndarray] = []
    for product in products:
        mine = random.permutation(np.flatnonzero(photos.labels == product))
        groups += [mine[start : start + size] for start in range(0, len(mine) - size + 1, size)]
    firsts = np.array([int(group[0]) for group in groups])
    means = [same.one_vector(photos.vectors[group]) for group in groups]
    single = photos.only(firsts)
    items = Photos(
        single.root,
        single.sources,
        single.labels,
        np.stack([vector for vector, _ in means]),
        single.content_hashes,
        single.picture_hashes,
        single.hashed,
    )
    lengths = [length for _, length in means]
    limits = [same.lowered(threshold, length) for length in lengths]
    # Each item has a threshold of its own: the best products whatever their distance, then those near enough.
    answers = answer_all(items, gallery, MAX_DISTANCE, [])
    named = [_named(answer, t) for answer, t in zip(answers.answers, limits, strict=True)]
    without = [_named(answer, t) for answer, t in zip(answers.left_one_out, limits, strict=True)]
    first = answers.outcomes[MAX_DISTANCE].ranks == 1
    found = np.array([name == product for name, product in zip(named, items.labels.tolist(), strict=True)], bool)
    unknown = np.array([name is not None for name in without], bool)
    flagged = np.array([bool(same.apart(photos.vectors[g], [str(i) for i in g], limit)) for g in groups], bool)
    return ViewsRowDoc(
        photos=size,
        items=len(groups),
        top1=rate_of(first, items.labels),
        dir=rate_of(found, items.labels),
        fpir=rate_of(unknown[answers.tried], items.labels[answers.tried]),
        apart=None if limit is None or size == 1 else rate_of(flagged, items.labels),
        served=None if sureness is None else _served(answers, sureness, len(gallery.products), lengths),
    )


def _served(answers: Answers, sureness: Sureness, products: int, lengths: list[float]) -> ServedRatesDoc:
    """Verdicts by probability, all of items whose product the gallery holds."""
    rates = RatesOfVerdicts()
    for i, length in enumerate(lengths):
        left = None
        if answers.tried[i]:
            left = given(sureness, answers.left_one_out[i].matches, products - 1, length=length)
        whole = given(sureness, answers.answers[i].matches, products, length=length)
        rates.add(str(answers.truth[i]), whole, left, known=True)
    return rates.document()


def _named(answer: ProbeAnswer, threshold: float) -> str | None:
    return next((m.product_id for m in answer.matches if m.best_distance <= threshold), None)

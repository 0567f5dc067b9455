"""Which product is it: CMC over distinct products, MAP@R, medoids, accuracy per group, confusions.

A probe whose product has no (other) picture in the gallery cannot be identified; it is counted apart and
enters no identification rate (`retrieval.metrics.openset` is about those). **Ties go against the
probe**: a wrong product, or a wrong picture, at the same distance ranks before the right one, because
nothing in the data tells them apart. So constant vectors identify nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.metrics._grid import check_embeddings
from retrieval.metrics._ranking import rank_probes
from retrieval.metrics.rates import Rate

Labels = Sequence[str] | Sequence[int] | NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Confusion:
    """A product that was taken for another.

    Attributes:
        product: what the photos show.
        taken_for: what was answered first.
        count: photos of ``product`` answered so.
        probes: photos of ``product`` that could have been identified.
    """

    product: Hashable
    taken_for: Hashable
    count: int
    probes: int


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """What became of each probe, however the products were ranked.

    Attributes:
        truth: the product of each probe, shape (n,).
        predicted: the product ranked first, None where none was, shape (n,), dtype object.
        ranks: rank of the right product among the distinct products answered, from 1; 0 where it is not
            among them, shape (n,).
        known: whether the right product could have been answered, shape (n,).
    """

    truth: NDArray[np.generic]
    predicted: NDArray[np.object_]
    ranks: NDArray[np.int64]
    known: NDArray[np.bool_]

    def top(self, k: int) -> Rate:
        """CMC@k: known probes whose product is among the first k distinct products / known probes."""
        return Rate(int(((self.ranks >= 1) & (self.ranks <= k) & self.known).sum()), int(self.known.sum()))

    def cmc(self, most: int) -> tuple[Rate, ...]:
        """The cumulative match characteristic: `top` of 1 to ``most``."""
        return tuple(self.top(k) for k in range(1, most + 1))

    def by_group(self, groups: Sequence[Hashable] | None = None, *, k: int = 1) -> dict[Hashable, Rate]:
        """CMC@k per group of probes, lowest first, then the largest groups first.

        Args:
            groups: the group of each probe, such as its category, shape (n,); None groups by product.
            k: how many distinct products count as an answer.
        """
        names = list(self.truth.tolist()) if groups is None else list(groups)
        if len(names) != len(self.truth):
            raise ValueError(f"expected one group for each of {len(self.truth)} probes, received {len(names)}")
        hits: Counter[Hashable] = Counter()
        totals: Counter[Hashable] = Counter()
        for name, rank, known in zip(names, self.ranks.tolist(), self.known.tolist(), strict=True):
            if known:
                totals[name] += 1
                hits[name] += 1 <= rank <= k
        rates = {name: Rate(hits[name], total) for name, total in totals.items()}
        return dict(sorted(rates.items(), key=lambda item: (item[1].value, -item[1].whole, str(item[0]))))

    def confusions(self, limit: int = 20) -> tuple[Confusion, ...]:
        """The wrong first answers to known probes, commonest first; ties by name."""
        truth, predicted = self.truth.tolist(), self.predicted.tolist()
        probes: Counter[Hashable] = Counter()
        wrong: Counter[tuple[Hashable, Hashable]] = Counter()
        for right, answer, known in zip(truth, predicted, self.known.tolist(), strict=True):
            probes[right] += known
            if known and answer is not None and answer != right:
                wrong[right, answer] += 1
        ordered = sorted(wrong.items(), key=lambda item: (-item[1], str(item[0])))
        return tuple(Confusion(a, b, count, probes[a]) for (a, b), count in ordered[:limit])


@dataclass(frozen=True, slots=True, eq=False)
class Identification:
    """Probes against a gallery, a product being as near as its nearest picture.

    Attributes:
        outcomes: rank and first answer of each probe.
        genuine: squared L2 to the nearest (other) picture of the right product; inf for unknown
            probes, shape (n,).
        best_distance: squared L2 to the nearest (other) picture of any product; inf without any, shape (n,).
        average_precision: average precision at R of each probe; nan for unknown probes, shape (n,).
        gallery_images: pictures in the gallery.
        gallery_products: distinct products in the gallery.
    """

    outcomes: Outcomes
    genuine: NDArray[np.float32]
    best_distance: NDArray[np.float32]
    average_precision: NDArray[np.float64]
    gallery_images: int
    gallery_products: int

    @property
    def known(self) -> int:
        """Probes whose product is in the gallery: the denominator of every rate here."""
        return int(self.outcomes.known.sum())

    @property
    def unknown(self) -> int:
        """Probes whose product is not in the gallery."""
        return len(self.outcomes.known) - self.known

    @property
    def top1(self) -> float:
        """CMC@1, which is R@1 of the nearest picture; nan without a known probe."""
        return self.outcomes.top(1).value

    @property
    def top5(self) -> float:
        """CMC@5 over distinct products; nan without a known probe."""
        return self.outcomes.top(5).value

    @property
    def map_at_r(self) -> float:
        """Mean over known probes of the average precision at R; nan without a known probe.

        ``AP@R = (1/R) sum_{i=1..R} precision(i) * [i-th nearest picture is of the product]`` with R the
        product's pictures in the gallery, the probe itself left out (Musgrave, Belongie, Lim 2020, "A Metric
        Learning Reality Check", section 3.2).
        """
        return float(self.average_precision[self.outcomes.known].mean()) if self.known else math.nan

    def found(self, k: int, threshold: float) -> Rate:
        """Known probes whose product is among the first k and within the threshold / known probes."""
        ranks = self.outcomes.ranks
        hit = (ranks >= 1) & (ranks <= k) & (self.genuine.astype(np.float64) <= threshold)
        return Rate(int((hit & self.outcomes.known).sum()), self.known)


def identification(
    probes: NDArray[np.float32],
    probe_labels: Labels,
    gallery: NDArray[np.float32],
    gallery_labels: Labels,
    *,
    exclude_self: bool = False,
) -> Identification:
    """Rank the gallery's products for each probe by the distance of their nearest picture.

    Blockwise over probes: memory does not grow with their number.

    Args:
        probes: unit vectors, float32, shape (n, d).
        probe_labels: product of each probe, shape (n,).
        gallery: unit vectors, float32, shape (m, d), m >= 1.
        gallery_labels: product of each gallery picture, shape (m,).
        exclude_self: probe i is gallery picture i, which it must not find (leave one out); n = m then.

    Raises:
        ValueError: shapes, types or norms are not as described, or the gallery is empty.
    """
    truth, names = np.asarray(probe_labels), np.asarray(gallery_labels)
    check_embeddings(probes, truth, "probes")
    check_embeddings(gallery, names, "gallery images")
    if not len(gallery) or probes.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"expected a gallery of dimension {probes.shape[1]} that is not empty, received {gallery.shape}"
        )
    if exclude_self and len(probes) != len(gallery):
        raise ValueError(
            f"expected the probes to be the gallery, received {len(probes)} probes, {len(gallery)} pictures"
        )
    products, codes = np.unique(names, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(len(products) + 1))
    owners = _positions(truth, products)
    own_column = np.argsort(order) if exclude_self else None
    found = rank_probes(probes, owners, np.ascontiguousarray(gallery[order]), starts, own_column)
    predicted = np.full(len(probes), None, object)
    answered = np.isfinite(found.best_distance)
    predicted[answered] = products.astype(object)[found.predicted[answered]]
    return Identification(
        Outcomes(truth, predicted, found.ranks, found.ranks > 0),
        found.genuine,
        found.best_distance,
        found.average_precision,
        len(gallery),
        len(products),
    )


def _positions(labels: NDArray[np.generic], products: NDArray[np.generic]) -> NDArray[np.int64]:
    """The number of each label among the sorted products, -1 where it is not one of them."""
    numbers = {name: number for number, name in enumerate(products.tolist())}
    return np.array([numbers.get(label, -1) for label in labels.tolist()], np.int64)


def rank_outcomes(
    truth: Labels, answers: Sequence[Sequence[Hashable]], gallery_products: Sequence[Hashable] | set[Hashable]
) -> Outcomes:
    """Outcomes of any recognizer that answers with products in order, such as the votes.

    Args:
        truth: the product of each probe, shape (n,).
        answers: distinct products for each probe, best first; empty where nothing was found.
        gallery_products: the products that could have been answered.

    Raises:
        ValueError: the lengths differ or an answer names a product twice.
    """
    labels = np.asarray(truth)
    if len(answers) != len(labels):
        raise ValueError(f"expected {len(labels)} answers, one a probe, received {len(answers)}")
    available = set(gallery_products)
    predicted = np.full(len(labels), None, object)
    ranks = np.zeros(len(labels), np.int64)
    for i, (label, answer) in enumerate(zip(labels.tolist(), answers, strict=True)):
        ranked = list(answer)
        if len(set(ranked)) != len(ranked):
            raise ValueError(f"expected distinct products in an answer, received {ranked}")
        if ranked:
            predicted[i] = ranked[0]
        ranks[i] = ranked.index(label) + 1 if label in ranked else 0
    known = np.array([label in available for label in labels.tolist()], bool)
    return Outcomes(labels, predicted, ranks, known)


def medoids(embeddings: NDArray[np.float32], labels: Labels) -> NDArray[np.int64]:
    """The most central picture of each product, in the order of the sorted products.

    It minimizes the sum of squared L2 distances to the product's pictures. For unit vectors that sum is
    ``2 (n - x · sum_j x_j)``, so no pair has to be formed. Ties: the first picture.

    Args:
        embeddings: unit vectors, float32, shape (n, d).
        labels: product of each, shape (n,).

    Returns:
        Row numbers, shape (products,).
    """
    names = np.asarray(labels)
    check_embeddings(embeddings, names, "embeddings")
    products, codes = np.unique(names, return_inverse=True)
    if not len(products):
        return np.empty(0, np.int64)
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(len(products)))
    sums = np.add.reduceat(embeddings[order].astype(np.float64), starts, axis=0)
    centrality = np.einsum("ij,ij->i", embeddings.astype(np.float64), sums[codes])
    # Equal pictures may differ in the last bits of their sums; rounding keeps "the first" meaning something.
    ranked = np.lexsort((np.arange(len(names)), -np.round(centrality, 9), codes))
    return np.asarray(ranked[starts], np.int64)


def matching_test(
    embeddings: NDArray[np.float32], labels: Labels, threshold: float, *, k: int = 5
) -> tuple[Rate, Identification]:
    """The original experiment's matching test on one split.

    One representative picture a product, its medoid, is the gallery; every other picture is a probe. It
    passes when its product is among the first k and its representative within the threshold.

    Args:
        embeddings: unit vectors, float32, shape (n, d).
        labels: product of each, shape (n,).
        threshold: squared L2; inclusive.
        k: how many products are shown.

    Returns:
        The rate, and the identification that it comes from. Products of one picture have no probe.
    """
    names = np.asarray(labels)
    chosen = medoids(embeddings, names)
    rest = np.setdiff1d(np.arange(len(names)), chosen)
    result = identification(embeddings[rest], names[rest], embeddings[chosen], names[chosen])
    return result.found(k, threshold), result

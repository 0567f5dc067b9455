"""Every probe answered as a query would be, once with its product in the gallery and once out of it.

Each known probe is tried twice: against the whole gallery, and against the gallery without its own
product (leave one product out), where any match is wrong. That makes every product
unknown once, in a gallery of nearly its full size, instead of holding a few products out of everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from retrieval.distance import MAX_DISTANCE, squared_l2
from retrieval.evaluation.photos import Photos
from retrieval.metrics import Outcomes
from retrieval.recognition import votes
from retrieval.recognition.decision import decide, split
from retrieval.types import Match, Metadata, Neighbor, Verdict

TOP = votes.RIVALS


class Embedded(Protocol):
    """Unit vectors, shape (n, d), and the product of each, shape (n,)."""

    @property
    def vectors(self) -> NDArray[np.float32]:
        """The vectors."""
        ...

    @property
    def labels(self) -> NDArray[np.str_]:
        """The products."""
        ...


_BLOCK_DISTANCES = 2**22


@dataclass(frozen=True, slots=True, eq=False)
class ProbeAnswer:
    """The answer to one probe at the threshold in use.

    Attributes:
        verdict: as `retrieval.recognition.decision.decide`.
        matches: those of the best `TOP` products that lie within the threshold, best first.
    """

    verdict: Verdict
    matches: tuple[Match, ...]

    @property
    def margin(self) -> float:
        """``1 - runner-up's score / winner's score``: 1 without a runner-up, -inf without an answer."""
        if not self.matches:
            return -np.inf
        return 1.0 - (self.matches[1].score / self.matches[0].score if len(self.matches) > 1 else 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """Every probe against the gallery, n of them.

    Attributes:
        truth: product of each probe, shape (n,).
        known: whether the gallery has its product, shape (n,).
        genuine: squared L2 to the nearest picture of the right product; inf where unknown, shape (n,).
        impostor: squared L2 to the nearest picture of any other product; inf without one, shape (n,).
        answers: at the threshold in use, gallery complete.
        left_one_out: the same with the probe's product taken out of the gallery; equal to ``answers`` for
            probes that are unknown anyway.
        outcomes: rank and first product by votes, for each threshold asked for.
    """

    truth: NDArray[np.str_]
    known: NDArray[np.bool_]
    genuine: NDArray[np.float32]
    impostor: NDArray[np.float32]
    answers: tuple[ProbeAnswer, ...]
    left_one_out: tuple[ProbeAnswer, ...]
    outcomes: dict[float, Outcomes]

    @property
    def tried(self) -> NDArray[np.bool_]:
        """Known probes that were tried as leave-one-out unknowns: the gallery has another product, shape (n,)."""
        return self.known & np.isfinite(self.impostor)


def answer_all(probes: Photos, gallery: Photos, threshold: float, thresholds: Sequence[float]) -> Answers:
    """Recognize every probe, blockwise; memory grows with the probes' answers only.

    Args:
        probes: photos of known products.
        gallery: what they are compared with.
        threshold: the one in use, squared L2; inclusive.
        thresholds: others at which only the ranking of products is wanted; 4.0 ranks everything.

    Raises:
        ValueError: the gallery is empty, or its vectors have another dimension.
    """
    _check(probes, gallery)
    ordered = _OrderedGallery.of(gallery)
    wanted = sorted({float(t) for t in (threshold, *thresholds)})
    ranks = {t: np.zeros(len(probes), np.int64) for t in wanted}
    first = {t: np.full(len(probes), -1, np.int64) for t in wanted}
    own_column = ordered.columns(probes.labels)
    genuine, impostor = (np.full(len(probes), np.inf, np.float32) for _ in range(2))
    answers: list[ProbeAnswer] = []
    left_one_out: list[ProbeAnswer] = []
    for part, distances in _blocks(probes.vectors, ordered):
        nearest = ordered.nearest(distances)
        best, columns = nearest[:, :, 0], own_column[part]
        genuine[part], impostor[part] = _genuine_and_impostor(best, columns)
        scores = ordered.scores(nearest)
        for t in wanted:
            ranks[t][part], first[t][part] = _ranked(scores, best, columns, t)
        # A score is in (0, 1]: what lies within the threshold comes first.
        in_use = scores + within(best, threshold)
        for row, scored, column in zip(distances, in_use, columns.tolist(), strict=True):
            answers.append(ordered.answer(row, scored, threshold))
            if column >= 0:
                scored[column] = 0.0
                left_one_out.append(ordered.answer(row, scored, threshold))
            else:
                left_one_out.append(answers[-1])
    names = ordered.products.astype(object)
    known_all = own_column >= 0
    outcomes = {}
    for t in wanted:
        predicted = np.full(len(probes), None, object)
        predicted[first[t] >= 0] = names[first[t][first[t] >= 0]]
        outcomes[t] = Outcomes(probes.labels, predicted, ranks[t], known_all)
    return Answers(probes.labels, known_all, genuine, impostor, tuple(answers), tuple(left_one_out), outcomes)


def within(distances: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
    """Which distances the threshold accepts, compared as real numbers.

    A Python number beside a float32 array would be rounded to float32 first, and might then accept a distance
    that `retrieval.recognition.votes` refuses.
    """
    accepted: NDArray[np.bool_] = distances <= np.float64(threshold)
    return accepted


def nearest_distances(probes: Photos, gallery: Photos) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """`Answers.genuine` and `Answers.impostor` alone, without any ranking. Raises as `answer_all`."""
    _check(probes, gallery)
    ordered = _OrderedGallery.of(gallery)
    own_column = ordered.columns(probes.labels)
    genuine, impostor = (np.full(len(probes), np.inf, np.float32) for _ in range(2))
    for part, distances in _blocks(probes.vectors, ordered):
        if ordered.factors is None:
            best = np.minimum.reduceat(distances, ordered.starts, axis=1)
        else:
            best = ordered.nearest(distances)[:, :, 0]
        genuine[part], impostor[part] = _genuine_and_impostor(best, own_column[part])
    return genuine, impostor


def first_by_votes(
    probes: NDArray[np.float32],
    gallery: NDArray[np.float32],
    labels: NDArray[np.str_],
    factors: NDArray[np.float32] | None = None,
) -> NDArray[np.str_]:
    """The product that a query ranks first for each photo, whatever the threshold, shape (n,).

    What benchmarks measure new and known products by: the rule that is served.

    Args:
        probes: unit vectors of the photos, shape (n, d).
        gallery: unit vectors of the pictures they are compared with, shape (m, d), m at least 1.
        labels: the product of each picture, shape (m,).
        factors: see `Photos.factors`, shape (m,).
    """
    ordered = _OrderedGallery(gallery, labels, factors=factors)
    first = np.zeros(len(probes), np.int64)
    own = np.full(len(probes), -1)
    for part, distances in _blocks(probes, ordered):
        nearest = ordered.nearest(distances)
        _, first[part] = _ranked(ordered.scores(nearest), nearest[:, :, 0], own[part], MAX_DISTANCE)
    return ordered.products[first]


def rank_all(probes: Photos, gallery: Photos) -> list[list[Match]]:
    """The best `TOP` products of each probe, best first, whatever their distance. Raises as `answer_all`."""
    _check(probes, gallery)
    ordered = _OrderedGallery.of(gallery)
    return [
        list(ordered.answer(row, scored, MAX_DISTANCE).matches)
        for _, distances in _blocks(probes.vectors, ordered)
        for row, scored in zip(distances, ordered.scores(ordered.nearest(distances)) + 1.0, strict=True)
    ]


def ranks_by_votes(probes: Embedded, gallery: Embedded) -> NDArray[np.int64]:
    """The place that a query gives the right product of each photo, whatever the threshold, shape (n,); 0 for none.

    Args:
        probes: unit vectors of the photos, and their products.
        gallery: of the pictures that they are compared with, at least one.
    """
    ordered = _OrderedGallery(gallery.vectors, gallery.labels)
    own = ordered.columns(probes.labels)
    ranks = np.zeros(len(own), np.int64)
    for part, distances in _blocks(probes.vectors, ordered):
        nearest = ordered.nearest(distances)
        ranks[part], _ = _ranked(ordered.scores(nearest), nearest[:, :, 0], own[part], MAX_DISTANCE)
    return ranks


def _check(probes: Photos, gallery: Photos) -> None:
    if not len(gallery) or gallery.vectors.shape[1] != probes.vectors.shape[1]:
        raise ValueError(
            f"expected a gallery of dimension {probes.vectors.shape[1]} that is not empty, "
            f"received {gallery.vectors.shape}"
        )


def _blocks(probes: NDArray[np.float32], ordered: _OrderedGallery) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Some probes at a time, with their distances to every picture of the gallery, shape (b, m)."""
    rows = max(1, min(1024, _BLOCK_DISTANCES // max(len(ordered.vectors), votes.VOTERS * len(ordered.products))))
    for top in range(0, len(probes), rows):
        part = slice(top, min(top + rows, len(probes)))
        yield part, squared_l2(probes[part], ordered.vectors)


def _genuine_and_impostor(
    best: NDArray[np.float32], own: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Distance of the right product, inf where unknown, and of the nearest other one, inf without one."""
    rows = np.flatnonzero(own >= 0)
    mine = np.full(len(best), np.inf, np.float32)
    mine[rows] = best[rows, own[rows]]
    others = best.copy()
    others[rows, own[rows]] = np.inf
    return mine, others.min(axis=1)


def _ranked(
    scores: NDArray[np.float64], best: NDArray[np.float32], own: NDArray[np.int64], threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rank of the right product, 0 where it is not found, and the first product, -1 where none is.

    The order is that of `retrieval.recognition.votes.rank`: score, then best distance, then product id.

    Args:
        scores: of every product, shape (b, p).
        best: distance of its nearest picture, shape (b, p).
        own: the right product's column, -1 for unknown, shape (b,).
        threshold: products beyond it are not found.
    """
    found = within(best, threshold)
    scores = np.where(found, scores, -np.inf)
    winner = scores.max(axis=1, keepdims=True)
    leading = np.where((scores == winner) & found, best, np.inf)
    first = np.where(found.any(axis=1), leading.argmin(axis=1), -1)
    rows = np.arange(len(own))
    column = np.maximum(own, 0)
    score, distance = scores[rows, column][:, None], best[rows, column][:, None]
    before = np.arange(best.shape[1])[None, :] < own[:, None]
    tied = (scores == score) & ((best < distance) | ((best == distance) & before))
    rank = 1 + (found & ((scores > score) | tied)).sum(axis=1)
    return np.where((own >= 0) & found[rows, column], rank, 0), first


class _OrderedGallery:
    """A gallery in the order of its products."""

    @classmethod
    def of(cls, gallery: Photos) -> _OrderedGallery:
        """All of a gallery."""
        return cls(gallery.vectors, gallery.labels, gallery.sources, gallery.metadata, gallery.factors)

    def __init__(
        self,
        vectors: NDArray[np.float32],
        labels: NDArray[np.str_],
        sources: Sequence[str] | None = None,
        metadata: Mapping[str, Metadata] | None = None,
        factors: NDArray[np.float32] | None = None,
    ) -> None:
        sources = sources if sources is not None else [""] * len(labels)
        order = np.lexsort((np.array(sources), labels))
        self.vectors = np.ascontiguousarray(vectors[order])
        self.images = [sources[i] for i in order.tolist()]
        self.labels = labels[order].tolist()
        self.metadata: list[Metadata] = [(metadata or {}).get(label, {}) for label in self.labels]
        self.products, self.starts, self.sizes = np.unique(labels[order], return_index=True, return_counts=True)
        self.factors = None if factors is None else factors[order]
        self.voters = np.array([votes.voters(n) for n in self.sizes.tolist()])
        self.crowds = np.array([votes.crowd(n) for n in self.sizes.tolist()])

    def columns(self, labels: NDArray[np.str_]) -> NDArray[np.int64]:
        """The number of each product, -1 for those it does not hold, shape (n,)."""
        place = np.searchsorted(self.products, labels)
        held = self.products[np.minimum(place, len(self.products) - 1)] == labels
        return np.where(held, place, -1).astype(np.int64)

    def span(self, column: int) -> slice:
        """The pictures of a product."""
        return slice(int(self.starts[column]), int(self.starts[column] + self.sizes[column]))

    def nearest(self, distances: NDArray[np.float32]) -> NDArray[np.float32]:
        """The nearest pictures of each product, ascending, inf where it has fewer, shape (b, p, VOTERS)."""
        out = np.full((len(distances), len(self.products), votes.VOTERS), np.inf, np.float32)
        for column, size in enumerate(self.sizes.tolist()):
            own = distances[:, self.span(column)]
            kept = min(votes.VOTERS, size)
            if self.factors is not None:
                own = self._scaled(own, self.factors[self.span(column)])
            if own.shape[1] > kept:
                own = np.partition(own, kept - 1, axis=1)[:, :kept]
            out[:, column, :kept] = np.sort(own, axis=1)
        return out

    @staticmethod
    def _scaled(own: NDArray[np.float32], factors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of a product's pictures the nearest `votes.EVIDENCE`, as they vote, in any order."""
        if own.shape[1] > votes.EVIDENCE:
            rows = np.argpartition(own, votes.EVIDENCE - 1, axis=1)[:, : votes.EVIDENCE]
            own, factors = np.take_along_axis(own, rows, axis=1), factors[rows]
        scaled: NDArray[np.float32] = np.minimum(own * factors, np.float32(MAX_DISTANCE))
        return scaled

    def scores(self, nearest: NDArray[np.float32]) -> NDArray[np.float64]:
        """The score of each product, as `retrieval.recognition.votes.score` has it, shape (b, p).

        Args:
            nearest: distances of its nearest pictures, as the method of this name gives them, shape (b, p, VOTERS).
        """
        given = np.exp(-nearest.astype(np.float64) / votes.TEMPERATURE)
        voting = np.arange(votes.VOTERS) < self.voters[:, None]
        scores: NDArray[np.float64] = (given * voting).sum(axis=2) / (self.voters * self.crowds)
        return scores

    def answer(self, distances: NDArray[np.float32], scores: NDArray[np.float64], threshold: float) -> ProbeAnswer:
        """The best `TOP` products of one probe, as `retrieval.recognition.recognizer.find` returns them.

        Args:
            distances: to every picture, shape (m,).
            scores: of every product, 1 more for those within the threshold, 0 for one to leave out, shape (p,).
            threshold: squared L2.
        """
        found = np.flatnonzero(scores > 0.0)
        if len(found) > TOP:
            # Whatever ties with the last place stays in, but for the last bits of a sum: `rank` settles ties.
            last = np.partition(scores[found], -TOP)[-TOP]
            found = found[scores[found] >= last * (1.0 - 1e-9)]
        neighbors = [n for column in found.tolist() for n in self._neighbors(distances, column)]
        ranked = votes.rank(neighbors, threshold=threshold)
        matches, _ = split(ranked[:TOP], threshold)
        return ProbeAnswer(decide(ranked, threshold=threshold), matches)

    def _neighbors(self, distances: NDArray[np.float32], column: int) -> Iterator[Neighbor]:
        start = int(self.starts[column])
        own = distances[self.span(column)]
        factors = None if self.factors is None else self.factors[self.span(column)]
        for i in np.argsort(own, kind="stable")[: votes.EVIDENCE].tolist():
            distance = own[i] if factors is None else min(own[i] * factors[i], np.float32(MAX_DISTANCE))
            yield Neighbor(self.labels[start + i], self.images[start + i], float(distance), self.metadata[start + i])

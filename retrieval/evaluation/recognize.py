"""Every probe answered as a query would be, once with its product in the gallery and once as a stranger.

Each known probe is tried twice: against the whole gallery, and against the gallery without its own
product (leave one product out), where any name it gets is wrong. That makes every product act as
unknown once, in a gallery of nearly its full size, instead of holding a few products out of everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval import votes
from retrieval.distance import MAX_DISTANCE, squared_l2
from retrieval.evaluation.photos import Photos
from retrieval.metrics import Outcomes
from retrieval.recognizer import find
from retrieval.types import Match, Metadata, Neighbor, Verdict, Where

TOP = 5

_BLOCK_DISTANCES = 2**22
_MISSING = np.inf


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What the recognizer said to one probe at the threshold in use.

    Attributes:
        verdict: as `retrieval.votes.verdict`.
        matches: the best `TOP` products, best first.
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
        own_distance: squared L2 to the nearest picture of the right product; inf where unknown, shape (n,).
        rival_distance: squared L2 to the nearest picture of any other product; inf without one, shape (n,).
        answers: at the threshold in use, gallery complete.
        as_stranger: the same with the probe's product left out of the gallery; equal to ``answers`` for
            probes that are unknown anyway.
        outcomes: rank and first product by votes, for each threshold asked for.
    """

    truth: NDArray[np.str_]
    known: NDArray[np.bool_]
    own_distance: NDArray[np.float32]
    rival_distance: NDArray[np.float32]
    answers: tuple[Answer, ...]
    as_stranger: tuple[Answer, ...]
    outcomes: dict[float, Outcomes]


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
    if not len(gallery) or gallery.vectors.shape[1] != probes.vectors.shape[1]:
        raise ValueError(
            f"expected a gallery of dimension {probes.vectors.shape[1]} that is not empty, "
            f"received {gallery.vectors.shape}"
        )
    shelf = _Shelf(gallery)
    wanted = sorted({float(t) for t in (threshold, *thresholds)})
    ranks = {t: np.zeros(len(probes), np.int64) for t in wanted}
    first = {t: np.full(len(probes), -1, np.int64) for t in wanted}
    own_column = np.array([shelf.column.get(label, -1) for label in probes.labels.tolist()], np.int64)
    own = np.full(len(probes), np.inf, np.float32)
    rival = np.full(len(probes), np.inf, np.float32)
    answers: list[Answer] = []
    strangers: list[Answer] = []
    rows = max(1, min(1024, _BLOCK_DISTANCES // len(gallery)))
    for top in range(0, len(probes), rows):
        part = slice(top, top + rows)
        distances = squared_l2(probes.vectors[part], shelf.vectors)
        nearest = shelf.nearest(distances)
        best, columns = nearest[:, :, 0], own_column[part]
        known = np.flatnonzero(columns >= 0)
        others = best.copy()
        others[known, columns[known]] = np.inf
        own[part][known], rival[part] = best[known, columns[known]], others.min(axis=1)
        for t in wanted:
            ranks[t][part], first[t][part] = _ranked(shelf.scores(nearest, t), best, columns, t)
        for row, column in zip(distances, columns.tolist(), strict=True):
            answers.append(_answer(_Row(shelf, row), threshold))
            strangers.append(_answer(_Row(shelf, row, without=column), threshold) if column >= 0 else answers[-1])
    names = shelf.products.astype(object)
    known_all = own_column >= 0
    outcomes = {}
    for t in wanted:
        predicted = np.full(len(probes), None, object)
        predicted[first[t] >= 0] = names[first[t][first[t] >= 0]]
        outcomes[t] = Outcomes(probes.labels, predicted, ranks[t], known_all)
    return Answers(probes.labels, known_all, own, rival, tuple(answers), tuple(strangers), outcomes)


def within(distances: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
    """Which distances the threshold accepts, compared as real numbers.

    A Python number beside a float32 array would be rounded to float32 first, and might then accept a distance
    that `retrieval.votes` refuses.
    """
    accepted: NDArray[np.bool_] = distances <= np.float64(threshold)
    return accepted


def _answer(row: _Row, threshold: float) -> Answer:
    matches = find(row, _NO_VECTOR, threshold=threshold, products=TOP)
    return Answer(votes.verdict(matches), tuple(matches))


def _ranked(
    scores: NDArray[np.float64], best: NDArray[np.float32], own: NDArray[np.int64], threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rank of the right product, 0 where it is not found, and the first product, -1 where none is.

    The order is that of `retrieval.votes.rank`: score, then best distance, then product id.

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


class _Shelf:
    """A gallery in the order of its products."""

    def __init__(self, gallery: Photos) -> None:
        order = np.argsort(gallery.labels, kind="stable")
        self.vectors = np.ascontiguousarray(gallery.vectors[order])
        self.images = [gallery.sources[i] for i in order.tolist()]
        self.labels = gallery.labels[order].tolist()
        self.metadata: list[Metadata] = [gallery.metadata.get(label, {}) for label in self.labels]
        self.products, self.starts, self.sizes = np.unique(gallery.labels[order], return_index=True, return_counts=True)
        self.column = {product: i for i, product in enumerate(self.products.tolist())}

    def span(self, column: int) -> slice:
        """The pictures of a product."""
        return slice(int(self.starts[column]), int(self.starts[column] + self.sizes[column]))

    def nearest(self, distances: NDArray[np.float32]) -> NDArray[np.float32]:
        """The nearest pictures of each product, ascending, inf where it has fewer, shape (b, p, VOTERS)."""
        out = np.full((len(distances), len(self.products), votes.VOTERS), np.inf, np.float32)
        for column, size in enumerate(self.sizes.tolist()):
            own = distances[:, self.span(column)]
            kept = min(votes.VOTERS, size)
            if size > kept:
                own = np.partition(own, kept - 1, axis=1)[:, :kept]
            out[:, column, :kept] = np.sort(own, axis=1)
        return out

    def scores(self, nearest: NDArray[np.float32], threshold: float) -> NDArray[np.float64]:
        """The score of each product, as `retrieval.votes.score` has it, shape (b, p)."""
        given = np.where(within(nearest, threshold), np.exp(-nearest.astype(np.float64) / votes.TEMPERATURE), 0.0)
        mean: NDArray[np.float64] = given.sum(axis=2) / np.minimum(self.sizes, votes.VOTERS)
        return mean


_NO_VECTOR: NDArray[np.float32] = np.empty(0, np.float32)


class _Row:
    """The gallery as one probe sees it: its distances are known, so a search only selects."""

    def __init__(self, shelf: _Shelf, distances: NDArray[np.float32], *, without: int | None = None) -> None:
        self._shelf = shelf
        self._distances = distances
        if without is not None:
            self._distances = distances.copy()
            self._distances[shelf.span(without)] = _MISSING

    def search(
        self,
        vector: NDArray[np.float32],
        *,
        limit: int,
        max_distance: float,
        where: Where | None = None,
        product_id: str | None = None,
        exact: bool = False,
    ) -> list[Neighbor]:
        """As `Searchable.search`; the vector is the probe's, whichever is given."""
        span = (
            slice(0, len(self._distances)) if product_id is None else self._shelf.span(self._shelf.column[product_id])
        )
        distances = self._distances[span]
        chosen = np.flatnonzero(within(distances, min(max_distance, MAX_DISTANCE)))
        if len(chosen) > limit:
            chosen = chosen[np.argpartition(distances[chosen], limit - 1)[:limit]]
        chosen = chosen[np.argsort(distances[chosen], kind="stable")]
        return list(self._neighbors(chosen + span.start))

    def _neighbors(self, numbers: NDArray[np.int64]) -> Iterator[Neighbor]:
        shelf = self._shelf
        for i, distance in zip(numbers.tolist(), self._distances[numbers].tolist(), strict=True):
            image = shelf.images[i]
            yield Neighbor(shelf.labels[i], image, image, distance, shelf.metadata[i])

"""What photos get as queries are answered, where that is by probability: see `retrieval.calibration.sureness`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from retrieval.calibration.in_force import InForce
from retrieval.calibration.sureness import DEFAULT, Sureness
from retrieval.distance import MAX_DISTANCE
from retrieval.evaluation.answers import Answers, answer_all
from retrieval.evaluation.document import RateDoc, ServedProbeDoc, ServedRatesDoc
from retrieval.evaluation.photos import Photos
from retrieval.evaluation.rate_docs import rate_of
from retrieval.recognition.decision import NEARER, beside
from retrieval.types import Match, Verdict

_MOST = 2_000
"""Photos that are tried at most, evenly over all."""


class Given(NamedTuple):
    """One answer: its verdict, its first product, and the probabilities of that and of being in the catalog."""

    verdict: Verdict
    product: str
    first: float
    in_catalog: float

    def names(self, product: str) -> bool:
        """True for a *match* with this product."""
        return self.verdict == "match" and self.product == product


def given(
    sureness: Sureness,
    ranked: Sequence[Match],
    products: int,
    *,
    refusal: float | None = None,
    part: float = NEARER,
    length: float = 1.0,
) -> Given:
    """The answer that ranked products give.

    Args:
        sureness: gives the probabilities.
        ranked: whatever their distance, best first, at least one.
        products: in the gallery.
        refusal: see `retrieval.recognition.decision.beside`, as the two that follow.
        part: how far a product may lie beside it.
        length: of the mean of several photos.
    """
    sure = beside(sureness, ranked, products, refusal, length, part)
    return Given(sure.verdict(DEFAULT), ranked[0].product_id, sure.products[0], sure.in_catalog)


@dataclass(frozen=True, slots=True, eq=False)
class ServedAnswers:
    """Photos as they are served.

    Attributes:
        rows: which photos of the split, n of them.
        answers: of those, whatever the distance.
        sureness: gives the probabilities.
        products: in the gallery.
    """

    rows: range
    answers: Answers
    sureness: Sureness
    products: int

    def whole(self, i: int, *, refusal: float | None = None, part: float = NEARER) -> Given:
        """The answer to the i-th of them, among all products.

        Args:
            i: from 0 to n - 1.
            refusal: see `given`.
            part: likewise.
        """
        return given(self.sureness, self.answers.answers[i].matches, self.products, refusal=refusal, part=part)

    def without_its_product(self, i: int, *, refusal: float | None = None, part: float = NEARER) -> Given | None:
        """The answer where the gallery lacks its product; None for one that cannot be tried so.

        Args:
            i: as `whole`.
            refusal: likewise.
            part: likewise.
        """
        if not self.answers.tried[i]:
            return None
        left = self.answers.left_one_out[i].matches
        return given(self.sureness, left, self.products - 1, refusal=refusal, part=part)

    def probes(self) -> dict[int, ServedProbeDoc]:
        """What became of each photo, by its row in the split."""
        return {row: self._probe(i) for i, row in enumerate(self.rows)}

    def _probe(self, i: int) -> ServedProbeDoc:
        answer, other = self.whole(i), self.without_its_product(i)
        return ServedProbeDoc(
            verdict=answer.verdict,
            product=answer.product,
            first=answer.first,
            in_catalog=answer.in_catalog,
            left_out=None if other is None else other._asdict(),
        )


class RatesOfVerdicts:
    """Counts verdicts by probability, photo by photo."""

    def __init__(self) -> None:
        self._found: dict[str, list[tuple[str, bool]]] = {"known": [], "left_out": [], "outside": []}

    def add(self, product: str, answer: Given, left_out: Given | None, *, known: bool) -> None:
        """Count one photo.

        Args:
            product: that it shows.
            answer: to it.
            left_out: its answer without that product in the gallery; None where it was not tried.
            known: whether the gallery has that product.
        """
        if known:
            self._found["known"].append((product, answer.names(product)))
        else:
            self._found["outside"].append((product, answer.verdict == "match"))
        if left_out is not None:
            self._found["left_out"].append((product, left_out.verdict == "match"))

    def document(self) -> ServedRatesDoc:
        """The rates, with their intervals."""
        return ServedRatesDoc(
            match_right=self._rate("known"),
            unknown_match=self._rate("left_out"),
            outsiders_match=self._rate("outside") if self._found["outside"] else None,
        )

    def _rate(self, group: str) -> RateDoc:
        found = self._found[group]
        return rate_of(np.array([is_so for _, is_so in found], bool), np.array([product for product, _ in found], str))


def serve_all(photos: Photos, gallery: Photos, found: InForce | None) -> ServedAnswers | None:
    """Every photo as it is served, 2,000 at most; None where queries go by the threshold.

    Args:
        photos: of the split.
        gallery: what they are compared with.
        found: what the calibration says of a gallery like it.
    """
    sureness = found.calibration.sureness if found is not None and found.fits else None
    if sureness is None:
        return None
    rows = range(0, len(photos), -(-len(photos) // _MOST))
    answers = answer_all(photos.only(rows), gallery, MAX_DISTANCE, ())
    return ServedAnswers(rows, answers, sureness, len(gallery.products))

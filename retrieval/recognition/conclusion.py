"""From ranked products to an answer: the verdict, and a closer look where the call is close or a refusal is near."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from retrieval.calibration.sureness import Limits, Sureness
from retrieval.distance import MAX_DISTANCE
from retrieval.recognition import closer, votes
from retrieval.recognition.decision import NEARER, beside, by_probability, decide, near_enough, split
from retrieval.types import CloserLook, Match, Recognition, RefusedBy, Sighting, Verdict

if TYPE_CHECKING:
    from retrieval.calibration.confidence import Confidence


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedPhoto:
    """A photo after the network: its unit vector, shape (d,), and what it took, in ms."""

    source: str
    vector: NDArray[np.float32]
    decode_ms: float
    embed_ms: float


@dataclass(frozen=True, slots=True)
class ByProbability:
    """What verdicts by probability go by.

    Attributes:
        sureness: gives the probabilities.
        limits: on those.
        products: in the whole catalog.
    """

    sureness: Sureness
    limits: Limits
    products: int


class Ranked(NamedTuple):
    """What a search found for a photo, and all else that its answer follows from but the products' pictures.

    Attributes:
        photo: its vector, and what it took to make it.
        products: best first, see `find`.
        threshold: squared L2, of this photo.
        limit: the threshold with regard to the refusal.
        refusal: see `recognize`, as the two that follow.
        probability: what the verdict follows.
        length: of the mean.
        search_ms: what it took.
        part: see `retrieval.recognition.decision.beside_refusals`.
    """

    photo: EmbeddedPhoto
    products: Sequence[Match]
    threshold: float
    limit: float
    refusal: RefusedBy | None
    probability: ByProbability | None
    length: float
    search_ms: float
    part: float = NEARER


Glance = Callable[[Sequence[Match], RefusedBy | None], Sequence[Sighting]]
"""Looks for products, and a refused picture, in the photo that is being answered."""


def conclude(
    found: Ranked,
    *,
    top: int,
    fingerprint: str,
    confidence: Confidence | None = None,
    glance: Glance | None = None,
) -> Recognition:
    """The second half of `recognize`: what the products that a search found say.

    Args:
        found: what it found.
        top: see `recognize`, as the two that follow.
        fingerprint: the model's.
        confidence: how sure answers are.
        glance: looks closer where that may change the answer; see `retrieval.recognition.closer`.
    """
    judged = _judged(found, found.products, top, confidence)
    look, look_ms = None, {}
    wanted, refusal = ((), None) if glance is None else _wanted(found, judged)
    if glance is not None and wanted:
        start = time.perf_counter()
        after = _looked_at(found, judged, top, confidence, wanted, closer.best_of(glance(wanted, refusal)))
        if after is not None:
            judged, look = after
        look_ms = {"look": round((time.perf_counter() - start) * 1e3, 3)}
    return Recognition(
        source=found.photo.source,
        verdict=judged.verdict,
        matches=judged.matches,
        threshold=found.threshold,
        fingerprint=fingerprint,
        nearest=judged.nearest,
        in_catalog=judged.in_catalog,
        refused_by=found.refusal if judged.refused else None,
        timings_ms={
            "decode": round(found.photo.decode_ms, 3),
            "embed": round(found.photo.embed_ms, 3),
            "search": round(found.search_ms, 3),
        }
        | look_ms,
        closer_look=look,
    )


def without_any(answer: Recognition) -> Recognition:
    """The answer where the photo shows nothing: no product, whatever its vector is near to.

    Args:
        answer: to its vector.
    """
    nearest = tuple(replace(match, confidence=None) for match in (*answer.matches, *answer.nearest))
    sure = None if answer.in_catalog is None else 0.0
    return replace(answer, verdict="unknown", matches=(), nearest=nearest, in_catalog=sure, refused_by=None)


class _Judged(NamedTuple):
    """What ranked products say; see `Recognition`."""

    verdict: Verdict
    matches: tuple[Match, ...]
    nearest: tuple[Match, ...]
    in_catalog: float | None
    refused: bool

    @property
    def first(self) -> Match:
        return (self.matches or self.nearest)[0]


def _judged(
    found: Ranked, ranked: Sequence[Match], top: int, confidence: Confidence | None, *, in_catalog: float | None = None
) -> _Judged:
    """The verdict on products in some order.

    Args:
        found: the search.
        ranked: its products, perhaps in another order and with other scores, which decide and are not shown.
        top: how many to show.
        confidence: how sure answers are by their scores.
        in_catalog: the probability that the photo shows any of the catalog's, where it is not to be asked again.
    """
    if found.probability is None:
        matches, behind = split(ranked, found.limit)
        shown, nearest = split(ranked[:top], found.limit)
        if confidence is not None and shown:
            shown = (replace(shown[0], confidence=confidence.of(matches)), *shown[1:])
        verdict = decide(ranked, threshold=found.limit)
        refused = not matches and any(product.best_distance <= found.threshold for product in behind)
        return _Judged(verdict, _as_voted(shown, found), _as_voted(nearest, found), None, refused)
    far = None if found.refusal is None else found.refusal.distance
    rivals, products, limits = ranked[: votes.RIVALS], found.probability.products, found.probability.limits
    sure = beside(found.probability.sureness, rivals, products, far, found.length, found.part)
    if in_catalog is not None:
        sure = sure.within(in_catalog)
    verdict, shown, nearest = by_probability(ranked, sure, limits, threshold=found.threshold)
    shown, nearest = shown[:top], nearest[: max(0, top - len(shown))]
    alone = beside(found.probability.sureness, rivals, products, None, found.length).verdict(limits)
    refused = verdict == "unknown" and alone != "unknown"
    return _Judged(verdict, _as_voted(shown, found), _as_voted(nearest, found), sure.in_catalog, refused)


def _as_voted(products: Sequence[Match], found: Ranked) -> tuple[Match, ...]:
    """The products with the scores that their pictures gave them."""
    scores = {product.product_id: product.score for product in found.products}
    return tuple(
        product if product.score == scores[product.product_id] else replace(product, score=scores[product.product_id])
        for product in products
    )


def _wanted(found: Ranked, judged: _Judged) -> tuple[Sequence[Match], RefusedBy | None]:
    """The products that are worth looking for, and the refused picture that is; none where a look changes nothing."""
    close, refusal = closer.candidates(found.products), found.refusal
    # What is unknown without the refusal stays so, whatever is seen of it.
    open_yet = judged.verdict != "unknown" or judged.refused
    if refusal is None or not open_yet or not closer.beside(found.products[0], refusal.distance, found.part):
        return close, None
    return close or found.products[:1], refusal


def _looked_at(
    found: Ranked,
    before: _Judged,
    top: int,
    confidence: Confidence | None,
    wanted: Sequence[Match],
    seen: dict[str, Sighting],
) -> tuple[_Judged, CloserLook] | None:
    """What is said after a look, and what was seen; None where it tells nothing.

    Args:
        found: see `_judged`, as the three that follow.
        before: what is said without it.
        top: how many to show.
        confidence: how sure answers are by their scores.
        wanted: the products that were looked for.
        seen: of each; of the refused picture under the empty name.
    """
    refused = seen.pop("", None)
    ordered = closer.tells(wanted, seen)
    worth = seen if ordered else {}
    moved = _moved(found, seen.get(_weighed(found, worth)[0].product_id), refused)
    if moved is found and not ordered:
        return None
    in_catalog = _judged(moved, found.products, top, None).in_catalog
    # How sure an answer is by its scores was fitted to scores that nobody looked at.
    after = _judged(moved, _weighed(moved, worth), top, None if ordered else confidence, in_catalog=in_catalog)
    was, now = before.first, after.first
    look = CloserLook(
        tuple(seen[match.product_id] for match in wanted if match.product_id in seen),
        was.product_id,
        before.verdict,
        was.confidence,
        (was.product_id, before.verdict) != (now.product_id, after.verdict),
        refused,
    )
    return after, look


def _weighed(found: Ranked, seen: Mapping[str, Sighting]) -> list[Match]:
    """Its products in their order after a look."""
    reach = found.limit if found.probability is None else MAX_DISTANCE
    return closer.weighed(found.products, seen, threshold=reach)


def _moved(found: Ranked, product: Sighting | None, refused: Sighting | None) -> Ranked:
    """What was found, with the refusal as far away as it counts after a look; the very same where that is as before."""
    if found.refusal is None:
        return found
    distance = closer.counted_as(found.refusal.distance, product, refused)
    if distance == found.refusal.distance:
        return found
    limit = near_enough(found.threshold, distance, found.part)
    return found._replace(refusal=replace(found.refusal, distance=distance), limit=limit)

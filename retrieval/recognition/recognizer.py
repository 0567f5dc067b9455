"""Photo -> Recognition: find the neighbors, let them vote, decide."""

from __future__ import annotations

import math
import time
from bisect import insort
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from retrieval.calibration.galleries import GalleryShape
from retrieval.calibration.gap import Scales
from retrieval.calibration.in_force import InForce, in_force
from retrieval.calibration.points import Calibration
from retrieval.calibration.sureness import MOST_LEAD, Limits
from retrieval.distance import MAX_DISTANCE
from retrieval.errors import ImageError, IndexDamagedError, UsageError
from retrieval.index.manifest import Manifest
from retrieval.index.protocols import Searchable
from retrieval.models.bundle import Bundle
from retrieval.recognition import votes
from retrieval.recognition.conclusion import ByProbability, EmbeddedPhoto, Ranked, conclude
from retrieval.recognition.decision import NEARER, near_enough
from retrieval.recognition.same import lowered
from retrieval.system.text import one_form
from retrieval.types import (
    Compare,
    JsonScalar,
    Match,
    Neighbor,
    Recognition,
    RefusedBy,
    Where,
)

if TYPE_CHECKING:
    from retrieval.calibration.confidence import Confidence

FIRST_LIMIT = 64
WIDEN = 4
LAST_LIMIT = 4096
CLOSE = math.exp(-MOST_LEAD)
"""A product of less than this part of the best score changes no verdict and no probability."""


def find(
    store: Searchable,
    vector: NDArray[np.float32],
    *,
    threshold: float,
    products: int,
    where: Where | None = None,
    exact: bool = False,
    close: float = 0.0,
    far: float | None = None,
    hopeless: float = math.inf,
    scales: Scales | None = None,
) -> list[Match]:
    """The best products whatever the threshold, each scored by its own pictures whatever else is near.

    Many pictures of one product must not crowd out the others, so the list of neighbors widens
    until the ranking cannot change any more: a product whose further pictures lie outside the
    list has its own nearest ones fetched, in the order of the best score it could have, until
    ``products`` complete scores beat whatever any other product, fetched or not, could reach.
    What lies beyond ``far`` is no reason to widen once a runner-up is known: of it, only what was
    seen is ranked, and products that cannot come close to the best are not looked into. Most photos
    are clear, and are answered by one search. Only past `LAST_LIMIT` neighbors is the search ended
    with what it has.

    Args:
        store: the gallery.
        vector: unit vector of the photo, shape (d,).
        threshold: squared L2; inclusive. Products with a picture within it come first.
        products: how many products to rank.
        where: keep only products whose metadata match.
        exact: scan every vector even where an HNSW graph exists.
        close: the part of the best score that a product beyond ``far`` must be able to reach to be looked into;
            others are ranked by those of their pictures that were seen.
        far: squared L2; by default the threshold.
        hopeless: squared L2; a photo whose nearest picture lies beyond is unknown whatever else is near: its products
            are ranked by those of their pictures that were seen, since it takes looking into very many to tell apart
            what is about equally far.
        scales: what distances to studio pictures and to photos are multiplied by; None leaves them. Of each product
            the nearest pictures before that vote.

    Returns:
        At most ``products`` matches, as `retrieval.recognition.votes.rank` orders them.
    """
    complete: dict[str, list[Neighbor]] = {}
    fetched: dict[str, list[Neighbor]] = {}
    places: list[tuple[bool, float, float]] = []
    limit = FIRST_LIMIT
    far = threshold if far is None else far
    ahead = products
    least = 1.0 if scales is None else min(scales)
    while True:
        neighbors = store.search(vector, limit=limit, max_distance=MAX_DISTANCE, where=where, exact=exact)
        cut = len(neighbors) == limit
        seen: dict[str, list[Neighbor]] = {}
        for neighbor in neighbors:
            seen.setdefault(neighbor.product_id, []).append(neighbor)
        if neighbors and least * neighbors[0].distance > hopeless:
            if len(seen) >= products or not cut or limit >= LAST_LIMIT:
                return votes.rank(scaled(neighbors, scales), threshold=threshold, products=products)
            limit *= WIDEN
            continue
        # With fewer of its pictures seen, a product's mean can only fall, and no distance is multiplied by less than
        # the least scale: this ranking is optimistic.
        hoped = neighbors if scales is None else scaled(neighbors, Scales(least, least))
        candidates = [c for c in votes.standings(hoped, threshold=threshold) if c.product_id not in complete]
        for at, candidate in enumerate(candidates):
            nearest = candidate.nearest[0].distance
            best = votes.place(nearest, candidate.score, threshold)
            if len(places) >= products and places[products - 1] < best:
                break
            if places and nearest > far and candidate.score < close * -places[0][1]:
                continue
            if len(seen[candidate.product_id]) < votes.EVIDENCE and candidate.product_id not in fetched:
                # Of those that come next most will be wanted, too: on a server one request for all. Twice as many
                # where that was not enough, so that few requests ask for however many.
                wanted = [c.product_id for c in candidates[at : at + ahead]]
                ahead *= 2
                wanted = [p for p in wanted if len(seen[p]) < votes.EVIDENCE and p not in fetched]
                own_of = store.nearest_of(vector, wanted, limit=votes.EVIDENCE, exact=exact)
                fetched.update(zip(wanted, own_of, strict=True))
            own = fetched.get(candidate.product_id) or seen[candidate.product_id][: votes.EVIDENCE]
            complete[candidate.product_id] = own = scaled(own, scales)
            distances = [n.distance for n in own]
            insort(places, votes.place(distances[0], votes.score(distances), threshold))
        last = least * neighbors[-1].distance if cut else MAX_DISTANCE
        settled = len(places) >= products and places[products - 1] <= votes.place(last, votes.vote(last), threshold)
        if not cut or settled or (last > far and _told(places, seen, last, close, scales)) or limit >= LAST_LIMIT:
            known = (
                {p: scaled(ns[: votes.EVIDENCE], scales) for p, ns in seen.items()} | complete if close else complete
            )
            return votes.rank((n for ns in known.values() for n in ns), threshold=threshold, products=products)
        limit *= WIDEN


def _told(
    places: Sequence[tuple[bool, float, float]],
    seen: Mapping[str, object],
    last: float,
    close: float,
    scales: Scales | None,
) -> bool:
    """Whether a runner-up is known that what lies beyond all that was seen does not push aside.

    Args:
        places: of products that were looked into, in order.
        seen: products of which something was seen.
        last: squared L2, as it votes at least, of whatever was not.
        close: see `find`.
        scales: likewise.
    """
    if scales is None:
        return len(seen) > 1
    # Of the rarer kind many may follow that vote as if they were nearer.
    most = votes.vote(last)
    return (len(places) > 1 and most <= -places[1][1]) or (len(places) > 0 and most < close * -places[0][1])


def scaled(neighbors: Sequence[Neighbor], scales: Scales | None) -> list[Neighbor]:
    """Neighbors as they vote in a gallery of two kinds of pictures, nearest first.

    Args:
        neighbors: with the distances that their vectors have.
        scales: what these are multiplied by; None leaves them.
    """
    if scales is None:
        return list(neighbors)
    found = [replace(n, distance=min(MAX_DISTANCE, n.distance * scales.of(n.kind))) for n in neighbors]
    found.sort(key=lambda n: (n.distance, n.image))
    return found


def search(
    photo: EmbeddedPhoto,
    store: Searchable,
    *,
    threshold: float,
    top: int = 5,
    where: Where | None = None,
    probability: ByProbability | None = None,
    refusal: RefusedBy | None = None,
    part: float = NEARER,
    length: float = 1.0,
    scales: Scales | None = None,
) -> Ranked:
    """The first half of `recognize`, which sees its arguments: what has to be asked of an index."""
    start = time.perf_counter()
    threshold = lowered(threshold, length)
    limit = near_enough(threshold, None if refusal is None else refusal.distance, part)
    # Probabilities were fitted to products in the order of their scores, whatever the threshold.
    reach, hopeless = limit, limit
    if probability is not None:
        reach = MAX_DISTANCE
        hopeless = probability.sureness.hopeless(probability.limits, probability.products)
    ranked = find(
        store,
        photo.vector,
        threshold=reach,
        products=max(top, votes.RIVALS),
        where=where,
        close=CLOSE,
        far=limit,
        hopeless=hopeless,
        scales=scales,
    )
    search_ms = (time.perf_counter() - start) * 1e3
    return Ranked(photo, ranked, threshold, limit, refusal, probability, length, search_ms, part)


def recognize(
    photo: EmbeddedPhoto,
    store: Searchable,
    *,
    threshold: float,
    top: int = 5,
    where: Where | None = None,
    fingerprint: str,
    confidence: Confidence | None = None,
    probability: ByProbability | None = None,
    refusal: RefusedBy | None = None,
    part: float = NEARER,
    length: float = 1.0,
    scales: Scales | None = None,
) -> Recognition:
    """Answer one photo.

    Args:
        photo: its vector, and what it took to make it.
        store: the gallery, built by the same model.
        threshold: squared L2, in [0, 4]; inclusive.
        top: how many products to return at most; at least `votes.RIVALS` are compared for verdict and shares.
        where: keep only products whose metadata match.
        fingerprint: the model's, for the record.
        confidence: how sure answers at this threshold are; see `query_confidence`.
        probability: what the verdict follows instead of the threshold, which only says what counts as a vote then.
        refusal: the picture nearest to the photo that is none of the catalog's.
        part: see `retrieval.recognition.decision.beside_refusals`.
        length: of the mean that the vector is, of several photos; see `retrieval.recognition.same`.
        scales: see `find`.
    """
    found = search(
        photo,
        store,
        threshold=threshold,
        top=top,
        where=where,
        probability=probability,
        refusal=refusal,
        part=part,
        length=length,
        scales=scales,
    )
    return conclude(found, top=top, fingerprint=fingerprint, confidence=confidence)


Filters = Mapping[str, JsonScalar | Compare | Sequence[JsonScalar | Compare]] | Sequence[str]
"""A filter on metadata: values by column, or terms as they are typed, ``category=Milk``, ``price<5``, ``note?``."""

_SIGNS = ("<=", ">=", "=", "<", ">")


def parse_where(filters: Filters, manifest: Manifest) -> Where | None:
    """Check a filter; several values of a key are alternatives, comparisons and several keys must all hold.

    Args:
        filters: ``{"category": "Milk"}``, ``{"category": ["Milk", "Juice"]}``, or one typed term per entry:
            ``category=Milk``, ``price<5``, ``price>=2``, or ``note?``: the product has one.
        manifest: names the columns that exist.

    Raises:
        UsageError: a term is none, or a column is not the catalog's.
    """
    columns = {one_form(key): key for key in manifest.metadata_keys}
    wanted: dict[str, tuple[JsonScalar | Compare, ...]] = {}
    terms = filters.items() if isinstance(filters, Mapping) else (_term(term, columns) for term in filters)
    for asked, values in terms:
        key = columns.get(one_form(asked))
        if key is None:
            known = ", ".join(manifest.metadata_keys) or "none: the catalog has no products table"
            raise UsageError(
                f"expected a metadata column of the catalog in --where, received {asked!r}",
                hint=f"The columns are: {known}",
            )
        several = (
            tuple(values) if isinstance(values, Sequence) and not isinstance(values, (str, Compare)) else (values,)
        )
        clean = (one_form(value) if isinstance(value, str) else value for value in several)
        wanted[key] = (*wanted.get(key, ()), *clean)
    return wanted or None


def _term(term: str, columns: Collection[str]) -> tuple[str, JsonScalar | Compare]:
    """A typed term. A column's own name may hold any of the signs: the longest name that fits is meant."""
    text = one_form(term)
    for column in sorted(columns, key=len, reverse=True):
        rest = text.removeprefix(column).lstrip()
        if text.startswith(column) and (rest == "?" or rest.startswith(_SIGNS)):
            break
    else:
        at = min((i for sign in _SIGNS if (i := text.find(sign)) >= 0), default=len(text) - text.endswith("?"))
        column, rest = text[:at].rstrip(), text[at:]
    sign = next((sign for sign in ("?", *_SIGNS) if rest.startswith(sign)), "")
    if not sign or not column:
        raise UsageError(
            f"expected --where KEY=VALUE, received {term!r}",
            hint="For example: --where category=Milk, 'price<5', 'price>=2', or 'note?' for whatever has one",
        )
    value = rest[len(sign) :].strip()
    if sign == "=":
        return column, value
    if sign == "?":
        return column, Compare("?")
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not math.isfinite(number):
        raise UsageError(
            f"expected a number after {column}{sign} in --where, received {value!r}", hint="For example: 'price<5'"
        )
    return column, Compare(sign, number)


@dataclass(frozen=True, slots=True)
class RefusedPhoto:
    """A photo that could not be read, and why."""

    source: str
    error: ImageError


def query_threshold(given: float | None, bundle: Bundle) -> float:
    """The threshold for queries: what the user gave, else what the bundle was calibrated to.

    Raises:
        UsageError: neither exists: without a threshold every photo would "match" something.
    """
    if given is not None:
        if not 0.0 <= given <= MAX_DISTANCE:
            raise UsageError(f"expected a threshold in [0, 4] (squared L2), received {given}")
        return float(given)
    if bundle.calibration is None:
        raise UsageError(
            f"expected a calibrated model, received {bundle.name}, which does not say when a photo is unknown",
            hint="Give --threshold D (squared L2 in [0, 4]; often 0.5 to 1.2), or choose one: itemrec calibrate --help",
        )
    return bundle.calibration.threshold


def query_probability(found: InForce | None, manifest: Manifest, limits: Limits) -> ByProbability | None:
    """What verdicts go by where a calibration that fits the catalog has probabilities; else None."""
    if found is None or found.calibration.sureness is None or not found.fits:
        return None
    return ByProbability(found.calibration.sureness, limits, manifest.products)


def calibration_in_force(bundle: Bundle, manifest: Manifest | None) -> InForce | None:
    """What fits an index: of its own calibration, else of its model's; None where there is neither."""
    if manifest is not None and manifest.calibration is not None:
        try:
            own = Calibration.from_json(manifest.calibration)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise IndexDamagedError(
                f"expected a calibration that can be read in the index, received {error}",
                hint="Calibrate anew: itemrec calibrate --data DIR",
            ) from error
        return InForce(own, None, True)
    if bundle.calibration is None:
        return None
    shape = GalleryShape(manifest.products, manifest.images, manifest.studio) if manifest is not None else None
    return in_force(bundle.calibration, shape)


def query_confidence(threshold: float, bundle: Bundle) -> Confidence | None:
    """The bundle's confidence, if it has one and it was fitted at this threshold: it holds for no other."""
    fitted = bundle.calibration.confidence if bundle.calibration else None
    return fitted if fitted is not None and fitted.threshold == threshold else None

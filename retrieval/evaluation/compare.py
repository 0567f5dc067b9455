"""Is the new model better? Two evaluations of the same photos, by paired bootstrap over products.

Two rates measured on the same photos differ by less than their separate intervals suggest, since hard photos
are hard for both: what counts is the interval of the *difference* (`retrieval.metrics.intervals.paired_difference`).

Compared is what an ``itemrec.evaluate/1`` document keeps per photo (``probes``) and per product
(``pairs.by_product``); see `retrieval.evaluation.document`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import UsageError
from retrieval.evaluation.requirements import check_schema
from retrieval.metrics.intervals import paired_difference
from retrieval.system.text import plural, printable

Judgment = Literal["better", "worse", "no clear difference", "too few products"]

_HINT = "Run itemrec evaluate with --out again for both models, on the same photos, with this release."
_Probe = Mapping[str, Any]
_Sums = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Row:
    """One rate of both models on the same photos.

    Attributes:
        name: ``top1``, ``val@far=0.01``, ``fpir``, …
        before: the rate of the earlier evaluation; None without anything to count.
        now: the rate of the new one; None without anything to count.
        difference: now minus before; None when it cannot be estimated.
        ci: its 95 % interval, resampling products for both at once; None when it cannot be estimated.
        probability_better: the part of resamples in which the new model is better, ties counting half.
        lower_is_better: true for error rates.
        products: how many products it rests on.
    """

    name: str
    before: float | None
    now: float | None
    difference: float | None
    ci: tuple[float, float] | None
    probability_better: float | None
    lower_is_better: bool
    products: int

    @property
    def verdict(self) -> Judgment:
        """Better or worse when the interval of the difference excludes 0."""
        if self.ci is None:
            return "too few products"
        low, high = self.ci
        if low <= 0.0 <= high:
            return "no clear difference"
        return "better" if (low > 0.0) != self.lower_is_better else "worse"

    def to_json(self) -> dict[str, Any]:
        """A JSON object; what cannot be estimated is null."""
        return {
            "name": self.name,
            "before": self.before,
            "now": self.now,
            "difference": self.difference,
            "ci": None if self.ci is None else list(self.ci),
            "probability_better": self.probability_better,
            "lower_is_better": self.lower_is_better,
            "products": self.products,
            "verdict": self.verdict,
        }


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two evaluations side by side.

    Attributes:
        rows: every rate that both evaluations hold.
        photos: photos that both measured.
        left_out: photos that only one of them measured.
        same_gallery: whether both compared them with the same pictures.
    """

    rows: tuple[Row, ...]
    photos: int
    left_out: int
    same_gallery: bool

    @property
    def verdict(self) -> str:
        """The conclusion, in a sentence or two."""
        better = [row.name for row in self.rows if row.verdict == "better"]
        worse = [row.name for row in self.rows if row.verdict == "worse"]
        sides = [f"Better: {', '.join(better)}."] if better else []
        sides += [f"Worse: {', '.join(worse)}."] if worse else []
        if not sides:
            sides = ["No significant difference."]
        if self.left_out:
            photos = plural(self.left_out, "photo")
            sides.append(f"Not compared, since only one of the two measured them: {photos}.")
        if not self.same_gallery:
            sides.append("The galleries differ, so this compares galleries and models together.")
        return " ".join(sides)

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            "verdict": self.verdict,
            "photos": self.photos,
            "left_out": self.left_out,
            "same_gallery": self.same_gallery,
            "rows": [row.to_json() for row in self.rows],
        }


def read_document(path: Path) -> dict[str, Any]:
    """Read an evaluation that was written earlier.

    Raises:
        UsageError: it cannot be read, is no JSON, or is another document.
    """
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(
            f"Cannot read the evaluation {printable(path)}: {error.strerror or error}",
            hint="Name a file that itemrec evaluate --out wrote.",
        ) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"expected an evaluation at {str(path)!r}, received no JSON: {error}",
            hint="Name a file that itemrec evaluate --out wrote.",
        ) from error
    if not isinstance(document, dict):
        raise UsageError(
            f"expected an evaluation at {str(path)!r}, received a JSON {type(document).__name__}",
            hint="Name a file that itemrec evaluate --out wrote.",
        )
    check_schema(document)
    return document


def compare_documents(earlier: Mapping[str, Any], document: Mapping[str, Any], *, seed: int = 0) -> Comparison:
    """Compare a new evaluation with an earlier one.

    Photos are matched by their path in the split. Identification rates count photos whose product both galleries
    hold; FPIR counts every photo as a leave-one-out unknown. Where both evaluations go by probability, so do
    ``match_right`` and ``match_wrong`` (the verdict *match* on known photos) and ``unknown_match`` (on unknown ones).

    Args:
        earlier: the ``itemrec.evaluate/1`` document of the model in use.
        document: the document of the new model.
        seed: of the bootstrap.

    Raises:
        UsageError: a document is another one or lacks its probes, they share no photo, or they disagree on what
            a photo shows.
    """
    one, other = _probes(earlier), _probes(document)
    shared = [source for source in one if source in other]
    if not shared:
        raise UsageError("expected two evaluations of the same photos, received none in common", hint=_HINT)
    for source in shared:
        if one[source]["product"] != other[source]["product"]:
            raise UsageError(
                f"expected {source!r} to show one product in both evaluations, "
                f"received {one[source]['product']!r} and {other[source]['product']!r}",
                hint=_HINT,
            )
    pairs = [(one[source], other[source]) for source in shared]
    known = [(a, b) for a, b in pairs if a["known"] and b["known"]]
    unknown = [
        (a, b) for a, b in pairs if a.get("as_stranger", {}) is not None and b.get("as_stranger", {}) is not None
    ]
    try:
        rows = [
            _by_photo("top1", known, lambda probe: probe["rank"] == 1, seed),
            _by_photo("top5", known, lambda probe: 1 <= probe["rank"] <= 5, seed),
            _by_photo("map_at_r", known, lambda probe: float(probe["average_precision"] or 0.0), seed),
            _by_photo("dir", known, lambda probe: bool(probe["right"]), seed),
            _by_photo("fpir", unknown, _false_positive, seed, lower_is_better=True),
            *_as_served(pairs, known, seed),
            *_by_product(earlier, document, seed),
        ]
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise UsageError(
            f"expected evaluations with complete probes and pairs, received {error!r}", hint=_HINT
        ) from error
    return Comparison(
        tuple(rows),
        len(shared),
        len(one.keys() | other.keys()) - len(shared),
        _gallery(earlier) == _gallery(document),
    )


def _probes(document: Mapping[str, Any]) -> dict[str, _Probe]:
    """The probes of a document by their path."""
    check_schema(document)
    try:
        rows = [(str(probe["source"]), probe) for probe in document["probes"]]
        for _, probe in rows:
            probe["product"], probe["known"]
    except (KeyError, TypeError) as error:
        raise UsageError(
            f"expected an evaluation with what became of each photo, received one without: {error}", hint=_HINT
        ) from error
    found = dict(rows)
    if len(found) != len(rows):
        raise UsageError("expected each photo once, received an evaluation that repeats some", hint=_HINT)
    return found


def _false_positive(probe: _Probe) -> bool:
    return bool(probe["as_stranger"]["verdict"] != "unknown")


def _as_served(pairs: Sequence[tuple[_Probe, _Probe]], known: Sequence[tuple[_Probe, _Probe]], seed: int) -> list[Row]:
    """Verdicts by probability, where both evaluations have them."""

    def both(some: Sequence[tuple[_Probe, _Probe]]) -> list[tuple[_Probe, _Probe]]:
        return [(a, b) for a, b in some if a.get("served") and b.get("served")]

    def matched(probe: _Probe, *, right: bool) -> bool:
        served = probe["served"]
        return bool(served["verdict"] == "match" and (served["product"] == probe["product"]) == right)

    def as_unknown(probe: _Probe) -> Mapping[str, Any] | None:
        """Its answer among other products only."""
        served: Mapping[str, Any] = probe["served"]
        return served["left_out"] if probe["known"] else served

    known = both(known)
    if not known:
        return []
    unknown = [pair for pair in both(pairs) if all(as_unknown(probe) is not None for probe in pair)]
    return [
        _by_photo("match_right", known, partial(matched, right=True), seed),
        _by_photo("match_wrong", known, partial(matched, right=False), seed, lower_is_better=True),
        _by_photo(
            "unknown_match",
            unknown,
            lambda probe: (as_unknown(probe) or {})["verdict"] == "match",
            seed,
            lower_is_better=True,
        ),
    ]


def _by_photo(
    name: str,
    pairs: Sequence[tuple[_Probe, _Probe]],
    outcome: Callable[[_Probe], float],
    seed: int,
    *,
    lower_is_better: bool = False,
) -> Row:
    """A mean over photos, resampled by their products."""
    products, owner = np.unique([str(a["product"]) for a, _ in pairs], return_inverse=True)
    size = len(products)
    wholes = np.bincount(owner, minlength=size).astype(np.float64)
    before, now = (
        np.bincount(owner, [float(outcome(pair[side])) for pair in pairs], size).astype(np.float64) for side in (0, 1)
    )
    return _row(name, (before, wholes), (now, wholes), seed, lower_is_better=lower_is_better)


def _by_product(earlier: Mapping[str, Any], document: Mapping[str, Any], seed: int) -> list[Row]:
    """VAL at every FAR target of both, over the products of both with the same number of pairs."""
    tables = [(d.get("pairs") or {}).get("by_product") or {} for d in (earlier, document)]
    same = [dict(zip(t.get("products", ()), t.get("same", ()), strict=True)) for t in tables]
    shared = [p for p, pairs in same[0].items() if pairs and same[1].get(p) == pairs]
    wholes = np.array([same[0][p] for p in shared], np.float64)
    accepted = [t.get("accepted_same") or {} for t in tables]
    rows = []
    for far in sorted(accepted[0].keys() & accepted[1].keys(), key=float, reverse=True):
        sides = []
        for table, counts in zip(tables, accepted, strict=True):
            of = dict(zip(table["products"], counts[far], strict=True))
            sides.append((np.array([of[p] for p in shared], np.float64), wholes))
        rows.append(_row(f"val@far={far}", sides[0], sides[1], seed))
    return rows


def _row(name: str, before: _Sums, now: _Sums, seed: int, *, lower_is_better: bool = False) -> Row:
    rates = [float(part.sum() / whole.sum()) if whole.sum() else None for part, whole in (before, now)]
    found = paired_difference(before, now, seed=seed)
    products = len(before[0])
    if math.isnan(found.interval.low):
        return Row(name, rates[0], rates[1], None, None, None, lower_is_better, products)
    better = 1.0 - found.probability_better if lower_is_better else found.probability_better
    ends = (found.interval.low, found.interval.high)
    return Row(name, rates[0], rates[1], found.value, ends, better, lower_is_better, products)


def _gallery(document: Mapping[str, Any]) -> object:
    gallery = document.get("gallery")
    return gallery.get("digest") if isinstance(gallery, Mapping) else None

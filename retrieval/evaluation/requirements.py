"""Requirements on an evaluation, for CI: ``val@far=0.01>=0.8``, ``top5>=0.95``.

A requirement is ``NAME OP NUMBER`` with OP one of ``>= <= > <``; a NUMBER may be a percentage. NAME is

* one of `NAMES`, such as ``top1``, ``map_at_r``, ``fpir``, ``auc`` or ``ece``; ``val`` and ``far`` are those at
  the threshold in use; ``match``, ``coverage`` and ``unknown_match`` are by probability, as queries are answered: how
  often a *match* is right, how many known photos get one, and how many unknown ones;
* a rate at an operating point: ``val@far=0.01``, ``threshold@far=0.01``, ``dir@far=0.01``, ``dir@fpir=0.05``,
  ``val@threshold=0.3``;
* an end of a 95 % interval: ``top5.low``, ``val.low@far=0.01``, ``fpir.high``;
* any number of the document by its dotted path: ``excluded.near_duplicate``.

It is checked against one ``itemrec.evaluate/1`` document. A rate that could not be measured fails, and so does one
that the photos are too few to claim: an operating point, or an upper bound of FAR or FPIR, that
`retrieval.calibration.support` refuses.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from retrieval.calibration.support import support
from retrieval.errors import UsageError

SCHEMA = "itemrec.evaluate/1"

NAMES: Mapping[str, tuple[str, ...]] = {
    "auc": ("pairs", "auc"),
    "eer": ("pairs", "eer"),
    "val": ("pairs", "at_threshold", "val"),
    "far": ("pairs", "at_threshold", "far"),
    "top1": ("identification", "rates", "top1"),
    "top5": ("identification", "rates", "top5"),
    "knn_top1": ("identification", "rates", "knn_top1"),
    "map_at_r": ("identification", "map_at_r"),
    "matching_test_top5": ("identification", "rates", "matching_test_top5"),
    "fpir": ("open_set", "rates", "fpir"),
    "fnir": ("open_set", "rates", "fnir"),
    "dir": ("open_set", "rates", "dir"),
    "ece": ("confidence", "ece"),
    "brier": ("confidence", "brier"),
    "match": ("served", "match"),
    "coverage": ("served", "coverage_of_match"),
    "unknown_match": ("served", "unknown_match"),
    "photos": ("photos",),
    "products": ("products",),
}

_TRIALS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "far": (("pairs", "different"), "impostor pairs"),
    "fpir": (("open_set", "rates", "fpir", "whole"), "photos of unknown products"),
    "unknown_match": (("served", "unknown_match", "whole"), "photos of unknown products"),
}
"""Where the document counts what an error rate is measured over, and what that is."""

_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_SYNTAX = re.compile(
    r"\s*(?P<name>[A-Za-z_][\w.]*)\s*(?:@\s*(?P<key>far|fpir|threshold)\s*=\s*(?P<at>[^<>=\s]+))?"
    r"\s*(?P<op>>=|<=|>|<)\s*(?P<bound>\S+)\s*"
)
_OPEN_SET = ("dir", "dir_top5", "fpir")
_HINT = 'Write it like "val@far=0.01>=0.8" or "top5>=95%".'


@dataclass(frozen=True, slots=True)
class Requirement:
    """One parsed requirement.

    Attributes:
        text: as it was written.
        name: such as ``val``, ``top5`` or a dotted path.
        end: ``low`` or ``high`` for an end of the interval of that name, else None.
        key: ``far``, ``fpir`` or ``threshold`` for a rate at an operating point, else None.
        at: the value of the key, else None.
        operator: ``>=``, ``<=``, ``>`` or ``<``.
        bound: what the value is compared with.
    """

    text: str
    name: str
    end: str | None
    key: str | None
    at: float | None
    operator: str
    bound: float


@dataclass(frozen=True, slots=True)
class Checked:
    """Whether one requirement holds.

    Attributes:
        requirement: which.
        value: what was measured; None when it cannot be measured on these photos, which fails.
        passed: whether it holds.
        note: why the data do not support the claim, which fails then; empty when they do.
    """

    requirement: Requirement
    value: float | None
    passed: bool
    note: str = ""

    def line(self) -> str:
        """What was required and what was measured, on one line."""
        measured = "not measurable on these photos" if self.value is None else f"measured {self.value:.6g}"
        return f"{self.requirement.text}, {measured}" + (f" ({self.note})" if self.note else "")

    def to_json(self) -> dict[str, Any]:
        """``{"require", "value", "passed", "note"}``."""
        return {
            "require": self.requirement.text,
            "value": self.value,
            "passed": self.passed,
            "note": self.note,
        }


def parse_requirement(text: str) -> Requirement:
    """Read one requirement.

    Raises:
        UsageError: it is not of the form ``NAME OP NUMBER``.
    """
    match = _SYNTAX.fullmatch(text)
    if match is None:
        raise UsageError(f"expected a requirement NAME OP NUMBER, received {text!r}", hint=_HINT)
    name, at = match["name"], match["at"]
    stem, _, end = name.rpartition(".")
    ends = end in ("low", "high")
    return Requirement(
        text.strip(),
        stem if ends else name,
        end if ends else None,
        match["key"],
        None if at is None else _number(at, text),
        match["op"],
        _number(match["bound"], text),
    )


def check(requirements: Iterable[Requirement], document: Mapping[str, Any]) -> tuple[Checked, ...]:
    """Check requirements against an evaluation, in their order.

    Args:
        requirements: as `parse_requirement` returns them.
        document: an ``itemrec.evaluate/1`` document.

    Raises:
        UsageError: the document is another one, or has no such number.
    """
    check_schema(document)
    return tuple(_check(requirement, document) for requirement in requirements)


def check_schema(document: Mapping[str, Any]) -> None:
    """Refuse what is no evaluation.

    Raises:
        UsageError: the document has another schema.
    """
    if document.get("schema") != SCHEMA:
        raise UsageError(
            f"expected a document of schema {SCHEMA}, received {document.get('schema')!r}",
            hint="Give what itemrec evaluate --json prints, or its --out file.",
        )


def _check(requirement: Requirement, document: Mapping[str, Any]) -> Checked:
    if requirement.key is None:
        path = NAMES.get(requirement.name, tuple(requirement.name.split(".")))
        value = _value(requirement, document, path)
        note = _unsupported(requirement, document)
    else:
        point = _point(requirement, document)
        note = str(point.get("refusal") or "")
        value = _value(requirement, point, (requirement.name,))
    passed = value is not None and not note and _OPERATORS[requirement.operator](value, requirement.bound)
    return Checked(requirement, value, passed, note)


def _unsupported(requirement: Requirement, document: Mapping[str, Any]) -> str:
    """Why the photos are too few to promise an error rate of at most the bound; empty where they are not."""
    if requirement.operator not in ("<=", "<") or requirement.name not in _TRIALS:
        return ""
    path, trials = _TRIALS[requirement.name]
    place: Any = document
    for step in path:
        place = (place or {}).get(step) if isinstance(place, Mapping) else None
    products = document.get("products")
    if not isinstance(place, int) or not isinstance(products, int):
        return ""
    return support(requirement.name.upper(), requirement.bound, place, trials, products)


def _point(requirement: Requirement, document: Mapping[str, Any]) -> Mapping[str, Any]:
    """What was measured at the operating point that the requirement names."""
    at = requirement.at
    pairs, open_set = document.get("pairs") or {}, document.get("open_set") or {}
    if requirement.key == "threshold":
        points = {float(p["threshold"]): p for p in pairs.get("sweep") or ()}
    elif requirement.key == "fpir":
        points = {float(k): p for k, p in (open_set.get("at_fpir") or {}).items()}
    elif requirement.name in _OPEN_SET:
        points = {float(k): p for k, p in (open_set.get("dir_at_far") or {}).items()}
    else:
        points = {float(k): p for k, p in (pairs.get("at_far") or {}).items()}
    for place, point in points.items():
        if at is not None and math.isclose(place, at, rel_tol=1e-9, abs_tol=1e-12):
            return point if isinstance(point, Mapping) else {requirement.name: point}
    raise UsageError(
        f"expected an evaluation with {requirement.key}={at:g} for {requirement.text!r}, "
        f"received one with {_listed(points)}",
        hint=f"Require {requirement.name} at one of these, or evaluate there too.",
    )


def _value(requirement: Requirement, start: Mapping[str, Any], path: tuple[str, ...]) -> float | None:
    """The number at the path, or the end of its interval; None where the document has null."""
    place: Any = start
    for number, step in enumerate(path):
        if place is None and number:
            return None
        if not isinstance(place, Mapping) or step not in place:
            known = sorted(place) if isinstance(place, Mapping) else []
            raise UsageError(
                f"expected an evaluation with {requirement.name!r} for {requirement.text!r}, "
                f"received one without it (there are {_listed(known)})",
                hint=f"Names are {', '.join(NAMES)}, val@far=…, dir@far=…, or a path in the JSON.",
            )
        parent, place = place, place[step]
    if requirement.end is not None:
        ends = place.get("ci") if isinstance(place, Mapping) else parent.get(f"{path[-1]}_ci", ())
        if ends == ():
            raise UsageError(
                f"expected an interval of {requirement.name!r} for {requirement.text!r}, received none",
                hint="Intervals have val and far at a FAR, and the rates of identification and open_set.",
            )
        place = None if ends is None else ends[0 if requirement.end == "low" else 1]
    elif isinstance(place, Mapping) and "rate" in place:
        place = place["rate"]
    if place is None:
        return None
    if isinstance(place, bool) or not isinstance(place, int | float):
        raise UsageError(
            f"expected a number at {requirement.name!r} for {requirement.text!r}, received {type(place).__name__}",
            hint="Require one number of the document.",
        )
    return None if math.isnan(place) else float(place)


def _number(text: str, requirement: str) -> float:
    try:
        value = float(text[:-1]) / 100.0 if text.endswith("%") else float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"expected a number such as 0.8 or 80%, received {text!r} in {requirement!r}", hint=_HINT)
    return value


def _listed(values: Iterable[object]) -> str:
    return ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in values) or "none"

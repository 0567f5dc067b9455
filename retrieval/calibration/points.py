"""The thresholds that a bundle carries, with the measurements that they rest on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, get_args

from retrieval.calibration.galleries import Expectation, GalleryShape, Kind
from retrieval.calibration.support import percent
from retrieval.distance import MAX_DISTANCE

if TYPE_CHECKING:
    from retrieval.calibration.confidence import Confidence
    from retrieval.calibration.sureness import Sureness
    from retrieval.calibration.verdict_table import VerdictTable

Interval = tuple[float, float]

_RATES = ("far", "val", "fpir", "fnir")
_INTERVALS = ("far_ci", "val_ci", "fpir_ci", "fnir_ci")
_COUNTS = (
    "accepted_same",
    "same_pairs",
    "accepted_different",
    "different_pairs",
    "probes",
    "strangers",
    "gallery",
)


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """One threshold and what was measured at it.

    Attributes:
        name: such as ``far=0.01``, ``fpir=0.05``, ``experiment``, ``given``, or ``strangers=0.2`` (the fewest errors
            where that share of photos shows unknown products).
        threshold: squared L2, in [0, 4]; a pair is accepted at or below it.
        far: accepted impostor pairs / impostor pairs (of different products).
        val: accepted genuine pairs / genuine pairs (of the same product).
        far_ci: interval of ``far``, bootstrapped by product.
        val_ci: interval of ``val``, bootstrapped by product.
        accepted_same: numerator of ``val``.
        same_pairs: denominator of ``val``.
        accepted_different: numerator of ``far``.
        different_pairs: denominator of ``far``.
        fpir: photos of unknown products that got a match / such photos.
        fnir: photos of known products that were not found / such photos.
        fpir_ci: interval of ``fpir``.
        fnir_ci: interval of ``fnir``.
        probes: photos of known products (denominator of ``fnir``).
        strangers: photos of unknown products (denominator of ``fpir``).
        gallery: products in the gallery of an identification measurement.
        note: anything a reader must know.
    """

    name: str
    threshold: float
    far: float | None = None
    val: float | None = None
    far_ci: Interval | None = None
    val_ci: Interval | None = None
    accepted_same: int | None = None
    same_pairs: int | None = None
    accepted_different: int | None = None
    different_pairs: int | None = None
    fpir: float | None = None
    fnir: float | None = None
    fpir_ci: Interval | None = None
    fnir_ci: Interval | None = None
    probes: int | None = None
    strangers: int | None = None
    gallery: int | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("expected an operating point with a name, received an empty one")
        _check_threshold(self.threshold)
        for key in _RATES:
            rate = getattr(self, key)
            if rate is not None and not 0.0 <= rate <= 1.0:
                raise ValueError(f"expected {key} in [0, 1], received {rate}")
        for key in _INTERVALS:
            interval = getattr(self, key)
            if interval is not None and not 0.0 <= interval[0] <= interval[1] <= 1.0:
                raise ValueError(f"expected {key} as an interval within [0, 1], received {interval}")
        for key in _COUNTS:
            count = getattr(self, key)
            if count is not None and count < 0:
                raise ValueError(f"expected {key} of at least 0, received {count}")

    def to_json(self) -> dict[str, Any]:
        """A JSON object without the fields that were not measured."""
        return {key: value for key, value in asdict(self).items() if value is not None and value != ""}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> OperatingPoint:
        """Read what `to_json` wrote; raises ValueError or TypeError on anything else."""
        values: dict[str, Any] = {}
        for key, value in data.items():
            if key in ("name", "note"):
                values[key] = _string(key, value)
            elif key == "threshold" or key in _RATES:
                values[key] = _number(key, value)
            elif key in _INTERVALS:
                low, high = value
                values[key] = (_number(key, low), _number(key, high))
            elif key in _COUNTS:
                if isinstance(value, bool) or not isinstance(value, int):
                    raise ValueError(f"expected {key} as a whole number, received {value!r}")
                values[key] = value
            else:
                known = ", ".join(f.name for f in fields(cls))
                raise ValueError(f"expected an operating point of {known}, received the field {key!r}")
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Which threshold queries use, out of which measured operating points.

    Attributes:
        threshold: squared L2, in [0, 4]: the default of queries.
        chosen: name of the operating point that it is.
        points: all operating points; the chosen one is among them.
        measured_on: which photos the points were measured on.
        photos_digest: hex SHA-256 of that set of photos, to notice that thresholds are measured on
            the photos they were chosen on; empty when not recorded.
        confidence: of answers at ``threshold``; None when it was not fitted.
        sureness: the probabilities that verdicts follow, whatever the threshold; None when they were not fitted.
        verdicts: what verdicts by those do to photos that they were not fitted on; None where nobody looked.
        galleries: the same for each kind of gallery that was measured; empty where one was, of a kind that was not
            recorded. `retrieval.calibration.in_force.in_force` chooses.
    """

    threshold: float
    chosen: str
    points: tuple[OperatingPoint, ...]
    measured_on: str = ""
    photos_digest: str = ""
    confidence: Confidence | None = None
    sureness: Sureness | None = None
    verdicts: VerdictTable | None = None
    galleries: tuple[ForGallery, ...] = ()

    def __post_init__(self) -> None:
        _check_threshold(self.threshold)
        names = [point.name for point in self.points]
        if len(set(names)) != len(names):
            raise ValueError(f"expected operating points of distinct names, received {', '.join(names)}")
        if self.chosen not in names:
            raise ValueError(
                f"expected the chosen operating point among {', '.join(names) or 'the points'}, "
                f"received {self.chosen!r}"
            )
        if self.point(self.chosen).threshold != self.threshold:
            raise ValueError(
                f"expected the threshold of the chosen point {self.chosen} "
                f"({self.point(self.chosen).threshold}), received {self.threshold}"
            )
        if self.confidence is not None and self.confidence.threshold != self.threshold:
            raise ValueError(
                f"expected a confidence fitted at the threshold {self.threshold}, "
                f"received one for {self.confidence.threshold}"
            )
        kinds = [one.kind for one in self.galleries]
        if len(set(kinds)) != len(kinds):
            raise ValueError(f"expected one calibration for each kind of gallery, received {', '.join(kinds)}")

    def point(self, name: str) -> OperatingPoint:
        """The operating point of that name; raises KeyError when there is none."""
        for point in self.points:
            if point.name == name:
                return point
        raise KeyError(name)

    @classmethod
    def given(cls, threshold: float) -> Calibration:
        """A threshold that someone named, without measurements."""
        point = OperatingPoint("given", threshold, note="given by hand, not measured")
        return cls(threshold, point.name, (point,))

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back."""
        content: dict[str, Any] = {
            "threshold": self.threshold,
            "chosen": self.chosen,
            "points": [point.to_json() for point in self.points],
            "measured_on": self.measured_on,
        }
        if self.photos_digest:
            content["photos_digest"] = self.photos_digest
        if self.confidence is not None:
            content["confidence"] = self.confidence.to_json()
        if self.sureness is not None:
            content["sureness"] = self.sureness.to_json()
        if self.verdicts is not None:
            content["verdicts"] = self.verdicts.to_json()
        if self.galleries:
            content["galleries"] = [one.to_json() for one in self.galleries]
        return content

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Calibration:
        """Read what `to_json` wrote; raises ValueError, TypeError or KeyError on anything else."""
        fitted = None
        if data.get("confidence") is not None:
            # Imported here: most bundles have none, and it brings in the metrics.
            from retrieval.calibration.confidence import Confidence

            fitted = Confidence.from_json(data["confidence"])
        sureness, verdicts = None, None
        if data.get("sureness") is not None:
            from retrieval.calibration.sureness import Sureness

            sureness = Sureness.from_json(data["sureness"])
        if data.get("verdicts") is not None:
            from retrieval.calibration.verdict_table import VerdictTable

            verdicts = VerdictTable.from_json(data["verdicts"])
        return cls(
            threshold=_number("threshold", data["threshold"]),
            chosen=_string("chosen", data["chosen"]),
            points=tuple(OperatingPoint.from_json(point) for point in data["points"]),
            measured_on=_string("measured_on", data.get("measured_on", "")),
            photos_digest=_string("photos_digest", data.get("photos_digest", "")),
            confidence=fitted,
            sureness=sureness,
            verdicts=verdicts,
            galleries=tuple(_for_gallery(one) for one in data.get("galleries", ())),
        )


@dataclass(frozen=True, slots=True)
class ForGallery:
    """A calibration for one kind of gallery.

    Attributes:
        kind: which.
        shape: of the gallery that it was measured against.
        calibration: threshold, operating points and probabilities there.
        expect: what to expect of photos.
    """

    kind: Kind
    shape: GalleryShape
    calibration: Calibration
    expect: tuple[Expectation, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"expected one of {', '.join(get_args(Kind))}, received {self.kind!r:.40}")
        if self.calibration.galleries:
            raise ValueError("expected the calibration of one kind of gallery, received one of several")

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `Calibration.from_json` reads back."""
        return {
            "kind": self.kind,
            "shape": self.shape.to_json(),
            "calibration": self.calibration.to_json(),
            "expect": [one.to_json() for one in self.expect],
        }


def _for_gallery(data: Mapping[str, Any]) -> ForGallery:
    return ForGallery(
        data["kind"],
        GalleryShape.from_json(data["shape"]),
        Calibration.from_json(data["calibration"]),
        tuple(Expectation.from_json(one) for one in data["expect"]),
    )


def spoken(name: str) -> str:
    """An operating point's name as people say it: ``far=0.01`` -> ``FAR 1 %``."""
    kind, equals, value = name.partition("=")
    try:
        if kind == "strangers":
            return f"fewest errors with {percent(float(value))} unknown products"
        return f"{kind.upper()} {percent(float(value))}" if equals else name
    except ValueError:
        return name


def _check_threshold(threshold: float) -> None:
    if not 0.0 <= threshold <= MAX_DISTANCE:
        raise ValueError(f"expected a threshold (squared L2) in [0, 4], received {threshold}")


def _number(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"expected {key} as a number, received {value!r}")
    return float(value)


def _string(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected {key} as text, received {value!r}")
    return value

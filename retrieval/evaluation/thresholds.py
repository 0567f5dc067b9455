"""Which thresholds an evaluation reports at, and on which photos each was chosen."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from retrieval.calibration.confidence import Confidence
from retrieval.calibration.points import OperatingPoint
from retrieval.distance import MAX_DISTANCE
from retrieval.errors import UsageError
from retrieval.evaluation.document import ThresholdDoc
from retrieval.models.bundle import Calibration
from retrieval.system.text import printable


@dataclass(frozen=True, slots=True)
class Chosen:
    """A threshold for a target.

    Attributes:
        threshold: squared L2; None when it has to be chosen on the photos measured here.
        chosen_on: which photos it was chosen on.
        refusal: why those do not support the claim.
    """

    threshold: float | None
    chosen_on: str
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What is used and reported.

    Attributes:
        use: the threshold in use, with its provenance.
        far: for each FAR target, where a calibration has it.
        fpir: for each FPIR target, where a calibration has it.
        experiment: by the original experiment's rule, where a calibration has it.
        same_photos: the calibration's photos are those measured here.
        confidence: of answers, when it was fitted at the threshold in use.
    """

    use: ThresholdDoc
    far: dict[float, Chosen]
    fpir: dict[float, Chosen]
    experiment: Chosen | None
    same_photos: bool
    confidence: Confidence | None


def thresholds_for(
    calibration: Calibration | None,
    *,
    given: float | None,
    source: str,
    model: str = "",
    digest: str,
    split: str,
    far_targets: Sequence[float],
    fpir_targets: Sequence[float],
) -> Thresholds:
    """Settle the thresholds before anything is measured.

    Args:
        calibration: the model's, or one chosen on another split for this run; None without.
        given: by the user; it comes first.
        source: ``model`` or ``split``: where the calibration comes from.
        model: its name.
        digest: of the photos that will be measured, see `Photos.digest`.
        split: their name.
        far_targets: FARs to report at.
        fpir_targets: FPIRs to report at.

    Raises:
        UsageError: there is no threshold at all, or the given one is not in [0, 4].
    """
    basis = require_threshold(given, calibration, model=model)
    points = {point.name: point for point in calibration.points} if calibration else {}
    on = calibration.measured_on if calibration else ""
    same = bool(calibration and calibration.photos_digest and calibration.photos_digest == digest)
    if given is not None:
        use = ThresholdDoc(
            value=float(given),
            source="given",
            name="given",
            chosen_on="",
            same_photos=False,
            note=f"given by hand; whether it was chosen on {split} is not known",
        )
    else:
        use = ThresholdDoc(
            value=basis.threshold,
            source=source,
            name=basis.chosen,
            chosen_on=on,
            same_photos=same,
            note=basis.point(basis.chosen).note,
        )
    fitted = calibration.confidence if calibration else None
    return Thresholds(
        use,
        {t: _chosen(points[f"far={t:g}"], on) for t in far_targets if f"far={t:g}" in points},
        {t: _chosen(points[f"fpir={t:g}"], on) for t in fpir_targets if f"fpir={t:g}" in points},
        _chosen(points["experiment"], on) if "experiment" in points else None,
        same,
        fitted if fitted is not None and fitted.threshold == use["value"] else None,
    )


def with_chosen(targets: Sequence[float], rate: str, calibration: Calibration | None) -> tuple[float, ...]:
    """The targets, with that of the calibration's chosen operating point where it is of that rate, descending."""
    found = set(targets)
    name, equals, value = calibration.chosen.partition("=") if calibration else ("", "", "")
    if name == rate and equals:
        with suppress(ValueError):
            found.add(float(value))
    return tuple(sorted((t for t in found if 0.0 < t < 1.0), reverse=True))


def require_threshold(given: float | None, calibration: Calibration | None, *, model: str = "") -> Calibration:
    """Refuse, before hours of embedding, to measure without a threshold.

    Args:
        given: by the user, squared L2.
        calibration: the model's, or one chosen for this run.
        model: the model's name, for the message.

    Returns:
        The calibration, or one that holds the given threshold alone.

    Raises:
        UsageError: there is neither, or the given one is not in [0, 4].
    """
    if given is not None and not 0.0 <= given <= MAX_DISTANCE:
        raise UsageError(f"expected a threshold in [0, 4] (squared L2), received {given}")
    if given is None and calibration is None:
        raise UsageError(
            f"model {printable(model)} has no calibrated threshold, and none was given",
            hint="Choose one on other photos than those measured: --calibrate-on val, or "
            "itemrec calibrate --data DIR --split val; or give --threshold D (squared L2 in [0, 4]).",
        )
    return calibration if calibration is not None else Calibration.given(float(given or 0.0))


def _chosen(point: OperatingPoint, on: str) -> Chosen:
    return Chosen(point.threshold, on, point.note)

"""Which part of a calibration holds for a gallery, or why none does."""

from __future__ import annotations

from dataclasses import dataclass

from retrieval.calibration.galleries import Expectation, GalleryShape, Kind, spoken_kind
from retrieval.calibration.points import Calibration


@dataclass(frozen=True, slots=True)
class InForce:
    """What a query of an index goes by.

    Attributes:
        calibration: threshold and probabilities.
        kind: of gallery that they were measured for; None where that is not known, or none fits.
        fits: whether they were measured for such a gallery; None where nobody knows.
        why_not: one sentence where they were not, or nobody knows; empty otherwise.
        expect: what to expect of photos; empty where nothing like it was measured.
    """

    calibration: Calibration
    kind: Kind | None
    fits: bool | None
    why_not: str = ""
    expect: tuple[Expectation, ...] = ()


def in_force(calibration: Calibration, shape: GalleryShape | None) -> InForce:
    """The part of a calibration that fits a gallery.

    Args:
        calibration: the model's, or the index's own.
        shape: of the gallery; None where its index does not say.
    """
    if not calibration.galleries:
        why = "" if calibration.sureness else "Its calibration does not say which kind of catalog it holds for."
        return InForce(calibration, None, None, why)
    measured = ", or ".join(spoken_kind(one.kind) for one in calibration.galleries)
    kind = shape.kind if shape is not None else None
    if shape is None or kind is None:
        return InForce(calibration, None, None, "The index does not say what kind of pictures it holds.")
    for one in calibration.galleries:
        if one.kind == kind:
            return InForce(one.calibration, kind, True, "", one.expect)
    why = f"Not calibrated for this catalog ({spoken_kind(kind)}): the model was measured with {measured}."
    return InForce(calibration, kind, False, why)

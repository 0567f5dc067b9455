"""What to expect of a catalog with a model, in sentences: what its calibration measured, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from retrieval.calibration.galleries import Expectation, GalleryShape, Kind, spoken_kind
from retrieval.calibration.in_force import InForce
from retrieval.calibration.points import Calibration, spoken
from retrieval.index.manifest import Manifest
from retrieval.models.bundle import Bundle
from retrieval.system.text import plural

_CALIBRATE = "Photos of your own tell: itemrec calibrate --data DIR"


def expectations(bundle: Bundle, manifest: Manifest, found: InForce | None) -> list[str]:
    """What is known of photos of this catalog, a sentence each.

    Args:
        bundle: the model.
        manifest: of the index.
        found: see `retrieval.recognition.recognizer.calibration_in_force`.
    """
    if found is None:
        return [f"{bundle.name} is not calibrated: it does not say when a photo is unknown. {_CALIBRATE}"]
    lines = []
    shape = GalleryShape(manifest.products, manifest.images, manifest.studio)
    galleries = bundle.calibration.galleries if bundle.calibration else ()
    measured = found.expect or next((one.expect for one in galleries if one.kind == shape.kind), ())
    if measured and shape.kind is not None:
        held = f"A catalog of {spoken_kind(shape.kind)}: of 100 phone photos expect"
        among = next((one.shape.products for one in galleries if one.expect == measured), 0)
        lines.append(f"{held} {shares(measured)}.{_other_size(among, manifest.products)}")
        more: list[tuple[Kind, Sequence[Expectation]]] = [
            (one.kind, one.expect) for one in galleries if _adds(shape.kind, one.kind) and one.expect
        ]
        lines += [f"With {spoken_kind(kind)}: {shares(expect)}." for kind, expect in more[:1]]
    else:
        lines.append(f"What to expect of photos of this catalog was not measured with {bundle.name}.")
    if too_many := beyond_the_fit(found, manifest.products):
        lines.append(too_many)
    if found.why_not:
        lines.append(f"{found.why_not} {_CALIBRATE}")
    return lines


def beyond_the_fit(found: InForce, products: int) -> str:
    """A sentence where a catalog has far more products than probabilities were fitted among; none where it has not."""
    sureness = found.calibration.sureness
    if sureness is None or not found.fits or products <= 2 * sureness.products[1]:
        return ""
    low, high = sureness.products
    return (
        f"How sure answers are was measured in catalogs of {low:,} to {high:,} products; "
        f"for {products:,} it is not calibrated."
    )


def operating_point(calibration: Calibration, *, own: bool) -> str:
    """Which operating point decides, and where it comes from."""
    by = "probabilities" if calibration.sureness is not None else f"threshold {calibration.threshold:.4f}"
    whose = "the index's own calibration" if own else "the model's calibration"
    on = f", on {calibration.measured_on}" if calibration.measured_on else ""
    return f"verdicts by {by} ({spoken(calibration.chosen)}; {whose}{on})"


def _other_size(measured: int, here: int) -> str:
    """A sentence where a catalog has far more or fewer products than what was measured; none where it has not."""
    if not measured or measured <= 2 * here <= 4 * measured:
        return ""
    return f" That was among {measured:,} products: among {here:,} expect {'fewer' if here > measured else 'more'}."


def _adds(here: Kind, other: Kind) -> bool:
    """Whether a catalog of that kind becomes one of the other by more photos."""
    return (here, other) in (("studio", "few"), ("mixed", "few"), ("few", "many"))


def shares(measured: Sequence[Expectation]) -> str:
    """Of 100 photos, how many are found first and among five, for each group of products that was measured."""
    said = []
    for one in measured:
        first, five = (round(100.0 * count / one.photos) for count in (one.first, one.five))
        who = "products that it learned" if one.who == "trained" else "new products"
        counted = f"{plural(one.photos, 'photo')} of {plural(one.products, 'product')}"
        said.append(f"{first} first and {five} among five shown for {who} ({counted})")
    return ", ".join(said)

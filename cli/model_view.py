"""How `itemrec models` shows a model: as a row, as a description, as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cli import render
from retrieval.system.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from retrieval.metrics.rates import Rate
    from retrieval.models.available import AvailableModel
    from retrieval.models.bundle import Bundle
    from retrieval.models.installed import InstalledModel
    from retrieval.models.measurement import Measurement


COLUMNS = ["name", "vector", "input", "runtime", "threshold", "MB", "fingerprint", "note"]
AVAILABLE = ["name", "license", "MB", "vector", "ms", "R@1", "first five", "DIR", "measured", "installed", "what it is"]


def listed(model: InstalledModel) -> dict[str, Any]:
    """One entry of ``itemrec.models/1``."""
    document: dict[str, Any] = {
        "name": model.name,
        "path": str(model.path),
        "builtin": model.builtin,
        "usable": model.bundle is not None,
        "problem": model.problem,
    }
    if model.bundle is not None:
        document |= {
            "fingerprint": model.bundle.fingerprint,
            "dimension": model.bundle.dimension,
            "runtime": model.bundle.runtime,
            "bytes": model.bundle.encoder_bytes,
            "threshold": model.bundle.calibration.threshold if model.bundle.calibration else None,
        }
    return document


def row(model: InstalledModel) -> list[str]:
    """One row of the table, under `COLUMNS`."""
    bundle = model.bundle
    if bundle is None:
        return [model.name, "", "", "", "", "", "", f"unusable: {model.problem}"]
    return [
        model.name,
        str(bundle.dimension),
        f"{bundle.preprocessing.height}x{bundle.preprocessing.width}",
        bundle.runtime,
        f"{bundle.calibration.threshold:.4g}" if bundle.calibration else "none",
        f"{bundle.encoder_bytes / 1e6:.1f}",
        bundle.fingerprint[:12],
        "built in" if model.builtin else "",
    ]


def available_document(
    available: Sequence[AvailableModel], installed: Sequence[InstalledModel], measured: Sequence[Measurement]
) -> dict[str, Any]:
    """The document ``itemrec.available/1``: the table, and after it further models that the user measured.

    Args:
        available: the table.
        installed: the installed models, the built-in one too.
        measured: the user's measurements, the latest first.
    """
    models: list[dict[str, Any]] = []
    for model in available:
        own = next((m for m in measured if m.encoder_sha256 == model.sha256 and not m.projected), None)
        known = own or model.measured
        as_listed = [i for i in installed if i.bundle is not None and _is(model, i.bundle)]
        models.append(
            {
                "name": model.name,
                "what": model.what,
                "license": model.license,
                "url": model.url,
                "bytes": model.bytes,
                "sha256": model.sha256,
                "dimension": model.dimension,
                "preset": model.choices.preset,
                "output": model.output,
                "pool": model.pool,
                "installed": [i.name for i in as_listed],
                "measured_by": "you" if own else "us" if known else None,
                "measured": known.to_json() if known else None,
            }
        )
    for entry in installed:
        bundle = entry.bundle
        if bundle is None or any(_is(model, bundle) for model in available):
            continue
        own = next((m for m in measured if m.fingerprint == bundle.fingerprint), None)
        if own is None and not entry.builtin:
            continue
        models.append(
            {
                "name": entry.name,
                "what": "built in" if entry.builtin else "installed by you",
                "license": bundle.license,
                "url": None,
                "bytes": bundle.encoder_bytes,
                "sha256": bundle.encoder_sha256,
                "dimension": bundle.dimension,
                "preset": None,
                "output": bundle.readout.output,
                "pool": bundle.readout.pool,
                "installed": [entry.name],
                "measured_by": "you" if own else None,
                "measured": own.to_json() if own else None,
            }
        )
    return {"schema": "itemrec.available/1", "models": models}


def _is(model: AvailableModel, bundle: Bundle) -> bool:
    """Whether a bundle is a model of the table as it comes, with nothing learned on top."""
    return bundle.encoder_sha256 == model.sha256 and bundle.projected is None


def available_row(entry: dict[str, Any]) -> list[str]:
    """One row of the table, under `AVAILABLE`, of an entry of `available_document`."""
    known = entry["measured"]

    def share(name: str) -> str:
        rate = known and known[name] and known[name]["rate"]
        return "" if rate is None else f"{rate:.2f}"

    measured = "not measured by us" if known is None else f"by {entry['measured_by']}, on {known['data']}"
    return [
        entry["name"],
        entry["license"],
        f"{entry['bytes'] / 1e6:.1f}",
        str(entry["dimension"]),
        "" if known is None else f"{known['ms_a_picture']:.1f}",
        share("top1"),
        share("top5"),
        share("dir_at_fpir"),
        measured,
        "yes" if entry["installed"] else "no",
        entry["what"],
    ]


def measured_text(found: Measurement) -> str:
    """What `itemrec models measure` prints."""

    def counted(rate: Rate) -> str:
        return f"{rate.part:,} of {rate.whole:,}"

    text = (
        f"{printable(found.model)}: of {found.photos:,} photos in {printable(found.data)}, against {found.pictures:,} "
        f"pictures of {found.products:,} products, {counted(found.top1)} found first and {counted(found.top5)} among "
        f"the first five, {found.ms_a_picture:.1f} ms a picture on one core."
    )
    if found.dir_at_fpir is None:
        return f"{text} The photos are too few to say how unknown products fare."
    return (
        f"{text} Where {100 * found.fpir:.0f} of 100 photos of unknown products get an answer, "
        f"{counted(found.dir_at_fpir)} are found."
    )


def describe(bundle: Bundle, *, as_json: bool, with_card: bool) -> None:
    """Write what a bundle is to stdout; the card and the operating points too when asked."""
    if as_json:
        render.emit_json(document(bundle))
        return
    p = bundle.preprocessing
    lines = [
        ("name", bundle.name),
        ("path", str(bundle.path)),
        ("fingerprint", bundle.fingerprint),
        ("vector", f"{bundle.dimension} values"),
        ("runtime", f"{bundle.runtime}, {bundle.encoder_bytes / 1e6:.1f} MB"),
        ("input", f"{p.height}x{p.width} {p.layout}, fit {p.fit} ({p.crop_fraction:g}), {p.resample}"),
        ("values", f"(0..255 x {p.scale:.6g} - {list(p.mean)}) / {list(p.std)}"),
        ("output", f"{bundle.readout.output}, pool {bundle.readout.pool}"),
        *([("projection", f"from {bundle.features} values, learned on top")] if bundle.projected is not None else []),
        ("threshold", _threshold(bundle)),
        ("created", bundle.created),
    ]
    for key, value in lines:
        render.emit(f"{key:12} {printable(value)}")
    if with_card:
        card = bundle.card()
        if bundle.calibration:
            render.emit()
            _points(bundle)
        if card:
            render.emit()
            render.emit("\n".join(printable(line) for line in card.rstrip().splitlines()))


def _threshold(bundle: Bundle) -> str:
    if bundle.calibration is None:
        return "none; queries need --threshold, or calibrate it"
    from retrieval.calibration.points import spoken

    return f"{bundle.calibration.threshold:.6g} (squared L2, {spoken(bundle.calibration.chosen)})"


def _points(bundle: Bundle) -> None:
    from retrieval.calibration.points import spoken

    assert bundle.calibration is not None

    def rate(value: float | None, count: int | None, of: int | None) -> str:
        text = "" if value is None else f"{value:.4f}"
        return text if count is None or of is None else f"{text} ({count:,}/{of:,})"

    rows = [
        [
            spoken(point.name),
            f"{point.threshold:.6g}",
            rate(point.far, point.accepted_different, point.different_pairs),
            rate(point.val, point.accepted_same, point.same_pairs),
            rate(point.fpir, None, None),
            rate(point.fnir, None, None),
        ]
        for point in bundle.calibration.points
    ]
    render.table(["point", "threshold", "FAR", "VAL", "FPIR", "FNIR"], rows, right=(1,))
    if bundle.calibration.measured_on:
        render.emit(f"measured on {printable(bundle.calibration.measured_on)}")


def document(bundle: Bundle) -> dict[str, Any]:
    """The document ``itemrec.model/1``."""
    return {
        "schema": "itemrec.model/1",
        "name": bundle.name,
        "path": str(bundle.path),
        "fingerprint": bundle.fingerprint,
        "dimension": bundle.dimension,
        "runtime": bundle.runtime,
        "bytes": bundle.encoder_bytes,
        "encoder_sha256": bundle.encoder_sha256,
        "preprocessing": bundle.preprocessing.to_json(),
        "output": bundle.readout.output,
        "pool": bundle.readout.pool,
        "one_by_one": bundle.readout.one_by_one,
        "features": bundle.features,
        "projected": bundle.projected is not None,
        "calibration": bundle.calibration.to_json() if bundle.calibration else None,
        "training": dict(bundle.training),
        "source": bundle.source,
        "license": bundle.license,
        "created": bundle.created,
        "card": bundle.card(),
    }

"""How `itemrec models` shows a model: as a row, as a description, as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cli import render
from retrieval.system.text import printable

if TYPE_CHECKING:
    from retrieval.models.bundle import Bundle
    from retrieval.models.installed import InstalledModel


COLUMNS = ["name", "vector", "input", "runtime", "threshold", "MB", "fingerprint", "note"]


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
        "calibration": bundle.calibration.to_json() if bundle.calibration else None,
        "training": dict(bundle.training),
        "source": bundle.source,
        "license": bundle.license,
        "created": bundle.created,
        "card": bundle.card(),
    }

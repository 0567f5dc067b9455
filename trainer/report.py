"""What came of a training: the bundles it wrote and what each does on val. Data alone; nothing is computed here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from retrieval.calibration.points import Calibration, OperatingPoint
    from retrieval.catalog.read import Refusal
    from retrieval.models.bundle import Bundle

SCHEMA = "itemrec.train/1"


@dataclass(frozen=True, slots=True)
class Found:
    """Photos whose product came first.

    Attributes:
        first: how many.
        asked: of how many, whose product is in the gallery.
    """

    first: int
    asked: int

    def __add__(self, other: Found) -> Found:
        return Found(self.first + other.first, self.asked + other.asked)

    @property
    def rate(self) -> float | None:
        """The share; None where nothing was asked."""
        return self.first / self.asked if self.asked else None


@dataclass(frozen=True, slots=True)
class Comparison:
    """A trained model and the built-in one on the same photos of val, with the pictures of train as the gallery.

    Attributes:
        known: what the trained model finds first of products that it learned.
        built_in_known: what the built-in model finds of the same photos.
        new: what trainings without some of the products find of those; nothing asked where there was none.
        built_in_new: what the built-in model finds of the same photos.
    """

    known: Found
    built_in_known: Found
    new: Found
    built_in_new: Found

    @property
    def better(self) -> bool:
        """Whether the training paid: it finds more photos of products that it learned than the built-in model does."""
        return self.known.first > self.built_in_known.first

    def to_json(self) -> dict[str, Any]:
        """Its part of the ``itemrec.train/1`` document."""

        def counted(found: Found) -> dict[str, Any]:
            return {"found": found.first, "probes": found.asked, "rate": found.rate}

        return {
            "better": self.better,
            "known": counted(self.known),
            "new": counted(self.new),
            "built_in": {"known": counted(self.built_in_known), "new": counted(self.built_in_new)},
        }


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A bundle that was written, and what it does on val, with the pictures of train as the gallery.

    Attributes:
        bundle: the model.
        calibration: its thresholds; None where val cannot bear any.
        top1: photos whose nearest picture is of their product / photos; None without val.
        val: VAL at FAR 1 %; None where val cannot bear it.
        val_strict: VAL at FAR 0.1 %; likewise.
        warnings: what cannot be said and why, one sentence each.
        seconds_each: to embed a picture, decoding not counted, on one core.
        found: numerator of ``top1``.
        probes: denominator of ``top1``: photos of val whose product is in train.
        beside: what the built-in model does with the same photos; None without val.
    """

    bundle: Bundle
    calibration: Calibration | None
    top1: float | None
    val: float | None
    val_strict: float | None
    warnings: tuple[str, ...]
    seconds_each: float
    found: int = 0
    probes: int = 0
    beside: Comparison | None = None

    @property
    def operating_point(self) -> OperatingPoint | None:
        """The threshold that queries use unless told otherwise; None where nothing was calibrated."""
        return self.calibration.point(self.calibration.chosen) if self.calibration else None

    @property
    def pressing(self) -> tuple[str, ...]:
        """The warnings that are about the threshold that queries use; all of them where there is none."""
        point = self.operating_point
        note = point.note if point is not None else None
        return tuple(sentence for sentence in self.warnings if note is None or sentence in note)

    def to_json(self) -> dict[str, Any]:
        """Its part of the ``itemrec.train/1`` document."""
        return {
            "path": str(self.bundle.path),
            "name": self.bundle.name,
            "fingerprint": self.bundle.fingerprint,
            "dimension": self.bundle.dimension,
            "bytes": self.bundle.encoder_bytes,
            "ms_a_picture": round(1000 * self.seconds_each, 2),
            "calibration": self.calibration.to_json() if self.calibration else None,
            "val": {"top1": self.top1, "val@far=0.01": self.val, "val@far=0.001": self.val_strict},
            "val_photos": {"found": self.found, "probes": self.probes},
            "beside_built_in": self.beside.to_json() if self.beside is not None else None,
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True)
class TrainReport:
    """What a training did.

    Attributes:
        model: the bundle that was asked for.
        int8: the same in 8-bit integers, where that was asked for.
        pictures: that were learned from.
        products: that were learned.
        held_out: products that a second training did not see, to calibrate on; 0 without one.
        epochs: that were trained, of all networks of the ensemble.
        refused: files that could not be read.
        seconds: all of it took, calibration included.
        run: the run directory, for ``tensorboard --logdir``; None where nothing was logged.
    """

    model: TrainedModel
    int8: TrainedModel | None
    pictures: int
    products: int
    held_out: int
    epochs: int
    refused: tuple[Refusal, ...]
    seconds: float
    run: Path | None

    def to_json(self) -> dict[str, Any]:
        """The ``itemrec.train/1`` document."""
        document = {
            "schema": SCHEMA,
            "model": self.model.to_json(),
            "pictures": self.pictures,
            "products": self.products,
            "refused": [{"path": refusal.path, "reason": refusal.reason} for refusal in self.refused],
            "epochs": self.epochs,
            "seconds": self.seconds,
            "run": str(self.run) if self.run is not None else None,
        }
        if self.int8 is not None:
            document["int8"] = self.int8.to_json()
        return document

    def _repr_html_(self) -> str:
        """What a notebook shows: what the models are worth on val, and the threshold that queries use."""
        from retrieval.calibration.points import spoken
        from retrieval.system import html
        from retrieval.system.text import plural

        def cells(model: TrainedModel) -> list[str]:
            shares = ("–" if value is None else f"{value:.3f}" for value in (model.top1, model.val, model.val_strict))
            return [model.bundle.name, *shares, f"{1000 * model.seconds_each:.1f} ms"]

        headings = ("on val", "R@1", "VAL at FAR 1 %", "VAL at FAR 0.1 %", "a picture")
        models = [self.model] if self.int8 is None else [self.model, self.int8]
        point = self.model.operating_point
        return html.fragment(
            f"{self.model.bundle.name}: {plural(self.pictures, 'picture')} of {plural(self.products, 'product')} "
            f"learned in {self.seconds:.0f} s",
            html.table(headings, map(cells, models), numeric=range(1, len(headings))),
            "" if point is None else f"Threshold {point.threshold:.4f} (squared L2): {spoken(point.name)}.",
            html.items(self.model.pressing),
        )

"""What evaluating a dataset and calibrating a model return: typed, as JSON, and as a notebook shows them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from retrieval.calibration.points import Calibration, spoken
from retrieval.errors import UsageError
from retrieval.evaluation.compare import Comparison
from retrieval.evaluation.document import EvaluationDoc, RateDoc
from retrieval.evaluation.numbers import counts, in_percent, interval, number
from retrieval.evaluation.requirements import Checked
from retrieval.images.inline import figure
from retrieval.models.bundle import Bundle
from retrieval.models.installed import models_directory
from retrieval.system.files import replace_file
from retrieval.system.html import fragment, items, paragraph, row, table
from retrieval.system.text import plural, printable

_SHOWN_CONFUSIONS = 4


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationReport:
    """What an evaluation measured.

    Attributes:
        document: everything, as ``itemrec.evaluate/1`` has it; see `retrieval.evaluation.document`.
        checked: what became of each requirement.
        comparison: against the earlier evaluation, where one was given.
    """

    document: EvaluationDoc
    checked: tuple[Checked, ...] = ()
    comparison: Comparison | None = None

    @property
    def verdict(self) -> str:
        """The result in a sentence."""
        return self.document["verdict"]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What limits the figures, one sentence each."""
        return tuple(self.document["warnings"])

    @property
    def passed(self) -> bool:
        """Whether every requirement holds."""
        return all(result.passed for result in self.checked)

    @property
    def rates(self) -> Mapping[str, RateDoc]:
        """The rates at the threshold in use by name, such as ``top1``, ``dir`` and ``fpir``, with their counts."""
        return {**self.document["identification"]["rates"], **self.document["open_set"]["rates"]}

    def to_json(self) -> dict[str, Any]:
        """The document, with the requirements and the comparison where there are any."""
        extra: dict[str, Any] = {}
        if self.checked:
            extra["requirements"] = [result.to_json() for result in self.checked]
        if self.comparison is not None:
            extra["comparison"] = self.comparison.to_json()
        return {**self.document, **extra}

    def save(self, path: str | Path) -> None:
        """Write the document for a later comparison, whole or not at all; raises UsageError."""
        text = json.dumps(self.document, allow_nan=False, indent=1) + "\n"
        try:
            replace_file(Path(path), text.encode())
        except OSError as error:
            raise UsageError(
                f"Cannot write the document to {printable(str(path))}: {error.strerror or error}",
                hint="Name another file.",
            ) from error

    def _repr_html_(self) -> str:
        document, rates = self.document, self.rates
        gallery = document["gallery"]
        names = {
            "top1": "right product first",
            "top5": "right product among the first five",
            "dir": "DIR: first and within the threshold",
            "fpir": "FPIR: unknown products that get a match",
        }
        rows = [
            (text, in_percent(rates[k]["rate"]), interval(rates[k]["ci"]), counts(rates[k]))
            for k, text in names.items()
        ]
        measured = (
            f"{document['split']}: {plural(document['photos'], 'photo')} of {plural(document['products'], 'product')}; "
            f"gallery {gallery['source']}: {plural(gallery['images'], 'picture')} of "
            f"{plural(gallery['products'], 'product')}."
        )
        parts = [table(["", "rate", "95 % interval", "photos"], rows, numeric=(1, 2, 3)), self._confusions()]
        parts.append(items(f"{'passed' if c.passed else 'failed'}: {c.line()}" for c in self.checked))
        if self.comparison is not None:
            parts.append(paragraph(f"Compared with the earlier evaluation: {self.comparison.verdict}"))
        return fragment(self.verdict, measured, *parts, items(self.warnings))

    def _confusions(self) -> Markup:
        """The commonest confusions, each as a photo beside the gallery picture it was taken for."""
        photos, gallery = Path(self.document["data"]["folder"]), Path(self.document["gallery"]["folder"])
        shown: list[Markup] = []
        for confused in self.document["identification"]["confusions"][:_SHOWN_CONFUSIONS]:
            example = confused["examples"][0]
            shown.append(figure(photos / example["photo"], confused["product"], root=photos))
            shown.append(figure(gallery / example["image"], f"taken for {confused['taken_for']}", root=gallery))
        return row(shown) if shown else Markup("")


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationReport:
    """What a calibration chose, and where it was stored.

    Attributes:
        bundle: the bundle that carries the thresholds now.
        calibration: the thresholds, with what was measured at them.
        refusal: why the photos are too few for the chosen target; empty when they are enough.
        warnings: what limits the thresholds, one sentence each.
        gallery: what photos were compared with: ``index``, ``train``, ``catalog``, ``folder``, or empty.
        model: where the model lies that was calibrated; equal to the bundle's path where that was changed itself.
        index: the index that goes by it from now on; empty where it is the bundle alone.
        replaced: the calibration that was in force before; None where there was none.
        written: whether the bundle changed; where the index alone keeps the calibration it did not.
    """

    bundle: Bundle
    calibration: Calibration
    refusal: str
    warnings: tuple[str, ...]
    gallery: str
    model: Path
    index: str = ""
    replaced: Calibration | None = None
    written: bool = True

    @property
    def threshold(self) -> float:
        """Squared L2, in [0, 4]: the default of queries."""
        return self.calibration.threshold

    @property
    def reference(self) -> str:
        """How to name the bundle from now on: its name among the installed models, else its path."""
        path = self.bundle.path
        return path.name if path.parent == models_directory() else str(path)

    def to_json(self) -> dict[str, Any]:
        """The document ``itemrec.calibrate/1``."""
        return {
            "schema": "itemrec.calibrate/1",
            "model": {
                "name": self.bundle.name,
                "path": str(self.bundle.path),
                "fingerprint": self.bundle.fingerprint,
            },
            "gallery": self.gallery,
            "supported": not self.refusal,
            "warnings": list(self.warnings),
            "calibration": self.calibration.to_json(),
            "index": self.index,
            "replaced": None if self.replaced is None else self.replaced.to_json(),
        }

    def _repr_html_(self) -> str:
        calibration = self.calibration
        rows = [
            (
                spoken(point.name) + (" (in use)" if point.name == calibration.chosen else ""),
                number(point.threshold, 4),
                *(in_percent(rate, 1) for rate in (point.val, point.far, point.fnir, point.fpir)),
            )
            for point in calibration.points
        ]
        return fragment(
            f"Threshold {calibration.threshold:.4f} (squared L2): {spoken(calibration.chosen)}",
            f"{self.reference}; chosen on {calibration.measured_on}.",
            table(["operating point", "threshold", "VAL", "FAR", "FNIR", "FPIR"], rows, numeric=(1, 2, 3, 4, 5)),
            items(self.warnings),
        )

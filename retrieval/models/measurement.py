"""What a user measured of a model on photos of their own: kept in itemrec's home, a small file for each model."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from retrieval.errors import StoreError
from retrieval.metrics.rates import Rate
from retrieval.models.bundle import Bundle
from retrieval.models.encoder import load_encoder
from retrieval.models.installed import home
from retrieval.system.files import replace_file

SCHEMA = "itemrec.measured/1"
_FOLDER = "measured"
_TIMED = 25


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one model did on one data set.

    Attributes:
        model: its name.
        fingerprint: of its bundle.
        encoder_sha256: of its network's file.
        data: which photos.
        photos: that were asked about.
        products: in the gallery.
        pictures: in the gallery.
        ms_a_picture: to embed a prepared picture on one core, in ms.
        top1: photos whose nearest picture shows their product / photos whose product is in the gallery.
        top5: those whose product is among the nearest five products / the same.
        dir_at_fpir: those found first at the threshold where ``fpir`` of photos of unknown products get an answer; None
            where the photos are too few.
        fpir: that rate. Unknown products are leave-one-out unknowns: the photo's own product is taken out.
        measured: when, ISO 8601 in UTC.
        projected: something was learned on top of the network, which `encoder_sha256` alone does not tell.
    """

    model: str
    fingerprint: str
    encoder_sha256: str
    data: str
    photos: int
    products: int
    pictures: int
    ms_a_picture: float
    top1: Rate
    top5: Rate
    dir_at_fpir: Rate | None
    fpir: float = 0.1
    measured: str = ""
    projected: bool = False

    def to_json(self) -> dict[str, Any]:
        """The document ``itemrec.measured/1``."""
        rates = {name: rate.to_json() if (rate := getattr(self, name)) else None for name in _RATES}
        return {"schema": SCHEMA, **asdict(self), **rates}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Measurement:
        """Read what `to_json` wrote; raises ValueError, TypeError or KeyError on anything else."""
        values = {key: value for key, value in data.items() if key != "schema"}
        for name in _RATES:
            rate = values[name]
            values[name] = None if rate is None else Rate(int(rate["part"]), int(rate["whole"]))
        return cls(**values)


_RATES = ("top1", "top5", "dir_at_fpir")


def keep(measurement: Measurement) -> None:
    """Remember a measurement, instead of an earlier one of the same model.

    Raises:
        UsageError: the environment names no home.
        StoreError: it cannot be written there.
    """
    file = home() / _FOLDER / f"{measurement.fingerprint}.json"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(file, json.dumps(measurement.to_json(), indent=2) + "\n")
    except OSError as error:
        raise StoreError(
            f"expected to write what was measured to {file}, received: {error.strerror or error}",
            hint="Set ITEMREC_HOME to a directory that you can write.",
        ) from error


def kept() -> list[Measurement]:
    """Everything that was measured, the latest first. A file that cannot be read is as good as none."""
    found = []
    for file in sorted((home() / _FOLDER).glob("*.json")):
        try:
            found.append(Measurement.from_json(json.loads(file.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            continue
    return sorted(found, key=lambda measurement: measurement.measured, reverse=True)


def seconds_each(bundle: Bundle) -> float:
    """The median time to embed one prepared picture, on one core; raises EncoderError."""
    encoder = load_encoder(bundle, threads=1)
    blank = np.full((1, bundle.preprocessing.height, bundle.preprocessing.width, 3), 127, np.uint8)
    times = []
    for _ in range(_TIMED):
        started = time.perf_counter()
        encoder.encode(blank)
        times.append(time.perf_counter() - started)
    return sorted(times)[len(times) // 2]

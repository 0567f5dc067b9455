"""Models that can be had by name: the table in the package says where each is and how it is read."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrieval.errors import UsageError
from retrieval.models.bundle import Pool
from retrieval.models.input_presets import Choices
from retrieval.models.measurement import Measurement
from retrieval.system.text import printable


@dataclass(frozen=True, slots=True)
class AvailableModel:
    """One entry of the table.

    Attributes:
        name: what `itemrec models pull` takes.
        what: what it is, one line.
        license: of its weights.
        url: where its file is, at a pinned revision.
        bytes: size of the file.
        sha256: of the file; nothing else is accepted.
        dimension: length of its vectors.
        choices: its preprocessing.
        output: the output that is its embedding.
        pool: see `retrieval.models.bundle.Readout`.
        measured: what was measured before it was listed; None where nobody did.
    """

    name: str
    what: str
    license: str
    url: str
    bytes: int
    sha256: str
    dimension: int
    choices: Choices
    output: str | int | None
    pool: Pool
    measured: Measurement | None = None


def table_path() -> Path:
    """Where the table lies in the package."""
    return Path(__file__).with_name("available.toml")


def available_models() -> tuple[AvailableModel, ...]:
    """The table, in its order."""
    with table_path().open("rb") as stream:
        return tuple(_entry(values) for values in tomllib.load(stream)["model"])


def find_available(name: str) -> AvailableModel:
    """The entry of that name.

    Raises:
        UsageError: the table has none.
    """
    models = available_models()
    for model in models:
        if model.name == name:
            return model
    raise UsageError(
        f"expected an https URL or one of the models {', '.join(model.name for model in models)}, "
        f"received {printable(name)!r}",
        hint="List them: itemrec models available. For a file on this machine: itemrec models import FILE --name NAME",
    )


def _entry(values: dict[str, Any]) -> AvailableModel:
    size = values["size"]
    return AvailableModel(
        name=values["name"],
        what=values["what"],
        license=values["license"],
        url=values["url"],
        bytes=values["bytes"],
        sha256=values["sha256"],
        dimension=values["dimension"],
        choices=Choices(
            preset=values["preset"],
            size=(size, size),
            resample=values.get("resample"),
            layout=values.get("layout"),
        ),
        output=values.get("output"),
        pool=values["pool"],
        measured=Measurement.from_json(values["measured"]) if "measured" in values else None,
    )

"""``build.json``: what decides whether an interrupted build can be continued."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from retrieval.index.manifest import Manifest
from retrieval.types import ModelIdentity

_SCHEMA = "itemrec.build/1"


@dataclass(frozen=True, slots=True)
class BuildRecord:
    """What decides whether an interrupted build can be continued; lies beside its shard.

    Attributes:
        generation: the number that it will have.
        base: the generation that it was seeded from, with the time of its commit; empty for none.
        model: the model that makes its vectors.
        seeded: the copy of the base is complete.
    """

    generation: int
    base: str
    model: ModelIdentity
    seeded: bool = False
    schema: str = _SCHEMA

    @classmethod
    def start(cls, generation: int, base: Manifest | None, model: ModelIdentity) -> Self:
        """The record of a build that begins now."""
        return cls(generation, f"{base.generation} of {base.created}" if base else "", model)

    def continues(self, wanted: BuildRecord) -> bool:
        """True when this interrupted build is what ``wanted`` would begin anew."""
        return (
            self.seeded
            and self.base == wanted.base
            and self.generation == wanted.generation
            and self.model.fingerprint == wanted.model.fingerprint
            and self.model.dimension == wanted.model.dimension
        )

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The record in a file; None where there is no legible one."""
        try:
            data = json.loads(path.read_bytes())
            record = cls(**(data | {"model": ModelIdentity(**data["model"])}))
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return record if record.schema == _SCHEMA else None

    def to_text(self) -> str:
        """What `read` reads."""
        return json.dumps(asdict(self), indent=2)

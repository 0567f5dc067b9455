"""What a generation says about itself, and which generations are kept beside the live one."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from retrieval.errors import IndexDamagedError, ModelMismatchError, UsageError
from retrieval.index.commands import REBUILD_HINT, index_command
from retrieval.types import ModelIdentity

MANIFEST_SCHEMA = "itemrec.generation/1"
DISTANCE_NAME = "squared_l2"
KEYPOINTS_FILE = "keypoints.sqlite"
"""What `retrieval.verification.kept` lies in, beside the generations of an index in a directory."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a committed generation holds, written at its commit and checked when it is opened.

    Attributes:
        generation: counts up from 1 with every commit.
        model: the model that made the vectors.
        images: number of points.
        products: number of distinct products.
        catalog: the catalog's root at the last index run; pictures are shown from there.
        metadata_keys: the columns that ``--where`` may name.
        itemrec_version: the release that wrote it.
        engine: the engine and its version.
        created: when it was committed, ISO 8601 in UTC.
        hnsw: whether an HNSW graph serves searches (exact scan otherwise).
        checksum: of the points that were committed, see `retrieval.index.checksum.Checksum`; empty where older
            releases, or runs that nobody could keep count of, said nothing.
        studio: share of its products that a studio picture shows, in [0, 1], by a sample; None where nobody looked.
        gap: how much nearer photos lie to its photos than to its studio pictures, see `retrieval.calibration.gap`;
            None where nobody looked.
        calibration: a calibration of its model that was made for this index, as `Calibration.to_json` has it; None
            where the model's own is in force.
    """

    generation: int
    model: ModelIdentity
    images: int
    products: int
    catalog: str
    metadata_keys: tuple[str, ...]
    itemrec_version: str
    engine: str
    created: str
    hnsw: bool = False
    distance: str = DISTANCE_NAME
    checksum: str = ""
    studio: float | None = None
    gap: float | None = None
    calibration: Mapping[str, Any] | None = None
    schema: str = field(default=MANIFEST_SCHEMA)

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back."""
        content = asdict(self) | {"metadata_keys": list(self.metadata_keys)}
        # Releases of before refuse what they do not know.
        return {key: value for key, value in content.items() if value is not None}

    def noting(
        self,
        before: Manifest | None,
        *,
        studio: float | None = None,
        gap: float | None = None,
        calibration: Mapping[str, Any] | None = None,
    ) -> Manifest:
        """The same with what is known beside its pictures; what is not given stays as it was.

        Args:
            before: the generation that this one replaces; a calibration of another model's goes with it.
            studio: see `Manifest`.
            gap: likewise.
            calibration: likewise.
        """
        if before is None or before.model.fingerprint != self.model.fingerprint:
            return replace(self, studio=studio, gap=gap, calibration=calibration)
        return replace(
            self,
            studio=before.studio if studio is None else studio,
            gap=before.gap if gap is None else gap,
            calibration=before.calibration if calibration is None else calibration,
        )

    def require(self, model: ModelIdentity, location: str) -> None:
        """Refuse a model that did not build this generation.

        Args:
            model: the one in use.
            location: where the index is, for the command that rebuilds it.

        Raises:
            ModelMismatchError: names both models and the command that rebuilds.
        """
        if self.model.fingerprint != model.fingerprint:
            raise ModelMismatchError(
                f"The index was built by another model: {self.model.name} ({self.model.fingerprint[:12]}), "
                f"not {model.name} ({model.fingerprint[:12]})",
                hint=f"Use --model {self.model.path}, or rebuild with the other one: "
                + index_command(self.catalog, location, model=model.path),
            )

    def _check(self) -> None:
        """Refuse what no commit writes: others sort, count and print these fields; raises ValueError."""
        for name in ("catalog", "itemrec_version", "engine", "created", "distance", "checksum"):
            _texts([getattr(self, name)])
        _texts([self.model.fingerprint, self.model.name, self.model.path])
        for name, value, least in (
            ("generation", self.generation, 1),
            ("images", self.images, 0),
            ("products", self.products, 0),
            ("dimension", self.model.dimension, 1),
        ):
            if type(value) is not int or not least <= value < 2**63:
                raise ValueError(f"expected a count as {name}, received {value!r:.80}")
        if type(self.hnsw) is not bool:
            raise ValueError(f"expected true or false as hnsw, received {self.hnsw!r:.80}")
        if self.studio is not None and (type(self.studio) not in (int, float) or not 0.0 <= self.studio <= 1.0):
            raise ValueError(f"expected a share as studio, received {self.studio!r:.80}")
        if self.gap is not None and (type(self.gap) not in (int, float) or not 1.0 <= self.gap < math.inf):
            raise ValueError(f"expected a number of 1 or more as gap, received {self.gap!r:.80}")
        if self.calibration is not None and not isinstance(self.calibration, Mapping):
            raise ValueError(f"expected an object as calibration, received {self.calibration!r:.80}")
        if self.distance != DISTANCE_NAME:
            raise ValueError(f"expected the distance {DISTANCE_NAME}, received {self.distance!r:.80}")
        if self.checksum and not re.fullmatch("[0-9a-f]{64}", self.checksum):
            raise ValueError(f"expected 64 hexadecimal digits as checksum, received {self.checksum!r:.80}")

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Manifest:
        """Read what `to_json` wrote.

        Raises:
            IndexDamagedError: a field is missing or of another kind, or the schema is not this one.
        """
        if data.get("schema") != MANIFEST_SCHEMA:
            raise IndexDamagedError(
                f"expected an index manifest of schema {MANIFEST_SCHEMA}, received {data.get('schema')!r}",
                hint=REBUILD_HINT,
            )
        try:
            values = dict(data)
            values["model"] = ModelIdentity(**values["model"])
            values["metadata_keys"] = tuple(_texts(values["metadata_keys"]))
            manifest = cls(**values)
            manifest._check()
            return manifest
        except (KeyError, TypeError, ValueError) as error:
            raise IndexDamagedError(
                f"The index's manifest cannot be read: {error}",
                hint=REBUILD_HINT,
            ) from error


def _texts(values: Any) -> list[str]:
    """A list of texts; ValueError for anything else."""
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"expected text, received {values!r:.80}")
    return values


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation of an index, as `itemrec generations` lists it.

    Attributes:
        number: counts up; the live one need not be the largest after a rollback.
        state: ``live`` answers queries, ``kept`` can be rolled back to, ``building`` is not complete.
        model: the model that makes its vectors.
        images: number of points; None while it is built.
        products: number of distinct products; None while it is built.
        created: when it was committed, ISO 8601 in UTC; None while it is built.
        size: bytes that it occupies; None where the engine does not say.
    """

    number: int
    state: Literal["live", "kept", "building"]
    model: ModelIdentity
    images: int | None
    products: int | None
    created: str | None
    size: int | None

    def to_json(self) -> dict[str, Any]:
        """One entry of ``generations`` in ``itemrec.generations/1``."""
        return {
            "generation": self.number,
            "state": self.state,
            "model": self.model.name,
            "fingerprint": self.model.fingerprint,
            "images": self.images,
            "products": self.products,
            "created": self.created,
            "bytes": self.size,
        }


def worth_keeping(live: Manifest, replaced: int | None, others: Iterable[Manifest]) -> set[int]:
    """Numbers of the generations to keep beside a new live one: what it replaced, and the last of another model.

    An index that is updated every night would otherwise lose the way back to the model before.
    """
    kept = {m.generation: m for m in others if m.generation != live.generation}
    another = [m for m in kept.values() if m.model.fingerprint != live.model.fingerprint]
    last = max(another, key=lambda m: m.created, default=None)
    return {n for n in (replaced, last and last.generation) if n in kept}


def choose_removed(every: Iterable[Generation], keep: int) -> list[Generation]:
    """What a clean-up removes: unfinished builds, and of the kept generations all but the newest ``keep``."""
    every = list(every)
    kept = sorted((g for g in every if g.state == "kept"), key=lambda g: g.created or "")
    spared = {g.number for g in kept[len(kept) - keep :]} if keep > 0 else set()
    return [g for g in every if g.state != "live" and g.number not in spared]


def choose_kept(live: int | None, whole: Mapping[int, Manifest], number: int | None) -> Manifest:
    """The generation to go back to.

    Args:
        live: the live one; None where none is, although some are complete.
        whole: every complete generation by number, the live one included.
        number: the one that was asked for; None for the newest before the live one.

    Raises:
        UsageError: there is none of that number, or none before the live one.
    """
    others = sorted(n for n in whole if n != live)
    listed = ", ".join(map(str, others)) or "none"
    if number is None:
        older = [n for n in others if live is None or n < live]
        if not older:
            raise UsageError(
                f"No generation is kept from before the live one, {live}",
                hint=f"Kept generations: {listed}" + ("; choose one with --to N" if others else ""),
            )
        number = older[-1]
    if number not in whole:
        raise UsageError(
            f"expected a generation that is kept, received {number}",
            hint=f"The live one is {live or 'none'}; kept generations: {listed}",
        )
    return whole[number]

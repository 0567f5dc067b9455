"""A brute-force index in memory: the oracle of the contract suite, and a store for tests of other layers."""

from __future__ import annotations

import contextlib
import math
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from retrieval.errors import IndexBusyError, IndexDamagedError, IndexNotFoundError, StoreError, UsageError
from retrieval.index import payload as codec
from retrieval.index.manifest import Generation, Manifest, worth_keeping
from retrieval.index.protocols import Check
from retrieval.index.refusals import RefusalPicture, ordered
from retrieval.index.sharding import Shard
from retrieval.types import (
    Compare,
    IndexedImage,
    JsonScalar,
    JsonValue,
    Metadata,
    ModelIdentity,
    Neighbor,
    Point,
    Where,
)


def number(value: object) -> float | None:
    """What a value is or spells as a number; codes with zeros in front are none."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    if isinstance(value, str) and (
        not value or "_" in value or (value.lstrip("+-")[:2].isdigit() and value.lstrip("+-")[0] == "0")
    ):
        return None
    with contextlib.suppress(ValueError):
        return float(value) if math.isfinite(float(value)) else None
    return None


def satisfies(wanted: Sequence[JsonScalar | Compare], value: JsonValue) -> bool:
    """The rule of `--where` for a column: one of its values, and every comparison; any element of a list."""
    held = value if isinstance(value, list) else [value]
    equal = [one for one in wanted if not isinstance(one, Compare)]
    compared = [one for one in wanted if isinstance(one, Compare)]
    if (equal or not compared) and not any(accepts(one, has) for one in equal for has in held):
        return False
    return all(any(compares(one, has) for has in held) for one in compared)


def compares(wanted: Compare, value: JsonScalar) -> bool:
    if wanted.sign == "?":
        return value is not None and value != ""
    left = number(value)
    if left is None:
        return False
    return (
        (left < wanted.number and "<" in wanted.sign)
        or (left > wanted.number and ">" in wanted.sign)
        or (left == wanted.number and "=" in wanted.sign)
    )


def accepts(wanted: JsonScalar, value: JsonScalar) -> bool:
    """The rule for one value, written down a second time."""
    if (
        isinstance(wanted, str)
        and number(wanted) is not None
        and isinstance(value, str)
        and number(value) == number(wanted)
    ):
        return True
    if isinstance(wanted, bool) or wanted is None:
        return value is wanted
    if isinstance(wanted, (int, float)):
        return isinstance(value, (int, float)) and not isinstance(value, bool) and value == wanted
    if isinstance(value, str):
        return value == wanted
    if value is None:
        return wanted == ""
    if isinstance(value, bool):
        return wanted.lower() == str(value).lower()
    with contextlib.suppress(ValueError):
        return wanted.strip() == wanted and "_" not in wanted and float(wanted) == value
    return False


@dataclass
class MemoryStore:
    """A `WritableStore` that compares with every vector."""

    dimension: int
    rows: dict[str, Point] = field(default_factory=dict)

    def copy(self) -> MemoryStore:
        return MemoryStore(self.dimension, dict(self.rows))

    def count(self) -> int:
        return len(self.rows)

    def products(self) -> int:
        return len({p.record.product_id for p in self.rows.values()})

    def search(
        self,
        vector: NDArray[np.float32],
        *,
        limit: int,
        max_distance: float,
        where: Where | None = None,
        product_id: str | None = None,
        exact: bool = False,
    ) -> list[Neighbor]:
        self._check(vector)
        found = []
        for point in self.rows.values():
            record = point.record
            if product_id is not None and record.product_id != product_id:
                continue
            if not all(
                key in record.metadata and satisfies(wanted, record.metadata[key])
                for key, wanted in (where or {}).items()
            ):
                continue
            difference = point.vector.astype(np.float64) - vector.astype(np.float64)
            distance = min(float(difference @ difference), 4.0)
            if distance <= max_distance:
                found.append(Neighbor(record.product_id, record.image, distance, record.metadata, record.kind))
        found.sort(key=lambda n: (n.distance, n.image_id))
        return found[: max(limit, 0)]

    def nearest_of(
        self, vector: NDArray[np.float32], product_ids: Sequence[str], *, limit: int, exact: bool = False
    ) -> list[list[Neighbor]]:
        return [self.search(vector, limit=limit, max_distance=4.0, product_id=p, exact=exact) for p in product_ids]

    def records(self) -> Iterator[IndexedImage]:
        for key in sorted(self.rows):
            yield self.rows[key].record

    def points(self, *, batch: int = 1000, after: str | None = None) -> Iterator[list[Point]]:
        ordered = [self.rows[key] for key in sorted(self.rows) if after is None or key > after]
        for start in range(0, len(ordered), batch):
            yield ordered[start : start + batch]

    def sample(self, count: int) -> list[Point]:
        ordered = [self.rows[key] for key in sorted(self.rows)]
        return ordered[:: max(1, -(-len(ordered) // count))]

    def holders(self, field: str, keyword: str) -> set[str]:
        return {
            p.record.image_id
            for p in self.rows.values()
            if keyword in ([p.record.product_id] if field == "product_id" else codec.encode(p.record)[field])
        }

    def tagged(self, tags: Sequence[str], *, limit: int) -> list[IndexedImage]:
        carry = (r for r in self.records() if not set(tags).isdisjoint(codec.encode(r)["tags"]))
        return list(islice(carry, limit))

    def values(self, key: str, *, limit: int = 20) -> list[tuple[JsonScalar, int]]:
        counts = Counter(
            (type(v).__name__ if not isinstance(v, float) else "int", v)
            for p in self.rows.values()
            if key in p.record.metadata
            for held in [p.record.metadata[key]]
            for v in (held if isinstance(held, list) else [held])
        )
        ranked = sorted(((v, n) for (_, v), n in counts.items()), key=lambda pair: (-pair[1], str(pair[0])))
        return ranked[:limit]

    def upsert(self, points: Sequence[Point]) -> None:
        for point in points:
            self._check(point.vector)
            try:
                canonical = str(uuid.UUID(point.record.image_id))
                (point.record.product_id + point.record.image).encode()
            except ValueError as error:
                raise StoreError("expected a UUID and valid Unicode") from error
            if canonical != point.record.image_id:
                raise StoreError("expected a UUID in its canonical spelling")
            self._check_metadata(point.record.metadata)
            if not point.record.product_id:
                raise StoreError("expected a product id")
        self.rows.update((p.record.image_id, p) for p in points)

    def set_metadata(self, updates: Mapping[str, Metadata]) -> None:
        for metadata in updates.values():
            self._check_metadata(metadata)
        for image_id, metadata in updates.items():
            if image_id in self.rows:
                old = self.rows[image_id]
                self.rows[image_id] = Point(replace(old.record, metadata=dict(metadata)), old.vector)

    def delete(self, image_ids: Sequence[str]) -> None:
        for image_id in image_ids:
            self.rows.pop(image_id, None)

    def _check(self, vector: NDArray[np.float32]) -> None:
        if (
            vector.dtype != np.float32
            or vector.shape != (self.dimension,)
            or not abs(float(np.linalg.norm(vector)) - 1.0) <= 1e-3
        ):
            raise StoreError(f"expected a float32 unit vector of shape ({self.dimension},)")

    @staticmethod
    def _check_metadata(metadata: Metadata) -> None:
        for value in (one for held in metadata.values() for one in (held if isinstance(held, list) else [held])):
            if isinstance(value, float) and not math.isfinite(value):
                raise StoreError("expected finite numbers")
            if isinstance(value, int) and not -(2**63) <= value < 2**63:
                raise StoreError("expected 64-bit integers")
            if isinstance(value, str):
                try:
                    value.encode()
                except UnicodeEncodeError as error:
                    raise StoreError("expected valid Unicode") from error
            elif value is not None and not isinstance(value, (bool, int, float)):
                raise StoreError("expected JSON scalars")


class MemoryBuild:
    """A `Build` of a `MemoryIndex`."""

    waiting = 0

    def __init__(self, index: MemoryIndex, model: ModelIdentity, store: MemoryStore, resumed: bool) -> None:
        self._index = index
        self._model = model
        self._seed = dict(store.rows)
        self._store = store
        self._resumed = resumed
        self.progress = (0, 0)

    @property
    def store(self) -> MemoryStore:
        return self._store

    @property
    def resumed(self) -> bool:
        return self._resumed

    @property
    def changed(self) -> bool:
        return self._resumed or self._store.rows != self._seed

    def report(self, done: int, total: int) -> None:
        self.progress = (done, total)

    def commit(
        self,
        *,
        catalog: str,
        metadata_keys: Sequence[str],
        check: Check | None = None,
        studio: float | None = None,
        gap: float | None = None,
        calibration: Mapping[str, Any] | None = None,
    ) -> Manifest:
        index, current = self._index, self._index._manifest
        if current is not None and not self.changed and not self._index._rebuilding:
            index._manifest = replace(current, catalog=catalog, metadata_keys=tuple(metadata_keys)).noting(
                current, studio=studio, gap=gap, calibration=calibration
            )
            index._kept[current.generation] = (index._manifest, self._store)
            return index._manifest
        manifest = Manifest(
            generation=max(index._kept, default=0) + 1,
            model=self._model,
            images=self._store.count(),
            products=self._store.products(),
            catalog=catalog,
            metadata_keys=tuple(metadata_keys),
            itemrec_version="0",
            engine="memory",
            created=datetime.now(UTC).isoformat(timespec="microseconds"),
        ).noting(current, studio=studio, gap=gap, calibration=calibration)
        if check is not None:
            check(self._store, manifest)
        staying = worth_keeping(manifest, current and current.generation, [m for m, _ in index._kept.values()])
        index._kept = {n: kept for n, kept in index._kept.items() if n in staying}
        index._kept[manifest.generation] = (manifest, self._store)
        index._manifest, index._store, index._pending = manifest, self._store, None
        return manifest

    def discard(self) -> None:
        self._index._pending = None
        self._index._discarded = True


class MemoryRefusals:
    """A `RefusalStore` in this process only."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[RefusalPicture, bytes]] = {}
        self._changes = 0

    def version(self) -> str:
        return str(self._changes or "")

    def read(self) -> list[RefusalPicture]:
        return ordered(refusal for refusal, _ in self._kept.values())

    def picture(self, refusal_id: str) -> bytes:
        if refusal_id not in self._kept:
            raise IndexDamagedError("There is no such picture")
        return self._kept[refusal_id][1]

    def add(self, refusals: Sequence[tuple[RefusalPicture, bytes]]) -> None:
        self._changes += 1
        for refusal, picture in refusals:
            known = self._kept.get(refusal.refusal_id)
            self._kept[refusal.refusal_id] = (known[0].merged(refusal) if known else refusal, picture)

    def remove(self, refusal_ids: Sequence[str]) -> None:
        self._changes += 1
        for refusal_id in refusal_ids:
            self._kept.pop(refusal_id, None)

    def set_vectors(self, fingerprint: str, vectors: Mapping[str, NDArray[np.float32]]) -> None:
        self._changes += 1
        for refusal_id, vector in vectors.items():
            if refusal_id in self._kept:
                refusal, picture = self._kept[refusal_id]
                self._kept[refusal_id] = (refusal.with_vector(fingerprint, vector), picture)


class MemoryIndex:
    """An `Index` in this process only."""

    staged = True

    def __init__(self, location: str = "memory") -> None:
        self._location = location
        self.refusals = MemoryRefusals()
        self._manifest: Manifest | None = None
        self._store: MemoryStore | None = None
        self._kept: dict[int, tuple[Manifest, MemoryStore]] = {}
        self._pending: tuple[ModelIdentity, str, MemoryStore] | None = None
        self._writing = False
        self._rebuilding = False
        self._discarded = False

    @property
    def location(self) -> str:
        return self._location

    def nodes(self) -> int:
        return 1

    def manifest(self) -> Manifest | None:
        return self._manifest

    def awaited(self) -> bool:
        return False

    @contextlib.contextmanager
    def reader(self, pinned: Manifest | None = None) -> Iterator[tuple[MemoryStore, Manifest]]:
        if self._store is None or self._manifest is None:
            raise IndexNotFoundError("There is no index")
        manifest, store = self._kept.get(pinned.generation, (None, None)) if pinned is not None else (None, None)
        if manifest is not None and store is not None and pinned and manifest.created == pinned.created:
            yield store, manifest
            return
        yield self._store, self._manifest

    def generations(self) -> list[Generation]:
        live = self._manifest.generation if self._manifest else 0
        found = [
            Generation(n, "live" if n == live else "kept", m.model, m.images, m.products, m.created, None)
            for n, (m, _) in self._kept.items()
        ]
        if self._pending is not None:
            found.append(Generation(max(self._kept, default=0) + 1, "building", self._pending[0], *[None] * 4))
        return sorted(found, key=lambda g: g.number)

    def set_calibration(self, calibration: Mapping[str, Any] | None) -> Manifest:
        if self._manifest is None or self._store is None:
            raise IndexNotFoundError("There is no index")
        self._manifest = replace(self._manifest, calibration=calibration)
        self._kept[self._manifest.generation] = (self._manifest, self._store)
        return self._manifest

    def rollback(self, generation: int | None = None) -> Manifest:
        if self._manifest is None:
            raise IndexNotFoundError("There is no index")
        if self._writing:
            raise IndexBusyError("Somebody is writing")
        older = [n for n in self._kept if n < self._manifest.generation]
        wanted = generation if generation is not None else max(older, default=-1)
        if wanted not in self._kept:
            raise UsageError(f"expected a kept generation, received {wanted}")
        self._manifest, self._store = self._kept[wanted]
        return self._manifest

    def collect(self, *, keep: int = 0) -> list[Generation]:
        if self._manifest is None:
            raise IndexNotFoundError("There is no index")
        if self._writing:
            raise IndexBusyError("Somebody is writing")
        found = [g for g in self.generations() if g.state != "live"]
        kept = sorted((g for g in found if g.state == "kept"), key=lambda g: g.created or "")
        spared = {g.number for g in kept[len(kept) - keep :]} if keep else set()
        removed = [g for g in found if g.number not in spared]
        for gone in removed:
            self._kept.pop(gone.number, None)
        self._pending = None
        return removed

    @contextlib.contextmanager
    def writer(
        self, model: ModelIdentity, *, rebuild: bool = False, shard: Shard | None = None
    ) -> Iterator[MemoryBuild]:
        if self._writing:
            raise IndexBusyError("Somebody else is writing")
        if self._manifest is not None and not rebuild:
            self._manifest.require(model, self.location)
        base = "" if rebuild or self._manifest is None else self._manifest.created
        key = (model, base)
        if self._pending is not None and (self._pending[0].fingerprint, self._pending[1]) == (model.fingerprint, base):
            build = MemoryBuild(self, model, self._pending[2], resumed=True)
        else:
            seed = self._store.copy() if base and self._store is not None else MemoryStore(model.dimension)
            build = MemoryBuild(self, model, seed, resumed=False)
        self._writing, self._rebuilding, self._discarded = True, rebuild, False
        committed = self._manifest
        try:
            yield build
        finally:
            self._writing = False
            if self._manifest is committed and build.changed and not self._discarded:
                self._pending = (*key, build.store)
            else:
                self._pending = None

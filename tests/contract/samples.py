"""Points, models and indexes for tests of the stores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from retrieval.distance import normalize
from retrieval.index.protocols import Index
from retrieval.types import IndexedImage, Metadata, ModelIdentity, PictureKind, Point, image_id

DIMENSION = 16
MODEL = ModelIdentity("a" * 64, DIMENSION, "tiny", "/models/tiny")
OTHER_MODEL = ModelIdentity("b" * 64, DIMENSION, "other", "/models/other")


def unit_vectors(count: int, dimension: int = DIMENSION, seed: int = 0) -> NDArray[np.float32]:
    return normalize(np.random.default_rng(seed).normal(size=(count, dimension)))


def record(
    name: str,
    product: str = "p",
    metadata: Metadata | None = None,
    content: str = "0",
    kind: PictureKind | None = None,
) -> IndexedImage:
    return IndexedImage(image_id(product, name), product, name, content * 64, metadata or {}, kind)


def sample_points(
    count: int, *, dimension: int = DIMENSION, seed: int = 0, per_product: int = 5, prefix: str = ""
) -> list[Point]:
    """Deterministic points: ``per_product`` pictures a product, metadata by product."""
    vectors = unit_vectors(count, dimension, seed)
    points = []
    for i, vector in enumerate(vectors):
        number = i // per_product
        metadata: Metadata = {"category": f"c{number % 3}", "price": number / 2, "organic": number % 2 == 0}
        # As of an index that a release of before began.
        kind: PictureKind | None = ("studio", "photo", None)[i % 3]
        name, product = f"{prefix}p{number}/{i}.jpg", f"{prefix}p{number}"
        points.append(Point(record(name, product, metadata, kind=kind), vector))
    return points


def fill(index: Index, points: list[Point], *, model: ModelIdentity = MODEL, rebuild: bool = False) -> None:
    """Commit points to an index."""
    with index.writer(model, rebuild=rebuild) as build:
        build.store.upsert(points)
        build.commit(catalog="/catalog", metadata_keys=("category", "price", "organic"))


def contents(index: Index) -> dict[str, tuple[IndexedImage, bytes]]:
    """Everything that an index holds, comparable."""
    with index.reader() as (store, manifest):
        found = {p.record.image_id: (p.record, p.vector.tobytes()) for batch in store.points() for p in batch}
        assert len(found) == store.count() == manifest.images
    return found

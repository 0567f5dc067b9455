"""A small but complete ``itemrec.evaluate/1`` document from synthetic clusters, for tests and reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.distance import normalize
from retrieval.evaluation import EvaluationDoc, Photos, Setting, Target, calibrate, evaluate
from retrieval.types import ModelIdentity

DIMENSION = 24
MODEL = ModelIdentity("e" * 64, DIMENSION, "clusters", "/models/clusters")


def clusters(
    products: int,
    photos: int,
    *,
    noise: float,
    seed: int,
    folder: str = "/data/test",
    centers_seed: int = 0,
    dimension: int = DIMENSION,
) -> Photos:
    """Photos of products as noisy copies of one direction each; hashes are all different.

    Args:
        products: how many.
        photos: of each.
        noise: standard deviation of what is added to every component of a unit center.
        seed: of the noise and hashes; one seed a split.
        folder: their root.
        centers_seed: of the directions; the same for splits of the same products.
        dimension: of the vectors.
    """
    centers = normalize(np.random.default_rng(centers_seed).standard_normal((products, dimension)))
    rng = np.random.default_rng((seed, 1))
    owners = np.repeat(np.arange(products), photos)
    vectors = normalize(centers[owners] + noise * rng.standard_normal((len(owners), dimension)))
    return labeled(vectors, [f"p{i:03}" for i in owners], folder=folder, seed=seed)


def labeled(vectors: NDArray[np.float32], labels: list[str], *, folder: str = "/data/test", seed: int = 0) -> Photos:
    """Photos of given vectors, with hashes that no other seed shares."""
    rng = np.random.default_rng((seed, 2))
    n = len(labels)
    counts: dict[str, int] = {}
    sources = []
    for label in labels:
        counts[label] = counts.get(label, 0) + 1
        sources.append(f"{label}/{counts[label]}.jpg")
    return Photos(
        Path(folder),
        tuple(sources),
        np.array(labels),
        vectors,
        tuple(rng.bytes(32).hex() for _ in range(n)),
        rng.integers(2, 2**63, n, dtype=np.uint64),
        np.ones(n, bool),
        {label: {"category": "Milk" if int(label[-1]) % 2 else "Juice", "name": f"Product {label}"} for label in counts}
        if all(label[-1:].isdigit() for label in labels)
        else {},
    )


def example_document(*, products: int = 30, noise: float = 0.16) -> EvaluationDoc:
    """Everything filled in: calibrated on one split, measured on another, with exclusions and outsiders."""
    gallery = clusters(products, 6, noise=noise, seed=1, folder="/data/train")
    val = clusters(products, 6, noise=noise, seed=2, folder="/data/val")
    test = clusters(products + 2, 5, noise=noise, seed=3)
    chosen = calibrate(val, gallery, Target("far", 0.01), measured_on=f"val, {len(val)} photos")
    twins = Photos(
        test.root,
        test.sources,
        test.labels,
        test.vectors,
        (gallery.content_hashes[0], *test.content_hashes[1:]),
        np.concatenate([test.picture_hashes[:1], gallery.picture_hashes[1:2] ^ np.uint64(2), test.picture_hashes[2:]]),
        test.hashed,
        test.metadata,
    )
    setting = Setting(
        "test", "/data", "train", "/data/train", MODEL, calibration=chosen.calibration, calibration_source="model"
    )
    return evaluate(twins, gallery, setting)

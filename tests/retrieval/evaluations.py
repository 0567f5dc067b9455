"""Evaluation documents of drawn photos, for the tests of gate and comparison."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.evaluation import Photos, Setting, evaluate
from retrieval.types import ModelIdentity
from tests.retrieval.embeddings import clustered


def drawn_photos(rows: np.ndarray, vectors: np.ndarray, labels: np.ndarray, kind: str) -> Photos:
    """Some of the drawn embeddings as photos that no other resembles."""
    rng = np.random.default_rng(len(kind))
    return Photos(
        Path(kind),
        tuple(f"p{labels[i]:03}/{kind}-{i}.jpg" for i in rows),
        np.array([f"p{labels[i]:03}" for i in rows]),
        vectors[rows],
        tuple(f"{kind}-{i}" for i in rows),
        rng.integers(0, 2**63, len(rows)).astype(np.uint64),
        np.ones(len(rows), bool),
    )


def drawn_document(*, noise: float, threshold: float = 1.0, photos: int = 480) -> dict[str, Any]:
    """What ``itemrec evaluate --json`` prints: the same photos and products whatever the noise.

    Less noise is a better model: every photo moves toward its product's center.
    """
    vectors, labels = clustered(photos, 24, seed=7, noise=noise)
    probes, gallery = np.arange(0, photos, 2), np.arange(1, photos, 2)
    document = evaluate(
        drawn_photos(probes, vectors, labels, "test"),
        drawn_photos(gallery, vectors, labels, "train"),
        Setting("test", "data", "train", "train", ModelIdentity("f" * 64, 32, "drawn", ""), threshold=threshold),
    )
    result: dict[str, Any] = json.loads(json.dumps(document, allow_nan=False))
    return result

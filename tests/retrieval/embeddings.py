"""Embedding sets whose distances are known exactly, for the tests of metrics."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray


class Labeled(NamedTuple):
    """Unit vectors, shape (n, d), and the product of each, shape (n,)."""

    embeddings: NDArray[np.float32]
    labels: NDArray[np.int64]


def lattice(n: int, products: int, seed: int) -> Labeled:
    """Vectors of ±1/4 in 16 dimensions: every product of two is exact in float32, and ties abound."""
    rng = np.random.default_rng(seed)
    return Labeled(rng.choice(np.array([-0.25, 0.25], np.float32), (n, 16)), rng.integers(0, products, n, np.int64))


def clustered(n: int, products: int, seed: int, *, noise: float = 1.0, dimension: int = 32) -> Labeled:
    """Gaussian clusters on the sphere."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, products, n, np.int64)
    centers = rng.standard_normal((products, dimension))
    vectors = centers[labels] + noise * rng.standard_normal((n, dimension))
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return Labeled(unit, labels)


def perfect(products: int, photos: int) -> Labeled:
    """Every photo of a product is one and the same basis vector."""
    labels = np.repeat(np.arange(products), photos)
    return Labeled(np.eye(products, dtype=np.float32)[labels], labels)


def constant(products: int, photos: int) -> Labeled:
    """Every photo of every product is the same vector."""
    labels = np.repeat(np.arange(products), photos)
    return Labeled(np.tile(np.eye(4, dtype=np.float32)[0], (len(labels), 1)), labels)


lattices = st.builds(lattice, st.integers(2, 40), st.integers(1, 6), st.integers(0, 2**32 - 1))

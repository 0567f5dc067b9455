"""Features made into a part of the embedding: which directions, and how much each may weigh."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Projection = tuple[NDArray[np.float32], NDArray[np.float32]]
"""A mean, shape (c,), and a matrix, shape (c, k): features less the mean, times the matrix."""

Spread = tuple[NDArray[np.float32], Array, Array]
"""Of features their mean, shape (c,), the largest variances (m,) and the directions of these, shape (c, m)."""

OF_ALL = 0.15
"""The part of the spread of all pictures in what directions are divided by; the rest is that within products. The
network has seen its own pictures so often that they hardly differ within a product: less would trust that too much
(`benchmarks/projection.py`)."""

PRINCIPAL = 2
"""Principal directions to choose from, for each that is kept: what lies beyond them is mostly noise."""


def projection(features: NDArray[np.float32], labels: NDArray[np.int64], dimension: int) -> Projection:
    """What features are multiplied by to tell products apart: `discriminant`, or `whitening` where products have
    hardly two pictures each, which say nothing of how photos of one product differ.

    Args:
        features: of the training pictures, shape (n, c).
        labels: the product of each, 0..p-1, shape (n,).
        dimension: most directions to keep.
    """
    if len(labels) < 2 * len(np.unique(labels)):
        return whitening(features, dimension)
    return discriminant(features, labels, dimension)


def discriminant(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    dimension: int,
    *,
    of_all: float = OF_ALL,
    ridge: float = 0.0,
    spread: Spread | None = None,
) -> Projection:
    """Linear discriminants (Fisher 1936), regularized: directions in which products differ most, relative to how much
    the photos of one product do, each divided by the latter.

    Args:
        features: shape (n, c), of products with two pictures or more, most of them.
        labels: the product of each, 0..p-1, shape (n,).
        dimension: most directions to keep.
        of_all: the part of the spread of all pictures in what directions are divided by, in (0, 1].
        ridge: added to every direction of what is divided by, in mean variances: without, directions in which pictures
            hardly differ, mostly noise, weigh as much as any.
        spread: the `principal` directions of these features, where they are known; as many as are wanted or more.
    """
    mean, values, directions = spread or principal(features, PRINCIPAL * dimension)
    values, directions = values[: PRINCIPAL * dimension], directions[:, : PRINCIPAL * dimension]
    seen = (features - mean).astype(np.float64) @ directions  # (n, m)
    within = seen - class_means(seen, labels)[labels]
    products = len(np.unique(labels))
    mixed = within.T @ within * ((1.0 - of_all) / max(1, len(labels) - products))
    mixed[np.diag_indices_from(mixed)] += of_all * values + ridge * values.mean()
    # Of A v = s B v, with A the spread of all pictures and B the mixed one, by B's Cholesky factor.
    inverse = np.linalg.inv(np.linalg.cholesky(mixed))  # (m, m)
    ratios, vectors = np.linalg.eigh((inverse * values) @ inverse.T)
    kept = np.argsort(ratios)[::-1][:dimension]
    return mean, _signed(directions @ (inverse.T @ vectors[:, kept]))


def whitening(features: NDArray[np.float32], dimension: int) -> Projection:
    """Half a whitening: principal directions, each divided by the square root of its standard deviation.

    A whole one would divide by the deviation itself and raise what is mostly noise to the weight of everything else;
    measured, half of it told new products apart best (docs/decisions/0015-training.md).

    Args:
        features: shape (n, c).
        dimension: most directions to keep.
    """
    mean, values, directions = principal(features, dimension)
    return mean, _signed(directions / values**0.25)


def fine_directions(features: NDArray[np.float32], dimension: int, *, behind: int) -> Projection:
    """A whole whitening of the directions behind the largest ones: fine differences, all of equal weight.

    Args:
        features: shape (n, c).
        dimension: most directions to keep.
        behind: how many of the largest are left out.
    """
    mean, values, directions = principal(features, behind + dimension)
    return mean, _signed(directions[:, behind:] / np.sqrt(values[behind:]))


def principal_directions(features: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """The directions of most spread, orthonormal, shape (c, k); features keep their lengths and mean along them.

    Args:
        features: shape (n, c).
        count: how many, k; of fewer there are the rest is zeros.
    """
    directions = _signed(principal(features, count)[2])
    return np.pad(directions, ((0, 0), (0, count - directions.shape[1])))


def joint(pooled: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Features of the same pictures by several members, shapes (n, c), each of unit length, side by side."""
    return np.concatenate([unit_rows(features) for features in pooled], axis=1)


def unit_rows(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Rows of unit length, shape (n, d); a row of zeros stays one."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (vectors / np.maximum(norms, 1e-12)).astype(np.float32)
    return unit


def class_means(vectors: NDArray[np.floating], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean of each product's vectors, shape (products, d), from vectors (n, d) and labels 0..products-1, shape (n,)."""
    counts = np.bincount(labels)
    sums = np.zeros((len(counts), vectors.shape[1]), np.float64)
    np.add.at(sums, labels, vectors)
    means: NDArray[np.float64] = sums / np.maximum(counts, 1)[:, None]
    return means


def principal(features: NDArray[np.float32], count: int) -> Spread:
    """The mean (c,), and of what is left the largest variances (k,) and their directions (c, k), k <= count.

    Directions that hold nothing are left out instead of divided by nothing.
    """
    mean = features.mean(axis=0)
    centered = (features - mean).astype(np.float64)
    n, width = centered.shape
    # With fewer pictures than features, the products of pictures hold the same and are fewer.
    gram = centered @ centered.T if n < width else centered.T @ centered
    values, vectors = np.linalg.eigh(gram / max(1, n - 1))
    order = np.argsort(values)[::-1][:count]
    kept = order[values[order] > 1e-9 * max(values[order[0]], 1e-30)]
    directions = vectors[:, kept]
    if n < width:
        directions = centered.T @ directions
        directions /= np.linalg.norm(directions, axis=0)
    return mean.astype(np.float32), values[kept], directions


def _signed(matrix: Array) -> NDArray[np.float32]:
    """The sign of a direction is arbitrary: fixed, so that equal features give equal embeddings."""
    matrix = matrix * np.sign(matrix[np.abs(matrix).argmax(axis=0), np.arange(matrix.shape[1])])
    return matrix.astype(np.float32)

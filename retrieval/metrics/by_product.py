"""Accepted pairs counted by product: what a bootstrap over products needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.metrics._grid import PairSet, accepted_pairs, bound_of
from retrieval.metrics.identify import Labels


@dataclass(frozen=True, slots=True, eq=False)
class ProductPairCounts:
    """The pairs that one threshold accepts, by the products they belong to.

    Attributes:
        threshold: squared L2; inclusive.
        products: the distinct products, sorted, shape (p,).
        images: pictures of each, shape (p,).
        accepted_same: accepted pairs within each product, shape (p,).
        first: product number, shape (k,).
        second: product number, larger than ``first``, shape (k,).
        accepted: accepted pairs between the two products, at least 1, shape (k,).
    """

    threshold: float
    products: NDArray[np.generic]
    images: NDArray[np.int64]
    accepted_same: NDArray[np.int64]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    accepted: NDArray[np.int64]

    @property
    def same(self) -> NDArray[np.int64]:
        """Same-product pairs of each product, shape (p,)."""
        return self.images * (self.images - 1) // 2


def accepted_by_product(embeddings: NDArray[np.float32], labels: Labels, threshold: float) -> ProductPairCounts:
    """Count the accepted pairs i < j of a labeled set by product and by pair of products.

    Exact and blockwise like `retrieval.metrics.pair_rates`; memory grows with the pairs of *products*
    that have an accepted pair, at most p(p-1)/2.

    Args:
        embeddings: unit vectors, float32, shape (n, d).
        labels: product of each, shape (n,).
        threshold: squared L2; inclusive.

    Raises:
        ValueError: shapes, types or norms are not as described, or the threshold is nan.
    """
    return accepted_by_product_at(embeddings, labels, [threshold])[0]


def accepted_by_product_at(
    embeddings: NDArray[np.float32], labels: Labels, thresholds: Sequence[float]
) -> tuple[ProductPairCounts, ...]:
    """`accepted_by_product` at several thresholds, in their order and one pass."""
    names = np.asarray(labels)
    pairs = PairSet.within(embeddings, names)
    products, images = np.unique(names, return_counts=True)
    bounds = [bound_of(threshold) for threshold in thresholds]
    tables = [_Cells(len(products)) for _ in thresholds]
    if not thresholds:
        return ()
    for down, across, row, column, distances in accepted_pairs(pairs, max(thresholds)):
        if not len(row):
            continue
        rows, columns = pairs.row_codes[down], pairs.column_codes[across]
        wide = int(columns[-1] - columns[0]) + 1
        local = (rows[row] - rows[0]) * wide + (columns[column] - columns[0])
        for bound, table in zip(bounds, tables, strict=True):
            found = np.bincount(local[distances <= bound])
            cells = np.flatnonzero(found)
            r, c = np.divmod(cells, wide)
            table.add(r + rows[0], c + columns[0], found[cells])
    return tuple(
        ProductPairCounts(threshold, products, images.astype(np.int64), *table.totals())
        for threshold, table in zip(thresholds, tables, strict=True)
    )


class _Cells:
    """Counts per pair of products, gathered block by block."""

    def __init__(self, products: int) -> None:
        self._products = products
        self._keys = [np.empty(0, np.int64)]
        self._counts = [np.empty(0, np.int64)]

    def add(self, first: NDArray[np.int64], second: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
        """More pairs of the products; shapes (k,)."""
        self._keys.append(first * self._products + second)
        self._counts.append(counts)

    def totals(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """The last four fields of `ProductPairCounts`."""
        cells, owner = np.unique(np.concatenate(self._keys), return_inverse=True)
        totals = np.zeros(len(cells), np.int64)
        np.add.at(totals, owner, np.concatenate(self._counts))
        first, second = np.divmod(cells, max(self._products, 1))
        own = first == second
        accepted_same = np.zeros(self._products, np.int64)
        accepted_same[first[own]] = totals[own]
        return accepted_same, first[~own], second[~own], totals[~own]

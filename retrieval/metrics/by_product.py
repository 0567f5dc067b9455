"""Accepted pairs counted by product: what a bootstrap over products needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.metrics._grid import PairSet, accepted_blocks
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
    names = np.asarray(labels)
    pairs = PairSet.within(embeddings, names)
    products, images = np.unique(names, return_counts=True)
    keys: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    counts: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    for (down, across), accepted in accepted_blocks(pairs, threshold):
        rows, columns = pairs.row_codes[down], pairs.column_codes[across]
        hits = np.flatnonzero(accepted)
        if not len(hits):
            continue
        wide = int(columns[-1] - columns[0]) + 1
        row, column = np.divmod(hits, len(columns))
        local = (rows[row] - rows[0]) * wide + (columns[column] - columns[0])
        found = np.bincount(local)
        cells = np.flatnonzero(found)
        r, c = np.divmod(cells, wide)
        keys.append((r + rows[0]) * len(products) + c + columns[0])
        counts.append(found[cells])
    cells, owner = np.unique(np.concatenate(keys), return_inverse=True)
    totals = np.zeros(len(cells), np.int64)
    np.add.at(totals, owner, np.concatenate(counts))
    first, second = np.divmod(cells, max(len(products), 1))
    own = first == second
    accepted_same = np.zeros(len(products), np.int64)
    accepted_same[first[own]] = totals[own]
    return ProductPairCounts(
        threshold,
        products,
        images.astype(np.int64),
        accepted_same,
        first[~own],
        second[~own],
        totals[~own],
    )

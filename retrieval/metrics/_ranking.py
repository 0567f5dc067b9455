"""A block of probes against the whole gallery: ranks of products and average precision, without a full sort."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from retrieval.distance import MAX_DISTANCE

_BLOCK_DISTANCES = 2**22
_MOST_ROWS = 1024
_ROW_STEP = 2.0 * MAX_DISTANCE


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """What became of n probes; see `retrieval.metrics.identify.Identification`.

    Attributes:
        ranks: of the own product, 0 where the gallery lacks it, shape (n,).
        predicted: number of the first product, shape (n,).
        genuine: to the own product, inf where the gallery lacks it, shape (n,).
        best_distance: to any product, inf where there is none, shape (n,).
        average_precision: at R, nan where the gallery lacks the product, shape (n,).
    """

    ranks: NDArray[np.int64]
    predicted: NDArray[np.int64]
    genuine: NDArray[np.float32]
    best_distance: NDArray[np.float32]
    average_precision: NDArray[np.float64]

    @classmethod
    def of(cls, n: int) -> Ranked:
        """Room for n probes."""
        return cls(
            np.zeros(n, np.int64),
            np.zeros(n, np.int64),
            np.full(n, np.inf, np.float32),
            np.full(n, np.inf, np.float32),
            np.full(n, np.nan),
        )


def rank_probes(
    probes: NDArray[np.float32],
    owners: NDArray[np.int64],
    gallery: NDArray[np.float32],
    starts: NDArray[np.int64],
    own_column: NDArray[np.int64] | None,
) -> Ranked:
    """Rank the gallery's products for each probe.

    Args:
        probes: unit vectors, shape (n, d).
        owners: product number of each probe, -1 for none, shape (n,).
        gallery: unit vectors, grouped by product, shape (m, d).
        starts: first column of each product, and m at the end, shape (p + 1,).
        own_column: the column that each probe must not find, shape (n,); None for none.
    """
    found = Ranked.of(len(probes))
    rows = max(1, min(_MOST_ROWS, _BLOCK_DISTANCES // len(gallery)))
    buffer = np.empty((rows, len(gallery)), np.float32)
    order = np.argsort(owners, kind="stable")
    for start in range(0, len(probes), rows):
        members = order[start : start + rows]
        distances = buffer[: len(members)]
        np.matmul(probes[members], gallery.T, out=distances)
        # The formula of retrieval.distance in place: doubling and negating are exact.
        distances *= np.float32(-2.0)
        distances += np.float32(2.0)
        np.clip(distances, 0.0, MAX_DISTANCE, out=distances)
        if own_column is not None:
            distances[np.arange(len(members)), own_column[members]] = np.inf
        _rank_block(distances, owners[members], starts, members, found)
    return found


def _rank_block(
    distances: NDArray[np.float32],
    owners: NDArray[np.int64],
    starts: NDArray[np.int64],
    members: NDArray[np.int64],
    found: Ranked,
) -> None:
    """Write the results of some probes, grouped by product; their distances, shape (r, m), are overwritten."""
    nearest = np.minimum.reduceat(distances, starts[:-1], axis=1)
    found.best_distance[members] = nearest.min(axis=1)
    listed = np.flatnonzero(owners >= 0)
    own = np.full(len(owners), np.inf, np.float32)
    own[listed] = nearest[listed, owners[listed]]
    nearest[listed, owners[listed]] = np.inf
    known = np.isfinite(own)
    before = np.count_nonzero(nearest <= own[:, None], axis=1)
    found.predicted[members] = np.where(known & (before == 0), owners, nearest.argmin(axis=1))
    found.genuine[members] = own
    found.ranks[members] = np.where(known, before + 1, 0)
    found.average_precision[members] = _average_precision(distances, nearest, owners, starts)


def _average_precision(
    distances: NDArray[np.float32],
    nearest: NDArray[np.float32],
    owners: NDArray[np.int64],
    starts: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Average precision at R of each probe, shape (r,); nan where it has no relevant picture.

    The j-th nearest right picture has rank j + (wrong pictures at most as far), and counts while that is at most
    R. Every impostor product within its distance holds one wrong picture or more, so counting products
    first rules out most right pictures, and few wrong ones are left to count exactly.
    """
    sizes = np.where(owners >= 0, np.diff(starts)[owners], 0)
    right = np.full((len(owners), int(sizes.max(initial=0))), np.inf, np.float32)
    edges = np.flatnonzero(np.diff(owners, prepend=-2, append=-2))
    for first, last in pairwise(edges.tolist()):
        if owners[first] >= 0:
            span = slice(starts[owners[first]], starts[owners[first] + 1])
            right[first:last, : span.stop - span.start] = distances[first:last, span]
            distances[first:last, span] = np.inf
    right.sort(axis=1)
    relevant = np.count_nonzero(np.isfinite(right), axis=1)
    hopeful = np.zeros(right.shape, bool)
    for j in range(right.shape[1]):
        crowd = np.count_nonzero(nearest <= right[:, j, None], axis=1)
        hopeful[:, j] = j + 1 + crowd <= relevant
        if not hopeful[:, j].any():
            break
    reach = np.where(hopeful, right, -1.0).max(axis=1, initial=-1.0)
    wrong = np.flatnonzero(distances <= reach[:, None])
    # One sorted list for all rows: a row's distances lie in its own stretch of numbers.
    keys = (wrong // distances.shape[1]) * _ROW_STEP + distances.reshape(-1)[wrong]
    keys.sort()
    row, place = np.nonzero(hopeful)
    before = np.searchsorted(keys, row * _ROW_STEP, side="left")
    rank = place + 1 + np.searchsorted(keys, row * _ROW_STEP + right[row, place], side="right") - before
    counted = rank <= relevant[row]
    precision = np.bincount(row[counted], ((place + 1) / rank)[counted], len(owners))
    result: NDArray[np.float64] = np.divide(precision, relevant, out=np.full(len(owners), np.nan), where=relevant > 0)
    return result

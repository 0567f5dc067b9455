"""The grid of all float32 distances, and one pass over all pairs that counts them on it.

`retrieval.distance` computes ``d = clip(2 - 2c, 0, 4)`` in float32. Such a ``d`` is always a whole
multiple of 2^-23: below 1 because c in (0.5, 1] is a multiple of 2^-24, above 1 because a float32
there has no finer step. So ``level(d) = d * 2^23`` is an exact integer in [0, 2^25], ``d <= t`` is
the same as ``level(d) <= floor(t * 2^23)``, and counting levels is counting distances exactly.
2^25 counters would not fit a CPU cache, so a pass counts in two depths: every pair in a *bin* of
1024 levels, and the pairs of a few chosen bins level by level.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from retrieval.distance import MAX_DISTANCE, is_unit
from retrieval.system.threads import default_threads, ordered_map

LEVELS_PER_UNIT = 2**23
LEVELS_PER_BIN = 2**10
MAX_LEVEL = int(MAX_DISTANCE) * LEVELS_PER_UNIT
BINS = MAX_LEVEL // LEVELS_PER_BIN + 1
_BIN_SHIFT = LEVELS_PER_BIN.bit_length() - 1
_BINS_PER_UNIT = np.float32(LEVELS_PER_UNIT // LEVELS_PER_BIN)
_ZERO_COSINE = np.float32(2.0) * _BINS_PER_UNIT
_LAST_BIN = np.float32(BINS - 1)
_EXCLUDED = np.float32(BINS)

_ROWS = 1024
_COLUMNS = 1024
_CHUNK_ROWS = 256
_FEW_PAIRS = 0.01


def level_of(threshold: float) -> int:
    """The highest level that ``d <= threshold`` accepts; -1 when it accepts nothing.

    Raises:
        ValueError: the threshold is not a number.
    """
    if math.isnan(threshold):
        raise ValueError("expected a threshold in [0, 4], received nan")
    if threshold < 0.0:
        return -1
    return math.floor(min(threshold, MAX_DISTANCE) * LEVELS_PER_UNIT)


def distance_below(level: int) -> float | None:
    """The largest float32 distance under ``level``; None for level 0, under which there is none."""
    if level <= 0:
        return None
    bound = np.float32(level / LEVELS_PER_UNIT)
    return float(np.nextafter(bound, np.float32(-1.0)))


def check_embeddings(embeddings: NDArray[np.float32], labels: NDArray[np.generic], what: str) -> None:
    """Refuse what is not a labeled set of unit vectors.

    Raises:
        ValueError: wrong shape or type, lengths that differ, or rows without unit norm.
    """
    if embeddings.ndim != 2 or embeddings.dtype != np.float32:
        raise ValueError(f"expected {what} as float32 of shape (n, d), received {embeddings.dtype} {embeddings.shape}")
    if labels.shape != (len(embeddings),):
        raise ValueError(f"expected one label for each of {len(embeddings)} {what}, received shape {labels.shape}")
    if len(embeddings) and not is_unit(embeddings):
        raise ValueError(f"expected {what} of unit L2 norm, received rows of another norm or not finite")


@dataclass(frozen=True, slots=True, eq=False)
class PairSet:
    """The pairs to count: all i < j of one labeled set, or every probe with every gallery image.

    Rows are sorted by label, so that same-product pairs lie in few blocks.

    Attributes:
        rows: unit vectors, shape (n, d).
        row_codes: product number of each row, ascending, shape (n,).
        columns: unit vectors, shape (m, d); the same object as ``rows`` for one set.
        column_codes: product number of each column, ascending, shape (m,).
    """

    rows: NDArray[np.float32]
    row_codes: NDArray[np.int64]
    columns: NDArray[np.float32]
    column_codes: NDArray[np.int64]

    @classmethod
    def within(cls, embeddings: NDArray[np.float32], labels: NDArray[np.generic]) -> PairSet:
        """All pairs of one set."""
        check_embeddings(embeddings, labels, "embeddings")
        codes = np.unique(labels, return_inverse=True)[1].astype(np.int64)
        order = np.argsort(codes, kind="stable")
        rows, codes = np.ascontiguousarray(embeddings[order]), codes[order]
        return cls(rows, codes, rows, codes)

    @classmethod
    def across(
        cls,
        probes: NDArray[np.float32],
        probe_labels: NDArray[np.generic],
        gallery: NDArray[np.float32],
        gallery_labels: NDArray[np.generic],
    ) -> PairSet:
        """Every probe with every gallery image."""
        check_embeddings(probes, probe_labels, "probes")
        check_embeddings(gallery, gallery_labels, "gallery images")
        if probes.shape[1] != gallery.shape[1]:
            raise ValueError(
                f"expected probes and gallery of one dimension, received {probes.shape[1]} and {gallery.shape[1]}"
            )
        both = np.concatenate([probe_labels, gallery_labels])
        codes = np.unique(both, return_inverse=True)[1].astype(np.int64)
        left, right = codes[: len(probes)], codes[len(probes) :]
        by_row, by_column = np.argsort(left, kind="stable"), np.argsort(right, kind="stable")
        return cls(
            np.ascontiguousarray(probes[by_row]),
            left[by_row],
            np.ascontiguousarray(gallery[by_column]),
            right[by_column],
        )

    @property
    def one_set(self) -> bool:
        """True when the pairs are i < j of one set."""
        return self.rows is self.columns

    def totals(self) -> tuple[int, int]:
        """How many same-product and how many different-product pairs there are."""
        n, m = len(self.rows), len(self.columns)
        size = int(max(self.row_codes.max(initial=-1), self.column_codes.max(initial=-1))) + 1
        left = np.bincount(self.row_codes, minlength=size)
        if self.one_set:
            same = int((left * (left - 1) // 2).sum())
            return same, n * (n - 1) // 2 - same
        same = int((left * np.bincount(self.column_codes, minlength=size)).sum())
        return same, n * m - same

    def thinned(self, rows: int) -> PairSet:
        """Every k-th row and column, so that about ``rows`` stay; products stay evenly represented."""
        step = max(1, min(len(self.rows), len(self.columns)) // max(rows, 1))
        if self.one_set:
            kept = np.ascontiguousarray(self.rows[::step])
            codes = self.row_codes[::step]
            return PairSet(kept, codes, kept, codes)
        wide = max(1, len(self.columns) // max(rows, 1))
        tall = max(1, len(self.rows) // max(rows, 1))
        return PairSet(
            np.ascontiguousarray(self.rows[::tall]),
            self.row_codes[::tall],
            np.ascontiguousarray(self.columns[::wide]),
            self.column_codes[::wide],
        )

    def blocks(self) -> Iterator[tuple[slice, slice]]:
        """Rectangles that cover every pair; with one set, those that reach above the diagonal."""
        for top in range(0, len(self.rows), _ROWS):
            start = top - top % _COLUMNS if self.one_set else 0
            for left in range(start, len(self.columns), _COLUMNS):
                yield slice(top, top + _ROWS), slice(left, left + _COLUMNS)


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """How many pairs fell where.

    Attributes:
        same: same-product pairs per bin, shape (BINS,).
        different: different-product pairs per bin, shape (BINS,).
        fine_bins: the bins counted level by level, ascending, shape (f,).
        fine_same: same-product pairs per level of those bins, shape (f, LEVELS_PER_BIN).
        fine_different: different-product pairs per level of those bins, shape (f, LEVELS_PER_BIN).
    """

    same: NDArray[np.int64]
    different: NDArray[np.int64]
    fine_bins: NDArray[np.int64]
    fine_same: NDArray[np.int64]
    fine_different: NDArray[np.int64]


class _Tally:
    """Counters and scratch memory of a pass."""

    def __init__(self, fine_slot: NDArray[np.int64], spans: Sequence[tuple[int, int]]) -> None:
        self.coarse = np.zeros((2, BINS + 1), np.int64)
        self.levels = np.zeros((2, int((fine_slot >= 0).sum()) * LEVELS_PER_BIN), np.int64)
        self._waiting: tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]] = ([], [])
        self._shift = (fine_slot - np.arange(len(fine_slot))) * LEVELS_PER_BIN
        self._wanted = fine_slot >= 0
        self._spans = spans
        size = _CHUNK_ROWS * _COLUMNS
        self._scratch = [np.empty(size, kind) for kind in (np.uint16, np.uint16, np.intp, bool, bool)]

    def add(self, values: NDArray[np.float32], kind: int) -> None:
        """Count distances given in bins (``d * 2^13``), at most a chunk of them; kind 0 same, 1 different."""
        bins, offsets, keys, inside, within = (scratch[: len(values)] for scratch in self._scratch)
        # By way of short integers: numpy turns floats into these, and these into indices, in whole vectors.
        np.copyto(bins, values, casting="unsafe")
        np.copyto(keys, bins)
        self.coarse[kind] += np.bincount(keys, minlength=BINS + 1)
        if not self._spans:
            return
        inside.fill(False)
        for low, high in self._spans:
            # What lies below wraps around to the far end: one comparison serves both.
            np.less(np.subtract(bins, np.uint16(low), out=offsets), np.uint16(high - low), out=within)
            inside |= within
        levels = (values[np.flatnonzero(inside)] * np.float32(LEVELS_PER_BIN)).astype(np.int64)
        numbers = levels >> _BIN_SHIFT
        self._waiting[kind].append((levels + self._shift[numbers])[self._wanted[numbers]])

    def flush(self, *, at_least: int) -> None:
        """Move waiting levels into their counters once they are many: few large counts beat many small ones."""
        for counters, waiting in zip(self.levels, self._waiting, strict=True):
            if sum(map(len, waiting)) >= at_least:
                counters += np.bincount(np.concatenate(waiting), minlength=len(counters))
                waiting.clear()


def _spans(wanted: NDArray[np.int64], pilot: Counts | None) -> list[tuple[int, int]]:
    """Stretches ``[low, high)`` of bins that hold the wanted ones, and others only where a sample saw few pairs.

    Comparing distances with a few bounds is faster than looking up the bin of every pair.
    """
    reached = np.zeros(BINS + 1) if pilot is None else np.concatenate([[0], np.cumsum(pilot.same + pilot.different)])
    few = 0.0 if pilot is None else _FEW_PAIRS * reached[-1]
    spans: list[tuple[int, int]] = [(0, 0)]
    for number in wanted.tolist():
        low, high = spans[-1]
        if number == high or reached[number] - reached[high] < few:
            spans[-1] = low, number + 1
        else:
            spans.append((number, number + 1))
    return [span for span in spans if span[1]]


def count_pairs(pairs: PairSet, fine_bins: Iterable[int] = (), *, pilot: Counts | None = None) -> Counts:
    """Count the distances of all pairs in one pass of blocked matrix products.

    Args:
        pairs: what to count.
        fine_bins: bins to count level by level; each takes 16 KiB.
        pilot: counts of a sample, which tell where few pairs lie; only speed depends on it.

    Returns:
        Exact counts of the float32 distances that the blocked product gives.
    """
    chosen = np.unique(np.fromiter(fine_bins, np.int64))
    slot = np.full(BINS + 1, -1, np.int64)
    slot[chosen] = np.arange(len(chosen))
    tally = _Tally(slot, _spans(chosen, pilot))
    for same, different in _parts(pairs):
        tally.add(same, 0)
        tally.add(different, 1)
        tally.flush(at_least=len(chosen) * LEVELS_PER_BIN // 4 + 2**16)
    tally.flush(at_least=1)
    coarse = tally.coarse[:, :BINS]
    deep = tally.levels.reshape(2, len(chosen), LEVELS_PER_BIN)
    return Counts(coarse[0], coarse[1], chosen, deep[0], deep[1])


def all_levels(pairs: PairSet) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The level of every pair, for sets small enough to hold them: (same product, different product)."""
    found: tuple[list[NDArray[np.int32]], list[NDArray[np.int32]]] = ([], [])
    for part in _parts(pairs):
        for values, levels in zip(part, found, strict=True):
            levels.append((values[values < _EXCLUDED] * np.float32(LEVELS_PER_BIN)).astype(np.int32))
    empty = np.empty(0, np.int32)
    return np.concatenate([empty, *found[0]]), np.concatenate([empty, *found[1]])


def bound_of(threshold: float) -> np.float32:
    """The largest float32 in bins (``d * 2^13``) that ``d <= threshold`` accepts."""
    level = level_of(threshold)
    bound = np.float32(level / LEVELS_PER_BIN)
    return np.nextafter(bound, np.float32(-np.inf)) if float(bound) * LEVELS_PER_BIN > level else bound


def accepted_pairs(
    pairs: PairSet, threshold: float
) -> Iterator[tuple[slice, slice, NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]]:
    """Block by block, the pairs that ``d <= threshold`` accepts: rows and columns within the block, distances.

    The distances are in bins, bit for bit those of `count_pairs`: the same products of the same blocks.
    """
    bound = bound_of(threshold)
    for down, across, block in _distances(pairs):
        hits = np.flatnonzero(block <= bound)
        row, column = np.divmod(hits, block.shape[1])
        if pairs.one_set and across.start < down.start + len(block):
            kept = column + across.start > row + down.start
            hits, row, column = hits[kept], row[kept], column[kept]
        yield down, across, row, column, block.reshape(-1)[hits]


@functools.cache
def _libraries() -> ThreadpoolController:
    """The libraries that have threads of their own; to find them takes longer than a small product does."""
    return ThreadpoolController()


def _distances(pairs: PairSet) -> Iterator[tuple[slice, slice, NDArray[np.float32]]]:
    """Every block with its distances in bins, shape (r, k), to be used up before the next one is asked for.

    The next block is computed meanwhile, on all cores but one: whoever uses this one holds the interpreter's lock most
    of the time, and the product's threads, which spin while they wait for each other, must not take that core from it.
    """
    buffers = itertools.cycle([np.empty(_ROWS * _COLUMNS, np.float32) for _ in range(2)])

    def compute(place: tuple[tuple[slice, slice], NDArray[np.float32]]) -> tuple[slice, slice, NDArray[np.float32]]:
        (down, across), buffer = place
        return down, across, _product(pairs, down, across, buffer)

    with _libraries().limit(limits=max(1, default_threads() - 1), user_api="blas"):
        yield from ordered_map(compute, zip(pairs.blocks(), buffers, strict=False), 1, ahead=2)


def _parts(pairs: PairSet) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Chunk by chunk, distances in bins of same-product pairs and of different ones.

    Among the different ones `_EXCLUDED` stands for what is neither. To be used up before the next is asked for.
    """
    for down, across, block in _distances(pairs):
        for top in range(0, len(block), _CHUNK_ROWS):
            values, row_codes = block[top : top + _CHUNK_ROWS], pairs.row_codes[down][top : top + _CHUNK_ROWS]
            column_codes = pairs.column_codes[across]
            if pairs.one_set:
                # The column of the first row's own picture: up to the diagonal the pairs are the same again. Columns
                # that no row counts are left out; what remains to be masked lies in narrow strips.
                diagonal = down.start - across.start + top
                first = max(diagonal + 1, 0)
                values, column_codes = values[:, first:], column_codes[first:]
                corner = values[:, : max(diagonal + len(values) - first, 0)]
                own = np.arange(len(values))[:, None] + (diagonal - first)
                np.copyto(corner, _EXCLUDED, where=np.arange(corner.shape[1])[None, :] <= own)
            left, right = (
                np.searchsorted(column_codes, row_codes[0]),
                np.searchsorted(column_codes, row_codes[-1], "right"),
            )
            near = values[:, left:right]
            same = row_codes[:, None] == column_codes[None, left:right]
            found = near[same]
            np.copyto(near, _EXCLUDED, where=same)
            yield found, values.reshape(-1)


def _product(pairs: PairSet, down: slice, across: slice, buffer: NDArray[np.float32]) -> NDArray[np.float32]:
    """A block's distances in bins, shape (r, k), written into the buffer."""
    # A power of two only moves exponents: scaled here, the product has the bits of one scaled after.
    a, b = pairs.rows[down] * (np.float32(-2.0) * _BINS_PER_UNIT), pairs.columns[across]
    block = buffer[: len(a) * len(b)].reshape(len(a), len(b))
    np.matmul(a, b.T, out=block)
    block += _ZERO_COSINE
    np.clip(block, 0.0, _LAST_BIN, out=block)
    return block

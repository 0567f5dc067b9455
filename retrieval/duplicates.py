"""The same picture twice: equal bytes are found by their content hash, saved-again copies by this one.

The perceptual hash is the classic DCT hash (Zauner 2010, "Implementation and Benchmarking of Perceptual
Image Hash Functions", section 3.2.1): the picture in gray at 32 x 32, its 8 x 8 lowest frequencies,
one bit each for lying above their median. The mean brightness does not take part. Why these lines
instead of a package, and how many bits copies and different photos differ in: docs/decisions/0009-duplicates.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from retrieval import images

NEAR_BITS = 6
"""Pictures whose hashes differ in at most so many bits are nearly the same picture."""

_SIDE = 32
_KEPT = 8
_FLAT = 1.0
_BLOCK = 2**22

Hashes = Sequence[int] | NDArray[np.uint64]


def perceptual_hash(data: bytes) -> int:
    """The 64-bit DCT hash of a picture; its lowest bit is always 0.

    Pictures without structure (one color, or nearly) all hash to 0, because noise would
    decide their bits.

    Args:
        data: the bytes of the file.

    Raises:
        ImageError: the bytes are not a picture we accept.
    """
    from PIL import Image

    im = images.decode(data, target=(2 * _SIDE, 2 * _SIDE)).convert("L")
    gray = np.asarray(im.resize((_SIDE, _SIDE), Image.Resampling.BOX, reducing_gap=2.0), np.float64)
    basis = _cosines()
    low = (basis @ gray @ basis.T).ravel() / _SIDE
    if np.abs(low[1:]).max() < _FLAT:
        return 0
    bits = low > np.median(low[1:])
    bits[0] = False
    return int(np.packbits(bits, bitorder="little").view(np.uint64)[0])


def hamming(a: int, b: int) -> int:
    """In how many bits two hashes differ."""
    return (a ^ b).bit_count()


def near_duplicates(hashes_a: Hashes, hashes_b: Hashes, max_bits: int = NEAR_BITS) -> list[tuple[int, int, int]]:
    """Every pair of one hash of each set that differs in at most ``max_bits`` bits. Exact.

    Args:
        hashes_a: 64-bit hashes, n of them.
        hashes_b: 64-bit hashes, m of them.
        max_bits: inclusive.

    Returns:
        ``(i, j, bits)``, ordered by i, then j. All n m of them where everything is alike.
    """
    found: list[tuple[int, int, int]] = []
    for start, bits in _blocks(hashes_a, hashes_b):
        rows, columns = np.nonzero(bits <= max_bits)
        found += zip((rows + start).tolist(), columns.tolist(), bits[rows, columns].tolist(), strict=True)
    return found


def near_duplicates_within(hashes: Hashes, max_bits: int = NEAR_BITS) -> list[tuple[int, int, int]]:
    """Every pair i < j of one set that differs in at most ``max_bits`` bits; see `near_duplicates`."""
    found: list[tuple[int, int, int]] = []
    for start, bits in _blocks(hashes, hashes):
        rows, columns = np.nonzero(bits <= max_bits)
        later = columns > rows + start
        rows, columns = rows[later], columns[later]
        found += zip((rows + start).tolist(), columns.tolist(), bits[rows, columns].tolist(), strict=True)
    return found


def nearest(hashes_a: Hashes, hashes_b: Hashes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each hash of the first set the nearest of the second: (its number, the bits that differ).

    The first of equally near ones. Memory stays flat however much is alike.

    Args:
        hashes_a: 64-bit hashes, n of them.
        hashes_b: 64-bit hashes, at least one.

    Raises:
        ValueError: the second set is empty.
    """
    if len(hashes_b) == 0:
        raise ValueError("expected at least one hash to compare with, received none")
    where = np.empty(len(hashes_a), np.int64)
    bits_there = np.empty(len(hashes_a), np.int64)
    for start, bits in _blocks(hashes_a, hashes_b):
        place = bits.argmin(axis=1)
        where[start : start + len(bits)] = place
        bits_there[start : start + len(bits)] = bits[np.arange(len(bits)), place]
    return where, bits_there


def _blocks(hashes_a: Hashes, hashes_b: Hashes) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """The first row of each block, and how many bits its rows differ in from every hash of b."""
    a, b = np.asarray(hashes_a, np.uint64), np.asarray(hashes_b, np.uint64)
    rows = max(1, _BLOCK // max(len(b), 1))
    for start in range(0, len(a), rows):
        yield start, np.bitwise_count(a[start : start + rows, None] ^ b[None, :])


@cache
def _cosines() -> NDArray[np.float64]:
    k, n = np.arange(_KEPT)[:, None], np.arange(_SIDE)[None, :]
    basis: NDArray[np.float64] = np.cos(np.pi * k * (2 * n + 1) / (2 * _SIDE))
    return basis

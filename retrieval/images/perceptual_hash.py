"""The same picture twice: equal bytes are found by their content hash, saved-again copies by this one.

The perceptual hash is the classic DCT hash (Zauner 2010, "Implementation and Benchmarking of Perceptual
Image Hash Functions", section 3.2.1): the picture in gray at 32 x 32, its 8 x 8 lowest frequencies,
one bit each for lying above their median. The mean brightness does not take part. Why these lines
instead of a package, and how many bits copies and different photos differ in: docs/decisions/0009-duplicates.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from retrieval.images import pictures
from retrieval.images.views import Squashed

if TYPE_CHECKING:
    from PIL import Image

NEAR_BITS = 6
"""Pictures whose hashes differ in at most so many bits are nearly the same picture."""

SAME_LUMA = 0.6
"""How far two blocks of one picture and its copy may lie apart: see `same_picture`."""

SAME_CHROMA = 14.0
"""The same for color, of 255."""

_MINIATURE = 64
_BLOCKS = 8
_LEAST_CONTRAST = 4.0
_SIDE = 32
_KEPT = 8
_FLAT = 1.0
_BLOCK = 2**22

HASHED = Squashed(_SIDE, gray=True)
"""The view of a picture that is hashed."""

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
    [view] = pictures.views(data, HASHED)
    return hash_of(view)


def hash_of(view: Image.Image) -> int:
    """As `perceptual_hash`, of a picture that is decoded: ask `retrieval.images.pictures.views` for `HASHED`."""
    gray = np.asarray(view, np.float64)
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


def miniature(data: bytes) -> NDArray[np.uint8]:
    """A picture as `same_picture` looks at it: YCbCr, 64 x 64 whatever its shape.

    Args:
        data: the bytes of the file.

    Returns:
        uint8, shape (64, 64, 3).

    Raises:
        ImageError: the bytes are not a picture we accept.
    """
    [small] = pictures.views(data, Squashed(_MINIATURE))
    return np.asarray(small.convert("YCbCr"))


def same_picture(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> bool:
    """Whether one picture is a copy of the other, saved again, resized or brightened.

    The perceptual hash looks at coarse gray shapes, so it cannot tell two packs of one design. This can:
    the pictures are compared block by block, in brightness (each picture brought to mean 0 and standard
    deviation 1, so that exposure does not count) and in color. The block that differs most decides:
    another word or another color differs in one place. A copy that was cropped is not recognized.

    Args:
        a: `miniature` of a picture whose perceptual hash is near the other's.
        b: `miniature` of the other.
    """
    luma, chroma = block_differences(a, b)
    return luma <= SAME_LUMA and chroma <= SAME_CHROMA


def block_differences(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> tuple[float, float]:
    """What `same_picture` goes by: the root mean square in brightness and the mean in color of the worst block.

    Args:
        a: `miniature` of a picture.
        b: `miniature` of another.

    Returns:
        Brightness in standard deviations of the picture, color of 255.
    """
    one, other = a.astype(np.float32), b.astype(np.float32)
    luma = (_standardized(one[..., 0]) - _standardized(other[..., 0])) ** 2
    chroma = np.abs(one[..., 1:] - other[..., 1:]).mean(axis=2)
    return float(_by_block(luma).max()) ** 0.5, float(_by_block(chroma).max())


def _standardized(channel: NDArray[np.float32]) -> NDArray[np.float32]:
    spread = max(float(channel.std()), _LEAST_CONTRAST)
    scaled: NDArray[np.float32] = (channel - channel.mean()) / spread
    return scaled


def _by_block(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of each of 8 x 8 blocks."""
    side = _MINIATURE // _BLOCKS
    means: NDArray[np.float32] = values.reshape(_BLOCKS, side, _BLOCKS, side).mean(axis=(1, 3))
    return means


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

"""Pure: the HNSW graph of a large index, how densely it is linked and how widely it is searched, on every engine."""

from __future__ import annotations

M = 16
"""Links of a point on every level but the lowest, which has twice as many."""
EF_CONSTRUCT = 200
"""At 100, a fiftieth of a catalog whose products lie in tight groups became unreachable at any search width."""
EF = 128
"""Search width below `WIDE_FROM` images. It gave each answer of an exact scan at 100,000 images, of products in groups,
without any order, and of fifty thousand products; half of it missed one (docs/measurements/embedded-index.md). What it
misses of fifty neighbors are far pictures of other products, which are no part of an answer."""
EF_WIDE = 1536
"""Search width from there on: recall@50 is 0.99 at a million images. What answers need there was not measured."""
WIDE_FROM = 400_000
WIDEST = 3072
"""Where many neighbors are asked for, the search is as wide as their number, up to this."""


def search_width(images: int, limit: int) -> int:
    """How many candidates a search of the graph keeps (``hnsw_ef``).

    Args:
        images: about how many points the index holds.
        limit: how many neighbors are wanted.
    """
    return max(EF if images < WIDE_FROM else EF_WIDE, min(limit, WIDEST))

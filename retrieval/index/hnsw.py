"""Pure: the HNSW graph of a large index, how densely it is linked and how widely it is searched, on every engine."""

from __future__ import annotations

M = 16
"""Links of a point on every level but the lowest, which has twice as many."""
EF_CONSTRUCT = 200
"""At 100, a fiftieth of a catalog whose products lie in tight groups became unreachable at any search width."""
EF = 128
"""Search width. It gave each first product and verdict of an exact scan at a million images and at 100,000, of products
in groups, without any order, and of fifty thousand products; of a million in groups one probability of 600 differed,
at half of the width six (docs/measurements/embedded-index.md). What it misses of fifty neighbors are far pictures of
other products, which are no part of an answer."""
WIDEST = 3072
"""Where many neighbors are asked for, the search is as wide as their number, up to this."""


def search_width(limit: int) -> int:
    """How many candidates a search of the graph keeps (``hnsw_ef``).

    Args:
        limit: how many neighbors are wanted.
    """
    return max(EF, min(limit, WIDEST))

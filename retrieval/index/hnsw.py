"""Pure: the HNSW graph of a large index, how densely it is linked and how widely it is searched, on every engine."""

from __future__ import annotations

M = 16
"""Links of a point on every level but the lowest, which has twice as many."""
EF_CONSTRUCT = 200
"""At 100, a fiftieth of a catalog whose products lie in tight groups became unreachable at any search width."""
EF = 768
"""Search width that keeps recall@50 at 0.99 for 200,000 images of products without any order among them."""
EF_WIDE = 1536
WIDE_FROM = 400_000
"""From this many images on the wider search is used."""


def search_width(images: int, limit: int) -> int:
    """How many candidates a search of the graph keeps (``hnsw_ef``).

    Args:
        images: about how many points the index holds.
        limit: how many neighbors are wanted.
    """
    return max(EF if images < WIDE_FROM else EF_WIDE, min(limit, 4 * EF))

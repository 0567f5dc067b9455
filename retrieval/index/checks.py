"""Is a generation what it should be? The checks before it goes live, and of `itemrec doctor`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from retrieval.errors import IndexDamagedError
from retrieval.index import payload as codec
from retrieval.index.manifest import Manifest
from retrieval.index.protocols import VectorStore
from retrieval.types import Point

SELF_DISTANCE = 1e-4
"""A picture finds itself within this squared L2."""
COPIES = 8
"""Neighbors among which a picture is looked for first."""
SAMPLE = 100
"""Pictures that must find themselves before a generation goes live."""


def lost_pictures(store: VectorStore, points: Iterable[Point]) -> tuple[int, list[str]]:
    """How many pictures were looked for by their own vectors, and which did not find themselves."""
    tried, lost = 0, list[str]()
    for point in points:
        tried += 1
        if not finds_itself(store, point):
            lost.append(point.record.image)
    return tried, lost


def finds_itself(store: VectorStore, point: Point) -> bool:
    """True when the search that queries use finds a picture by its own vector, among however many copies.

    Of thousands of copies of one picture (a shop's "no photo yet") a graph reaches only some: it
    keeps a few links a picture. A query as near as this one is answered by those all the same. So
    where copies are found in place of the picture, its product's own pictures must hold it.
    """
    near = store.search(point.vector, limit=COPIES, max_distance=SELF_DISTANCE)
    if not near:
        return False
    if any(n.image_id == point.record.image_id for n in near):
        return True
    limit = COPIES
    while True:
        own = store.search(
            point.vector, limit=limit, max_distance=SELF_DISTANCE, product_id=point.record.product_id, exact=True
        )
        if any(n.image_id == point.record.image_id for n in own):
            return True
        if len(own) < limit:
            return False
        limit *= 8


def misfiled(store: VectorStore, expected: Mapping[tuple[str, str], set[str]]) -> list[str]:
    """Keywords under which filters find other pictures than those whose records carry them.

    Args:
        store: the generation.
        expected: by field and keyword the image ids, as `keywords` gives them.
    """
    return [keyword for (field, keyword), ids in expected.items() if store.holders(field, keyword) != ids]


def keywords(points: Iterable[Point]) -> dict[tuple[str, str], set[str]]:
    """Every keyword that points are found by, as field and text, with the image ids that carry it."""
    found: dict[tuple[str, str], set[str]] = {}
    for point in points:
        payload = codec.encode(point.record)
        for field, values in ((codec.PRODUCT, [payload[codec.PRODUCT]]), (codec.TAGS, payload[codec.TAGS])):
            for value in values:
                found.setdefault((field, value), set()).add(point.record.image_id)
    return found


def require_sound(store: VectorStore, manifest: Manifest, *, sample: int = SAMPLE) -> None:
    """Refuse a generation whose count is not its manifest's or whose sampled pictures do not find themselves.

    Raises:
        IndexDamagedError: says what was lost.
    """
    count = store.count()
    if count != manifest.images:
        raise IndexDamagedError(
            f"expected {manifest.images:,} pictures in generation {manifest.generation}, received {count:,}",
            hint="The live generation stays. Rebuild from the catalog: itemrec index CATALOG --rebuild",
        )
    tried, lost = lost_pictures(store, store.sample(sample))
    if lost or (count and not tried):
        raise IndexDamagedError(
            f"{len(lost)} of {tried} sampled pictures of generation {manifest.generation} do not find themselves: "
            f"{', '.join(lost[:3])}",
            hint="The live generation stays. Rebuild from the catalog: itemrec index CATALOG --rebuild",
        )

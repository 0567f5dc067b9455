"""Every item of the catalog in one photo: which pictures are looked for, and what their places say.

A catalog of up to `TRIED` pictures is looked for whole. Of a larger one, windows of the photo are embedded first, and
the products that are near one of them are looked for: the index finds them, however many there are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from retrieval.detection.candidates import Candidate
from retrieval.detection.finder import MOST_TOLD, look_for, photo_points, rivals
from retrieval.detection.found import FoundItem, FoundItems, FoundRegion, ItemMatch, rows_of
from retrieval.detection.gaps import unexplained
from retrieval.detection.known import SEEN_SIDE, KnownPicture, KnownPictures
from retrieval.distance import MAX_DISTANCE
from retrieval.errors import ImageError
from retrieval.index.payload import each, matches
from retrieval.index.protocols import VectorStore
from retrieval.system.threads import ordered_map
from retrieval.types import IndexedImage, Recognition, Where

TRIED = 400
"""Pictures of a catalog that are all looked for in one photo."""
CHOSEN = 300
"""Pictures that are looked for where it has more."""
MOST_REGIONS = 40
"""Places without an item that are recognized."""
_STEPS = ("choose", "pictures", "look", "regions")
OF_EACH = 3
"""Pictures of a product that are looked for."""
NEAREST = 12
"""Products near a window that are looked for."""
_WINDOWS = ((0.8, (2, 3, 4)), (1.8, (3, 4)), (0.42, (2,)))
"""Width over height of the windows, and how many lie one above the other along the photo's shorter side: each overlaps
the next by half. Bottles fill a third of a square, and bars of chocolate half of one."""
PHOTO_SIDE = 1920
"""Pixels of the longer side of a photo that is looked at."""

Recognize = Callable[[NDArray[np.uint8]], Recognition]
"""Answers a picture, RGB, uint8, shape (height, width, 3)."""
Embed = Callable[[Sequence[NDArray[np.uint8]]], Sequence[NDArray[np.float32]]]
"""Gives the unit vectors of pictures, RGB, uint8, shape (height, width, 3)."""


def find_items(
    source: str,
    photo: NDArray[np.uint8],
    scale: float,
    records: Sequence[IndexedImage],
    store: Callable[[Callable[[VectorStore], None]], None],
    embed: Embed,
    recognize: Recognize,
    known: KnownPictures,
    catalog: str,
    *,
    where: Where | None,
    threads: int,
) -> FoundItems:
    """Find every item.

    Args:
        source: what the photo is called.
        photo: upright, RGB, uint8, shape (height, width, 3), its longer side `PHOTO_SIDE` at most.
        scale: pixels of the whole photo for each of ``photo``.
        records: of the generation.
        store: opens the generation for a question.
        embed: with the model that built it.
        recognize: says what stands where no item is.
        known: keeps pictures that were looked at.
        catalog: the folder that the pictures' paths are relative to.
        where: only products with this metadata.
        threads: that look at once.

    Raises:
        UsageError: OpenCV is not installed.
    """
    start = time.perf_counter()
    wanted = [record for record in records if _fits(record, where)]
    chosen: tuple[str, ...] = ()
    if len(wanted) > TRIED:
        wanted = _near_windows(photo, wanted, store, embed, where)
        chosen = tuple(dict.fromkeys(record.product_id for record in wanted))
    selected = time.perf_counter()
    loaded, missing = _loaded(wanted, known, Path(catalog), threads)
    read = time.perf_counter()
    points = photo_points(photo)
    ready = [picture for _, picture in loaded]
    found = look_for(ready, photo, points, threads=threads)
    shown = [record for record, _ in loaded]

    def named(numbered: tuple[int, Sequence[Candidate]]) -> tuple[list[Candidate], bool]:
        place, item = numbered
        return rivals(item, lambda number: shown[number].product_id, ready, photo, told=place < MOST_TOLD)

    items = [_item(*one, shown, scale) for one in ordered_map(named, enumerate(found), threads)]
    looked = time.perf_counter()
    height, width = photo.shape[:2]
    rows = [[_shrunk(item.box, scale) for item in row] for row in rows_of(items)]
    gaps = unexplained(rows, points.points, (width, height))[:MOST_REGIONS]
    regions = [_region(gap, photo, scale, recognize) for gap in gaps]
    took = (selected - start, read - selected, looked - read, time.perf_counter() - looked)
    return FoundItems(
        source=source,
        size=(round(width * scale), round(height * scale)),
        items=tuple(item for row in rows_of(items) for item in row),
        regions=tuple(regions),
        pictures=len(loaded),
        missing=missing,
        chosen=chosen,
        timings_ms={name: round(1e3 * s, 3) for name, s in zip(_STEPS, took, strict=True)},
    )


def windows(width: int, height: int) -> Iterator[tuple[int, int, int, int]]:
    """Boxes of several sizes over a photo, each overlapping the next by half: left, top, right, bottom."""
    for aspect, counts in _WINDOWS:
        for count in counts:
            high = min(width, height) / count
            wide = min(high * aspect, float(width))
            columns, rows = max(1, round(2 * width / wide) - 1), max(1, round(2 * height / high) - 1)
            for row in range(rows):
                for column in range(columns):
                    left = (width - wide) * column / max(columns - 1, 1)
                    top = (height - high) * row / max(rows - 1, 1)
                    yield round(left), round(top), round(left + wide), round(top + high)


def _near_windows(
    photo: NDArray[np.uint8],
    records: Sequence[IndexedImage],
    store: Callable[[Callable[[VectorStore], None]], None],
    embed: Embed,
    where: Where | None,
) -> list[IndexedImage]:
    """Pictures of the products that are nearest to windows of a photo, `CHOSEN` at most."""
    height, width = photo.shape[:2]
    boxes = [box for box in windows(width, height) if box[2] - box[0] >= 16 and box[3] - box[1] >= 16]
    vectors = embed([photo[top:bottom, left:right] for left, top, right, bottom in boxes])
    best: dict[str, tuple[int, float]] = {}

    def ask(opened: VectorStore) -> None:
        for vector in vectors:
            near = opened.search(vector, limit=3 * NEAREST, max_distance=MAX_DISTANCE, where=where)
            order = dict.fromkeys(neighbor.product_id for neighbor in near)
            distances = {n.product_id: n.distance for n in reversed(near)}
            for rank, product_id in enumerate(list(order)[:NEAREST]):
                key = (rank, distances[product_id])
                best[product_id] = min(best.get(product_id, key), key)

    store(ask)
    own: dict[str, list[IndexedImage]] = {}
    for record in records:
        if record.product_id in best and len(own.setdefault(record.product_id, [])) < OF_EACH:
            own[record.product_id].append(record)
    ordered = sorted(own, key=lambda product_id: best[product_id])
    return [record for product_id in ordered for record in own[product_id]][:CHOSEN]


def _fits(record: IndexedImage, where: Where | None) -> bool:
    return all(
        key in record.metadata and any(matches(value, wanted) for value in each(record.metadata[key]))
        for key, wanted in (where or {}).items()
    )


def _loaded(
    records: Sequence[IndexedImage], known: KnownPictures, catalog: Path, threads: int
) -> tuple[list[tuple[IndexedImage, KnownPicture]], int]:
    """Pictures ready to be looked for, and how many are gone. Of a product with studio pictures, these alone."""
    asked = [(record.content_hash, partial(_pixels, catalog, record.image)) for record in records]
    opened = list(zip(records, known.get(asked, threads=threads), strict=True))
    ready = [(record, picture) for record, picture in opened if picture is not None]
    studio = {record.product_id for record, picture in ready if picture.plain}
    return [pair for pair in ready if pair[1].plain or pair[0].product_id not in studio], len(opened) - len(ready)


def _pixels(catalog: Path, image: str) -> NDArray[np.uint8] | None:
    from retrieval.catalog.fetched import locate
    from retrieval.images import pictures

    file, root = locate(catalog, image)
    try:
        return np.array(pictures.thumbnail(pictures.read_file(file, root=root), SEEN_SIDE), dtype=np.uint8)
    except ImageError:
        return None


def _shrunk(box: Sequence[float], scale: float) -> tuple[float, float, float, float]:
    left, top, right, bottom = (value / scale for value in box)
    return left, top, right, bottom


def _region(
    gap: tuple[float, float, float, float], photo: NDArray[np.uint8], scale: float, recognize: Recognize
) -> FoundRegion:
    height, width = photo.shape[:2]
    left, right = max(0, round(gap[0])), min(width, round(gap[2]))
    top, bottom = max(0, round(gap[1])), min(height, round(gap[3]))
    answer = recognize(np.ascontiguousarray(photo[top:bottom, left:right]))
    box = (left * scale, top * scale, right * scale, bottom * scale)
    return FoundRegion(answer.verdict, box, answer.matches)


def _item(ranked: Sequence[Candidate], unsure: bool, records: Sequence[IndexedImage], scale: float) -> FoundItem:
    first = ranked[0]
    left, top, right, bottom = (value * scale for value in first.box)
    return FoundItem(
        verdict="ambiguous" if unsure else "match",
        box=(left, top, right, bottom),
        quad=tuple((float(x) * scale, float(y) * scale) for x, y in first.place.quad),
        matches=tuple(
            ItemMatch(
                product_id=records[one.number].product_id,
                image=records[one.number].image,
                inliers=len(one.place.inliers),
                correlation=one.pixels,
                color=one.colors,
                metadata=records[one.number].metadata,
            )
            for one in ranked
        ),
    )

"""What every store does alike with its points: reads hits, samples, counts values, groups changes of metadata.

Below the engines and above the payload codec, so that a directory and a server answer alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from retrieval.distance import from_euclid, is_unit
from retrieval.errors import IndexDamagedError
from retrieval.index import payload as codec
from retrieval.index.commands import REBUILD_HINT
from retrieval.types import JsonScalar, Metadata, Neighbor, Point


def to_neighbors(hits: Iterable[Any], max_distance: float) -> list[Neighbor]:
    """An engine's hits in our terms: nearest first, equal distances by image id.

    Args:
        hits: with ``id``, ``payload`` and ``score``, a Euclidean distance.
        max_distance: squared L2, in [0, 4]; inclusive. The engines compare in float32 and may return a little more.
    """
    neighbors: list[Neighbor] = []
    known: dict[str, Metadata] = {}
    for hit in hits:
        distance = from_euclid(hit.score)
        if distance <= max_distance:
            product_id, image, metadata, kind = codec.decode_shown(hit, known)
            neighbors.append(Neighbor(product_id, image, distance, metadata, kind))
    neighbors.sort(key=_distance)
    distances = [n.distance for n in neighbors]
    if len(set(distances)) < len(distances):
        neighbors.sort(key=_distance_and_id)
    return neighbors


_distance = attrgetter("distance")
_distance_and_id = attrgetter("distance", "image_id")


def to_point(found: Any, dimension: int) -> Point:
    """A stored point, checked.

    Args:
        found: with ``id``, ``payload`` and ``vector``.
        dimension: length d of the index's vectors.

    Raises:
        IndexDamagedError: it holds no record, or no unit vector of shape (d,).
    """
    stored = found.vector if isinstance(found.vector, list) else []
    vector: NDArray[np.float32] = np.asarray(stored, dtype=np.float32)
    if vector.shape != (dimension,) or not is_unit(vector):
        raise IndexDamagedError(
            f"expected a unit vector of dimension {dimension} at point {found.id}, received another",
            hint=REBUILD_HINT,
        )
    return Point(codec.decode(str(found.id), found.payload), vector)


def sample(count: int, first_from: Callable[[UUID], Iterable[Point]]) -> list[Point]:
    """At most ``count`` points spread evenly over all: ids are hashes, so equal steps between ids are fair.

    Args:
        count: how many at most.
        first_from: the first point from an id on, if there is one.
    """
    found = (point for start in codec.id_steps(count) for point in first_from(start))
    return list({point.record.image_id: point for point in found}.values())


def commonest_values(
    key: str, tags: Mapping[str, int], metadata_with: Callable[[str], Metadata], limit: int
) -> list[tuple[JsonScalar, int]]:
    """The commonest values of a column with their counts, commonest first, then by value.

    Args:
        key: the column.
        tags: how many points carry each keyword, of any column.
        metadata_with: the metadata of one point that carries a keyword; a long value is indexed by its hash
            alone. Empty where no point does.
        limit: how many at most.
    """
    found: list[tuple[JsonScalar, int]] = []
    head = codec.tag_head(key)
    for text, count in tags.items():
        if text.startswith(head):
            read = codec.read_tag(text)
            if read is None:
                metadata = metadata_with(text)
                found += [(value, count) for value in codec.each(metadata.get(key)) if codec.tag(key, value) == text][
                    :1
                ]
            elif read[0] == key:
                found.append((read[1], count))
    found.sort(key=lambda pair: (-pair[1], str(pair[0])))
    return found[:limit]


def group_metadata(updates: Mapping[str, Metadata]) -> list[tuple[dict[str, Any], list[str]]]:
    """Changes of metadata as payload fields, each with the image ids that get them: one request per group.

    Raises:
        StoreError: metadata or an id is not valid.
    """
    groups: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for image_id, metadata in updates.items():
        codec.check_metadata(metadata, codec.check_id(image_id))
        fields = codec.encode_metadata(metadata)
        groups.setdefault(fields[codec.META], (fields, []))[1].append(image_id)
    return list(groups.values())

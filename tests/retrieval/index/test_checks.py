"""The checks before a generation goes live, on stores that lose pictures the ways a graph does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from retrieval.errors import IndexDamagedError
from retrieval.index.checks import COPIES, finds_itself, lost_pictures, require_sound
from retrieval.types import Neighbor, Point
from tests.contract.reference import MemoryIndex, MemoryStore
from tests.contract.samples import MODEL, fill, record, sample_points, unit_vectors


class Graph(MemoryStore):
    """Searches without ``exact`` never reach some pictures, as with links that a graph lacks."""

    unreachable: frozenset[str] = frozenset()
    missing: frozenset[str] = frozenset()
    answers: dict[Any, list[Neighbor]]

    def search(self, vector: NDArray[np.float32], *, exact: bool = False, **options: Any) -> list[Neighbor]:
        limit = options.pop("limit")
        asked = vector.tobytes(), exact, *sorted(options.items())
        if asked not in self.answers:  # nothing is written after the first search, and copies ask for the same
            hidden = self.missing if exact else self.missing | self.unreachable
            found = super().search(vector, limit=self.count(), exact=exact, **options)
            self.answers[asked] = [n for n in found if n.image not in hidden]
        return self.answers[asked][:limit]


def graph(points: list[Point], *, unreachable: set[str] | None = None, missing: set[str] | None = None) -> Graph:
    store = Graph(MODEL.dimension)
    store.answers = {}
    store.upsert(points)
    store.unreachable, store.missing = frozenset(unreachable or ()), frozenset(missing or ())
    return store


def copies(count: int, products: int) -> list[Point]:
    """``count`` pictures of one vector, in turn of ``products`` products."""
    vector = unit_vectors(1)[0]
    return [Point(record(f"p{i % products}/{i}.jpg", f"p{i % products}"), vector) for i in range(count)]


def test_an_unreachable_picture_is_lost() -> None:
    points = sample_points(20)
    store = graph(points, unreachable={points[3].record.image})
    assert lost_pictures(store, points) == (20, [points[3].record.image])


@pytest.mark.parametrize("products", [1, 3, 900])
def test_copies_of_which_a_graph_reaches_some_are_all_found(products: int) -> None:
    points = copies(900, products)
    reached = {p.record.image for p in points[::50]}
    store = graph(points, unreachable={p.record.image for p in points} - reached)
    assert lost_pictures(store, points) == (900, [])


def test_copies_of_which_a_graph_reaches_none_are_lost() -> None:
    points = copies(30, 3)
    store = graph(points, unreachable={p.record.image for p in points})
    assert len(lost_pictures(store, points)[1]) == 30


@pytest.mark.parametrize("count", [2, COPIES, COPIES + 1, 200])
def test_a_copy_that_no_search_lists_is_lost(count: int) -> None:
    points = copies(count, 1)
    store = graph(points, missing={points[-1].record.image})
    assert not finds_itself(store, points[-1])
    assert all(finds_itself(store, p) for p in points[:-1])


def test_a_generation_with_a_lost_picture_or_another_count_is_refused() -> None:
    points, index = sample_points(20), MemoryIndex()
    fill(index, points)
    manifest = index.manifest()
    assert manifest is not None
    require_sound(graph(points), manifest)
    with pytest.raises(IndexDamagedError, match=r"1 of 20 sampled pictures .* do not find themselves"):
        require_sound(graph(points, unreachable={points[0].record.image}), manifest)
    with pytest.raises(IndexDamagedError, match=r"expected 21 pictures .*, received 20"):
        require_sound(graph(points), replace(manifest, images=21))

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from retrieval.errors import IndexDamagedError, StoreError
from retrieval.index import hnsw, payload
from retrieval.index.store_common import commonest_values, group_metadata, sample, to_neighbors, to_point
from retrieval.types import JsonScalar, Metadata
from tests.contract.samples import record, sample_points


@dataclass
class Found:
    id: str
    payload: dict[str, Any] | None
    score: float = 0.0
    vector: object = None


def test_hits_are_ordered_by_distance_and_then_by_id() -> None:
    records = sorted((record(f"p{i}") for i in range(4)), key=lambda r: r.image_id)
    scores = (0.5, 0.25, 0.25, 0.75)
    hits = [Found(r.image_id, payload.encode(r), s) for r, s in zip(records, scores, strict=True)]
    found = to_neighbors(reversed(hits), 0.25)
    assert [n.image_id for n in found] == [records[i].image_id for i in (1, 2, 0)]
    assert [n.distance for n in found] == [0.0625, 0.0625, 0.25]


@pytest.mark.parametrize("wrong", [None, {payload.META: "{"}, {payload.META: "{} {}"}, {payload.META: 1}])
def test_a_hit_without_a_record_is_damage(wrong: dict[str, Any] | None) -> None:
    stored = record("p")
    found = Found(stored.image_id, wrong and payload.encode(stored) | wrong)
    with pytest.raises(IndexDamagedError, match=f"expected the record of a picture at point {stored.image_id}"):
        to_neighbors([found], 4.0)


@pytest.mark.parametrize("vector", [None, [1.0], [0.0] * 16, [float("nan")] * 16, "1"])
def test_a_point_without_a_unit_vector_is_damage(vector: object) -> None:
    (point,) = sample_points(1)
    stored = payload.encode(point.record)
    whole = to_point(Found(point.record.image_id, stored, vector=point.vector.tolist()), 16)
    assert whole.record == point.record
    np.testing.assert_array_equal(whole.vector, point.vector)
    with pytest.raises(IndexDamagedError, match="expected a unit vector of dimension 16"):
        to_point(Found(point.record.image_id, stored, vector=vector), 16)


def test_a_sample_names_every_point_once() -> None:
    points = sorted(sample_points(3), key=lambda p: p.record.image_id)

    def first_from(start: UUID) -> Iterator[Any]:
        yield from [p for p in points if UUID(p.record.image_id) >= start][:1]

    found = sample(1000, first_from)
    assert [p.record.image_id for p in found] == [p.record.image_id for p in points]
    assert sample(0, first_from) == []


def test_values_are_counted_by_column_long_ones_too() -> None:
    long = "x" * 1000
    columns: dict[tuple[str, JsonScalar], int] = {
        ("size", 3): 5,
        ("size", "3"): 7,
        ("size", long): 7,
        ("sizes", 1): 9,
        ("size", None): 1,
    }
    tags = {payload.tag(key, value): count for (key, value), count in columns.items()}

    def metadata_with(tag: str) -> Metadata:
        return {"size": long} if tag == payload.tag("size", long) else {}

    assert commonest_values("size", tags, metadata_with, 20) == [("3", 7), (long, 7), (3, 5), (None, 1)]
    assert commonest_values("size", tags, metadata_with, 1) == [("3", 7)]
    assert commonest_values("size", tags, lambda tag: {}, 20) == [("3", 7), (3, 5), (None, 1)]


def test_pictures_of_equal_metadata_are_one_group() -> None:
    ids = [record(f"p{i}").image_id for i in range(4)]
    groups = group_metadata({ids[0]: {"a": 1}, ids[1]: {"a": 2}, ids[2]: {"a": 1}, ids[3]: {"a": 1.0}})
    assert [group for _, group in groups] == [[ids[0], ids[2]], [ids[1]], [ids[3]]]
    assert groups[0][0] == payload.encode_metadata({"a": 1})
    with pytest.raises(StoreError, match="UUID"):
        group_metadata({ids[0]: {"a": 1}, "no id": {"a": 1}})
    with pytest.raises(StoreError, match="finite"):
        group_metadata({ids[0]: {"a": float("nan")}})


@pytest.mark.parametrize(
    ("limit", "width"),
    [(50, 128), (128, 128), (2000, 2000), (10**6, 3072)],
)
def test_the_graph_is_searched_wider_for_more_neighbors(limit: int, width: int) -> None:
    assert hnsw.search_width(limit) == width

from __future__ import annotations

import json
from pathlib import Path

import pytest
import qdrant_edge as edge

from retrieval.index.embedded.store import EmbeddedStore
from tests.contract.samples import sample_points


def test_vectors_are_read_as_needed_and_a_shard_that_reads_them_whole_opens_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = edge.EdgeVectorParams

    def without_memory(*, size: int, distance: edge.Distance, memory: edge.Memory) -> edge.EdgeVectorParams:
        return params(size=size, distance=distance)

    points = sample_points(5)
    dimension = len(points[0].vector)
    found = {}
    for name in ("now", "before"):
        with EmbeddedStore.create(tmp_path / name, dimension) as store:
            store.upsert(points)
        with EmbeddedStore.open(tmp_path / name, dimension) as store:
            store.upsert(points[:1])
            found[name] = [store.search(p.vector, limit=5, max_distance=2.0) for p in points]
        monkeypatch.setattr(edge, "EdgeVectorParams", without_memory)
    said = {name: json.loads((tmp_path / name / "edge_config.json").read_bytes())["vectors"][""] for name in found}
    assert said["now"] == {**said["before"], "memory": "cold"}
    assert found["now"] == found["before"]

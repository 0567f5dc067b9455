from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from retrieval.index import open_index
from retrieval.store import Index
from tests.contract.reference import MemoryIndex

MakeIndex = Callable[[], Index]


@pytest.fixture(params=["embedded", "reference"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Index:
    """An empty index of every kind."""
    return MemoryIndex() if request.param == "reference" else open_index(str(tmp_path / "index"))

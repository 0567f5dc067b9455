from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from retrieval.index import open_index
from retrieval.store import Index
from tests.contract.reference import MemoryIndex

_MEMORY = Path("/dev/shm")
_ENOUGH = 2 * 2**30


@pytest.fixture
def workplace(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where there is one: these tests are about answers, not about durability."""
    if not (_MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ENOUGH):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=_MEMORY, prefix="itemrec-tests-") as name:
        yield Path(name)


@pytest.fixture(params=["embedded", "reference"])
def index(request: pytest.FixtureRequest, workplace: Path) -> Index:
    """An empty index of every kind."""
    return MemoryIndex() if request.param == "reference" else open_index(str(workplace / "index"))

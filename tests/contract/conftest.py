from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from retrieval.index.checks import require_sound
from retrieval.index.open import open_index
from retrieval.index.protocols import Index
from retrieval.index.server import ServerIndex
from retrieval.index.server.link import Link
from tests.contract.reference import MemoryIndex
from tests.qdrant import double, grpc_double


def local_index() -> ServerIndex:
    """A `ServerIndex` on qdrant-client's local mode: no socket."""
    from qdrant_client import QdrantClient

    url = "http://localhost:6333/local"
    return ServerIndex(url, link=Link(QdrantClient(":memory:"), url, parallel=1))


KINDS = ["embedded", "reference", "local", "socket", "grpc"] + (["server"] if os.environ.get("QDRANT_URL") else [])


@pytest.fixture(scope="session")
def server() -> Iterator[tuple[double.Double, int]]:
    """A stand-in server for all tests, and the port at which it talks gRPC."""
    with double.serving() as running, grpc_double.serving_grpc(running) as port:
        yield running, port


@contextmanager
def index_of(kind: str, place: Path, request: pytest.FixtureRequest) -> Iterator[Index]:
    """An empty index of a kind, while it is wanted; a directory is made in `place`."""
    with pytest.MonkeyPatch.context() as patch:
        # Nobody else writes there.
        patch.setattr("retrieval.index.server.lease._SETTLE_SECONDS", 0.005)
        # A generation that goes live again is looked at first, with a question for each point of a sample.
        patch.setitem(require_sound.__kwdefaults__, "sample", 20)
        if kind == "reference":
            yield MemoryIndex()
        elif kind == "embedded":
            yield open_index(str(place / "index"))
        elif kind == "local":
            yield local_index()
        elif kind in ("socket", "grpc"):
            server, port = request.getfixturevalue("server")
            patch.setenv("ITEMREC_GRPC_PORT", str(port) if kind == "grpc" else "0")
            name = f"contract-{uuid.uuid4().hex[:12]}"
            index = ServerIndex(server.url(f"/{name}"))
            yield index
            assert (index.collections.link.fast is not None) is (kind == "grpc")
            index.close()
            for left in server.client.get_collections().collections:
                if left.name.startswith(name):
                    server.client.delete_collection(left.name)
        else:
            index = ServerIndex(f"{os.environ['QDRANT_URL'].rstrip('/')}/itemrec-tests-{uuid.uuid4().hex[:12]}")
            yield index
            for generation in index.generations():
                index.collections.drop(generation.number)
            index.collections.link.client.delete_collection(f"{index.collections.address.name}-refusals")
            index.close()


@pytest.fixture(params=KINDS)
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Index]:
    """An empty index of every kind: ours, the oracle, the client in this process, over sockets (REST, gRPC), a server.

    The last one only where the environment variable QDRANT_URL names a Qdrant server.
    """
    with index_of(request.param, tmp_path, request) as made:
        yield made


@pytest.fixture
def staged(index: Index) -> Index:
    """As `index`, where a run of the same model is seen at its commit only."""
    if not index.staged:
        pytest.skip("runs of the same model write in place: test_in_place.py")
    return index

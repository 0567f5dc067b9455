"""An index on a server, beside what the contract suite holds: addresses, sizing, votes, gRPC, what is imported."""

from __future__ import annotations

import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from retrieval.distance import normalize
from retrieval.errors import DiskFullError, UsageError
from retrieval.index.open import open_index
from retrieval.index.server import ServerIndex
from retrieval.index.server.address import Address
from retrieval.index.server.link import connect
from retrieval.recognition.recognizer import find
from tests.contract.conftest import local_index
from tests.contract.samples import MODEL, contents, fill, sample_points, unit_vectors
from tests.fakes import fake_bundle
from tests.places import ROOT
from tests.qdrant import double, grpc_double


@pytest.mark.parametrize(
    ("url", "tls", "host", "port", "prefix", "name"),
    [
        ("http://qdrant:6333", False, "qdrant", 6333, "", "itemrec"),
        ("http://qdrant", False, "qdrant", 6333, "", "itemrec"),
        ("http://qdrant:7000/shop", False, "qdrant", 7000, "", "shop"),
        ("https://db.example", True, "db.example", 443, "", "itemrec"),
        ("https://db.example/vectors/eu/shop/", True, "db.example", 443, "/vectors/eu", "shop"),
        ("http://[::1]:6333/a.b-c_d", False, "::1", 6333, "", "a.b-c_d"),
    ],
)
def test_addresses(url: str, tls: bool, host: str, port: int, prefix: str, name: str) -> None:
    found = Address.parse(url)
    assert (found.tls, found.host, found.port, found.prefix, found.name) == (tls, host, port, prefix, name)


def test_the_environment_adds_key_ports_and_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("SSL_CERT_FILE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("QDRANT_API_KEY", "secret")
    monkeypatch.setenv("ITEMREC_TIMEOUT", "7")
    assert Address.parse("http://h").grpc_port == 6334
    found = Address.parse("http://h")
    assert (found.api_key, found.timeout, found.exposed) == ("secret", 7, True)
    assert not Address.parse("https://h").exposed
    assert not Address.parse("http://localhost").exposed
    assert Address.parse("https://h/prefix/name").grpc_port is None
    monkeypatch.setenv("ITEMREC_GRPC_PORT", "0")
    assert Address.parse("http://h").grpc_port is None
    monkeypatch.setenv("ITEMREC_GRPC_PORT", "many")
    with pytest.raises(UsageError, match="ITEMREC_GRPC_PORT"):
        Address.parse("http://h")


def test_a_key_that_would_cross_a_network_in_the_clear_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QDRANT_API_KEY", "secret")
    said: list[str] = []
    index = ServerIndex("http://localhost:1/x", notify=said.append)
    index.collections.address = Address.parse("http://no-such-host.invalid/x")
    monkeypatch.setattr("retrieval.index.server.link.FIRST_PATIENCE", 0.0)
    with pytest.raises(Exception, match="no connection"):
        index.manifest()
    assert any("unencrypted" in line and "secret" not in line for line in said)


def test_authorities_are_read_for_tls_only(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    real = ssl.create_default_context

    def create(*arguments: Any, **options: Any) -> ssl.SSLContext:
        read.append(1)
        return real(*arguments, **options)

    monkeypatch.setattr(ssl, "create_default_context", create)
    connect(Address.parse("http://localhost:1/x"), print, fast=False).close()
    assert read == []
    connect(Address.parse("https://localhost:1/x"), print, fast=False).close()
    assert read


def test_a_collection_is_made_as_the_layout_says(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies: list[dict[str, Any]] = []

    def note(request: double.Request) -> bool:
        if request.method == "PUT" and request.path.endswith("gen-000001"):
            bodies.append(request.body)
        return False

    with double.serving() as server:
        server.before, server.peers = note, 3
        index = ServerIndex(server.url("/sized"), expected=60_000_000, overrides={"shards": 9})
        fill(index, sample_points(5))
    (body,) = bodies
    assert (body["shard_number"], body["replication_factor"], body["write_consistency_factor"]) == (9, 3, 2)
    assert body["vectors"] == {"size": 16, "distance": "Euclid", "on_disk": True}
    assert body["hnsw_config"]["on_disk"] is True
    assert body["quantization_config"]["scalar"]["always_ram"] is True
    assert body["optimizers_config"]["indexing_threshold"] == 0
    assert ("PATCH", "/collections/sized-gen-000001") in server.requests


def clustered(count: int) -> list[Any]:
    """Points of which some products crowd out others: 12 pictures each near a center."""
    points = sample_points(count, per_product=12, seed=4)
    centers = unit_vectors(-(-count // 12), seed=8)
    noise = np.random.default_rng(2).normal(size=(count, 16)) * 0.15
    vectors = normalize(centers[np.arange(count) // 12] + noise)
    return [type(p)(p.record, v) for p, v in zip(points, vectors, strict=True)]


def test_votes_are_those_of_the_embedded_index_in_two_round_trips(tmp_path: Path) -> None:
    points = clustered(600)
    embedded = open_index(str(tmp_path / "index"))
    fill(embedded, points)
    with double.serving() as server:
        index = ServerIndex(server.url("/votes"))
        fill(index, points)
        queries = unit_vectors(25, seed=8) + np.float32(0.05) * unit_vectors(25, seed=9)
        with index.reader() as (remote, _), embedded.reader() as (store, _):
            for query in normalize(queries):
                server.requests.clear()
                theirs = find(remote, query, threshold=1.2, products=5)
                asked = [path for _, path in server.requests]
                ours = find(store, query, threshold=1.2, products=5)
                assert [(m.product_id, m.votes) for m in theirs] == [(m.product_id, m.votes) for m in ours]
                assert [m.score for m in theirs] == pytest.approx([m.score for m in ours], abs=1e-5)
                assert len(theirs) > 0
                assert len(asked) <= 3, asked


def test_metadata_of_many_products_change_in_one_request() -> None:
    points = sample_points(200)
    with double.serving() as server:
        index = ServerIndex(server.url("/meta"))
        fill(index, points)
        server.requests.clear()
        with index.writer(MODEL) as build:
            build.store.set_metadata({p.record.image_id: {"n": p.record.product_id} for p in points})
            build.commit(catalog="/catalog", metadata_keys=("n",))
        assert sum(path.endswith("points/batch") for _, path in server.requests) == 1
        found = contents(index)
    assert all(record.metadata == {"n": record.product_id} for record, _ in found.values())


def test_large_payloads_go_in_requests_that_a_server_accepts() -> None:
    text = "x" * 60_000
    points = [
        type(p)(
            type(p.record)(p.record.image_id, "p", p.record.image, "0" * 64, {str(k): text for k in range(6)}), p.vector
        )
        for p in sample_points(120)
    ]
    sizes: list[int] = []

    def note(request: double.Request) -> bool:
        if request.method == "PUT" and request.path.endswith("/points"):
            sizes.append(int(request.headers["content-length"]))
        return False

    with double.serving() as server:
        server.before = note
        fill(ServerIndex(server.url("/large")), points)
    assert len(sizes) > 1
    assert max(sizes) < 32 * 2**20


def abort(code: grpc.StatusCode, said: str, times: int) -> Callable[[str, Any], None]:
    left = [times]

    def trouble(name: str, context: Any) -> None:
        if name == "Upsert" and left[0] > 0:
            left[0] -= 1
            context.abort(code, said)

    return trouble


def test_grpc_is_tried_again_and_its_errors_are_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    points = sample_points(30)
    with double.serving() as server:
        with grpc_double.serving_grpc(server, abort(grpc.StatusCode.UNAVAILABLE, "node restarts", 2)) as port:
            monkeypatch.setenv("ITEMREC_GRPC_PORT", str(port))
            index = ServerIndex(server.url("/calls"))
            fill(index, points)
            assert index.collections.link.tried_again == 2
            assert len(contents(index)) == 30
            index.close()
        said = "Service internal error: No space left on device"
        with grpc_double.serving_grpc(server, abort(grpc.StatusCode.INTERNAL, said, 99)) as port:
            monkeypatch.setenv("ITEMREC_GRPC_PORT", str(port))
            index = ServerIndex(server.url("/calls"))
            with pytest.raises(DiskFullError), index.writer(MODEL) as build:
                build.store.upsert(points)
            index.close()


def test_a_grpc_port_that_speaks_something_else_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    with double.serving() as server:
        monkeypatch.setenv("ITEMREC_GRPC_PORT", str(server.port))
        index = ServerIndex(server.url("/rest"), notify=said.append)
        fill(index, sample_points(5))
        assert index.collections.link.fast is None
        assert any("using REST" in line for line in said)


def test_doctor_examines_a_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from retrieval.doctor import examine
    from tests.fakes import use_pixel_encoder

    use_pixel_encoder(monkeypatch)
    bundle = fake_bundle(tmp_path / "bundle")
    index = local_index()
    points = sample_points(40, dimension=bundle.dimension)
    fill(index, points, model=bundle.identity)
    checks = {check.name: check for check in examine(index, str(bundle.path))}
    assert checks["index"].healthy
    assert checks["self-retrieval"].healthy
    assert "disk" not in checks
    with index.writer(bundle.identity) as build:
        build.store.delete([points[0].record.image_id])
    unfinished = {check.name: check for check in examine(index, str(bundle.path))}["index"]
    assert not unfinished.healthy
    assert "--rebuild" not in unfinished.hint


def test_without_the_client_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "qdrant_client", None)
    with pytest.raises(UsageError) as caught:
        open_index("http://localhost:6333").manifest()
    assert caught.value.message.startswith("qdrant-client is not installed; the index at http://localhost:6333")
    assert "[server]" in caught.value.hint


def test_the_embedded_index_imports_no_client(tmp_path: Path) -> None:
    """A query pays for what it uses: the client alone takes longer to import than a whole embedded query."""
    program = """
import sys
from cli.main import invoke
from tests.contract.samples import *
from retrieval.index.open import open_index
index = open_index(sys.argv[1])
fill(index, sample_points(20))
with index.reader(index.manifest()) as (store, _):
    store.search(sample_points(1)[0].vector, limit=3, max_distance=4.0)
index.generations(), index.rollback(1)
invoke(["generations", "--index", sys.argv[1]])
invoke(["query", "--help"])
invoke(["index", "--help"])
heavy = {"qdrant_client", "grpc", "httpx", "pydantic"} & set(sys.modules)
assert not heavy, heavy
"""
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "index")], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr

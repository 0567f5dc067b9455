"""A cluster whose nodes die, by several of its addresses: what goes on, what waits, and what is said."""

from __future__ import annotations

import socket

import grpc
import pytest

from retrieval.errors import ServerError, ServerUnreachableError, UsageError
from retrieval.index.server import ServerIndex
from retrieval.index.server.address import Address
from retrieval.index.server.errors import map_error
from tests.contract.samples import MODEL, contents, fill, sample_points
from tests.qdrant import cluster as stand_in
from tests.qdrant import double, grpc_double
from tests.qdrant.cluster import clustered

POINTS = sample_points(40)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("FIRST_PATIENCE", 0.3), ("READ_PATIENCE", 0.4), ("WRITE_PATIENCE", 0.5)):
        monkeypatch.setattr(f"retrieval.index.server.link.{name}", seconds)
    monkeypatch.setenv("ITEMREC_GRPC_PORT", "0")
    monkeypatch.delenv("QDRANT_API_KEY", raising=False)


def write(index: ServerIndex, points: list[object] = POINTS) -> None:  # type: ignore[assignment]
    with index.writer(MODEL) as build:
        build.store.upsert(points)  # type: ignore[arg-type]
        build.commit(catalog="/catalog", metadata_keys=())


def read(index: ServerIndex) -> int:
    with index.reader() as (store, _):
        return len(store.search(POINTS[3].vector, limit=3, max_distance=4.0))


@pytest.mark.parametrize(
    ("given", "reads", "writes"),
    [({}, 2, 1), ({"replicas": 2}, 1, 0), ({"replicas": 2, "write_consistency": 1}, 1, 1)],
    ids=["chosen", "two", "two-one"],
)
def test_what_lost_nodes_stop_is_what_the_layout_says(given: dict[str, int], reads: int, writes: int) -> None:
    """The last node alone is asked, as nodes die one after the other."""
    with clustered() as cluster:
        index = ServerIndex(cluster.nodes[2].url("/shop"), overrides=dict(given))
        fill(index, POINTS)
        for lost in (1, 2):
            cluster.lost = set(range(lost))
            if lost <= reads:
                assert read(index) == 3
            else:
                with pytest.raises(ServerError, match=r"too few nodes of the cluster answer \(node-0 does not\)"):
                    read(index)
            if lost <= writes:
                write(index)
            else:
                with pytest.raises(ServerError, match="too few nodes of the cluster answer") as caught:
                    write(index)
                assert "GET /cluster" in caught.value.hint
        cluster.lost = set()
        write(index)
        assert len(contents(index)) == 40


WORDS = [
    stand_in.NO_READ.format(node=2),
    stand_in.GONE.format(node=2),
    stand_in.NO_NAME,
    stand_in.NOT_ACTIVE,
    stand_in.NO_CONSENSUS,
    stand_in.NO_LEADER,
    stand_in.SILENT,
    stand_in.OLD,
]


def test_every_way_to_say_that_a_node_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """By REST and by gRPC, for a read: one line, and no advice to read a log."""
    monkeypatch.setattr("retrieval.index.server.link.READ_PATIENCE", 0.0)
    said = [""]

    def trouble(name: str, context: grpc.ServicerContext) -> None:
        if name == "Query":
            context.abort(grpc.StatusCode.INTERNAL, said[0])

    def before(request: double.Request) -> bool:
        wrong = request.path.endswith("/points/query")
        if wrong:
            request.refuse(500, said[0])
        return wrong

    with double.serving() as server, grpc_double.serving_grpc(server, trouble) as port:
        fill(ServerIndex(server.url("/shop")), POINTS)
        server.before = before
        for grpc_port in (0, port):
            monkeypatch.setenv("ITEMREC_GRPC_PORT", str(grpc_port))
            index = ServerIndex(server.url("/shop"))
            for said[0] in WORDS:
                with pytest.raises(ServerError, match=r"Cannot search at .*: too few nodes of the cluster answer") as e:
                    read(index)
                assert "\n" not in e.value.message
                assert "log" not in e.value.hint
            assert (index.collections.link.fast is not None) is (grpc_port > 0)
            index.close()


def test_what_breaks_on_a_node_that_answers_is_not_called_a_missing_node() -> None:
    from qdrant_client.http.exceptions import UnexpectedResponse

    body = b'{"status":{"error":"Service internal error: 1 of 1 read operations failed:\\n  task panicked"}}'
    failure = map_error(UnexpectedResponse(500, "", body, None), "search", "http://h")  # type: ignore[arg-type]
    assert failure is not None
    assert "panicked" in failure.error.message
    assert "too few" not in failure.error.message


def test_several_addresses_the_next_is_asked_when_one_dies(capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    with clustered() as cluster:
        index = ServerIndex(cluster.url("shop"), notify=said.append)
        fill(index, POINTS)
        assert not cluster.nodes[1].requests or {p for _, p in cluster.nodes[1].requests} == {"/cluster"}
        cluster.lost = {0}
        assert read(index) == 3
        write(index)
        assert sum("asking" in line for line in said) == 1, said
        asked = len(cluster.nodes[0].requests)
        assert read(index) == 3
        assert len(cluster.nodes[0].requests) == asked, "who died is not asked again while another one answers"
        cluster.lost = {1, 2}
        assert read(index) == 3
        # Found dead at the start: the first that answers.
        cluster.lost = {0}
        late = ServerIndex(cluster.url("shop"))
        assert read(late) == 3
        assert len(contents(late)) == 40


def test_of_several_addresses_what_the_last_one_that_answers_says_is_told() -> None:
    with clustered() as cluster:
        index = ServerIndex(cluster.url("shop"), overrides={"replicas": 2})
        fill(index, POINTS)
        for alive in range(3):
            cluster.lost = {0, 1, 2} - {alive}
            with pytest.raises(ServerError, match="too few nodes of the cluster answer"):
                read(index)


def test_several_addresses_over_grpc_where_the_node_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with clustered(2) as cluster, grpc_double.serving_grpc(cluster.nodes[0]) as port:
        fill(ServerIndex(cluster.nodes[0].url("/shop")), POINTS)
        monkeypatch.setenv("ITEMREC_GRPC_PORT", str(port))
        index = ServerIndex(cluster.url("shop"))
        assert read(index) == 3
        assert ("gRPC", "Query") in cluster.nodes[0].requests
        index.close()


def test_no_address_answers_and_all_are_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = [s.getsockname()[1] for s in (one, two)]
    with pytest.raises(ServerUnreachableError, match="none of 2 addresses answers") as caught:
        ServerIndex(",".join(f"http://127.0.0.1:{p}/shop" for p in ports)).manifest()
    assert all(f"127.0.0.1:{p}: no connection" in caught.value.message for p in ports)


def test_addresses_of_two_clusters_are_refused() -> None:
    with clustered(2) as one, clustered(2) as other, double.serving() as alone:
        for node in other.nodes:
            node.first_peer = 7
        for second, word in ((other.nodes[0], "no node in common"), (alone, "is no node of a cluster")):
            with pytest.raises(UsageError, match=word):
                ServerIndex(f"{one.nodes[0].url('/shop')},{second.url()}").manifest()
        one.lost = {1}
        assert ServerIndex(one.url("shop")).manifest() is None, "who does not answer cannot be told"


def test_a_wrong_key_is_told_and_the_next_address_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    from retrieval.errors import AccessDeniedError

    monkeypatch.setenv("QDRANT_API_KEY", "wrong")
    with clustered(2) as cluster:

        def deny(request: double.Request) -> bool:
            request.answer(401, b"Must provide an API key or an Authorization bearer token")
            return True

        cluster.nodes[0].before = deny
        with pytest.raises(AccessDeniedError, match=str(cluster.nodes[0].port)):
            ServerIndex(cluster.url("shop")).manifest()
        assert cluster.nodes[1].requests == []


def test_a_key_that_may_not_see_the_cluster_lays_out_for_one_node_and_says_so() -> None:
    said: list[str] = []
    with clustered() as cluster:

        def deny(request: double.Request) -> bool:
            wrong = request.path == "/cluster"
            if wrong:
                request.refuse(403, "Forbidden: Global access is required")
            return wrong or cluster.before(0, request)

        cluster.nodes[0].before = deny
        fill(ServerIndex(cluster.nodes[0].url("/shop"), notify=said.append), POINTS)
        assert cluster.layouts["shop-gen-000001"] == (1, 1)
        assert any("--nodes" in line for line in said)
        fill(ServerIndex(cluster.nodes[0].url("/other"), notify=said.append, nodes=3), POINTS)
        assert cluster.layouts["other-gen-000001"] == (3, 2)


def test_how_several_addresses_are_written() -> None:
    named = Address.parse_all("http://a:6333/shop, http://b:6333,http://c/")
    assert [(a.host, a.name) for a in named] == [("a", "shop"), ("b", "shop"), ("c", "shop")]
    assert [a.name for a in Address.parse_all("http://a,http://b")] == ["itemrec", "itemrec"]
    for text, word in (
        ("http://a/shop,http://b/other", "one index"),
        ("http://a/shop,http://a:6333", "twice"),
        ("http://a/shop,", "URL"),
        ("http://a/shop,b:6333", "URL"),
        ("http://a/shop,http://u:secret@b", "without user"),
    ):
        with pytest.raises(UsageError, match=word) as caught:
            Address.parse_all(text)
        assert "secret" not in caught.value.message

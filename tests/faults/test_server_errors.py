"""Servers that misbehave on a real socket: every failure is one clear line and the right exit code, nothing is lost."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cli import options
from cli.main import invoke
from retrieval.errors import ServerError, ServerUnreachableError
from retrieval.index.server import ServerIndex
from tests.contract.samples import MODEL, OTHER_MODEL, contents, fill, sample_points
from tests.fakes import fake_bundle, picture, use_pixel_encoder, write_catalog
from tests.qdrant import double
from tests.qdrant.double import Double, Request

POINTS = sample_points(40)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("FIRST_PATIENCE", 0.5), ("READ_PATIENCE", 0.7), ("WRITE_PATIENCE", 1.0)):
        monkeypatch.setattr(f"retrieval.index.server.link.{name}", seconds)
    # A busy machine is no failure: only the test of a server that hangs waits for so short a time.
    monkeypatch.setenv("ITEMREC_TIMEOUT", "60")
    monkeypatch.delenv("QDRANT_API_KEY", raising=False)


@pytest.fixture
def server() -> Iterator[Double]:
    with double.serving() as running:
        yield running


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalog, a model and a photo; the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ITEMREC_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ITEMREC_INDEX", raising=False)
    monkeypatch.delenv("ITEMREC_MODEL", raising=False)
    options._config.cache_clear()
    use_pixel_encoder(monkeypatch)
    write_catalog(tmp_path / "catalog", products=4, views=3)
    fake_bundle(tmp_path / "bundle")
    picture(2, view=9).save(tmp_path / "known.png")
    return tmp_path


Run = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def go(*words: str) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = invoke([*words, "--json"])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        document = json.loads(out)
        if code > 1:
            assert "\n" not in document["message"]
            assert document["hint"]
        return code, document

    return go


@contextmanager
def listening(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """A socket that talks as it is told, as a URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def accept() -> None:
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                talk(connection)

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    over.set()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


def hang(connection: socket.socket) -> None:
    time.sleep(1.5)


def garbage(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")


def page(connection: socket.socket) -> None:
    connection.recv(65536)
    body = b"<html>It works!</html>"
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body))


def cut(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"title": "qdr')


@pytest.mark.parametrize(
    ("talk", "name", "code"),
    [
        (hang, "ServerUnreachableError", 3),
        (garbage, "ServerUnsuitableError", 2),
        (page, "ServerUnsuitableError", 2),
        (cut, "ServerUnreachableError", 3),
    ],
)
def test_what_is_no_qdrant_server(
    shop: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    talk: Callable[[socket.socket], None],
    name: str,
    code: int,
) -> None:
    monkeypatch.setenv("ITEMREC_TIMEOUT", "1" if talk is hang else "60")
    with listening(talk) as url:
        exits, error = run("query", "known.png", "--index", url)
    assert (exits, error["error"]) == (code, name), error


def test_nobody_listens(shop: Path, run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    code, error = run("query", "known.png", "--index", f"http://127.0.0.1:{port}")
    assert (code, error["error"]) == (3, "ServerUnreachableError")
    assert "running" in error["hint"]
    code, error = run("query", "known.png", "--index", "http://no-such-host.invalid:6333")
    assert (code, error["error"]) == (3, "ServerUnreachableError")


@pytest.mark.parametrize(
    "url", ["http://:6333", "https://h/x y", "http://user:secret@h:6333", "http://h:99999", "http://h/?a=1", "s3://b/x"]
)
def test_urls_that_are_none(shop: Path, run: Run, url: str) -> None:
    code, error = run("query", "known.png", "--index", url)
    assert (code, error["error"]) == (2, "UsageError")
    assert "secret" not in json.dumps(error)


def test_tls_that_is_not_trusted_or_not_there(shop: Path, run: Run, server: Double) -> None:
    code, error = run("query", "known.png", "--index", f"https://127.0.0.1:{server.port}")
    assert (code, error["error"]) == (3, "ServerUnreachableError")
    assert "TLS" in error["message"]


def test_an_old_server(shop: Path, run: Run, server: Double) -> None:
    server.version = "1.9.7"
    code, error = run("query", "known.png", "--index", server.url())
    assert (code, error["error"]) == (2, "ServerUnsuitableError")
    assert "1.9.7" in error["message"]
    assert "1.16" in error["message"]


def test_a_wrong_key_and_the_right_one(shop: Path, run: Run, server: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    def guard(request: Request) -> bool:
        if request.headers.get("api-key") == "right" or request.path == "/":
            return False
        request.answer(401, b"Must provide an API key or an Authorization bearer token")
        return True

    server.before = guard
    for key in (None, "wrong"):
        if key:
            monkeypatch.setenv("QDRANT_API_KEY", key)
        code, error = run("index", "catalog", "--model", "bundle", "--index", server.url())
        assert (code, error["error"]) == (2, "AccessDeniedError")
        assert "QDRANT_API_KEY" in error["hint"]
        assert "wrong" not in json.dumps(error)
    monkeypatch.setenv("QDRANT_API_KEY", "right")
    code, report = run("index", "catalog", "--model", "bundle", "--index", server.url())
    assert (code, report["images"]) == (0, 12)


def test_a_collection_of_another_program(shop: Path, run: Run, server: Double) -> None:
    from qdrant_client import models

    server.client.create_collection(
        "itemrec", vectors_config=models.VectorParams(size=4, distance=models.Distance.COSINE)
    )
    for words in (("query", "known.png"), ("index", "catalog", "--model", "bundle"), ("index", "catalog", "--rebuild")):
        code, error = run(*words, "--index", server.url())
        assert (code, error["error"]) == (2, "UsageError")
        assert "another program" in error["message"]


def test_a_collection_of_another_model(shop: Path, run: Run, server: Double) -> None:
    run("index", "catalog", "--model", "bundle", "--index", server.url())
    fake_bundle(shop / "other", name="other", encoder=b"other")
    for words in (("index", "catalog", "--model", "other"), ("query", "known.png", "--model", "other")):
        code, error = run(*words, "--index", server.url())
        assert (code, error["error"]) == (2, "ModelMismatchError")
        assert "--rebuild" in error["hint"]


NO_QUORUM = "Service internal error: The replica set for shard 1 on peer 4 does not have enough active replicas"
FULL = "Service internal error: No space left on device: WAL buffer size exceeds available disk space"
READ_ONLY = "Service internal error: IO Error: Read-only file system (os error 30)"


@pytest.mark.parametrize(
    ("status", "said", "name", "word"),
    [
        (500, "Service internal error: task panicked", "ServerError", "panicked"),
        (503, "Service unavailable", "ServerError", "503"),
        (429, "Rate limiting exceeded", "ServerError", "429"),
        (500, NO_QUORUM, "ServerError", "too few nodes"),
        (500, FULL, "DiskFullError", "Disk full on the server"),
        (500, READ_ONLY, "DiskFullError", "read-only"),
    ],
)
def test_a_server_that_cannot_write(
    shop: Path, run: Run, server: Double, status: int, said: str, name: str, word: str
) -> None:
    def fail(request: Request) -> bool:
        if request.method == "PUT" and request.path.endswith("/points"):
            request.refuse(status, said)
            return True
        return False

    server.before = fail
    code, error = run("index", "catalog", "--model", "bundle", "--index", server.url())
    assert (code, error["error"]) == (3, name)
    assert word in error["message"]
    tries = server.requests.count(("PUT", "/collections/itemrec-gen-000001/points"))
    assert (tries > 1) is (name == "ServerError"), "a full disk is not tried again"
    server.before = lambda request: False
    code, report = run("index", "catalog", "--model", "bundle", "--index", server.url())
    assert (code, report["images"], report["resumed"]) == (0, 12, True)


def test_what_is_over_in_a_moment_is_tried_again_and_loses_nothing(server: Double) -> None:
    """Every kind of failure in turn, at every third request, while an index is built."""
    seen = 0

    def trouble(request: Request) -> bool:
        nonlocal seen
        seen += 1
        if request.path == "/" or seen % 3:
            return False
        kind = seen // 3 % 4
        if kind == 0:
            request.refuse(503, "Service unavailable")
        elif kind == 1:
            request.refuse(429, "Rate limiting exceeded", Retry_After="0")
        elif kind == 2:
            request.reset()
        else:
            request.reset(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        return True

    server.before = trouble
    index = ServerIndex(server.url("/flaky"))
    with index.writer(MODEL) as build:
        index.collections.link.write_patience = index.collections.link.read_patience = 30.0
        for start in range(0, 40, 4):
            build.store.upsert(POINTS[start : start + 4])
        build.store.delete([POINTS[0].record.image_id])
        build.commit(catalog="/catalog", metadata_keys=())
    assert index.collections.link.tried_again > 5
    server.before = lambda request: False
    expected = {p.record.image_id: (p.record, p.vector.tobytes()) for p in POINTS[1:]}
    assert contents(index) == expected


def test_answers_that_are_lost_on_their_way_repeat_nothing(server: Double) -> None:
    """The server carries everything out and its answer is cut: creating, writing and switching can be repeated."""
    lost: set[tuple[str, str]] = set()

    def cut_once(request: Request) -> bool:
        key = (request.method, request.path)
        if request.method == "GET" or key in lost:
            return False
        lost.add(key)
        request.reset()
        return True

    server.after = cut_once
    index = ServerIndex(server.url("/lost"))
    fill(index, POINTS)
    fill(index, POINTS[:10], model=OTHER_MODEL, rebuild=True)
    assert len(lost) > 8
    assert [(g.number, g.state, g.images) for g in index.generations()] == [(1, "kept", 40), (2, "live", 10)]
    assert len(contents(index)) == 10


def test_a_server_that_dies_while_writing_is_told_and_the_next_run_completes(server: Double) -> None:
    index = ServerIndex(server.url("/dying"))
    written = 0

    def die(request: Request) -> bool:
        nonlocal written
        written += request.method == "PUT" and request.path.endswith("/points")
        if written > 2:
            request.reset()
        return written > 2

    server.before = die
    with index.writer(MODEL) as build:
        build.store.upsert(POINTS[:10])
        build.store.upsert(POINTS[10:20])
        with pytest.raises(ServerUnreachableError):
            build.store.upsert(POINTS[20:30])
    server.before = lambda request: False
    with index.writer(MODEL) as build:
        assert build.resumed
        known = {r.image_id for r in build.store.records()}
        assert len(known) == 20
        build.store.upsert([p for p in POINTS if p.record.image_id not in known])
        build.commit(catalog="/catalog", metadata_keys=())
    assert contents(index) == {p.record.image_id: (p.record, p.vector.tobytes()) for p in POINTS}


def test_a_writer_that_died_elsewhere_is_forgotten_after_a_minute(
    server: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    from retrieval.errors import IndexBusyError
    from retrieval.index.server.lease import Note

    index = ServerIndex(server.url("/lease"))
    fill(index, POINTS)
    collection = index.collections.name(1)
    with index.writer(MODEL):
        (note,) = Note.read(server.client.get_collection(collection).config.metadata)
        elsewhere = Note("other", note.beat, type(note.holder)(1, "another-host", note.holder.since, "indexing", 5, 9))
    server.client.update_collection(collection, metadata=elsewhere.to_metadata())
    with pytest.raises(IndexBusyError, match=r"another-host .*5 of 9 pictures"), index.writer(MODEL):
        pass
    server.client.update_collection(collection, metadata=Note("other", note.beat - 61, elsewhere.holder).to_metadata())
    with index.writer(MODEL) as build:
        assert build.store.count() == 40


def test_a_lost_alias_is_told_and_mended(server: Double) -> None:
    from qdrant_client import models

    from retrieval.errors import IndexDamagedError

    index = ServerIndex(server.url("/alias"))
    fill(index, POINTS)
    gone = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name="alias"))
    server.client.update_collection_aliases([gone])
    with pytest.raises(IndexDamagedError) as caught:
        index.manifest()
    assert "itemrec rollback --to 1" in caught.value.hint
    index.rollback(1)
    assert len(contents(index)) == 40


def test_a_server_that_cannot_build_its_graph(server: Double) -> None:
    index = ServerIndex(server.url("/red"))

    def red(request: Request) -> bool:
        if request.method == "GET" and request.path == "/collections/red-gen-000001":
            info = server.client.get_collection("red-gen-000001").model_dump(mode="json")
            info |= {"status": "yellow", "optimizer_status": {"error": "out of memory"}}
            request.answer(200, json.dumps({"result": info, "status": "ok", "time": 0.0}).encode())
            return True
        return False

    with index.writer(MODEL) as build:
        build.store.upsert(POINTS)
        server.before = red
        with pytest.raises(ServerError, match="out of memory"):
            build.commit(catalog="/catalog", metadata_keys=())
        server.before = lambda request: False
    assert index.manifest() is None

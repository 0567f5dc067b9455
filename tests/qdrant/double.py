"""A stand-in for a Qdrant server on the loopback: the part of its REST interface that itemrec uses, over local mode.

It answers with qdrant-client's local mode, so that a real client talks through a real socket; it is no measure of a
server's speed. `Double.before` sees every request first and may misbehave. Run alone, for tests that kill it:
``python -m tests.qdrant.double PORT [DIRECTORY]`` keeps its collections in a directory.
"""

from __future__ import annotations

import functools
import json
import re
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from qdrant_client import QdrantClient, models
from qdrant_client.embed import type_inspector

VERSION = "1.16.0"

# Each client copies a description of all messages, which takes longer than most tests: they share one.
type_inspector.ModelSchemaParser = functools.cache(type_inspector.ModelSchemaParser)  # type: ignore[misc, assignment]


@dataclass
class Request:
    """One request, before it is answered."""

    method: str
    path: str
    body: Any
    headers: dict[str, str]
    handler: _Handler

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.handler.respond(status, body, headers)

    def refuse(self, status: int, error: str, **headers: str) -> None:
        self.answer(status, json.dumps({"status": {"error": error}, "time": 0.0}).encode(), **headers)

    def reset(self, after: bytes = b"") -> None:
        """Cut the connection, after some bytes if wanted, with a TCP reset."""
        connection = self.handler.connection
        if after:
            connection.sendall(after)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.handler.close_connection = True
        connection.close()


Before = Callable[[Request], bool]


@dataclass
class Double:
    """A server that runs.

    Attributes:
        port: where it listens.
        client: what it answers from.
        before: called with every request; True when it has dealt with it.
        after: called when the request was carried out; True to keep the answer from being sent.
        requests: method and path of everything that came.
        version: what it says it is.
        peers: nodes of its cluster; 0 where it is no node of one.
        first_peer: the id of the first of them: two clusters have no id in common.
    """

    port: int
    client: QdrantClient
    before: Before = lambda request: False
    after: Before = lambda request: False
    requests: list[tuple[str, str]] = field(default_factory=list)
    version: str = VERSION
    peers: int = 0
    first_peer: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def url(self, path: str = "") -> str:
        return f"http://127.0.0.1:{self.port}{path}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    disable_nagle_algorithm = True

    def log_message(self, *words: object) -> None:
        pass

    def respond(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json"} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _any(self) -> None:
        double = self.server.double
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length)
        path = unquote(urlsplit(self.path).path)
        request = Request(
            self.command, path, json.loads(raw) if raw else {}, {k.lower(): v for k, v in self.headers.items()}, self
        )
        double.requests.append((self.command, path))
        try:
            if double.before(request):
                return
            try:
                with double.lock:
                    result = answer(double, request)
            except KeyError as error:
                request.refuse(404, f"Not found: {error.args[0]}")
                return
            except ValueError as error:
                text = str(error)
                if re.fullmatch(r"Collection .* not found", text):
                    request.refuse(404, f"Not found: {text.replace('not found', chr(39) + 't exist')}")
                else:
                    request.refuse(409 if "already exists" in text else 400, f"Wrong input: {text}")
                return
            if double.after(request):
                return
            document = result if path == "/" else {"result": result, "status": "ok", "time": 0.0}
            request.answer(200, json.dumps(document).encode())
        except OSError:
            self.close_connection = True

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _any


def plain(value: Any) -> Any:
    """As JSON carries it."""
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value


UPDATED = {"operation_id": 0, "status": "completed"}


def answer(double: Double, request: Request) -> Any:
    """What Qdrant would answer.

    Raises:
        KeyError: there is no such thing.
        ValueError: the request is wrong.
    """
    client, body, method = double.client, request.body, request.method
    steps = [s for s in request.path.split("/") if s]
    if not steps:
        return {"title": "qdrant - vector search engine", "version": double.version}
    if steps == ["cluster"]:
        if not double.peers:
            return {"status": "disabled"}
        peers = {
            str(n): {"uri": f"http://node-{n}:6335/"}
            for n in range(double.first_peer, double.first_peer + double.peers)
        }
        raft = {"term": 1, "commit": 1, "pending_operations": 0, "is_voter": True}
        working = {"consensus_thread_status": "working", "last_update": "2025-01-01T00:00:00Z"}
        return {
            "status": "enabled",
            "peer_id": double.first_peer,
            "peers": peers,
            "raft_info": raft,
            "consensus_thread_status": working,
            "message_send_failures": {},
        }
    if steps == ["aliases"]:
        return plain(client.get_aliases())
    if steps == ["collections"]:
        return plain(client.get_collections())
    if steps == ["collections", "aliases"]:
        return client.update_collection_aliases(models.ChangeAliasesOperation(**body).actions)
    if steps[0] != "collections":
        raise KeyError(request.path)
    name, rest = steps[1], "/".join(steps[2:])
    if rest == "":
        return _collection(client, method, name, body)
    if rest == "index":
        client.create_payload_index(name, body["field_name"], body["field_schema"])
        return UPDATED
    if not rest.startswith("points") and rest != "facet":
        raise KeyError(request.path)
    return _points(client, method, name, rest.removeprefix("points").strip("/"), body)


def _collection(client: QdrantClient, method: str, name: str, body: Any) -> Any:
    if method == "GET":
        return plain(client.get_collection(name))
    if method == "DELETE":
        return client.delete_collection(name)
    if method == "PATCH":
        client.get_collection(name)
        return client.update_collection(name, metadata=body.get("metadata"))
    wanted = models.CreateCollection(**body)
    return client.create_collection(name, vectors_config=wanted.vectors, metadata=wanted.metadata)


def _points(client: QdrantClient, method: str, name: str, rest: str, body: Any) -> Any:
    if rest == "" and method == "PUT":
        batch = models.PointsBatch(**body).batch if "batch" in body else models.PointsList(**body).points
        client.upsert(name, batch)
        return UPDATED
    if rest == "" and method == "POST":
        return plain(
            client.retrieve(
                name, body["ids"], with_payload=body["with_payload"], with_vectors=bool(body["with_vector"])
            )
        )
    if rest == "delete":
        client.delete(name, models.PointIdsList(points=body["points"]))
        return UPDATED
    if rest == "batch":
        operations = models.UpdateOperations(**body).operations
        return plain(client.batch_update_points(name, operations))
    if rest == "count":
        return plain(client.count(name, exact=True))
    if rest == "scroll":
        wanted = models.ScrollRequest(**body)
        points, following = client.scroll(
            name,
            scroll_filter=wanted.filter,
            limit=wanted.limit or 10,
            offset=wanted.offset,
            with_payload=wanted.with_payload,
            with_vectors=bool(wanted.with_vector),
        )
        return {"points": plain(points), "next_page_offset": following}
    if rest == "query":
        return plain(_query(client, name, models.QueryRequest(**body)))
    if rest == "query/batch":
        return plain([_query(client, name, models.QueryRequest(**search)) for search in body["searches"]])
    if rest == "facet":
        return plain(client.facet(name, key=body["key"], limit=body["limit"], exact=True))
    raise KeyError(rest)


def _query(client: QdrantClient, name: str, wanted: models.QueryRequest) -> Any:
    return client.query_points(
        name,
        query=wanted.query,
        limit=wanted.limit or 10,
        query_filter=wanted.filter,
        search_params=models.SearchParams(exact=True),
        score_threshold=wanted.score_threshold,
        with_payload=bool(wanted.with_payload),
    )


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    double: Double

    def handle_error(self, *words: object) -> None:
        pass


def _start(port: int, location: str) -> _Server:
    where = {"location": location} if location == ":memory:" else {"path": location}
    server = _Server(("127.0.0.1", port), _Handler)
    client = QdrantClient(**where, force_disable_check_same_thread=True)
    server.double = Double(server.server_address[1], client)
    return server


@contextmanager
def serving(location: str = ":memory:") -> Iterator[Double]:
    """Run one in this process until the context is left."""
    server = _start(0, location)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.double
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


if __name__ == "__main__":
    running = _start(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ":memory:")
    print(running.double.port, flush=True)
    running.serve_forever(poll_interval=0.05)

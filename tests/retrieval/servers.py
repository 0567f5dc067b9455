"""An HTTP server on the loopback that does exactly what a test tells it, right or wrong."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

TLS = Path(__file__).parent.parent / "fixtures" / "tls"


@dataclass
class Request:
    """What arrived, and the line to the client."""

    path: str
    headers: dict[str, str]
    connection: socket.socket
    number: int
    closed: threading.Event
    method: str = "GET"

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def answer(self, body: bytes = b"", status: str = "200 OK", length: int | None = None, **headers: str) -> None:
        fields = {"Content-Length": str(len(body) if length is None else length), "Connection": "close"}
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        head = f"HTTP/1.1 {status}\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields.items()) + "\r\n"
        self.send(head.encode() + (b"" if self.method == "HEAD" else body))

    def serve(self, content: bytes, **headers: str) -> None:
        """Answer as a proper server does, ranges included."""
        start = self.range_start()
        if start is None or headers.get("ETag", "") != self.headers.get("if-range", headers.get("ETag", "")):
            self.answer(content, **headers)
        elif start >= len(content):
            self.answer(status="416 Range Not Satisfiable", Content_Range=f"bytes */{len(content)}")
        else:
            span = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self.answer(content[start:], "206 Partial Content", Content_Range=span, **headers)

    def range_start(self) -> int | None:
        value = self.headers.get("range", "")
        return int(value.removeprefix("bytes=").removesuffix("-")) if value else None

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


Handler = Callable[[Request], None]


@dataclass
class Server:
    handler: Handler
    port: int
    scheme: str = "http"
    requests: list[Request] = field(default_factory=list)

    def url(self, path: str = "/model.tflite", host: str = "127.0.0.1", userinfo: str = "") -> str:
        return f"{self.scheme}://{userinfo}{host}:{self.port}{path}"


@contextmanager
def serving(handler: Handler, *, tls: bool = False, family: int = socket.AF_INET) -> Iterator[Server]:
    """Run a server until the context is left."""
    listener = socket.socket(family)
    listener.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
    listener.listen()
    server = Server(handler, listener.getsockname()[1], "https" if tls else "http")
    over = threading.Event()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if tls else None
    if context is not None:
        context.load_cert_chain(TLS / "models.example.crt", TLS / "models.example.key")

    def talk(connection: socket.socket) -> None:
        try:
            connection.settimeout(30)
            if context is not None:
                connection = context.wrap_socket(connection, server_side=True)
            received = b""
            while b"\r\n\r\n" not in received:
                data = connection.recv(65536)
                if not data:
                    return
                received += data
            lines = received.decode("latin-1").split("\r\n\r\n")[0].split("\r\n")
            headers = {k.strip().lower(): v.strip() for k, v in (line.split(":", 1) for line in lines[1:])}
            request = Request(lines[0].split()[1], headers, connection, len(server.requests), over, lines[0].split()[0])
            server.requests.append(request)
            server.handler(request)
        except OSError:  # the client has gone, or does not trust us: both are what some tests want
            pass
        finally:
            connection.close()

    def accept() -> None:
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        over.set()
        # Wakes a blocked accept() on every platform.
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)

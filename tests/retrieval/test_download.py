from __future__ import annotations

import gzip
import hashlib
import os
import re
import shutil
import socket
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from filelock import FileLock

from retrieval import addresses, download
from retrieval.addresses import NameNotResolvedError, is_public
from retrieval.download import Downloaded, Patience, fetch
from retrieval.errors import DownloadError, UsageError
from retrieval.guarded import parse_url, shown
from tests.retrieval.servers import TLS, Request, Server, serving

CONTENT = bytes(range(256)) * 1000 + b"the end"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
QUICK = Patience(connect=2, read=0.5, window=0.3, slowest=1000, backoff=0.01, attempts=4)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("SSL_CERT"):
            monkeypatch.delenv(name)


def get(server: Server | str, dest: Path, **options: Any) -> Downloaded:
    url = server if isinstance(server, str) else server.url()
    values = {"sha256": SHA256, "allow_private": True, "patience": QUICK}
    return fetch(url, dest, **(values | options))


def part_of(dest: Path) -> Path:
    return dest.with_name(f".{dest.name}.{SHA256[:16]}.part")


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def ok(request: Request) -> None:
    request.serve(CONTENT, ETag='"1"')


def test_a_file_arrives(tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    with serving(ok) as server:
        got = get(server, tmp_path / "m", progress=lambda done, total: told.append((done, total)))
        assert got == Downloaded(tmp_path / "m", len(CONTENT), len(CONTENT))
        assert server.requests[0].headers["accept-encoding"] == "identity"
        assert server.requests[0].headers["host"] == f"127.0.0.1:{server.port}"
        assert "range" not in server.requests[0].headers
    assert (tmp_path / "m").read_bytes() == CONTENT
    assert told[0] == (0, len(CONTENT))
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert files(tmp_path) == ["m"]


def test_a_file_that_is_there_is_not_fetched(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(CONTENT)
    with serving(ok) as server:
        assert get(server, tmp_path / "m", sha256=SHA256.upper()).fetched == 0
        assert server.requests == []


def test_a_file_of_another_content_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"old")
    with serving(ok) as server:
        get(server, tmp_path / "m")
    assert (tmp_path / "m").read_bytes() == CONTENT


def test_a_body_of_unknown_length(tmp_path: Path) -> None:
    def chunked(request: Request) -> None:
        request.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(CONTENT), 50_000):
            piece = CONTENT[start : start + 50_000]
            request.send(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        request.send(b"0\r\n\r\n")

    with serving(chunked) as server:
        assert get(server, tmp_path / "m").size == len(CONTENT)


@pytest.mark.parametrize("sha256", ["", "abc", "0" * 63, "g" * 64, "0" * 65, f"{SHA256}\n0"])
def test_a_hash_is_required(tmp_path: Path, sha256: str) -> None:
    with pytest.raises(UsageError, match="64 hex digits"):
        get("https://127.0.0.1:1/m", tmp_path / "m", sha256=sha256)


def test_another_content_is_refused_and_not_kept(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"old")
    with serving(lambda request: request.answer(CONTENT[:-1] + b"!")) as server:
        with pytest.raises(DownloadError, match=f"expected SHA-256 {SHA256}"):
            get(server, tmp_path / "m")
        assert len(server.requests) == 1
    assert (tmp_path / "m").read_bytes() == b"old"
    assert files(tmp_path) == ["m"]


# -- interrupted and continued


@pytest.mark.parametrize("etag", ['"1"', 'W/"1"', None])
def test_a_reset_in_the_middle_is_continued(tmp_path: Path, etag: str | None) -> None:
    def resetting(request: Request) -> None:
        headers = {"ETag": etag} if etag else {"Last_Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
        if request.number == 0:
            request.answer(CONTENT[:100_000], length=len(CONTENT), **headers)
            request.reset()
        else:
            start = request.range_start() or 0
            span = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
            request.answer(CONTENT[start:], "206 Partial Content", Content_Range=span)

    with serving(resetting) as server:
        got = get(server, tmp_path / "m")
        second = server.requests[1].headers
    assert got.size == len(CONTENT)
    if second.get("range"):  # the reset may have overtaken the first bytes
        assert got.fetched == len(CONTENT)
        want = {'"1"': '"1"', 'W/"1"': None, None: "Mon, 01 Jan 2024 00:00:00 GMT"}[etag]
        assert second.get("if-range") == want


def test_a_file_that_changed_in_between_is_fetched_anew(tmp_path: Path) -> None:
    def changing(request: Request) -> None:
        if request.number == 0:
            request.answer(b"?" * 100_000, length=len(CONTENT), ETag='"old"')
        else:
            request.serve(CONTENT, ETag='"new"')

    with serving(changing) as server:
        get(server, tmp_path / "m")
        assert len(server.requests) == 2
        assert server.requests[1].headers["if-range"] == '"old"'
    assert (tmp_path / "m").read_bytes() == CONTENT


def test_a_later_run_continues(tmp_path: Path) -> None:
    part_of(tmp_path / "m").write_bytes(CONTENT[:200_000])
    with serving(ok) as server:
        got = get(server, tmp_path / "m")
        assert server.requests[0].headers["range"] == "bytes=200000-"
    assert got == Downloaded(tmp_path / "m", len(CONTENT), len(CONTENT) - 200_000)
    assert (tmp_path / "m").read_bytes() == CONTENT
    assert files(tmp_path) == ["m"]


def test_a_server_that_ignores_ranges_starts_over(tmp_path: Path) -> None:
    part_of(tmp_path / "m").write_bytes(b"?" * 300_000)
    with serving(lambda request: request.answer(CONTENT)) as server:
        assert get(server, tmp_path / "m").fetched == len(CONTENT)
        assert len(server.requests) == 1
    assert (tmp_path / "m").read_bytes() == CONTENT


def test_pieces_that_do_not_fit_are_fetched_once_more(tmp_path: Path) -> None:
    part_of(tmp_path / "m").write_bytes(b"?" * 1000)
    with serving(ok) as server:
        get(server, tmp_path / "m")
        assert ["range" in request.headers for request in server.requests] == [True, False]
    assert (tmp_path / "m").read_bytes() == CONTENT


def test_pieces_of_a_wrong_file_end_in_an_error(tmp_path: Path) -> None:
    part_of(tmp_path / "m").write_bytes(b"?" * 1000)
    with serving(lambda request: request.serve(b"!" * 5000)) as server:
        with pytest.raises(DownloadError, match="SHA-256"):
            get(server, tmp_path / "m")
        assert len(server.requests) == 2
    assert files(tmp_path) == []


@pytest.mark.parametrize("extra", [b"", b"more than there is"])
def test_416_for_a_complete_or_a_wrong_part(tmp_path: Path, extra: bytes) -> None:
    part_of(tmp_path / "m").write_bytes(CONTENT + extra)
    with serving(ok) as server:
        assert get(server, tmp_path / "m").fetched == (len(CONTENT) if extra else 0)
    assert (tmp_path / "m").read_bytes() == CONTENT


@pytest.mark.parametrize("span", ["bytes 5-10/11", "bytes 0-255/256", "nonsense", "", "bytes 1000-x/y", "bytes */7"])
def test_a_range_that_was_not_asked_for(tmp_path: Path, span: str) -> None:
    part_of(tmp_path / "m").write_bytes(CONTENT[:1000])
    answer = {"Content_Range": span} if span else {}
    with (
        serving(lambda request: request.answer(b"??????", "206 Partial Content", **answer)) as server,
        pytest.raises(DownloadError, match="not asked for"),
    ):
        get(server, tmp_path / "m")
    assert part_of(tmp_path / "m").read_bytes() == CONTENT[:1000]


def test_a_server_that_always_breaks_is_given_up_and_what_came_is_kept(tmp_path: Path) -> None:
    def half(request: Request) -> None:
        start = request.range_start() or 0
        if start:
            request.reset()
        else:
            request.answer(CONTENT[:1000], length=len(CONTENT))

    with serving(half) as server:
        with pytest.raises(DownloadError, match="to arrive") as caught:
            get(server, tmp_path / "m")
        assert len(server.requests) == QUICK.attempts
    assert "continues" in caught.value.hint
    assert part_of(tmp_path / "m").read_bytes() == CONTENT[:1000]


def test_progress_earns_further_attempts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_PROGRESS_THAT_COUNTS", 20_000)

    def pieces(request: Request) -> None:
        start = request.range_start() or 0
        piece = CONTENT[start : start + 30_000]
        span = {"Content_Range": f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"} if start else {}
        request.answer(piece, "206 Partial Content" if start else "200 OK", length=len(CONTENT) - start, **span)

    with serving(pieces) as server:
        assert get(server, tmp_path / "m").size == len(CONTENT)
        assert len(server.requests) > QUICK.attempts


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_passing_troubles_pass(tmp_path: Path, status: int) -> None:
    def troubled(request: Request) -> None:
        request.answer(b"sorry", f"{status} Trouble") if request.number < 2 else ok(request)

    with serving(troubled) as server:
        assert get(server, tmp_path / "m").size == len(CONTENT)
        assert len(server.requests) == 3


def test_retry_after_is_heeded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(download.time, "sleep", slept.append)

    def busy(request: Request) -> None:
        wait = ["7", "999999999", "soon"]
        request.answer(status="503 Busy", Retry_After=wait[request.number]) if request.number < 3 else ok(request)

    with serving(busy) as server:
        get(server, tmp_path / "m")
    assert [5.6 <= slept[0] <= 8.4, 24 <= slept[1] <= 36, slept[2] <= 0.1] == [True] * 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 418, 204, 304, 451, 501])
def test_lasting_troubles_end_at_once(tmp_path: Path, status: int) -> None:
    with serving(lambda request: request.answer(status=f"{status} No")) as server:
        with pytest.raises(DownloadError, match=f"HTTP {status}"):
            get(server, tmp_path / "m")
        assert len(server.requests) == 1
    assert files(tmp_path) == []


# -- servers that lie


@pytest.mark.parametrize("length", [len(CONTENT) - 1000, len(CONTENT) + 1000])
def test_a_wrong_length(tmp_path: Path, length: int) -> None:
    with serving(lambda request: request.answer(CONTENT, length=length)) as server, pytest.raises(DownloadError):
        get(server, tmp_path / "m")
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    "garbage",
    [b"", b"\r\n\r\n", b"SSH-2.0-OpenSSH_9.9\r\n", os.urandom(500), b"HTTP/1.1 banana\r\n\r\n",
     b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n12345",
     b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 400 + b"\r\n\r\n",
     b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 300_000],
    ids=range(10),
)  # fmt: skip
def test_garbage(tmp_path: Path, garbage: bytes) -> None:
    with serving(lambda request: request.send(garbage)) as server, pytest.raises(DownloadError):
        get(server, tmp_path / "m")
    assert files(tmp_path) == []


def test_too_much_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with serving(lambda request: request.answer(b"x" * 10, length=10**15)) as server:
        with pytest.raises(DownloadError, match="at most 1000 bytes"):
            get(server, tmp_path / "m", max_bytes=1000)
        assert len(server.requests) == 1
    assert files(tmp_path) == []


def test_too_much_without_saying_so_is_cut_off(tmp_path: Path) -> None:
    def endless(request: Request) -> None:
        request.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while not request.closed.is_set():
            request.send(b"x" * 10_000)

    with serving(endless) as server, pytest.raises(DownloadError, match="at most 100000 bytes"):
        get(server, tmp_path / "m", max_bytes=100_000)
    assert files(tmp_path) == []


def test_too_much_behind_a_range_is_refused(tmp_path: Path) -> None:
    part_of(tmp_path / "m").write_bytes(CONTENT[:500])
    with serving(ok) as server, pytest.raises(DownloadError, match="at most 1000 bytes"):
        get(server, tmp_path / "m", max_bytes=1000)


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate", "br", "gzip, gzip", "aes128gcm"])
def test_a_compressed_answer_is_refused_unread(tmp_path: Path, encoding: str) -> None:
    bomb = gzip.compress(bytes(10_000_000))
    with serving(lambda request: request.answer(bomb, Content_Encoding=encoding)) as server:
        with pytest.raises(DownloadError, match="encoded"):
            get(server, tmp_path / "m", sha256=hashlib.sha256(bytes(10_000_000)).hexdigest())
        assert len(server.requests) == 1
    assert files(tmp_path) == []


@pytest.mark.parametrize("pause", [0.02, 2.0])
def test_a_drip_is_given_up(tmp_path: Path, pause: float) -> None:
    def drip(request: Request) -> None:
        request.send(b"HTTP/1.1 200 OK\r\nContent-Length: 257007\r\n\r\n")
        while not request.closed.wait(pause):
            request.send(b"x")

    patience = Patience(connect=1, read=0.3, window=0.2, slowest=1000, backoff=0, attempts=2)
    with serving(drip) as server:
        with pytest.raises(DownloadError, match="to arrive"):
            get(server, tmp_path / "m", patience=patience)
        assert len(server.requests) == 2


def test_a_full_disk_is_noticed_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 0, 1000))
    with serving(ok) as server, pytest.raises(DownloadError, match="free space"):
        get(server, tmp_path / "m")
    assert files(tmp_path) == []


def test_a_disk_that_refuses(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with serving(ok) as server:
        with pytest.raises(DownloadError, match="to write"):
            get(server, tmp_path / "file" / "m")
        assert server.requests == []
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "x").write_bytes(b"x")
        with pytest.raises(DownloadError, match="to write"):
            get(server, tmp_path / "folder")


def test_only_one_process_downloads_a_file(tmp_path: Path) -> None:
    with serving(ok) as server:
        with (
            FileLock(f"{part_of(tmp_path / 'm')}.lock"),
            pytest.raises(DownloadError, match="another process"),
        ):
            get(server, tmp_path / "m")
        get(server, tmp_path / "m")


# -- where a request may go


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True), ("8.8.8.8", True), ("2606:4700::6810:84e5", True), ("2002:0808:0808::1", True),
        ("127.0.0.1", False), ("127.9.9.9", False), ("10.0.0.1", False), ("172.16.0.1", False),
        ("192.168.1.1", False), ("169.254.169.254", False), ("0.0.0.0", False), ("100.64.0.1", False),
        ("224.0.0.1", False), ("240.0.0.1", False), ("255.255.255.255", False), ("198.18.0.1", False),
        ("::", False), ("::1", False), ("fe80::1", False), ("fe80::1%eth0", False), ("fc00::1", False),
        ("ff02::1", False), ("::ffff:127.0.0.1", False), ("::ffff:10.0.0.1", False), ("::ffff:8.8.8.8", True),
        ("64:ff9b::7f00:1", False), ("64:ff9b::808:808", True), ("2002:7f00:1::", False),
        ("2001:0:0a00:1::f5ff:fffe", False), ("not an address", False), ("", False),
    ],
)  # fmt: skip
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


def resolve(monkeypatch: pytest.MonkeyPatch, names: dict[str, list[str]]) -> list[str]:
    asked: list[str] = []

    def lookup(host: str, port: int) -> list[str]:
        asked.append(host)
        return names.get(host, [host])

    monkeypatch.setattr(addresses, "lookup", lookup)
    return asked


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "127.1", "[::ffff:127.0.0.1]", "0"]
)
def test_this_machine_is_refused_by_default(tmp_path: Path, host: str) -> None:
    with serving(ok) as server:
        with pytest.raises(DownloadError) as caught:
            get(server.url(host=host), tmp_path / "m", allow_private=False, allow_http=True)
        assert server.requests == []
    assert "public address" in caught.value.message or "no such" in caught.value.message.lower() or host == "0x7f.1"


def test_a_name_for_a_private_address_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, {"models.example": ["127.0.0.1", "fe80::1"]})
    with serving(ok) as server:
        with pytest.raises(DownloadError, match=r"models\.example, received 127\.0\.0\.1, fe80::1") as caught:
            get(server.url(host="models.example"), tmp_path / "m", allow_private=False, allow_http=True)
        assert server.requests == []
    assert "--allow-private" in caught.value.hint


def test_the_connection_goes_to_the_checked_address_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = resolve(monkeypatch, {"models.example": ["93.184.215.14"]})
    connected: list[Any] = []
    create = socket.create_connection

    def connect(address: Any, *args: Any, **options: Any) -> socket.socket:
        connected.append(address)
        return create(("127.0.0.1", address[1]), *args, **options)

    monkeypatch.setattr(socket, "create_connection", connect)
    with serving(ok) as server:
        get(server.url(host="models.example"), tmp_path / "m", allow_private=False, allow_http=True)
        assert server.requests[0].headers["host"] == f"models.example:{server.port}"
        assert connected == [("93.184.215.14", server.port)]
    assert asked == ["models.example"]


def test_the_next_address_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, {"models.example": ["::1", "127.0.0.1"]})
    with serving(ok) as server:
        assert get(server.url(host="models.example"), tmp_path / "m").size == len(CONTENT)


def test_a_name_without_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts: list[bool] = []

    def lookup(host: str, port: int) -> list[str]:
        attempts.append(True)
        raise NameNotResolvedError("Name or service not known", temporary=len(attempts) < 3)

    monkeypatch.setattr(addresses, "lookup", lookup)
    with pytest.raises(DownloadError, match="Name or service not known"):
        get("https://models.example/m", tmp_path / "m")
    assert len(attempts) == 3


def test_real_lookups_fail_as_expected() -> None:
    with pytest.raises(NameNotResolvedError):
        addresses.lookup("models.invalid", 443)
    with pytest.raises(NameNotResolvedError):
        addresses.lookup("x" * 70 + ".example", 443)
    assert addresses.lookup("127.0.0.1", 80) == ["127.0.0.1"]


def redirecting(target: str, status: int = 302) -> Any:
    def handler(request: Request) -> None:
        if request.path.startswith("/model"):
            request.answer(status=f"{status} Elsewhere", Location=target)
        else:
            ok(request)

    return handler


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(tmp_path: Path, status: int) -> None:
    with serving(redirecting("/real?token=1", status)) as server:
        assert get(server, tmp_path / "m").size == len(CONTENT)
        assert [request.path for request in server.requests] == ["/model.tflite", "/real?token=1"]


def test_a_redirect_to_a_private_address_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, {"models.example": ["93.184.215.14"]})
    create = socket.create_connection
    monkeypatch.setattr(
        socket, "create_connection", lambda address, *a, **o: create(("127.0.0.1", address[1]), *a, **o)
    )
    with serving(ok) as inner:
        for target in (inner.url("/secret"), "http://[::1]/x", "http://169.254.169.254/latest", "//10.0.0.1/x"):
            with serving(redirecting(target)) as server:
                with pytest.raises(DownloadError, match="public address"):
                    get(server.url(host="models.example"), tmp_path / "m", allow_private=False, allow_http=True)
                assert len(server.requests) == 1
        assert inner.requests == []


@pytest.mark.parametrize(
    "target", ["", "file:///etc/passwd", "ftp://host/x", "http://[::1", "javascript:x", "http://a:999999/"]
)
def test_a_redirect_to_nowhere(tmp_path: Path, target: str) -> None:
    with serving(redirecting(target)) as server:
        with pytest.raises(DownloadError, match="redirect"):
            get(server, tmp_path / "m")
        assert len(server.requests) == 1


def test_redirects_end(tmp_path: Path) -> None:
    with serving(redirecting("/model/again")) as server:
        with pytest.raises(DownloadError, match="at most 5 redirects"):
            get(server, tmp_path / "m")
        assert len(server.requests) == 6


@pytest.mark.parametrize(
    "url",
    ["", "model.tflite", "/etc/passwd", "file:///etc/passwd", "ftp://host/x", "https://", "https:///x", "http://[::1",
     "https://host:99999/x", "https://exa mple/x", "https://\x00/", "data:,x", "C:\\model.tflite", "https://ho\nst/x"],
)  # fmt: skip
def test_urls_that_are_none(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError):
        get(url, tmp_path / "m")
    assert files(tmp_path) == []


def test_plain_http_needs_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, {"models.example": ["192.0.2.1"]})
    with pytest.raises(DownloadError, match="encrypted") as caught:
        get("http://models.example/m", tmp_path / "m")
    assert "--allow-http" in caught.value.hint


# -- encryption


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "models.example.crt"))


@pytest.mark.usefixtures("trusted")
def test_the_certificate_must_prove_the_name_not_the_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, {"models.example": ["127.0.0.1"], "other.example": ["127.0.0.1"]})
    with serving(ok, tls=True) as server:
        assert get(server.url(host="models.example"), tmp_path / "m").size == len(CONTENT)
        for host in ("other.example", "127.0.0.1"):
            with pytest.raises(DownloadError, match=f"certificate for {re.escape(host)}"):
                get(server.url(host=host), tmp_path / "n")
        assert len(server.requests) == 1


def test_a_certificate_that_nobody_vouches_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, {"models.example": ["127.0.0.1"]})
    with serving(ok, tls=True) as server:
        with pytest.raises(DownloadError, match="certificate") as caught:
            get(server.url(host="models.example"), tmp_path / "m")
        assert server.requests == []
    assert "SSL_CERT_FILE" in caught.value.hint


@pytest.mark.usefixtures("trusted")
def test_encryption_is_not_given_up_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, {"models.example": ["127.0.0.1"]})
    with serving(ok) as plain, serving(redirecting(plain.url("/real")), tls=True) as server:
        with pytest.raises(DownloadError, match="stay encrypted"):
            get(server.url(host="models.example"), tmp_path / "m", allow_http=True)
        assert plain.requests == []


def test_broken_settings_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    with serving(ok) as server, pytest.raises(DownloadError) as caught:
        get(server, tmp_path / "m")
    assert "SSL_CERT_FILE" in caught.value.hint


# -- secrets


SECRET = "s3cr3t"


def test_credentials_go_to_their_origin_only(tmp_path: Path) -> None:
    with serving(ok) as other, serving(redirecting(other.url("/real"))) as server:
        get(server.url(userinfo=f"me:{SECRET}@"), tmp_path / "m")
        assert server.requests[0].headers["authorization"].startswith("Basic ")
        assert "authorization" not in other.requests[0].headers
    with serving(redirecting("/real")) as server:
        get(server.url(userinfo=f"me:{SECRET}@"), tmp_path / "n")
        assert ["authorization" in request.headers for request in server.requests] == [True, True]


def misbehaviors() -> list[Any]:
    return [
        lambda request: request.answer(status="404 No"),
        lambda request: request.answer(status="500 No"),
        lambda request: request.answer(b"other"),
        lambda request: request.send(b"garbage\r\n\r\n"),
        lambda request: request.answer(b"x", Content_Encoding="gzip"),
        lambda request: request.answer(b"x", length=10**12),
        lambda request: request.answer(status="302 x", Location=f"ftp://me:{SECRET}@host/x?key={SECRET}"),
        lambda request: request.answer(status="302 x", Location=f"/again?key={SECRET}"),
        lambda request: request.answer(b"x", length=5),
    ]


@pytest.mark.parametrize("handler", misbehaviors(), ids=range(len(misbehaviors())))
def test_no_error_tells_a_secret(tmp_path: Path, handler: Any) -> None:
    with serving(handler) as server, pytest.raises(DownloadError) as caught:
        get(server.url(f"/m?key={SECRET}#{SECRET}", userinfo=f"me:{SECRET}@"), tmp_path / "m", max_bytes=10**6)
    assert SECRET not in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize("url", [f"ftp://me:{SECRET}@host/x", f"https://me:{SECRET}@[::1/x", f"https://me:{SECRET}@/x"])
def test_no_refused_url_tells_a_secret(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_url(url)
    assert SECRET not in f"{caught.value.message} {caught.value.hint}"


def test_urls_are_shown_without_secrets() -> None:
    assert shown(httpx.URL(f"https://me:{SECRET}@host:444/a/b?x={SECRET}#y")) == "https://host:444/a/b?…"
    assert shown(httpx.URL("https://[2001:db8::1]/a")) == "https://[2001:db8::1]/a"


# -- proxies


def test_a_proxy_of_the_environment_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = resolve(monkeypatch, {})
    with serving(ok) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url(""))
        get("http://models.example/model.tflite", tmp_path / "m", allow_http=True, allow_private=False)
        assert proxy.requests[0].path == "http://models.example/model.tflite"
        with pytest.raises(DownloadError, match="public address"):
            get("http://10.0.0.1/model.tflite", tmp_path / "n", allow_http=True, allow_private=False)
        assert len(proxy.requests) == 1
        with pytest.raises(DownloadError, match="encrypted"):
            get("http://models.example/model.tflite", tmp_path / "n", allow_private=False)
    assert asked == ["10.0.0.1"]


def test_no_proxy_is_heeded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(ok) as proxy, serving(ok) as server:
        monkeypatch.setenv("http_proxy", proxy.url(""))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        get(server, tmp_path / "m")
        assert (len(proxy.requests), len(server.requests)) == (0, 1)


def test_downloads_in_several_threads(tmp_path: Path) -> None:
    results: list[int] = []
    with serving(ok) as server:
        threads = [
            threading.Thread(target=lambda k=k: results.append(get(server, tmp_path / f"m{k}").size)) for k in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == [len(CONTENT)] * 4

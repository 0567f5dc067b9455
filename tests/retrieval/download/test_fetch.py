from __future__ import annotations

import gzip
import hashlib
import os
import shutil
from pathlib import Path

import pytest
from filelock import FileLock

from retrieval.download import addresses, fetch
from retrieval.download.fetch import Downloaded, Patience
from retrieval.errors import DownloadError, UsageError
from tests.progress import Recorder
from tests.retrieval.downloads import CONTENT, QUICK, SHA256, files, get, ok, part_of
from tests.retrieval.servers import TLS, Request, serving


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("SSL_CERT"):
            monkeypatch.delenv(name)


def test_a_file_arrives(tmp_path: Path) -> None:
    told = Recorder()
    with serving(ok) as server:
        got = get(server, tmp_path / "m", progress=told)
        assert got == Downloaded(tmp_path / "m", len(CONTENT), len(CONTENT))
        assert server.requests[0].headers["accept-encoding"] == "identity"
        assert server.requests[0].headers["host"] == f"127.0.0.1:{server.port}"
        assert "range" not in server.requests[0].headers
    assert (tmp_path / "m").read_bytes() == CONTENT
    assert told.stages == [("Downloading", len(CONTENT), "bytes")]
    assert told.reached[0] == (0, len(CONTENT))
    assert told.reached[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in told.reached] == sorted(done for done, _ in told.reached)
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
        with pytest.raises(DownloadError, match="Could not download") as caught:
            get(server, tmp_path / "m")
        assert len(server.requests) == QUICK.attempts
    assert "continues" in caught.value.hint
    assert part_of(tmp_path / "m").read_bytes() == CONTENT[:1000]


def test_progress_earns_further_attempts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_PROGRESS_THAT_COUNTS", 20_000)

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
    monkeypatch.setattr(fetch.time, "sleep", slept.append)

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
        with pytest.raises(DownloadError, match="at most 1,000 bytes"):
            get(server, tmp_path / "m", max_bytes=1000)
        assert len(server.requests) == 1
    assert files(tmp_path) == []


def test_too_much_without_saying_so_is_cut_off(tmp_path: Path) -> None:
    def endless(request: Request) -> None:
        request.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while not request.closed.is_set():
            request.send(b"x" * 10_000)

    with serving(endless) as server, pytest.raises(DownloadError, match="at most 100,000 bytes"):
        get(server, tmp_path / "m", max_bytes=100_000)
    assert files(tmp_path) == []


def test_too_much_behind_a_range_is_refused(tmp_path: Path) -> None:
    part_of(tmp_path / "m").write_bytes(CONTENT[:500])
    with serving(ok) as server, pytest.raises(DownloadError, match="at most 1,000 bytes"):
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
        with pytest.raises(DownloadError, match="Could not download"):
            get(server, tmp_path / "m", patience=patience)
        assert len(server.requests) == 2


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(
    ("first", "then"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X-More: of it\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"y"),
    ],
    ids=["lines", "103", "100", "letters"],
)
def test_headers_have_a_deadline(
    tmp_path: Path, first: bytes, then: bytes, tls: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(request: Request) -> None:
        request.send(first)
        while not request.closed.wait(0.05):
            request.send(then)

    if tls:
        monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "models.example.crt"))
        monkeypatch.setattr(addresses, "checked_addresses", lambda *_, **__: ["127.0.0.1"])
    with serving(slowly, tls=tls) as server:
        url = server.url(host="models.example") if tls else server.url()
        with pytest.raises(DownloadError, match=r"did not finish the headers of its answer within 0\.4 s"):
            get(url, tmp_path / "m", patience=Patience(headers=0.4, backoff=0))
        assert len(server.requests) == 1
    assert files(tmp_path) == []


def test_a_full_disk_is_noticed_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 0, 1000))
    with serving(ok) as server, pytest.raises(DownloadError, match="Not enough disk space"):
        get(server, tmp_path / "m")
    assert files(tmp_path) == []


def test_a_disk_that_refuses(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with serving(ok) as server:
        with pytest.raises(DownloadError, match="Cannot write"):
            get(server, tmp_path / "file" / "m")
        assert server.requests == []
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "x").write_bytes(b"x")
        with pytest.raises(DownloadError, match="Cannot write"):
            get(server, tmp_path / "folder")


def test_only_one_process_downloads_a_file(tmp_path: Path) -> None:
    with serving(ok) as server:
        with (
            FileLock(f"{part_of(tmp_path / 'm')}.lock"),
            pytest.raises(DownloadError, match="Another process is downloading"),
        ):
            get(server, tmp_path / "m")
        get(server, tmp_path / "m")

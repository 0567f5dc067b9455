from __future__ import annotations

import os
import re
import socket
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from retrieval.download import addresses
from retrieval.download.addresses import NameNotResolvedError, is_public
from retrieval.download.http import parse_url, shown
from retrieval.errors import DownloadError, UsageError
from tests.retrieval.downloads import CONTENT, files, get, ok
from tests.retrieval.servers import TLS, Request, serving


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("SSL_CERT"):
            monkeypatch.delenv(name)


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
        with pytest.raises(
            DownloadError, match=r"models\.example has no public address: 127\.0\.0\.1, fe80::1"
        ) as caught:
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
        with pytest.raises(DownloadError, match="redirects more than 5 times"):
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
            with pytest.raises(DownloadError, match=f"certificate of {re.escape(host)}"):
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
        with pytest.raises(DownloadError, match="which is not encrypted"):
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

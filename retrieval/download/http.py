"""An HTTP GET that goes only where it may, one redirect at a time."""

from __future__ import annotations

import base64
import os
import socket
import ssl
import threading
import urllib.request
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import httpx

from retrieval.download import addresses
from retrieval.errors import DownloadError, UsageError

MAX_REDIRECTS: Final = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Access:
    """Where a request may go, and how long it waits.

    Attributes:
        allow_private: also to private, loopback and link-local addresses.
        allow_http: also without encryption (always allowed to this machine).
        connect: seconds for a connection.
        read: seconds for the next bytes.
        headers: seconds until the headers of an answer are complete, however many bytes come meanwhile.
    """

    allow_private: bool = False
    allow_http: bool = False
    connect: float = 10.0
    read: float = 30.0
    headers: float = 30.0


class TransientError(Exception):
    """Worth another attempt; ``wait`` holds seconds when it is known how long to wait."""

    def __init__(self, message: str, *, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


def parse_url(url: str) -> httpx.URL:
    """Parse a URL; raises UsageError when it is none, or neither http nor https."""
    try:
        parsed = httpx.URL(url)
        _check_authority(parsed)
    except (httpx.InvalidURL, ValueError, TypeError) as error:
        raise UsageError(
            "expected a URL such as https://host/model.tflite, received something that is none",
            hint="Check the address.",
        ) from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise UsageError(
            f"expected an https URL, received {shown(parsed)}",
            hint="For a file on this machine: itemrec models import FILE --name NAME",
        )
    return parsed


def shown(url: httpx.URL) -> str:
    """A URL for messages: without user, password, query and fragment, which may be secrets."""
    host = f"[{url.host}]" if ":" in url.host else url.host
    port = "" if url.port is None else f":{url.port}"
    return f"{url.scheme}://{host}{port}{url.path}" + ("?…" if url.query else "")


def _check_authority(url: httpx.URL) -> None:
    if url.port is not None and not 1 <= url.port <= 65_535:
        raise ValueError("no such port")
    if "%" in url.host:  # httpx escapes what no host name may hold, instead of refusing it
        raise ValueError("no host name")


@contextmanager
def get(url: httpx.URL, headers: Mapping[str, str], access: Access) -> Iterator[httpx.Response]:
    """The first answer that is no redirect, its body not yet read.

    Every hop is looked up and checked anew, and the connection goes to the address that was checked;
    the host's name still stands in the Host header and is what its certificate must prove.
    Credentials in the URL are sent to their own origin only.

    Raises:
        DownloadError: a hop is not allowed, or cannot be trusted.
        TransientError: the connection failed, also later while the body is read.
        NameNotResolvedError: a host has no address.
    """
    first, auth = url, _credentials(url)
    for _ in range(MAX_REDIRECTS + 1):
        with _exchange(url, headers, auth, access) as response:
            if response.status_code not in _REDIRECTS:
                yield response
                return
            target = _redirect(url, response)
        if (target.scheme, target.host, target.port) != (url.scheme, url.host, url.port):
            auth = None
        url = target.copy_with(userinfo=b"")
    raise DownloadError(f"{shown(first)} redirects more than {MAX_REDIRECTS} times")


def _redirect(url: httpx.URL, response: httpx.Response) -> httpx.URL:
    location = response.headers.get("location", "")
    try:
        target = url.join(location)
        _check_authority(target)
    except (httpx.InvalidURL, ValueError) as error:
        raise DownloadError(f"{shown(url)} redirects to a broken URL") from error
    if not location or target.scheme not in ("http", "https") or not target.host:
        raise DownloadError(f"{shown(url)} redirects to something that is no https URL")
    if url.scheme == "https" and target.scheme == "http":
        raise DownloadError(
            f"{shown(url)} redirects to {shown(target)}, which is not encrypted",
            hint="Name the final address yourself if you trust it.",
        )
    return target


@contextmanager
def _exchange(url: httpx.URL, headers: Mapping[str, str], auth: str | None, access: Access) -> Iterator[httpx.Response]:
    host = url.raw_host.decode("ascii")
    proxy = _proxy_for(url)
    targets = _allowed_targets(url, host, access, proxied=proxy is not None)
    extensions: dict[str, object] = {"timeout": httpx.Timeout(access.read, connect=access.connect).as_dict()}
    if url.scheme == "https":
        extensions["sni_hostname"] = host
    problem: Exception | None = None
    # A bare transport and no client: a client also reads redirects, cookies and the environment.
    with _transport(proxy) as transport:
        for target in targets:
            request = httpx.Request(
                "GET",
                url.copy_with(host=target, userinfo=b"", fragment=None),
                headers={**headers, "Host": url.netloc.decode("ascii")},
                extensions=extensions,
            )
            if auth is not None:
                request.headers["Authorization"] = auth
            try:
                with _deadline(access.headers, request.extensions) as late:
                    response = transport.handle_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                problem = error
                continue
            except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
                if late.is_set():
                    raise DownloadError(
                        f"{shown(url)} did not finish the headers of its answer within {access.headers:g} s",
                        hint="The server is overloaded, or means no good; try again later, or another address.",
                    ) from error
                raise _map_error(url, error) from error
            try:
                yield response
            except (httpx.HTTPError, httpx.StreamError) as error:
                raise _map_error(url, error) from error
            finally:
                response.close()
            return
    raise _map_error(url, problem) from problem


@contextmanager
def _deadline(seconds: float, extensions: MutableMapping[str, Any]) -> Iterator[threading.Event]:
    """End the connection when the context is not left in time; the event then says so.

    Timeouts of reads begin anew with every byte: one header line a second, or interim answers (103) without end, would
    be waited for for ever.
    """
    late = threading.Event()
    streams: list[Any] = []

    def trace(name: str, facts: Mapping[str, Any]) -> None:
        if name in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            streams.append(facts["return_value"])

    def end() -> None:
        late.set()
        for stream in streams:
            with suppress(OSError):
                # Of the plain socket: that of TLS would tell the other side first.
                socket.socket.shutdown(stream.get_extra_info("socket"), socket.SHUT_RDWR)

    extensions["trace"] = trace
    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()


def _allowed_targets(url: httpx.URL, host: str, access: Access, *, proxied: bool) -> list[str]:
    port = url.port or (443 if url.scheme == "https" else 80)
    if not proxied or addresses.is_literal(host):
        targets = addresses.checked_addresses(host, port, allow_private=access.allow_private)
    else:
        targets = [host]  # the proxy resolves the name, and judges what it may reach
    if url.scheme == "http" and not access.allow_http and not all(map(addresses.is_loopback, targets)):
        raise DownloadError(
            f"expected an encrypted connection, received {shown(url)}",
            hint="Use https, or say --allow-http: the hash still decides what is accepted.",
        )
    return targets


def _transport(proxy: str | None) -> httpx.HTTPTransport:
    try:
        trusted = _trusted(os.environ.get("SSL_CERT_FILE", ""), os.environ.get("SSL_CERT_DIR", ""))
        return httpx.HTTPTransport(proxy=proxy, verify=trusted)
    except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
        raise DownloadError(
            f"The proxy or certificate settings of the environment cannot be used: {type(error).__name__}",
            hint="Check HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR.",
        ) from error


@lru_cache(maxsize=4)
def _trusted(_file: str, _directory: str) -> ssl.SSLContext:
    """The authorities that the environment names; read once, since that takes longer than many a picture's way here."""
    return httpx.create_ssl_context()


def _map_error(url: httpx.URL, error: Exception | None) -> Exception:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return DownloadError(
                f"The certificate of {url.host} cannot be trusted: {cause.verify_message}",
                hint="Check the address; SSL_CERT_FILE names further authorities to trust.",
            )
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.TransportError):
        # The text of these errors is about sockets and protocol, never about the URL.
        return TransientError(str(error) or type(error).__name__)
    return DownloadError(f"No answer from {shown(url)}: {type(error).__name__}")


def _credentials(url: httpx.URL) -> str | None:
    if not (url.username or url.password):
        return None
    return "Basic " + base64.b64encode(f"{url.username}:{url.password}".encode()).decode()


def _proxy_for(url: httpx.URL) -> str | None:
    proxies = urllib.request.getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(url.host):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"

"""What an index URL names, and what the environment adds to it."""

from __future__ import annotations

import os
import re
import socket
from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import urlsplit

from retrieval.errors import UsageError

DEFAULT_NAME = "itemrec"
KEY_VARIABLE = "QDRANT_API_KEY"
GRPC_VARIABLE = "ITEMREC_GRPC_PORT"
TIMEOUT_VARIABLE = "ITEMREC_TIMEOUT"
DEFAULT_PORT = 6333
DEFAULT_GRPC_PORT = 6334
DEFAULT_TIMEOUT = 60
GRPC_PATIENCE = 0.3
"""How long the gRPC port may take to accept a connection, in seconds, before REST is used."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SHAPE = "http://HOST:6333, or http://HOST:6333/NAME for another index than itemrec"


@dataclass(frozen=True, slots=True)
class Address:
    """Where an index lies on which server.

    Attributes:
        url: as given, for messages; it never holds a key.
        tls: https.
        host: name or address.
        port: of the REST interface.
        prefix: path before the REST interface, behind a proxy; empty or ``/a/b``.
        name: of the index: the alias of its live generation.
        api_key: from the environment; None without.
        grpc_port: to prefer if it answers; None to leave gRPC alone.
        timeout: for one request, in seconds.
    """

    url: str
    tls: bool
    host: str
    port: int
    prefix: str
    name: str
    api_key: str | None
    grpc_port: int | None
    timeout: int

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read a URL such as ``http://qdrant:6333/shop``: server and name of the index.

        Raises:
            UsageError: it is no such URL, holds a password, or a variable of the environment is no number.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise UsageError(f"expected the URL of a Qdrant server, received {url!r}: {error}", hint=_SHAPE) from error
        if parts.username is not None or parts.password is not None:
            raise UsageError(
                f"expected a URL without user and password, received one for {parts.hostname}",
                hint=f"Put the API key into the environment variable {KEY_VARIABLE}",
            )
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise UsageError(f"expected the URL of a Qdrant server, received {url!r}", hint=_SHAPE)
        *prefix, name = [step for step in parts.path.split("/") if step] or [DEFAULT_NAME]
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"expected letters, digits, dots, dashes and underscores as the index's name, received {name!r}",
                hint=_SHAPE,
            )
        grpc = _number(GRPC_VARIABLE, DEFAULT_GRPC_PORT)
        # A proxy that adds a path, or a certificate that gRPC was not told of, does not speak for the port beside it.
        own_certificates = "SSL_CERT_FILE" in os.environ and "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH" not in os.environ
        beside = not prefix and not (parts.scheme == "https" and own_certificates)
        return cls(
            url=url,
            tls=parts.scheme == "https",
            host=parts.hostname,
            port=port or (443 if parts.scheme == "https" else DEFAULT_PORT),
            prefix="".join(f"/{step}" for step in prefix),
            name=name,
            api_key=os.environ.get(KEY_VARIABLE) or None,
            grpc_port=(grpc or None) if beside else None,
            timeout=max(1, _number(TIMEOUT_VARIABLE, DEFAULT_TIMEOUT)),
        )

    @classmethod
    def parse_all(cls, urls: str) -> tuple[Self, ...]:
        """Read one URL, or several of one cluster between commas: ``http://a:6333/shop,http://b:6333,http://c:6333``.

        The index's name may be given once; the key of the environment is the key of all.

        Raises:
            UsageError: see `parse`; or they name different indexes, or one twice.
        """
        texts = [text.strip() for text in urls.split(",")]
        found = [cls.parse(text) for text in texts]
        named = {a.name for text, a in zip(texts, found, strict=True) if urlsplit(text).path.strip("/")}
        if len(named) > 1:
            raise UsageError(
                f"expected the addresses of one index, received {' and '.join(sorted(named))} as its name",
                hint="http://a:6333/shop,http://b:6333/shop",
            )
        if len({(a.host, a.port, a.prefix) for a in found}) < len(found):
            raise UsageError(f"expected different addresses, received one twice: {urls}")
        return tuple(replace(a, name=next(iter(named), a.name)) for a in found)

    @property
    def host_and_port(self) -> str:
        """For messages."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def exposed(self) -> bool:
        """True when the API key would cross a network unencrypted."""
        return self.api_key is not None and not self.tls and self.host not in ("localhost", "127.0.0.1", "::1")

    def answering_grpc_port(self) -> int | None:
        """The gRPC port if something accepts connections there; None otherwise."""
        if self.grpc_port is None:
            return None
        try:
            with socket.create_connection((self.host, self.grpc_port), timeout=GRPC_PATIENCE):
                return self.grpc_port
        except (OSError, UnicodeError):
            return None


def _number(variable: str, default: int) -> int:
    text = os.environ.get(variable, "")
    if not text:
        return default
    if text.isascii() and text.isdigit() and int(text) < 65536:
        return int(text)
    raise UsageError(f"expected a number below 65,536 in {variable}, received {text!r}")

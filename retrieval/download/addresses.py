"""Which network addresses a download may connect to."""

from __future__ import annotations

import ipaddress
import socket

from retrieval.errors import DownloadError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class NameNotResolvedError(Exception):
    """The name has no address; ``temporary`` when asking again may help."""

    def __init__(self, message: str, *, temporary: bool) -> None:
        super().__init__(message)
        self.temporary = temporary


def lookup(host: str, port: int) -> list[str]:
    """All addresses of a host name, in the system's order of preference.

    Raises:
        NameNotResolvedError: it has none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise NameNotResolvedError(str(error.strerror or error), temporary=error.errno == socket.EAI_AGAIN) from error
    except (OSError, UnicodeError) as error:
        raise NameNotResolvedError(str(error), temporary=False) from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(address: str) -> bool:
    """True when an address is on the public internet.

    Private, loopback, link-local, multicast and reserved addresses are not, and neither is an IPv6
    address that carries such an IPv4 address (mapped, 6to4, Teredo, NAT64).
    """
    try:
        parsed: Address = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return all(part.is_global and not part.is_multicast and not part.is_reserved for part in _parts(parsed))


def checked_addresses(host: str, port: int, *, allow_private: bool) -> list[str]:
    """The addresses of a host that may be connected to.

    The caller connects to one of these addresses and not to the name: a second lookup could answer
    differently (DNS rebinding).

    Raises:
        DownloadError: all of them are private and ``allow_private`` is false.
        NameNotResolvedError: there are none.
    """
    found = lookup(host, port)
    allowed = found if allow_private else [address for address in found if is_public(address)]
    if not allowed:
        raise DownloadError(
            f"{host} has no public address: {', '.join(found)}",
            hint="If that is a server of yours, say --allow-private.",
        )
    return allowed


def is_literal(host: str) -> bool:
    """True when a host is an address and no name."""
    try:
        ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return False
    return True


def is_loopback(address: str) -> bool:
    """True when an address is this machine."""
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _parts(address: Address) -> list[Address]:
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address in _NAT64:
        return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)]
    if address.sixtofour is not None:
        return [address.sixtofour]
    if address.teredo is not None:
        return [*address.teredo]
    return [address]

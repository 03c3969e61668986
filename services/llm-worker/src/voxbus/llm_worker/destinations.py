"""Where HTTP tools may go: agents are written by users, and their tools must not reach what is inside."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host name and port. Raises OSError."""

_NAT64: Final = IPv6Network("64:ff9b::/96")
_INSIDE: Final = (
    IPv4Network("192.0.0.0/24"),  # RFC 6890; Oracle's metadata server is here
    IPv4Network("168.63.129.16/32"),  # Azure's wire server: a public address that each machine of theirs reaches
    IPv6Network("fec0::/10"),  # site-local addresses: deprecated by RFC 3879, and still in use
)
"""Not public, although `ipaddress` says so."""


class ForbiddenDestinationError(Exception):
    """The host is, or leads to, an address inside."""


class Destinations:
    """Public addresses, and what the operator allows besides: host names, addresses and networks in CIDR notation."""

    def __init__(self, allow: Sequence[str] = (), *, resolve: Resolve | None = None) -> None:
        self._resolve = resolve or _getaddrinfo
        self._networks = [network for entry in allow if (network := as_network(entry)) is not None]
        self._hosts = {_plain(entry) for entry in allow if as_network(entry) is None}

    async def addresses(self, host: str, port: int) -> list[str]:
        """The addresses to connect to. Connect to these and not to the name, which may mean another address by then.

        Raises ForbiddenDestinationError, and OSError when the name has no address.
        """
        found = await self._resolve(host, port)
        if _plain(host) not in self._hosts:
            for address in found:
                if not self._may(ip_address(address)):
                    raise ForbiddenDestinationError(host)
        return list(found)

    def _may(self, address: Address) -> bool:
        meant = _meant(address)
        return is_public(meant) or any(
            candidate.version == network.version and candidate in network
            for network in self._networks
            for candidate in (address, meant)
        )


def as_network(entry: str) -> IPv4Network | IPv6Network | None:
    """The network of an address or a CIDR; None: it is something else."""
    try:
        return ip_network(entry.strip(), strict=False)
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    """Whether it is somewhere in the internet: not private, local, shared, multicast or reserved."""
    if not address.is_global or address.is_multicast or address.is_reserved or address.is_unspecified:
        return False
    return not any(address.version == network.version and address in network for network in _INSIDE)


def _meant(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _plain(host: str) -> str:
    return host.strip().lower().rstrip(".").strip("[]")


async def _getaddrinfo(host: str, port: int) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))

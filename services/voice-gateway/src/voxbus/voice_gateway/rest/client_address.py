"""Whose request it is, when it came through proxies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from voxbus.voice_gateway.rest.settings import Network

Address = IPv4Address | IPv6Address


def client_address(scope: Mapping[str, Any], trusted: Sequence[Network]) -> str:
    """The address a request is counted for: an IPv4 address, or the /64 of an IPv6 address, which one customer has.

    The peer of the socket; when that is a trusted proxy, the right-most address of X-Forwarded-For that is none. What
    stands left of it was written by the client.
    """
    peer = scope.get("client")
    address = _parse(peer[0]) if peer else None
    if address is None:
        return ""
    if _is_trusted(address, trusted):
        for part in reversed(list(_forwarded(scope["headers"]))):
            hop = _parse(part)
            if hop is None:
                break
            address = hop
            if not _is_trusted(hop, trusted):
                break
    if isinstance(address, IPv6Address):
        return f"{IPv6Address(int(address) >> 64 << 64)}/64"
    return str(address)


def _forwarded(headers: Iterable[tuple[bytes, bytes]]) -> Iterable[str]:
    for name, value in headers:
        if name == b"x-forwarded-for":
            yield from value.decode("latin-1").split(",")


def _is_trusted(address: Address, trusted: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in trusted)


@lru_cache(maxsize=4096)
def _parse(text: str) -> Address | None:
    """An address, also as `1.2.3.4:5678`, `[2001:db8::1]:5678` or `::ffff:1.2.3.4`; None when it is none."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address

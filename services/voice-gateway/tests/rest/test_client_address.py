"""Whose request it is."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from voxbus.voice_gateway.rest.client_address import client_address

pytestmark = pytest.mark.unit

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


def seen(peer: str | None, *forwarded: str, trusted: bool = True) -> str:
    """The address of a request from `peer` with these X-Forwarded-For headers."""
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    scope = {"client": (peer, 1234) if peer else None, "headers": headers}
    return client_address(scope, TRUSTED if trusted else ())


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("192.0.2.7", [], "192.0.2.7"),
        ("192.0.2.7", ["198.51.100.1"], "192.0.2.7"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["198.51.100.1:5678"], "198.51.100.1"),
        ("10.0.0.1", ["rubbish"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, rubbish"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("::ffff:192.0.2.7", [], "192.0.2.7"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("2001:db8:1:2:3:4:5:6", [], "2001:db8:1:2::/64"),
        ("fd00::1", ["2001:db8:1:2::9"], "2001:db8:1:2::/64"),
        ("fd00::1", ["[2001:db8:1:2::9]:443"], "2001:db8:1:2::/64"),
        ("fe80::1%eth0", [], "fe80::/64"),
        (None, ["198.51.100.1"], ""),
    ],
)
def test_the_address(peer: str | None, forwarded: list[str], expected: str) -> None:
    """It is the peer's, or what the last proxy that is trusted saw; what a client wrote itself never counts."""
    assert seen(peer, *forwarded) == expected


def test_without_trusted_proxies() -> None:
    """Where no proxy is trusted the header means nothing."""
    assert seen("10.0.0.1", "198.51.100.1", trusted=False) == "10.0.0.1"


def test_neighbours_share_a_limit() -> None:
    """Addresses of one /64, which one customer can take as many of as they like, are one."""
    assert seen("2001:db8:1:2::1") == seen("2001:db8:1:2:ffff::1") != seen("2001:db8:1:3::1")

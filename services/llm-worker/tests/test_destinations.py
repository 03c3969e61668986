"""Where HTTP tools may go."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

import pytest
from pydantic import ValidationError

from voxbus.llm_worker.destinations import Destinations, ForbiddenDestinationError, is_public
from voxbus.llm_worker.settings import Settings

pytestmark = pytest.mark.unit

INSIDE = [
    "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254",  # noqa: S104  # addresses, not bindings
    "100.64.0.1", "100.100.100.200", "192.0.0.192", "168.63.129.16", "198.18.0.1", "224.0.0.1", "240.0.0.1",
    "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1",
    "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:c0a8:101::", "::127.0.0.1",
    "2001:db8::1", "fec0::1",
]  # fmt: skip
OUTSIDE = ["1.1.1.1", "8.8.8.8", "172.32.0.1", "2606:4700:4700::1111", "64:ff9b::101:101", "::ffff:8.8.8.8"]


def leading_to(*addresses: str, allow: Sequence[str] = ()) -> Destinations:
    """Destinations on which each name has these addresses."""

    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return addresses

    return Destinations(allow, resolve=resolve)


@pytest.mark.parametrize("address", INSIDE)
async def test_inside_is_forbidden(address: str) -> None:
    """Loopback, private, link-local, metadata, shared, multicast and reserved addresses, in whatever disguise."""
    with pytest.raises(ForbiddenDestinationError):
        await leading_to(address).addresses("tool.example", 80)


@pytest.mark.parametrize("address", OUTSIDE)
async def test_outside_is_allowed(address: str) -> None:
    """Public addresses need no permission."""
    assert await leading_to(address).addresses("tool.example", 80) == [address]


async def test_one_address_inside_is_enough() -> None:
    """A name that leads to a public and to a private address is refused."""
    with pytest.raises(ForbiddenDestinationError):
        await leading_to("1.1.1.1", "10.0.0.1").addresses("tool.example", 80)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "::1"])
async def test_names_of_this_machine(host: str) -> None:
    """However it is written, this machine is inside."""
    with pytest.raises((ForbiddenDestinationError, OSError)):
        await Destinations().addresses(host, 80)


@pytest.mark.parametrize("entry", ["10.0.0.7", "10.0.0.0/24", "crm.internal", "CRM.internal.", "10.0.0.7/24"])
async def test_what_the_operator_allows(entry: str) -> None:
    """A host name, an address or a network opens what it says, and nothing else."""
    opened = leading_to("10.0.0.7", allow=[entry])
    assert await opened.addresses("crm.internal", 80) == ["10.0.0.7"]
    with pytest.raises(ForbiddenDestinationError):
        await leading_to("10.0.9.1", allow=[entry]).addresses("other.internal", 80)


async def test_an_allowed_network_in_disguise() -> None:
    """An allowed IPv4 network counts for the IPv6 addresses that stand for it."""
    assert await leading_to("::ffff:10.0.0.7", allow=["10.0.0.0/24"]).addresses("crm.internal", 80)


def test_public() -> None:
    """`is_public` knows addresses of clouds that the standard library calls global."""
    assert not is_public(ip_address("168.63.129.16"))
    assert is_public(ip_address("168.63.129.17"))


def test_the_setting() -> None:
    """Hosts, addresses and networks, separated by commas; anything else is refused when the worker starts."""

    def made(**settings: Any) -> Settings:
        return Settings(_env_file=None, **settings)

    entries = ("crm.internal", "10.0.0.0/8", "fd00::/8")
    assert made(tool_allow_hosts="crm.internal, 10.0.0.0/8,fd00::/8,").tool_allow_hosts == entries
    assert made().tool_allow_hosts == ()
    for wrong in ("http://crm.internal", "*.internal", "crm.internal:80", "10.0.0.0/99"):
        with pytest.raises(ValidationError, match="no host, address or network"):
            made(tool_allow_hosts=wrong)


def test_the_setting_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written plainly, not as JSON."""
    monkeypatch.setenv("VOXBUS_TOOL_ALLOW_HOSTS", "crm.internal,10.0.0.0/8")
    assert Settings(_env_file=None).tool_allow_hosts == ("crm.internal", "10.0.0.0/8")  # type: ignore[call-arg]

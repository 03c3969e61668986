"""Settings as an operator writes them."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from pydantic import ValidationError

from voxbus.voice_gateway.rest.settings import Rate, RestSettings

pytestmark = pytest.mark.unit


def read(monkeypatch: pytest.MonkeyPatch, **environment: str) -> RestSettings:
    """The settings from these variables."""
    for name, value in environment.items():
        monkeypatch.setenv(f"VOXBUS_{name.upper()}", value)
    return RestSettings(_env_file=None)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("written", "rate"),
    [
        ("5/minute", Rate(5, 60)),
        ("10 / second", Rate(10, 1)),
        ("1000/Hour", Rate(1000, 3600)),
        ("off", None),
        ("OFF", None),
    ],
)
def test_rates(monkeypatch: pytest.MonkeyPatch, written: str, rate: Rate | None) -> None:
    """A rate is a number per second, minute or hour, or off."""
    assert read(monkeypatch, rate_limit_login=written).rate_limit_login == rate


@pytest.mark.parametrize("written", ["", "5", "0/minute", "5/day", "-1/second", "1.5/second", "many"])
def test_bad_rates(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    """Anything else is refused when the process starts."""
    with pytest.raises(ValidationError, match="a rate is"):
        read(monkeypatch, rate_limit_api=written)


def test_defaults() -> None:
    """Five logins a minute; no proxy is trusted and no foreign origin let in until somebody says so."""
    settings = RestSettings(_env_file=None)  # type: ignore[call-arg]
    assert settings.rate_limit_login == Rate(5, 60)
    assert (settings.trusted_proxies, settings.cors_origins) == ((), ())


def test_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists are separated by commas."""
    settings = read(monkeypatch, trusted_proxies="10.0.0.0/8, fd00::/8,192.0.2.1", cors_origins="https://a.example,")
    assert settings.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"), ip_network("192.0.2.1/32"))
    assert settings.cors_origins == ("https://a.example",)


def test_bad_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network with bits beyond its prefix is more likely a mistake than meant."""
    with pytest.raises(ValidationError):
        read(monkeypatch, trusted_proxies="10.0.0.1/8")

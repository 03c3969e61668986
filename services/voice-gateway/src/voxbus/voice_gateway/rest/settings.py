"""Settings of the REST process."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

from voxbus.runtime.settings import RuntimeSettings

Network = IPv4Network | IPv6Network
_RATE = re.compile(r"\s*([1-9][0-9]{0,8})\s*/\s*(second|minute|hour)\s*")
_WINDOWS_S: Final = {"second": 1, "minute": 60, "hour": 3600}


@dataclass(frozen=True)
class Rate:
    """At most `limit` in any `window_s` seconds."""

    limit: int
    window_s: int


def _parse_rate(value: Any) -> Any:
    """Such as "600/minute"; "off" is None: no limit."""
    if not isinstance(value, str):
        return value
    if value.strip().lower() == "off":
        return None
    found = _RATE.fullmatch(value.lower())
    if not found:
        raise ValueError('a rate is "<number>/second", "<number>/minute", "<number>/hour" or "off"')
    return Rate(int(found[1]), _WINDOWS_S[found[2]])


def _parse_list(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _parse_networks(value: Any) -> Any:
    return tuple(ip_network(part) if isinstance(part, str) else part for part in _parse_list(value))


RateSetting = Annotated[Rate | None, NoDecode, BeforeValidator(_parse_rate)]
ListSetting = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_parse_list)]
NetworksSetting = Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_parse_networks)]


class RestSettings(RuntimeSettings):
    """Environment variables `VOXBUS_*`. Lists are separated by commas."""

    rest_host: str = Field(default="127.0.0.1", description="Address of the REST API.")
    rest_port: int = Field(default=8000, ge=0, le=65535, description="Port of the REST API; 0 takes a free one.")
    voice_url: str = Field(default="ws://127.0.0.1:7860/v1/voice", description="Voice socket that clients are told.")
    trusted_proxies: NetworksSetting = Field(
        default=(), description="Networks whose X-Forwarded-For is believed; of others it is ignored."
    )
    cors_origins: ListSetting = Field(default=(), description="Web origins that may use the API; `*` for any.")
    max_body_bytes: int = Field(default=512 * 1024, ge=1024, description="Size of a JSON body at most.")
    request_timeout_s: float = Field(default=5.0, gt=0, description="How long a service may take for an answer.")
    rate_limit_login: RateSetting = Field(default=Rate(5, 60), description="Logins, and sign-ups, of one address.")
    rate_limit_refresh: RateSetting = Field(default=Rate(30, 60), description="Token refreshes of one address.")
    rate_limit_api: RateSetting = Field(
        default=Rate(600, 60), description="Requests of one user or API key; without either, of one address."
    )
    expected_services: ListSetting = Field(
        default=("auth", "agents", "campaigns", "voice-gateway", "stt-worker", "llm-worker", "tts-worker"),
        description="Services without which /health says `down` of them.",
    )

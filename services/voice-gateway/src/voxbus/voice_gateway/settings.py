"""Settings of the voice gateway."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from voxbus.runtime.settings import RuntimeSettings


class GatewaySettings(RuntimeSettings):
    """Environment variables `VOXBUS_*`."""

    voice_host: str = Field(default="127.0.0.1", description="Address of the voice WebSocket.")
    voice_port: int = Field(
        default=7860, ge=0, le=65535, description="Port of the voice WebSocket; 0 takes a free one."
    )
    cache_dir: Path | None = Field(
        default=None,
        description="Directory of what is known of agents and keys, so that a gateway that starts while their services are "
        "away still takes calls; unset: nothing is kept.",
    )
    token_public_key_file: Path | None = Field(
        default=None, description="PEM file with public keys of issuers of call tokens beside the auth service."
    )
    token_algorithms: tuple[str, ...] = Field(
        default=("EdDSA", "RS256"), description="Signatures of call tokens that are taken; a JSON list."
    )
    token_audience: str = Field(default="voxbus-voice", description="Claim `aud` that call tokens must have.")
    auth_timeout_s: float = Field(default=5.0, gt=0, description="A client must authenticate within this time.")
    max_connections: int = Field(default=1000, ge=1, description="Sockets at a time, authenticated or not.")
    ping_interval_s: float = Field(default=10.0, gt=0, description="A client that is silent for this long is pinged.")
    max_calls: int = Field(default=200, ge=1, description="Calls at a time; further ones are refused at once.")
    playout_lead_ms: int = Field(
        default=100,
        ge=20,
        le=1000,
        description="Agent audio is sent this much ahead of real time, against network jitter.",
    )
    playout_tick_ms: int = Field(
        default=20, ge=20, le=200, description="How often agent audio is sent; larger is cheaper."
    )
    call_setup_timeout_s: float = Field(
        default=2.0, gt=0, description="A call that no worker takes in this time is refused."
    )
    turn_stall_timeout_s: float = Field(
        default=10.0,
        gt=0,
        description="A turn of the agent fails when its workers live but bring it no further for this long.",
    )
    watchdog_ms: int = Field(
        default=750, ge=100, description="A stage stream that is silent for this long is taken over."
    )
    heartbeat_ms: int = Field(
        default=250, ge=20, description="How often a silent stage stream must show that it lives."
    )

"""Settings of the agents service."""

from __future__ import annotations

from pydantic import Field

from voxbus.runtime.store import StoreSettings


class AgentsSettings(StoreSettings):
    """`VOXBUS_*` variables."""

    sweep_interval_s: float = Field(
        default=3600.0, ge=1, description="How often versions of agents that are gone are looked for."
    )

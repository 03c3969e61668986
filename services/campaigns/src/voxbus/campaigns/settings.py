"""Settings of this service."""

from __future__ import annotations

from pydantic import Field

from voxbus.runtime.store import StoreSettings


class CampaignsSettings(StoreSettings):
    """Environment variables `VOXBUS_*`."""

    campaign_check_s: float = Field(
        default=1.0, gt=0, le=60, description="How often campaigns that are due to start are looked for."
    )
    contacts_lease_s: float = Field(
        default=30.0,
        ge=1,
        le=3600,
        description="After this, contacts that a process began to add are counted anew: it has died.",
    )

"""`/campaigns`."""

from __future__ import annotations

from voxbus.voice_gateway.rest.routing import api_router

router = api_router("/campaigns", "Campaigns")

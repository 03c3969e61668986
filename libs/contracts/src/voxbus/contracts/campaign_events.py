"""What happened to campaigns: the events of `campaigns`."""

from __future__ import annotations

from voxbus.contracts.base import Identifier, Message
from voxbus.contracts.campaigns import CampaignMove, CampaignStatus


class CampaignCreated(Message):
    """`voxbus.campaign.created.v1`"""

    campaign_id: Identifier
    user_id: Identifier
    agent_id: Identifier


class CampaignUpdated(Message):
    """`voxbus.campaign.updated.v1`: what is edited of it changed."""

    campaign_id: Identifier
    user_id: Identifier
    agent_id: Identifier
    revision: int


class CampaignMoved(Message):
    """`voxbus.campaign.moved.v1`: its status changed."""

    campaign_id: Identifier
    user_id: Identifier
    agent_id: Identifier
    move: CampaignMove
    before: CampaignStatus
    status: CampaignStatus
    by: Identifier | None = None
    """The user who did it; None: the platform."""


class CampaignDeleted(Message):
    """`voxbus.campaign.deleted.v1`"""

    campaign_id: Identifier
    user_id: Identifier

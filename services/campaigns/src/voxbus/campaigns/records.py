"""A campaign and its contacts as documents of the store, and back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from voxbus.campaigns.domain import allowed_moves
from voxbus.campaigns.rows import GoodRow
from voxbus.contracts.base import new_id
from voxbus.contracts.campaigns import (
    Campaign,
    CampaignSpec,
    CampaignStatus,
    CampaignSummary,
    Contact,
    ContactStatus,
)

Document = dict[str, Any]

_OF_SUMMARIES = ("user_id", "name", "agent_id", "start_at", "timezone", "started_at", "ended_at")
_OF_EVERY_RECORD = ("created_at", "updated_at", "revision")
SUMMARY_FIELDS = dict.fromkeys((*_OF_SUMMARIES, *_OF_EVERY_RECORD, "status", "contact_count", "name_key"), True)
"""Projection of a list."""


def new_campaign(user_id: str, spec: CampaignSpec, now: datetime) -> Document:
    """A draft."""
    return {
        "_id": new_id("camp"),
        "user_id": user_id,
        **spec_fields(spec),
        "status": CampaignStatus.DRAFT.value,
        "contact_count": 0,
        "contact_positions": 0,
        "contact_changes": 0,
        "contacts_open": [],
        "started_at": None,
        "ended_at": None,
        "revision": 1,
        "created_at": now,
        "updated_at": now,
        "outbox": [],
    }


def spec_fields(spec: CampaignSpec) -> Document:
    """The fields of a document that hold the spec."""
    fields = spec.model_dump(exclude={"metadata"})
    return {**fields, "name_key": spec.name.casefold(), "metadata": _pairs(spec.metadata)}


def to_spec(document: Document) -> CampaignSpec:
    """What is edited of it."""
    fields = {name: document[name] for name in CampaignSpec.model_fields if name != "metadata"}
    return CampaignSpec.model_construct(**fields, metadata=dict(document["metadata"]))


def to_campaign(document: Document) -> Campaign:
    """The whole of it."""
    return Campaign.model_construct(
        **_summary_fields(document),
        description=document["description"],
        default_region=document["default_region"],
        metadata=dict(document["metadata"]),
    )


def to_summary(document: Document) -> CampaignSummary:
    """As lists show it."""
    return CampaignSummary.model_construct(**_summary_fields(document))


def _summary_fields(document: Document) -> Document:
    status = CampaignStatus(document["status"])
    return {
        "id": document["_id"],
        "status": status,
        "allowed_moves": allowed_moves(status),
        "contact_count": document["contact_count"],
        **{name: document[name] for name in (*_OF_SUMMARIES, *_OF_EVERY_RECORD)},
    }


def new_contact(campaign_id: str, position: int, row: GoodRow, now: datetime) -> Document:
    """A contact nobody has called yet; `position` orders the contacts of a campaign as they were added."""
    return {
        "_id": new_id("contact"),
        "campaign_id": campaign_id,
        "position": position,
        "phone_number": row.phone_number,
        "name": row.name,
        "variables": _pairs(row.variables),
        "status": ContactStatus.PENDING.value,
        "created_at": now,
    }


def to_contact(document: Document) -> Contact:
    """As it is answered."""
    return Contact.model_construct(
        id=document["_id"],
        campaign_id=document["campaign_id"],
        phone_number=document["phone_number"],
        name=document["name"],
        variables=dict(document["variables"]),
        status=ContactStatus(document["status"]),
        created_at=document["created_at"],
    )


def _pairs(values: Mapping[str, str]) -> list[list[str]]:
    """Clients choose the names, and not every name can be a field of a document."""
    return [[name, value] for name, value in values.items()]

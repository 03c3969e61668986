"""Indexes of the collections, one version after the other."""

from __future__ import annotations

from typing import Any, Final

from pymongo import ASCENDING, DESCENDING
from pymongo.asynchronous.database import AsyncDatabase

from voxbus.runtime.store.documents import idempotency_index
from voxbus.runtime.store.migrations import Migration
from voxbus.runtime.store.outbox import outbox_index

CAMPAIGNS: Final = "campaigns"
CONTACTS: Final = "contacts"


async def _create_indexes(database: AsyncDatabase[dict[str, Any]]) -> None:
    campaigns, contacts = database[CAMPAIGNS], database[CONTACTS]
    await campaigns.create_index([("agent_id", ASCENDING)])
    await campaigns.create_index([("user_id", ASCENDING), ("created_at", DESCENDING), ("_id", DESCENDING)])
    await campaigns.create_index([("created_at", DESCENDING), ("_id", DESCENDING)])
    await campaigns.create_index([("status", ASCENDING), ("start_at", ASCENDING)])
    for field in ("removing", "agent_unchecked", "contacts_open.until"):
        await campaigns.create_index([(field, ASCENDING)], sparse=True)
    await idempotency_index(database, CAMPAIGNS)
    await outbox_index(database, CAMPAIGNS)
    await contacts.create_index([("campaign_id", ASCENDING), ("phone_number", ASCENDING)], unique=True)
    await contacts.create_index([("campaign_id", ASCENDING), ("position", ASCENDING)])


MIGRATIONS: Final = (Migration(1, "indexes of campaigns and contacts", _create_indexes),)

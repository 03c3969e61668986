"""Campaigns in MongoDB. A change and the event that tells of it are one write."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from voxbus.campaigns.domain import USES_AGENT
from voxbus.campaigns.migrations import CAMPAIGNS
from voxbus.campaigns.records import SUMMARY_FIELDS, Document
from voxbus.contracts.campaigns import CampaignStatus, ListCampaigns
from voxbus.contracts.event import Event
from voxbus.runtime.store import DocumentStore
from voxbus.runtime.store.documents import create_once, now
from voxbus.runtime.store.outbox import OutboxRelay, entry
from voxbus.runtime.store.paging import find_page

_VISIBLE: Final = {"removing": {"$ne": True}}
_USED_BY_SHOWN: Final = 20
_SORTS: Final = {"created_at": "created_at", "updated_at": "updated_at", "start_at": "start_at", "name": "name_key"}


class CampaignRepository:
    """The collection `campaigns`."""

    def __init__(self, store: DocumentStore, relay: OutboxRelay) -> None:
        self._collection = store.collection(CAMPAIGNS)
        self._relay = relay

    async def create(self, document: Document, event: Event[Any]) -> tuple[Document, bool]:
        """Insert it, or answer the one made before with the same idempotency key (True). Raises KEY_REUSED."""
        created, replayed = await create_once(self._collection, {**document, "outbox": [entry(event)]})
        if not replayed:
            self._relay.nudge(CAMPAIGNS, created["_id"])
        return created, replayed

    async def made_with(self, idempotency: Mapping[str, str]) -> Document | None:
        """The campaign made before with the same idempotency key and content."""
        where = {"idempotency.key": idempotency["key"], "idempotency.content": idempotency["content"]}
        return await self._collection.find_one(where)

    async def find(self, campaign_id: str) -> Document | None:
        """A campaign that is not being deleted."""
        return await self._collection.find_one({"_id": campaign_id, **_VISIBLE})

    async def change(
        self,
        document: Document,
        values: Mapping[str, Any],
        event: Event[Any],
        *,
        only_if: Mapping[str, Any] | None = None,
    ) -> Document | None:
        """The campaign with these values, or None when it was changed meanwhile, or is not as `only_if` says.

        What it becomes is known beforehand, but for what others may do to its contacts in the same moment. So the store need
        not answer with it, which costs one that speaks MongoDB's protocol a look at the whole collection.
        """
        values = {**values, "updated_at": now()}
        written = await self._collection.update_one(
            {"_id": document["_id"], "revision": document["revision"], **_VISIBLE, **(only_if or {})},
            {"$set": values, "$inc": {"revision": 1}, "$push": {"outbox": entry(event)}},
        )
        if not written.modified_count:
            return None
        self._relay.nudge(CAMPAIGNS, document["_id"])
        return {**document, **values, "revision": document["revision"] + 1}

    async def remove(self, document: Document, event: Event[Any]) -> bool:
        """Hide it from everybody; False when it was changed meanwhile. The caretaker removes its contacts, then itself.

        Its idempotency key becomes free.
        """
        written = await self._collection.update_one(
            {"_id": document["_id"], "revision": document["revision"], **_VISIBLE},
            {
                "$set": {"removing": True, "updated_at": now()},
                "$unset": {"idempotency": "", "agent_unchecked": ""},
                "$inc": {"revision": 1},
                "$push": {"outbox": entry(event)},
            },
        )
        if written.modified_count:
            self._relay.nudge(CAMPAIGNS, document["_id"])
        return bool(written.modified_count)

    async def page(self, request: ListCampaigns, owner: str | None) -> tuple[list[Document], str | None]:
        """Documents with what a list shows; `owner` None: of everybody. Raises INVALID."""
        if owner is not None and request.user_id not in (None, owner):
            return [], None
        # One flat query: not every server of MongoDB's protocol uses indexes below `$and`.
        where: Document = {} if owner is None else {"user_id": owner}
        for field in ("user_id", "agent_id", "status"):
            value = getattr(request, field)
            if value is not None:
                where[field] = str(value)
        if request.name is not None:
            where["name_key"] = {"$regex": re.escape(request.name.casefold())}
        return await find_page(
            self._collection,
            where={**where, **_VISIBLE},
            request=request,
            sorts=_SORTS,
            default="-created_at",
            projection=SUMMARY_FIELDS,
        )

    async def using_agent(self, agent_id: str) -> tuple[list[Document], int]:
        """The first campaigns in which this agent must stay, and how many there are."""
        where = {"agent_id": agent_id, "status": {"$in": _values(USES_AGENT)}, **_VISIBLE}
        found = await self._collection.find(where, SUMMARY_FIELDS).limit(_USED_BY_SHOWN).to_list()
        total = len(found)
        if total == _USED_BY_SHOWN:
            total = await self._collection.count_documents(where)
        return found, total

    async def due(self, moment: datetime) -> list[Document]:
        """Scheduled campaigns whose time has come."""
        where = {"status": CampaignStatus.SCHEDULED.value, "start_at": {"$lte": moment}, **_VISIBLE}
        return await self._collection.find(where).limit(100).to_list()

    async def with_unchecked_agent(self, moved_before: datetime) -> list[Document]:
        """Campaigns that were moved towards calls, and nobody has looked since whether the agent is still there."""
        return await self._collection.find({"agent_unchecked": {"$lt": moved_before}}).limit(100).to_list()

    async def agent_checked(self, campaign_id: str, moved_at: datetime) -> None:
        """Note that the agent is still there after the move at this time."""
        await self._collection.update_one(
            {"_id": campaign_id, "agent_unchecked": moved_at}, {"$unset": {"agent_unchecked": ""}}
        )

    async def abandoned_changes(self, moment: datetime) -> list[str]:
        """Campaigns in which a change of contacts never ended."""
        where = {"contacts_open.until": {"$lte": moment}}
        return [found["_id"] async for found in self._collection.find(where, {"_id": True}).limit(100)]

    async def removing(self) -> list[Document]:
        """Campaigns that are hidden and still have to go."""
        fields = {"contact_positions": True, "contacts_open": True}
        return await self._collection.find({"removing": True}, fields).limit(100).to_list()

    async def forget(self, campaign_id: str) -> bool:
        """Remove a hidden campaign without contacts; False while its events are not published."""
        where = {"_id": campaign_id, "removing": True, "outbox": []}
        return bool((await self._collection.delete_one(where)).deleted_count)


def _values(statuses: Sequence[CampaignStatus]) -> list[str]:
    return [status.value for status in statuses]

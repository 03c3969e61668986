"""The number of contacts of a campaign, kept right while several processes add and remove contacts and may die doing so.

Counting 100,000 contacts takes seconds on a small store, so the number is kept in the campaign's document. A change begins by
entering itself there with a lease, and ends by taking the entry away together with changing the number. An entry whose lease has
run out tells that a process died between the two: the contacts are counted anew, once nobody is changing them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog
from pymongo import ReturnDocument
from pymongo.asynchronous.collection import AsyncCollection

from voxbus.campaigns.domain import ENDED
from voxbus.campaigns.records import Document
from voxbus.contracts.base import new_id
from voxbus.runtime.store.documents import now

log = structlog.get_logger(__name__)

WINDOW: Final = 5000
"""Positions in one command on contacts: each stays well below the store's time limit."""
_LONG_AGO: Final = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Change:
    """A change of contacts that has begun. `positions` are its own."""

    campaign_id: str
    token: str
    positions: range


def windows(top: int, size: int = WINDOW) -> Iterator[Document]:
    """Conditions on `position` that together cover the positions 1 to `top`."""
    for low in range(0, top, size):
        yield {"$gt": low, "$lte": min(low + size, top)}


def is_changing(document: Document, moment: datetime) -> bool:
    """Whether somebody alive is changing the contacts of this campaign."""
    return any(entry["until"] > moment for entry in document["contacts_open"])


class ContactChanges:
    """Enters changes of contacts in their campaign."""

    def __init__(
        self, campaigns: AsyncCollection[dict[str, Any]], contacts: AsyncCollection[dict[str, Any]], lease_s: float
    ) -> None:
        self._campaigns = campaigns
        self._contacts = contacts
        self._lease = timedelta(seconds=lease_s)

    async def begin(self, campaign_id: str, positions: int = 0) -> Change | None:
        """Enter a change that needs so many positions; None when the campaign has ended or is gone."""
        token = new_id("change")
        document = await self._campaigns.find_one_and_update(
            {"_id": campaign_id, "status": {"$nin": sorted(ENDED)}, "removing": {"$ne": True}},
            {
                "$push": {"contacts_open": {"id": token, "until": now() + self._lease}},
                "$inc": {"contact_positions": positions, "contact_changes": 1},
            },
            projection={"contact_positions": True},
            return_document=ReturnDocument.AFTER,
        )
        if document is None:
            return None
        top = document["contact_positions"]
        return Change(campaign_id, token, range(top - positions + 1, top + 1))

    async def end(self, change: Change, difference: int) -> int:
        """The contacts of the campaign after a change by so many; 0 when the campaign is gone."""
        document = await self._campaigns.find_one_and_update(
            {"_id": change.campaign_id, "contacts_open.id": change.token},
            {
                "$pull": {"contacts_open": {"id": change.token}},
                "$inc": {"contact_count": difference, "contact_changes": 1},
            },
            projection={"contact_count": True},
            return_document=ReturnDocument.AFTER,
        )
        if document is not None:
            return int(document["contact_count"])
        return await self._end_late(change)

    async def _end_late(self, change: Change) -> int:
        """The lease ran out, and contacts may have been counted before they were all there."""
        entry = {"id": change.token, "until": _LONG_AGO}
        await self._campaigns.update_one(
            {"_id": change.campaign_id}, {"$push": {"contacts_open": entry}, "$inc": {"contact_changes": 1}}
        )
        await self.recount(change.campaign_id)
        document = await self._campaigns.find_one({"_id": change.campaign_id}, {"contact_count": True})
        return int(document["contact_count"]) if document else 0

    async def recount(self, campaign_id: str) -> bool:
        """Count anew and forget the entries of the dead; False when somebody changed contacts meanwhile."""
        document = await self._campaigns.find_one({"_id": campaign_id})
        if document is None or is_changing(document, now()):
            return False
        count = 0
        for window in windows(document["contact_positions"]):
            count += await self._contacts.count_documents({"campaign_id": campaign_id, "position": window})
        written = await self._campaigns.update_one(
            {"_id": campaign_id, "contact_changes": document["contact_changes"]},
            {"$set": {"contact_count": count, "contacts_open": []}},
        )
        if written.modified_count:
            log.info("contacts counted anew", campaign_id=campaign_id, before=document["contact_count"], after=count)
        return bool(written.matched_count)

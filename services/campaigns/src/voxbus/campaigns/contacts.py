"""Use cases of contacts: add, read, list, delete."""

from __future__ import annotations

import asyncio

import structlog

from voxbus.campaigns.contact_changes import ContactChanges
from voxbus.campaigns.contact_repository import ContactRepository
from voxbus.campaigns.domain import NotAllowedError, check_contacts_change
from voxbus.campaigns.lookup import Lookup, conflict
from voxbus.campaigns.records import Document, new_contact, to_contact
from voxbus.campaigns.rows import sort_rows
from voxbus.contracts.access import Actor
from voxbus.contracts.campaigns import (
    AddContacts,
    CampaignStatus,
    Contact,
    ContactPage,
    ContactsAdded,
    DeleteContact,
    GetContact,
    ListContacts,
)
from voxbus.contracts.rpc import Done
from voxbus.runtime.rpc import not_found
from voxbus.runtime.store.documents import now

log = structlog.get_logger(__name__)


class ContactService:
    """The contacts of campaigns. They have no revision, and do not change that of their campaign."""

    def __init__(self, repository: ContactRepository, changes: ContactChanges, lookup: Lookup) -> None:
        self._repository = repository
        self._changes = changes
        self._lookup = lookup

    async def add(self, request: AddContacts) -> ContactsAdded:
        """Take the good rows. Raises NOT_FOUND, CONFLICT. Safe to repeat: what was taken is a duplicate then."""
        campaign = await self._changeable(request.campaign_id, request.actor)
        rows = await asyncio.to_thread(sort_rows, request.rows, campaign["default_region"])
        count, added = campaign["contact_count"], 0
        if rows.good:
            change = await self._changes.begin(request.campaign_id, len(rows.good))
            if change is None:
                await self._changeable(request.campaign_id, request.actor)
                raise conflict("the campaign was changed at the same moment", retryable=True)
            moment = now()
            documents = [
                new_contact(request.campaign_id, position, row, moment)
                for position, row in zip(change.positions, rows.good, strict=True)
            ]
            added = await self._repository.add(documents)
            count = await self._changes.end(change, added)
        log.info("contacts added", campaign_id=request.campaign_id, rows=len(request.rows), added=added)
        return ContactsAdded(
            added=added,
            duplicates=rows.repeated + len(rows.good) - added,
            rejected=tuple(rows.rejected),
            contact_count=count,
        )

    async def get(self, request: GetContact) -> Contact:
        """One contact. Raises NOT_FOUND."""
        await self._lookup.visible(request.campaign_id, request.actor)
        document = await self._repository.find(request.campaign_id, request.contact_id)
        if document is None:
            raise not_found("contact")
        return to_contact(document)

    async def page(self, request: ListContacts) -> ContactPage:
        """Some of the contacts. Raises NOT_FOUND, INVALID."""
        campaign = await self._lookup.visible(request.campaign_id, request.actor)
        documents, cursor = await self._repository.page(request, campaign["contact_positions"])
        return ContactPage(items=tuple(to_contact(document) for document in documents), next_cursor=cursor)

    async def delete(self, request: DeleteContact) -> Done:
        """Remove a contact. Raises NOT_FOUND, CONFLICT."""
        await self._changeable(request.campaign_id, request.actor)
        if await self._repository.find(request.campaign_id, request.contact_id) is None:
            raise not_found("contact")
        change = await self._changes.begin(request.campaign_id)
        if change is None:
            await self._changeable(request.campaign_id, request.actor)
            raise conflict("the campaign was changed at the same moment", retryable=True)
        deleted = await self._repository.delete(request.campaign_id, request.contact_id)
        await self._changes.end(change, -deleted)
        if not deleted:
            raise not_found("contact")
        return Done()

    async def _changeable(self, campaign_id: str, actor: Actor | None) -> Document:
        campaign = await self._lookup.visible(campaign_id, actor)
        try:
            check_contacts_change(CampaignStatus(campaign["status"]))
        except NotAllowedError as error:
            raise conflict(str(error)) from None
        return campaign

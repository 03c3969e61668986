"""Contacts as they come, are counted, listed and go."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from campaigns_stand import CampaignsStand, World, actor, numbers

from voxbus.campaigns.contact_changes import ContactChanges
from voxbus.contracts.base import new_id
from voxbus.contracts.campaigns import (
    ADD_CONTACTS,
    DELETE_CAMPAIGN,
    DELETE_CONTACT,
    GET_CONTACT,
    LIST_CONTACTS,
    AddContacts,
    Contact,
    ContactPage,
    ContactRow,
    DeleteCampaign,
    DeleteContact,
    GetContact,
    ListContacts,
)
from voxbus.contracts.rpc import RequestErrorCode
from voxbus.runtime.store.documents import now

pytestmark = pytest.mark.integration


async def _page(around: World, campaign_id: str, **fields: object) -> ContactPage:
    request = ListContacts.model_validate({"actor": around.owner, "campaign_id": campaign_id, **fields})
    return await around.ask(LIST_CONTACTS, request)


async def _all(around: World, campaign_id: str, **fields: object) -> list[Contact]:
    contacts: list[Contact] = []
    cursor: str | None = None
    while True:
        page = await _page(around, campaign_id, cursor=cursor, **fields)
        contacts += page.items
        cursor = page.next_cursor
        if cursor is None:
            return contacts


async def test_good_rows_are_taken_and_bad_ones_reported(around: World) -> None:
    """Every row is counted once; a number that comes again, in the same batch or later, is a duplicate."""
    campaign = await around.create(default_region="US")
    written = ["(415) 555-2671", "+1 415 555 2671", "+4930901820", "nobody", "12"]
    result = await around.add_contacts(campaign.id, written)
    assert (result.added, result.duplicates, result.contact_count) == (2, 1, 2)
    assert [(problem.row, problem.value) for problem in result.rejected] == [(4, "nobody"), (5, "12")]
    again = await around.add_contacts(campaign.id, written)
    assert (again.added, again.duplicates, again.contact_count) == (0, 3, 2)
    after = await around.get(campaign.id)
    assert (after.contact_count, after.revision) == (2, 1)


async def test_a_contact_is_read_as_it_was_added(around: World) -> None:
    """Names of variables may be anything; another campaign does not have it."""
    campaign, other = await around.create(), await around.create()
    variables = {"first.name": "Ada", "$due": "42 €", "nul\0": "\0"}
    row = ContactRow(row=1, phone_number="+1 (415) 555-2671", name=" Ada ", variables=variables)
    await around.ask(ADD_CONTACTS, AddContacts(actor=around.owner, campaign_id=campaign.id, rows=(row,)))
    [contact] = await _all(around, campaign.id)
    assert (contact.phone_number, contact.name, contact.variables) == ("+14155552671", "Ada", variables)
    request = GetContact(actor=around.owner, campaign_id=campaign.id, contact_id=contact.id)
    assert await around.ask(GET_CONTACT, request) == contact
    error = await around.refused(GET_CONTACT, request.model_copy(update={"campaign_id": other.id}))
    assert (error.code, error.error.message) == (RequestErrorCode.NOT_FOUND, "there is no such contact")


async def test_others_neither_see_nor_change_contacts(around: World) -> None:
    """All of it answers as if there was no such campaign."""
    campaign = await around.create(contacts=1)
    [contact] = await _all(around, campaign.id)
    ids = {"actor": actor(), "campaign_id": campaign.id}
    row = ContactRow(row=1, phone_number="+14155552671")
    for error in (
        await around.refused(ADD_CONTACTS, AddContacts(**ids, rows=(row,))),
        await around.refused(LIST_CONTACTS, ListContacts(**ids)),
        await around.refused(GET_CONTACT, GetContact(**ids, contact_id=contact.id)),
        await around.refused(DELETE_CONTACT, DeleteContact(**ids, contact_id=contact.id)),
    ):
        assert (error.code, error.error.message) == (RequestErrorCode.NOT_FOUND, "there is no such campaign")


async def test_an_ended_campaign_keeps_its_contacts(around: World) -> None:
    """None comes and none goes; they can be read."""
    campaign = await around.create(contacts=1)
    await around.move(campaign.id, "cancel")
    [contact] = await _all(around, campaign.id)
    ids = {"actor": around.owner, "campaign_id": campaign.id}
    row = ContactRow(row=1, phone_number="+14155552671")
    for error in (
        await around.refused(ADD_CONTACTS, AddContacts(**ids, rows=(row,))),
        await around.refused(DELETE_CONTACT, DeleteContact(**ids, contact_id=contact.id)),
    ):
        assert error.code is RequestErrorCode.CONFLICT


async def test_a_deleted_contact_is_gone_and_counted(around: World) -> None:
    """Once, however many delete it at the same time; its number can come again."""
    campaign = await around.create(contacts=3)
    contact = (await _all(around, campaign.id))[1]
    request = DeleteContact(actor=around.owner, campaign_id=campaign.id, contact_id=contact.id)
    outcomes = await asyncio.gather(*(around.ask(DELETE_CONTACT, request) for _ in range(4)), return_exceptions=True)
    assert sum(isinstance(outcome, Exception) for outcome in outcomes) == 3
    assert (await around.get(campaign.id)).contact_count == 2
    assert (await around.add_contacts(campaign.id, [contact.phone_number])).contact_count == 3


async def test_uploads_at_the_same_time_are_counted_right(around: World) -> None:
    """Two processes that get overlapping halves of the same numbers add each number once, and the count says so."""
    campaign = await around.create()
    halves = [numbers(300), numbers(300, start=150), numbers(300), numbers(300, start=150)]
    results = await asyncio.gather(*(around.add_contacts(campaign.id, half) for half in halves))
    assert sum(result.added for result in results) == 450
    assert sum(result.duplicates for result in results) == 4 * 300 - 450
    assert max(result.contact_count for result in results) == 450
    assert (await around.get(campaign.id)).contact_count == 450
    assert len({contact.phone_number for contact in await _all(around, campaign.id, limit=100)}) == 450


async def test_a_count_survives_a_process_that_died(around: World, stand: CampaignsStand) -> None:
    """Contacts were added and their number not noted: when the lease is over they are counted anew."""
    campaign = await around.create(contacts=2)
    async with stand.database() as database:
        changes = ContactChanges(database.campaigns, database.contacts, lease_s=1)
        change = await changes.begin(campaign.id, 1)
        assert change is not None
        extra = {"_id": new_id("contact"), "campaign_id": campaign.id, "position": change.positions[0]}
        await database.contacts.insert_one({**extra, "phone_number": "+14155552671"})
    assert (await around.get(campaign.id)).contact_count == 2
    await around.until(campaign.id, lambda now: now.contact_count == 3)


async def test_a_change_that_takes_longer_than_its_lease_is_counted(around: World, stand: CampaignsStand) -> None:
    """Others have counted and forgotten it; when it ends after all, it counts again."""
    campaign = await around.create(contacts=2)
    async with stand.database() as database:
        changes = ContactChanges(database.campaigns, database.contacts, lease_s=0)
        change = await changes.begin(campaign.id, 1)
        assert change is not None
        async with asyncio.timeout(15):
            while (await database.campaigns.find_one({"_id": campaign.id}) or {})["contacts_open"]:
                await asyncio.sleep(0.05)
        late = {"_id": new_id("contact"), "campaign_id": campaign.id, "position": change.positions[0]}
        await database.contacts.insert_one({**late, "phone_number": "+14155552671"})
        assert await changes.end(change, 1) == 3
    assert (await around.get(campaign.id)).contact_count == 3


async def test_nobody_counts_while_contacts_are_added(around: World, stand: CampaignsStand) -> None:
    """A count in the middle of a change would count some of its contacts twice."""
    campaign = await around.create(contacts=2)
    async with stand.database() as database:
        changes = ContactChanges(database.campaigns, database.contacts, lease_s=30)
        dead = ContactChanges(database.campaigns, database.contacts, lease_s=0)
        assert await dead.begin(campaign.id) is not None
        change = await changes.begin(campaign.id, 1)
        assert change is not None
        assert await changes.recount(campaign.id) is False
        assert await changes.end(change, 0) == 2


async def test_a_deleted_campaign_waits_for_contacts_under_way(around: World, stand: CampaignsStand) -> None:
    """Contacts that are added while their campaign is deleted go with it; and a removal that was cut off is finished."""
    campaign = await around.create(contacts=2)
    async with stand.database() as database:
        changes = ContactChanges(database.campaigns, database.contacts, lease_s=3)
        change = await changes.begin(campaign.id, 1)
        assert change is not None
        await around.ask(DELETE_CAMPAIGN, DeleteCampaign(actor=around.owner, campaign_id=campaign.id))
        assert await changes.begin(campaign.id, 1) is None
        late = {"_id": new_id("contact"), "campaign_id": campaign.id, "position": change.positions[0]}
        await database.contacts.insert_one({**late, "phone_number": "+14155552671"})
        begun = now()
        async with asyncio.timeout(15):
            while await database.campaigns.find_one({"_id": campaign.id}):
                await asyncio.sleep(0.05)
        assert now() - begun > timedelta(seconds=1)
        assert await database.contacts.count_documents({"campaign_id": campaign.id}) == 0


@pytest.mark.parametrize("sort", [None, "created_at", "-created_at", "phone_number", "-phone_number"])
async def test_pages_bring_every_contact_once_in_order(around: World, sort: str | None) -> None:
    """Through gaps that deleted and repeated contacts leave, whatever the order."""
    campaign = await around.create()
    shuffled = [number for pair in zip(numbers(30), reversed(numbers(30, start=30)), strict=True) for number in pair]
    for part in (shuffled[:20], shuffled[:20], shuffled[20:]):
        await around.add_contacts(campaign.id, part)
    for contact in (await _all(around, campaign.id))[5:15]:
        request = DeleteContact(actor=around.owner, campaign_id=campaign.id, contact_id=contact.id)
        await around.ask(DELETE_CONTACT, request)
    left = shuffled[:5] + shuffled[15:]
    expected = sorted(left) if sort and "phone" in sort else left
    if sort and sort.startswith("-"):
        expected = expected[::-1]
    found = await _all(around, campaign.id, sort=sort, limit=3)
    assert [contact.phone_number for contact in found] == expected


async def test_pages_hold_as_many_as_asked_for(around: World) -> None:
    """And the last one says that it is the last."""
    campaign = await around.create(contacts=7)
    first = await _page(around, campaign.id, limit=5)
    assert (len(first.items), bool(first.next_cursor)) == (5, True)
    last = await _page(around, campaign.id, limit=5, cursor=first.next_cursor)
    assert (len(last.items), last.next_cursor) == (2, None)
    exact = await _page(around, campaign.id, limit=7)
    assert (len(exact.items), exact.next_cursor) == (7, None)


@pytest.mark.parametrize("fields", [{}, {"sort": "-created_at"}, {"sort": "phone_number"}, {"phone_number": "+1415"}])
async def test_pages_of_long_contacts_fit_into_a_message(around: World, fields: dict[str, str]) -> None:
    """A hundred contacts that are too long for one message come in several pages, each of them once."""
    campaign = await around.create()
    written = numbers(100)
    for start in range(0, 100, 20):
        rows = tuple(
            ContactRow(row=row, phone_number=number, variables={f"v{n}": "\u4e2d" * 500 for n in range(8)})
            for row, number in enumerate(written[start : start + 20], start=1)
        )
        await around.ask(ADD_CONTACTS, AddContacts(actor=around.owner, campaign_id=campaign.id, rows=rows))
    first = await _page(around, campaign.id, limit=100, **fields)
    assert 0 < len(first.items) < 100
    assert first.next_cursor is not None
    found = [contact.phone_number for contact in await _all(around, campaign.id, limit=100, **fields)]
    assert sorted(found) == sorted(written)
    assert len(set(found)) == 100


async def test_contacts_are_found_by_how_their_number_begins(around: World) -> None:
    """In the order they were added, unless asked otherwise."""
    campaign = await around.create()
    await around.add_contacts(campaign.id, ["+14155552672", "+4930901820", "+14155552671"])
    found = await _all(around, campaign.id, phone_number="+1415", limit=1)
    assert [contact.phone_number for contact in found] == ["+14155552672", "+14155552671"]
    found = await _all(around, campaign.id, phone_number="+1415", sort="phone_number", limit=1)
    assert [contact.phone_number for contact in found] == ["+14155552671", "+14155552672"]
    assert await _all(around, campaign.id, phone_number="+2") == []


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"sort": "name"}, "/sort"),
        ({"cursor": "x"}, "/cursor"),
        ({"cursor": "W10"}, "/cursor"),
        ({"cursor": "WyJjcmVhdGVkX2F0IiwgLTFd"}, "/cursor"),
        ({"cursor": "WyItY3JlYXRlZF9hdCIsIDFd"}, "/cursor"),
        ({"cursor": "é"}, "/cursor"),
        ({"cursor": "WyJwaG9uZV9udW1iZXIiLCB7IiRuZSI6IDF9XQ", "sort": "phone_number"}, "/cursor"),
    ],
)
async def test_a_wrong_order_or_cursor_is_refused(around: World, fields: dict[str, str], path: str) -> None:
    """At its place in the request, also a cursor of another order."""
    campaign = await around.create()
    request = ListContacts.model_validate({"actor": around.owner, "campaign_id": campaign.id, **fields})
    error = await around.refused(LIST_CONTACTS, request)
    assert [problem.path for problem in error.error.problems] == [path]

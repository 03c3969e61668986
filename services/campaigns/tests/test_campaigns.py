"""Campaigns as they are made, found, edited and deleted."""

from __future__ import annotations

import asyncio

import pytest
from campaigns_stand import CampaignsStand, World, actor

from voxbus.contracts.access import Role
from voxbus.contracts.base import new_id
from voxbus.contracts.campaigns import (
    CREATE_CAMPAIGN,
    DELETE_CAMPAIGN,
    GET_CAMPAIGN,
    LIST_CAMPAIGNS,
    MOVE_CAMPAIGN,
    PATCH_CAMPAIGN,
    Campaign,
    CampaignSpec,
    CreateCampaign,
    DeleteCampaign,
    GetCampaign,
    ListCampaigns,
    PatchCampaign,
)
from voxbus.contracts.rpc import RequestErrorCode
from voxbus.runtime.rpc import RequestFailedError

pytestmark = pytest.mark.integration


def _creating(around: World, *, key: str | None = None, user_id: str | None = None, **fields: object) -> CreateCampaign:
    spec = CampaignSpec.model_validate({"name": "Reminders", "agent_id": around.add_agent(), **fields})
    return CreateCampaign(actor=around.owner, spec=spec, idempotency_key=key, user_id=user_id)


async def _patch(around: World, campaign: Campaign, patch: dict[str, object], **fields: object) -> Campaign:
    return await around.ask(PATCH_CAMPAIGN, _patching(around, campaign, patch, **fields))


def _patching(around: World, campaign: Campaign, patch: dict[str, object], **fields: object) -> PatchCampaign:
    values = {"actor": around.owner, "campaign_id": campaign.id, "patch": patch, **fields}
    return PatchCampaign.model_validate(values)


async def test_a_campaign_is_read_as_it_was_made(around: World) -> None:
    """Every field of the spec comes back, whatever its characters."""
    spec = {
        "name": "Größe  \u202e مرحبا",
        "description": "a\nb",
        "default_region": "IN",
        "start_at": "2031-05-01T09:00:00.123+05:30",
        "timezone": "Asia/Kolkata",
        "metadata": {"a.b": "1", "$set": "2", "nul\0": "\0", " ": ""},
    }
    request = _creating(around, **spec)
    made = (await around.ask(CREATE_CAMPAIGN, request)).campaign
    read = await around.get(made.id)
    assert read == made
    assert read.model_dump(include=set(CampaignSpec.model_fields)) == request.spec.model_dump()
    assert (read.user_id, read.revision, read.contact_count) == (around.owner.user_id, 1, 0)


async def test_the_agent_must_be_visible(around: World) -> None:
    """One that is another's is refused like one that is not there, at its place in the content."""
    for agent_id in (around.add_agent(owner=actor()), "agent_0"):
        request = _creating(around, agent_id=agent_id)
        error = await around.refused(CREATE_CAMPAIGN, request)
        assert error.code is RequestErrorCode.INVALID
        assert [(problem.path, problem.message) for problem in error.error.problems] == [
            ("/agent_id", "there is no such agent")
        ]


@pytest.mark.parametrize(("field", "value"), [("timezone", "Mars/Olympus"), ("default_region", "XX")])
async def test_zones_and_countries_must_exist(around: World, field: str, value: str) -> None:
    """The problem is reported at the field."""
    error = await around.refused(CREATE_CAMPAIGN, _creating(around, **{field: value}))
    assert error.code is RequestErrorCode.INVALID
    assert [problem.path for problem in error.error.problems] == [f"/{field}"]


async def test_without_the_agents_service_none_is_made(around: World) -> None:
    """It is refused as worth another try."""
    around.agents_fail = True
    error = await around.refused(CREATE_CAMPAIGN, _creating(around))
    assert (error.code, error.error.retryable) == (RequestErrorCode.UNAVAILABLE, True)


async def test_a_create_may_be_repeated(around: World) -> None:
    """With the same key it answers the campaign made first, at once or later, even when the agent has gone since."""
    request = _creating(around, key=new_id("k"))
    results = await asyncio.gather(*(around.ask(CREATE_CAMPAIGN, request) for _ in range(4)))
    assert len({result.campaign.id for result in results}) == 1
    assert sorted(result.replayed for result in results) == [False, True, True, True]
    around.agents.clear()
    again = await around.ask(CREATE_CAMPAIGN, request)
    assert again.replayed


async def test_a_key_names_one_content_of_one_user(around: World) -> None:
    """Other content is refused; another user's key of the same name is another key."""
    key = new_id("k")
    await around.ask(CREATE_CAMPAIGN, _creating(around, key=key))
    error = await around.refused(CREATE_CAMPAIGN, _creating(around, key=key, name="Other"))
    assert error.code is RequestErrorCode.KEY_REUSED
    around.owner = actor()
    assert not (await around.ask(CREATE_CAMPAIGN, _creating(around, key=key))).replayed


async def test_only_admins_make_campaigns_for_others(around: World) -> None:
    """And only for users that exist."""
    around.users.add("user_known")
    error = await around.refused(CREATE_CAMPAIGN, _creating(around, user_id="user_known"))
    assert error.code is RequestErrorCode.FORBIDDEN
    around.owner = actor(Role.ADMIN)
    made = await around.ask(CREATE_CAMPAIGN, _creating(around, user_id="user_known"))
    assert made.campaign.user_id == "user_known"
    error = await around.refused(CREATE_CAMPAIGN, _creating(around, user_id="user_unknown"))
    assert [problem.path for problem in error.error.problems] == ["/user_id"]


async def test_a_patch_changes_what_it_names(around: World) -> None:
    """null takes a field back to its default; the change is told, and the agents service is not asked."""
    campaign = await around.create(description="Old", metadata={"a": "1", "b": "2"}, default_region="GB")
    around.agents_fail = True
    patch: dict[str, object] = {"name": "New", "metadata": {"a": None, "c": "3"}, "default_region": None}
    changed = await _patch(around, campaign, patch)
    assert (changed.name, changed.description, changed.default_region) == ("New", "Old", None)
    assert changed.metadata == {"b": "2", "c": "3"}
    assert changed.revision == 2
    assert changed.updated_at > campaign.updated_at
    events = await around.events_of(campaign.id, 2)
    assert (events[1][0], events[1][1]["revision"]) == ("updated", 2)


async def test_a_patch_that_changes_nothing_leaves_the_revision(around: World) -> None:
    """Nothing is told either."""
    campaign = await around.create()
    assert await _patch(around, campaign, {"name": campaign.name, "user_id": campaign.user_id}) == campaign


@pytest.mark.parametrize(
    ("patch", "path"),
    [
        ({"name": " "}, "/name"),
        ({"name": None}, "/name"),
        ({"colour": "red"}, "/colour"),
        ({"status": "running"}, "/status"),
        ({"start_at": "2031-05-01T09:00:00"}, "/start_at"),
        ({"start_at": "9999-12-31T23:00:00-12:00"}, "/start_at"),
        ({"metadata": {"a": 1}}, "/metadata/a"),
        ({"agent_id": "agent_0"}, "/agent_id"),
        ({"user_id": 7}, "/user_id"),
        ({"timezone": "Mars/Olympus"}, "/timezone"),
    ],
)
async def test_a_patch_must_leave_a_valid_campaign(around: World, patch: dict[str, object], path: str) -> None:
    """The problem is reported at the field."""
    campaign = await around.create()
    error = await around.refused(PATCH_CAMPAIGN, _patching(around, campaign, patch))
    assert error.code is RequestErrorCode.INVALID
    assert [problem.path for problem in error.error.problems] == [path]


async def test_what_a_status_does_not_allow_is_a_conflict(around: World) -> None:
    """A running campaign keeps its agent and its start."""
    campaign = await around.create(contacts=1)
    await around.move(campaign.id, "start")
    for patch in ({"agent_id": around.add_agent()}, {"start_at": "2031-05-01T09:00:00Z"}):
        error = await around.refused(PATCH_CAMPAIGN, _patching(around, campaign, dict(patch)))
        assert error.code is RequestErrorCode.CONFLICT


async def test_no_update_is_lost(around: World) -> None:
    """Of many edits of the same revision one succeeds; without a revision all do, each on what was before."""
    campaign = await around.create()
    edits = [_patch(around, campaign, {"description": str(n)}, expected_revision=1) for n in range(4)]
    outcomes = await asyncio.gather(*edits, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, RequestFailedError)]
    assert [error.code for error in refused] == [RequestErrorCode.STALE] * 3
    await asyncio.gather(*(_patch(around, campaign, {"metadata": {str(n): "x"}}) for n in range(4)))
    assert set((await around.get(campaign.id)).metadata) == set("0123")


async def test_only_admins_give_campaigns_away(around: World) -> None:
    """A user is refused; an admin names a user that exists, and the first owner sees it no more."""
    campaign = await around.create()
    error = await around.refused(PATCH_CAMPAIGN, _patching(around, campaign, {"user_id": "user_other"}))
    assert error.code is RequestErrorCode.FORBIDDEN
    around.users.add("user_other")
    admin = actor(Role.ADMIN)
    given = await _patch(around, campaign, {"user_id": "user_other"}, actor=admin)
    assert given.user_id == "user_other"
    error = await around.refused(GET_CAMPAIGN, GetCampaign(actor=around.owner, campaign_id=campaign.id))
    assert error.code is RequestErrorCode.NOT_FOUND


async def test_others_neither_see_nor_change_a_campaign(around: World) -> None:
    """Reading, editing, moving and deleting answer as if it was not there; an admin sees it."""
    campaign = await around.create()
    other = actor()
    for operation, request in (
        (GET_CAMPAIGN, GetCampaign(campaign_id=campaign.id)),
        (PATCH_CAMPAIGN, _patching(around, campaign, {"name": "Mine"})),
        (DELETE_CAMPAIGN, DeleteCampaign(campaign_id=campaign.id)),
        (MOVE_CAMPAIGN, around.moving(campaign.id, "cancel")),
    ):
        error = await around.refused(operation, request.model_copy(update={"actor": other}))  # type: ignore[arg-type]
        assert error.code is RequestErrorCode.NOT_FOUND
    request = GetCampaign(campaign_id=campaign.id, actor=actor(Role.ADMIN))
    assert await around.ask(GET_CAMPAIGN, request) == await around.get(campaign.id)


async def test_a_deleted_campaign_is_gone_with_its_contacts(around: World, stand: CampaignsStand) -> None:
    """At once for everybody; soon for the store too. The deletion is told, and the idempotency key is free."""
    request = _creating(around, key=new_id("k"))
    campaign = (await around.ask(CREATE_CAMPAIGN, request)).campaign
    await around.add_contacts(campaign.id, ["+14155552671", "+14155552672"])
    await around.ask(DELETE_CAMPAIGN, DeleteCampaign(actor=around.owner, campaign_id=campaign.id))
    error = await around.refused(GET_CAMPAIGN, GetCampaign(actor=around.owner, campaign_id=campaign.id))
    assert error.code is RequestErrorCode.NOT_FOUND
    page = await around.ask(LIST_CAMPAIGNS, ListCampaigns(actor=around.owner))
    assert page.items == ()
    assert (await around.events_of(campaign.id, 2))[1][0] == "deleted"
    assert not (await around.ask(CREATE_CAMPAIGN, request)).replayed
    async with asyncio.timeout(15), stand.database() as database:
        while await database.campaigns.find_one({"_id": campaign.id}):
            await asyncio.sleep(0.05)
        assert await database.contacts.count_documents({"campaign_id": campaign.id}) == 0


async def test_a_campaign_that_makes_calls_is_not_deleted(around: World) -> None:
    """It is cancelled first; a revision that is not the last is refused."""
    campaign = await around.create(contacts=1)
    await around.move(campaign.id, "start")
    request = DeleteCampaign(actor=around.owner, campaign_id=campaign.id)
    assert (await around.refused(DELETE_CAMPAIGN, request)).code is RequestErrorCode.CONFLICT
    await around.move(campaign.id, "cancel")
    stale = request.model_copy(update={"expected_revision": 2})
    assert (await around.refused(DELETE_CAMPAIGN, stale)).code is RequestErrorCode.STALE
    await around.ask(DELETE_CAMPAIGN, request)
    gone = await around.refused(GET_CAMPAIGN, GetCampaign(actor=around.owner, campaign_id=campaign.id))
    assert gone.code is RequestErrorCode.NOT_FOUND


async def test_the_design_s_indexes_are_there(around: World, stand: CampaignsStand) -> None:
    """`agent_id` of campaigns; a number once per campaign; the migration is noted once."""
    async with stand.database() as database:
        indexes = await database.campaigns.index_information()
        assert [("agent_id", 1)] in [index["key"] for index in indexes.values()]
        contacts = (await database.contacts.index_information()).values()
        unique = [index["key"] for index in contacts if index.get("unique")]
        assert unique == [[("campaign_id", 1), ("phone_number", 1)]]
        assert await database.migrations.count_documents({"_id": {"$regex": "^campaigns:[0-9]"}}) == 1


async def test_nothing_personal_is_logged(around: World, stand: CampaignsStand) -> None:
    """Neither numbers nor names of contacts or campaigns."""
    campaign = await around.create(name="Secret reminders")
    await around.add_contacts(campaign.id, ["+14155559876", "wrong number"])
    logged = stand.log_text()
    assert campaign.id in logged
    for text in ("Secret reminders", "5559876", "wrong number"):
        assert text not in logged

"""How campaigns move on."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from campaigns_stand import CampaignsStand, World, actor

from voxbus.contracts.campaigns import (
    CAMPAIGNS_OF_AGENT,
    MOVE_CAMPAIGN,
    CampaignMove,
    CampaignsOfAgent,
    CampaignStatus,
)
from voxbus.contracts.rpc import RequestErrorCode
from voxbus.runtime.rpc import RequestFailedError

pytestmark = pytest.mark.integration


async def test_a_campaign_lives_from_draft_to_completed(around: World) -> None:
    """Each move is answered with the new status and told as an event that names who did it."""
    campaign = await around.create(contacts=1)
    assert campaign.status is CampaignStatus.DRAFT
    assert campaign.started_at is None
    started = await around.move(campaign.id, "start")
    assert started.started_at is not None
    await around.move(campaign.id, "pause")
    resumed = await around.move(campaign.id, "resume")
    assert resumed.started_at == started.started_at
    ended = await around.move(campaign.id, "complete")
    assert (ended.status, ended.allowed_moves) == (CampaignStatus.COMPLETED, ())
    assert ended.ended_at is not None
    assert ended.revision == 5
    events = await around.events_of(campaign.id, 5)
    assert [(kind, data.get("move"), data.get("by")) for kind, data in events] == [
        ("created", None, None),
        *[("moved", move, around.owner.user_id) for move in ("start", "pause", "resume", "complete")],
    ]


async def test_an_illegal_move_says_what_is_allowed(around: World) -> None:
    """A draft cannot pause, and the message names the moves that it can make."""
    campaign = await around.create(contacts=1)
    error = await around.refused(MOVE_CAMPAIGN, around.moving(campaign.id, "pause"))
    assert error.code is RequestErrorCode.CONFLICT
    assert "schedule, start, cancel" in error.error.message


@pytest.mark.parametrize("move", ["start", "schedule"])
async def test_a_move_towards_calls_needs_contacts(around: World, move: str) -> None:
    """A campaign that has nobody to call neither starts nor waits to start."""
    campaign = await around.create(start_at=datetime.now(UTC) + timedelta(hours=1))
    error = await around.refused(MOVE_CAMPAIGN, around.moving(campaign.id, move))
    assert (error.code, error.error.message) == (
        RequestErrorCode.CONFLICT,
        "the campaign has no contacts to call",
    )


async def test_a_move_towards_calls_needs_a_published_agent(around: World) -> None:
    """An agent that has only a draft cannot be called with, and so the campaign does not start."""
    campaign = await around.create(contacts=1, agent_id=around.add_agent(published=False))
    error = await around.refused(MOVE_CAMPAIGN, around.moving(campaign.id, "start"))
    assert (error.code, error.error.message) == (RequestErrorCode.CONFLICT, "its agent is not published")


async def test_a_move_towards_calls_needs_the_agent(around: World) -> None:
    """A paused campaign whose agent is gone cannot be resumed, but cancelled."""
    campaign = await around.create(contacts=1)
    await around.move(campaign.id, "start")
    await around.move(campaign.id, "pause")
    around.agents.clear()
    error = await around.refused(MOVE_CAMPAIGN, around.moving(campaign.id, "resume"))
    assert error.code is RequestErrorCode.CONFLICT
    assert (await around.move(campaign.id, "cancel")).status is CampaignStatus.CANCELLED


async def test_without_the_agents_service_nothing_starts(around: World) -> None:
    """The move is refused as worth another try, and the campaign stays a draft."""
    campaign = await around.create(contacts=1)
    around.agents_fail = True
    error = await around.refused(MOVE_CAMPAIGN, around.moving(campaign.id, "start"))
    assert (error.code, error.error.retryable) == (RequestErrorCode.UNAVAILABLE, True)
    assert (await around.get(campaign.id)).status is CampaignStatus.DRAFT


async def test_a_campaign_waits_only_for_a_time_to_come(around: World) -> None:
    """It is not scheduled without a start, nor for one that has passed."""
    for start_at in (None, datetime.now(UTC) - timedelta(seconds=1)):
        campaign = await around.create(contacts=1, start_at=start_at)
        error = await around.refused(MOVE_CAMPAIGN, around.moving(campaign.id, "schedule"))
        assert error.code is RequestErrorCode.CONFLICT
        assert "start_at" in error.error.message


async def test_a_scheduled_campaign_starts_by_itself_once(around: World) -> None:
    """Of two processes that look at the clock one starts it, and the event names nobody."""
    campaign = await around.create(contacts=1, start_at=datetime.now(UTC) + timedelta(seconds=1.5))
    await around.move(campaign.id, "schedule")
    started = await around.until(campaign.id, lambda now: now.status is not CampaignStatus.SCHEDULED)
    assert started.status is CampaignStatus.RUNNING
    assert started.start_at is not None
    assert started.started_at is not None
    assert started.started_at >= started.start_at
    assert started.revision == 3
    events = await around.events_of(campaign.id, 3)
    assert [data.get("move") for _, data in events] == [None, "schedule", "start"]
    assert "by" not in events[-1][1]


async def test_an_unscheduled_campaign_does_not_start(around: World) -> None:
    """Taken back to a draft it stays one when its time comes."""
    start_at = datetime.now(UTC) + timedelta(seconds=1)
    campaign = await around.create(contacts=1, start_at=start_at)
    other = await around.create(contacts=1, start_at=start_at)
    await around.move(campaign.id, "schedule")
    await around.move(other.id, "schedule")
    await around.move(campaign.id, "unschedule")
    await around.until(other.id, lambda now: now.status is CampaignStatus.RUNNING)
    assert (await around.get(campaign.id)).status is CampaignStatus.DRAFT


async def test_of_many_that_start_it_at_once_one_succeeds(around: World) -> None:
    """The others are told that it runs already; there is one event."""
    campaign = await around.create(contacts=1)
    outcomes = await asyncio.gather(*(around.move(campaign.id, "start") for _ in range(8)), return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, RequestFailedError)]
    assert len(refused) == 7
    assert {error.code for error in refused} == {RequestErrorCode.CONFLICT}
    assert (await around.get(campaign.id)).revision == 2


async def test_an_agent_that_goes_while_its_campaign_starts_stops_it(around: World) -> None:
    """The agent was there before the campaign ran and is gone after: the campaign is paused, and the caller told."""
    campaign = await around.create(contacts=1)
    asked_before = around.asked_for_agents

    async def goes(asked: int) -> None:
        if asked == asked_before + 2:
            around.agents.clear()

    around.before_agent = goes
    error = await around.refused(MOVE_CAMPAIGN, around.moving(campaign.id, "start"))
    assert error.code is RequestErrorCode.CONFLICT
    assert (await around.get(campaign.id)).status is CampaignStatus.PAUSED
    events = await around.events_of(campaign.id, 3)
    assert [data.get("move") for _, data in events] == [None, "start", "pause"]


async def test_a_process_that_died_before_it_looked_again_is_made_up_for(around: World, stand: CampaignsStand) -> None:
    """The agent went, and nobody was left to see it: another process pauses the campaign."""
    campaign, other = await around.create(contacts=1), await around.create(contacts=1)
    for started in (campaign, other):
        await around.move(started.id, "start")
    del around.agents[campaign.agent_id]
    async with stand.database() as database:
        note = {"$set": {"agent_unchecked": datetime.now(UTC) - timedelta(minutes=1)}}
        both = {"_id": {"$in": [campaign.id, other.id]}}
        await database.campaigns.update_many(both, note)
        await around.until(campaign.id, lambda now: now.status is CampaignStatus.PAUSED)
        async with asyncio.timeout(15):
            while await database.campaigns.count_documents({**both, "agent_unchecked": {"$exists": True}}):
                await asyncio.sleep(0.05)
    assert (await around.get(other.id)).status is CampaignStatus.RUNNING


async def test_a_move_stands_when_nobody_can_look_again(around: World, stand: CampaignsStand) -> None:
    """The agents service went away right after the agent was found: the move succeeds, and a note says to look later."""
    campaign = await around.create(contacts=1)
    asked_before = around.asked_for_agents

    async def goes(asked: int) -> None:
        around.agents_fail = asked > asked_before + 1

    around.before_agent = goes
    assert (await around.move(campaign.id, "start")).status is CampaignStatus.RUNNING
    async with stand.database() as database:
        document = await database.campaigns.find_one({"_id": campaign.id})
    assert document is not None
    assert document["agent_unchecked"] is not None


async def test_an_agent_is_in_use_from_schedule_to_end(around: World) -> None:
    """Drafts and ended campaigns do not hold an agent; scheduled, running and paused ones do."""
    agent_id = around.add_agent()
    campaign = await around.create(contacts=1, agent_id=agent_id, start_at=datetime.now(UTC) + timedelta(hours=1))
    used = []
    for move in (None, "schedule", "start", "pause", "cancel"):
        if move:
            await around.move(campaign.id, move)
        use = await around.ask(CAMPAIGNS_OF_AGENT, CampaignsOfAgent(agent_id=agent_id))
        used.append((use.total, [item.id for item in use.campaigns]))
    assert used == [(0, []), *[(1, [campaign.id])] * 3, (0, [])]


async def test_a_campaign_of_somebody_else_is_not_there(around: World) -> None:
    """Another user is told that there is no such campaign, with the words of one that never was."""
    campaign = await around.create(contacts=1)
    request = around.moving(campaign.id, "start").model_copy(update={"actor": actor()})
    error = await around.refused(MOVE_CAMPAIGN, request)
    nobodys = await around.refused(MOVE_CAMPAIGN, around.moving("camp_0", CampaignMove.START))
    assert error.error == nobodys.error
    assert error.code is RequestErrorCode.NOT_FOUND

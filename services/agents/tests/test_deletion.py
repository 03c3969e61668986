"""Deleting agents while campaigns begin to use them, and processes that die in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from agents_stand import AgentsStand, Neighbours, admin, user
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase

from voxbus.contracts import agents, campaigns
from voxbus.contracts.access import Actor
from voxbus.contracts.agents import AgentSpec
from voxbus.contracts.base import new_id
from voxbus.contracts.rpc import Done, RequestErrorCode
from voxbus.runtime.rpc import RequestFailedError

pytestmark = pytest.mark.integration


@pytest_asyncio.fixture
async def database(stand: AgentsStand) -> AsyncIterator[AsyncDatabase[dict[str, Any]]]:
    """What the processes keep."""
    async with AsyncMongoClient[dict[str, Any]](stand.mongo.url, tz_aware=True) as client:
        yield client[stand.database_name]


def campaign(owner: Actor, name: str) -> campaigns.CampaignSummary:
    """A campaign that runs."""
    at = datetime.now(UTC)
    return campaigns.CampaignSummary(
        id=new_id("camp"),
        user_id=owner.user_id,
        name=name,
        agent_id="a",
        status=campaigns.CampaignStatus.RUNNING,
        allowed_moves=(),
        created_at=at,
        updated_at=at,
        revision=1,
    )


async def made(around: Neighbours, actor: Actor, agent_id: str | None = None, greeting: str | None = None) -> str:
    """A new agent with one version."""
    request = agents.CreateAgent(actor=actor, agent_id=agent_id, spec=AgentSpec(name="Desk", greeting=greeting))
    found = (await around.ask(agents.CREATE_AGENT, request)).agent.id
    await around.ask(agents.PUBLISH_AGENT, agents.PublishAgent(actor=actor, agent_id=found))
    return found


async def delete(around: Neighbours, actor: Actor, agent_id: str) -> Done:
    """Delete it."""
    return await around.ask(agents.DELETE_AGENT, agents.DeleteAgent(actor=actor, agent_id=agent_id))


async def gone(database: AsyncDatabase[dict[str, Any]], agent_id: str) -> None:
    """Wait until the store holds nothing of an agent."""
    async with asyncio.timeout(10):
        while await database["agents"].find_one({"_id": agent_id}) or await database["agent_versions"].find_one(
            {"agent_id": agent_id}
        ):
            await asyncio.sleep(0.02)


async def test_deleted(around: Neighbours, database: AsyncDatabase[dict[str, Any]]) -> None:
    """Nothing is left of a deleted agent: not for its owner, not for calls, not in the store."""
    actor = user()
    agent_id = await made(around, actor)
    await delete(around, actor, agent_id)
    for operation, request in (
        (agents.GET_AGENT, agents.GetAgent(actor=actor, agent_id=agent_id)),
        (agents.RESOLVE_AGENT, agents.ResolveAgent(agent_id=agent_id)),
        (agents.DELETE_AGENT, agents.DeleteAgent(actor=actor, agent_id=agent_id)),
    ):
        assert (await around.refused(operation, request)).code is RequestErrorCode.NOT_FOUND
    assert (await around.ask(agents.LIST_AGENTS, agents.ListAgents(actor=actor))).items == ()
    await gone(database, agent_id)
    assert await around.events_of(agent_id, 3) == ["agent.created", "agent.published", "agent.deleted"]


async def test_made_anew(around: Neighbours, database: AsyncDatabase[dict[str, Any]]) -> None:
    """An agent made anew under an old id has nothing of the old one, even where content of the old one was left."""
    actor, agent_id = user(), new_id("desk")
    await made(around, actor, agent_id, "old")
    left = await database["agent_versions"].find_one({"agent_id": agent_id})
    assert left
    await delete(around, actor, agent_id)
    await gone(database, agent_id)
    await database["agent_versions"].insert_one(left)
    await made(around, actor, agent_id, "new")
    resolved = await around.ask(agents.RESOLVE_AGENT, agents.ResolveAgent(agent_id=agent_id))
    assert (resolved.config.version, resolved.config.greeting) == (1, "new")


async def test_in_use(around: Neighbours) -> None:
    """An agent that campaigns use stays, and the refusal names three of those the actor may see, and how many there are."""
    actor = user()
    agent_id = await made(around, actor)
    items = (campaign(admin(), "Hidden"), *(campaign(actor, f"Spring {number}") for number in range(4)))
    around.use = campaigns.AgentUse(campaigns=items, total=5)
    with pytest.raises(RequestFailedError) as failure:
        await delete(around, actor, agent_id)
    assert failure.value.code is RequestErrorCode.CONFLICT
    message = failure.value.error.message
    assert message.startswith("5 campaigns use this agent: Spring 0 (")
    assert "Spring 2" in message
    assert ") and 2 more; " in message
    assert "Spring 3" not in message
    assert "Hidden" not in message
    got = await around.ask(agents.GET_AGENT, agents.GetAgent(actor=actor, agent_id=agent_id))
    assert got.published_version == 1
    around.use = campaigns.AgentUse(campaigns=(), total=0)
    await delete(around, actor, agent_id)


async def test_campaigns_away(around: Neighbours) -> None:
    """While nobody can say whether an agent is used, it is not deleted."""
    actor = user()
    agent_id = await made(around, actor)
    around.use = None
    with pytest.raises(RequestFailedError) as failure:
        await delete(around, actor, agent_id)
    assert failure.value.code is RequestErrorCode.UNAVAILABLE
    await around.ask(agents.GET_AGENT, agents.GetAgent(actor=actor, agent_id=agent_id))


async def test_stale(around: Neighbours) -> None:
    """A deletion that expects another revision is refused, also when the change comes while it is decided."""
    actor = user()
    agent_id = await made(around, actor)
    request = agents.DeleteAgent(actor=actor, agent_id=agent_id, expected_revision=1)
    assert (await around.refused(agents.DELETE_AGENT, request)).code is RequestErrorCode.STALE
    around.answering.clear()
    deletion = asyncio.create_task(
        around.refused(agents.DELETE_AGENT, request.model_copy(update={"expected_revision": 2}))
    )
    await around.asking.wait()
    patch = agents.PatchAgent(actor=actor, agent_id=agent_id, patch={"greeting": "x"})
    await around.ask(agents.PATCH_AGENT, patch)
    around.answering.set()
    assert (await deletion).code is RequestErrorCode.STALE


@pytest.mark.parametrize("used", [True, False])
async def test_read_waits_for_the_decision(around: Neighbours, *, used: bool) -> None:
    """A read during a deletion is answered by its outcome, so that a campaign that begins sees it; a call is not held up."""
    actor = user()
    agent_id = await made(around, actor)
    around.use = campaigns.AgentUse(campaigns=(campaign(actor, "x"),) * used, total=int(used))
    around.answering.clear()
    deletion = asyncio.create_task(delete(around, actor, agent_id))
    await around.asking.wait()
    read = asyncio.create_task(around.ask(agents.GET_AGENT, agents.GetAgent(actor=actor, agent_id=agent_id)))
    await around.ask(agents.RESOLVE_AGENT, agents.ResolveAgent(agent_id=agent_id))
    assert not read.done()
    around.answering.set()
    outcomes = await asyncio.gather(deletion, read, return_exceptions=True)
    codes = [outcome.code if isinstance(outcome, RequestFailedError) else "ok" for outcome in outcomes]
    assert codes == (["conflict", "ok"] if used else ["ok", "not_found"])


async def test_deleted_by_two_at_once(around: Neighbours, database: AsyncDatabase[dict[str, Any]]) -> None:
    """Of deletions by two processes at once one succeeds, and one event tells of it."""
    actor = user()
    agent_id = await made(around, actor)
    results = await asyncio.gather(*(delete(around, actor, agent_id) for _ in range(6)), return_exceptions=True)
    failures = [result.code for result in results if isinstance(result, RequestFailedError)]
    assert failures == [RequestErrorCode.NOT_FOUND] * 5
    await gone(database, agent_id)
    assert (await around.events_of(agent_id, 3)).count("agent.deleted") == 1


async def test_mark_of_a_dead_process(around: Neighbours, database: AsyncDatabase[dict[str, Any]]) -> None:
    """A mark left by a process that died in the middle of a deletion is taken away by the next read."""
    actor = user()
    agent_id = await made(around, actor)
    mark = {"token": "t", "until": datetime.now(UTC) - timedelta(seconds=1)}
    await database["agents"].update_one({"_id": agent_id}, {"$set": {"deleting": mark}})
    await around.ask(agents.GET_AGENT, agents.GetAgent(actor=actor, agent_id=agent_id))
    document = await database["agents"].find_one({"_id": agent_id})
    assert document
    assert "deleting" not in document


async def test_mark_taken_away(around: Neighbours, database: AsyncDatabase[dict[str, Any]]) -> None:
    """A deletion whose mark was taken away is not completed by the old answer: campaigns are asked again."""
    actor = user()
    agent_id = await made(around, actor)
    around.answering.clear()
    deletion = asyncio.create_task(
        around.refused(agents.DELETE_AGENT, agents.DeleteAgent(actor=actor, agent_id=agent_id))
    )
    await around.asking.wait()
    await database["agents"].update_one({"_id": agent_id}, {"$unset": {"deleting": ""}})
    around.use = campaigns.AgentUse(campaigns=(campaign(actor, "Begun"),), total=1)
    around.answering.set()
    assert (await deletion).code is RequestErrorCode.CONFLICT


async def test_fresh_mark(around: Neighbours, database: AsyncDatabase[dict[str, Any]]) -> None:
    """A read does not wait for ever for a deletion that is not decided: it can be tried again."""
    actor = user()
    agent_id = await made(around, actor)
    mark = {"token": "t", "until": datetime.now(UTC) + timedelta(seconds=60)}
    await database["agents"].update_one({"_id": agent_id}, {"$set": {"deleting": mark}})
    failure = await around.refused(agents.GET_AGENT, agents.GetAgent(actor=actor, agent_id=agent_id))
    assert (failure.code, failure.error.retryable) == (RequestErrorCode.UNAVAILABLE, True)

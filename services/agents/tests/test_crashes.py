"""Processes that die between two steps, and stores that go away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from agents_stand import AgentsStand, Neighbours, neighbours, user

from voxbus.agents.migrations import MIGRATIONS
from voxbus.agents.repository import AgentRepository
from voxbus.contracts import agents
from voxbus.contracts.agents import AgentSpec
from voxbus.contracts.base import new_id
from voxbus.contracts.rpc import RequestErrorCode
from voxbus.runtime.bus import EventBus
from voxbus.runtime.rpc import RequestFailedError
from voxbus.runtime.store import DocumentStore, StoreSettings
from voxbus.runtime.store.outbox import OutboxRelay

pytestmark = pytest.mark.integration


@pytest_asyncio.fixture
async def store(stand: AgentsStand) -> AsyncIterator[DocumentStore]:
    """The store of the processes."""
    store = DocumentStore(StoreSettings(mongo_url=stand.mongo.url, mongo_database=stand.database_name), "agents")
    yield store
    await store.stop()


@pytest.fixture
def repository(stand: AgentsStand, store: DocumentStore) -> AgentRepository:
    """A hand of the test's own in the store, to do half of what a process does."""
    return AgentRepository(store, OutboxRelay(store, EventBus(stand.nats.url, "agents", new_id("p")), ("agents",)))


async def made(around: Neighbours, greeting: str = "Hello") -> agents.Agent:
    """A new agent."""
    request = agents.CreateAgent(actor=user(), spec=AgentSpec(name="Desk", greeting=greeting))
    return (await around.ask(agents.CREATE_AGENT, request)).agent


async def version_texts(store: DocumentStore, agent_id: str) -> list[str]:
    """The stored content of the versions of an agent."""
    return [item["spec"] async for item in store.collection("agent_versions").find({"agent_id": agent_id})]


async def test_killed_in_a_publishing(around: Neighbours, repository: AgentRepository, store: DocumentStore) -> None:
    """Content stored by a publishing that was cut off is no version; the next publishing of the draft takes it up."""
    agent = await made(around)
    document = await repository.find(agent.id)
    assert document
    await repository.keep_version(document)
    listed = await around.ask(agents.LIST_AGENT_VERSIONS, agents.ListAgentVersions(agent_id=agent.id))
    assert listed.items == ()
    published = await around.ask(agents.PUBLISH_AGENT, agents.PublishAgent(agent_id=agent.id))
    assert published.published_version == 1
    assert len(await version_texts(store, agent.id)) == 1


async def test_killed_in_a_publishing_then_changed(around: Neighbours, repository: AgentRepository) -> None:
    """A version has the draft of its moment, not what a publishing that was cut off had stored."""
    agent = await made(around, "before")
    document = await repository.find(agent.id)
    assert document
    await repository.keep_version(document)
    await around.ask(agents.PATCH_AGENT, agents.PatchAgent(agent_id=agent.id, patch={"greeting": "after"}))
    await around.ask(agents.PUBLISH_AGENT, agents.PublishAgent(agent_id=agent.id))
    resolved = await around.ask(agents.RESOLVE_AGENT, agents.ResolveAgent(agent_id=agent.id))
    assert resolved.config.greeting == "after"


async def test_sweep(around: Neighbours, repository: AgentRepository, store: DocumentStore) -> None:
    """Versions whose agent is gone are removed, and no others."""
    kept, left = await made(around), await made(around)
    for agent in (kept, left):
        document = await repository.find(agent.id)
        assert document
        await repository.keep_version(document)
    await store.collection("agents").delete_one({"_id": left.id})
    assert await repository.sweep() >= 1
    assert await version_texts(store, left.id) == []
    assert len(await version_texts(store, kept.id)) == 1
    assert await repository.sweep() == 0


async def test_oldest_versions_fall_off(around: Neighbours, store: DocumentStore) -> None:
    """An agent keeps a thousand versions; the content of one that falls off goes with it."""
    agent = await made(around)
    await around.ask(agents.PUBLISH_AGENT, agents.PublishAgent(agent_id=agent.id))
    collection = store.collection("agents")
    document = await collection.find_one({"_id": agent.id})
    assert document
    (entry,) = document["versions"]
    others = [{**entry, "version": number, "revision": number, "key": f"k{number}"} for number in range(2, 1001)]
    change: dict[str, Any] = {"published_version": 1000, "revision": 1001, "versions": [entry, *others]}
    await collection.update_one({"_id": agent.id}, {"$set": change})
    await around.ask(agents.PATCH_AGENT, agents.PatchAgent(agent_id=agent.id, patch={"greeting": "x"}))
    published = await around.ask(agents.PUBLISH_AGENT, agents.PublishAgent(agent_id=agent.id))
    assert published.published_version == 1001
    failure = await around.refused(agents.GET_AGENT_VERSION, agents.GetAgentVersion(agent_id=agent.id, version="1"))
    assert failure.code is RequestErrorCode.NOT_FOUND
    assert len(await version_texts(store, agent.id)) == 1
    page = await around.ask(agents.LIST_AGENT_VERSIONS, agents.ListAgentVersions(agent_id=agent.id, limit=1))
    assert page.items[0].version == 1001


async def test_indexes(store: DocumentStore) -> None:
    """The step that makes the indexes can be repeated, and a user's agents are found by an index."""
    for _ in range(2):
        for migration in MIGRATIONS:
            await migration.apply(store.database)
    indexes = await store.collection("agents").index_information()
    fields = [[field for field, _ in index["key"]] for index in indexes.values()]
    assert any(names[0] == "user_id" for names in fields)
    assert [index for index in indexes.values() if index.get("unique")]


@pytest.fixture
def own_stand(tmp_path: Path) -> Iterator[AgentsStand]:
    """A process and servers of the test's own."""
    stand = AgentsStand(tmp_path, processes=1)
    try:
        stand.start()
        yield stand
    finally:
        stand.stop()


async def test_store_killed(own_stand: AgentsStand) -> None:
    """While the store is away a request fails as one that may be repeated; when it is back it is answered again."""
    async with neighbours(own_stand.nats.url) as around:
        agent = await made(around)
        own_stand.mongo.stop()
        failure = await around.refused(agents.GET_AGENT, agents.GetAgent(agent_id=agent.id))
        assert (failure.code, failure.error.retryable) == (RequestErrorCode.UNAVAILABLE, True)
        await asyncio.to_thread(own_stand.mongo.start)
        async with asyncio.timeout(20):
            assert await answered(around, agent.id) == agent


async def answered(around: Neighbours, agent_id: str) -> agents.Agent:
    """The agent, once the service answers."""
    while True:
        with suppress(RequestFailedError):
            return await around.ask(agents.GET_AGENT, agents.GetAgent(agent_id=agent_id))

"""The campaigns service as real processes on real servers, between an `agents` and an `auth` that are fakes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from control_plane import ServiceStand
from nats.aio.msg import Msg
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from rpc_stand import connected, serving

from voxbus.contracts import agents, auth
from voxbus.contracts import campaigns as contract
from voxbus.contracts.access import ROLE_PERMISSIONS, Actor, Role
from voxbus.contracts.base import new_id
from voxbus.contracts.rpc import Operation, RequestErrorCode, RequestT, ResultT
from voxbus.runtime.bus import EventBus
from voxbus.runtime.rpc import RequestFailedError, RpcClient, not_found


def actor(role: Role = Role.USER) -> Actor:
    """Somebody of the test's own."""
    return Actor(user_id=new_id(role), role=role, permissions=ROLE_PERMISSIONS[role])


class CampaignsStand(ServiceStand):
    """Processes of the campaigns service, which look often for what is due."""

    def __init__(self, directory: Path, processes: int, **environment: str) -> None:
        often = {"VOXBUS_CAMPAIGN_CHECK_S": "0.1", "VOXBUS_CONTACTS_LEASE_S": "5"}
        super().__init__("campaigns", directory, processes, {**often, **environment})

    @asynccontextmanager
    async def database(self) -> AsyncIterator[AsyncDatabase[dict[str, Any]]]:
        """What the service keeps, to look at or to bring into a state that only an accident leaves."""
        async with AsyncMongoClient[dict[str, Any]](self.mongo.url, tz_aware=True) as client:
            yield client[self.database_name]


class World:
    """The services around `campaigns`: who asks it, whom it asks, and what it tells."""

    def __init__(self, bus: EventBus) -> None:
        self._client = RpcClient(bus)
        self.owner = actor()
        self.agents: dict[str, agents.Agent] = {}
        self.users: set[str] = set()
        self.agents_fail = False
        self.before_agent: Callable[[int], Awaitable[None]] | None = None
        """Awaited before `agents` looks, with how often it was asked."""
        self.asked_for_agents = 0
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._heard: set[str] = set()

    async def ask(self, operation: Operation[RequestT, ResultT], request: RequestT) -> ResultT:
        """Send a request; raises RequestFailedError."""
        return await self._client.request(operation, request, timeout_s=20)

    async def refused(self, operation: Operation[RequestT, ResultT], request: RequestT) -> RequestFailedError:
        """The failure of a request that must fail."""
        try:
            result = await self.ask(operation, request)
        except RequestFailedError as error:
            return error
        raise AssertionError(f"it was answered: {result!r}")

    def add_agent(self, *, published: bool = True, owner: Actor | None = None) -> str:
        """An agent that `agents` has from now on; its id."""
        at = datetime.now(UTC)
        agent_id = new_id("agent")
        self.agents[agent_id] = agents.Agent(
            id=agent_id,
            user_id=(owner or self.owner).user_id,
            name="Front desk",
            language="en",
            stt_provider="local",
            llm_provider="scripted",
            tts_provider="local",
            revision=1,
            published_version=1 if published else None,
            created_at=at,
            updated_at=at,
            draft=agents.AgentSpec(name="Front desk"),
        )
        return agent_id

    async def create(self, *, contacts: int = 0, **fields: Any) -> contract.Campaign:
        """A campaign of the owner, with an agent of its own and contacts."""
        spec = contract.CampaignSpec(
            **{"name": "Reminders", "agent_id": fields.pop("agent_id", None) or self.add_agent(), **fields}
        )
        made = await self.ask(contract.CREATE_CAMPAIGN, contract.CreateCampaign(actor=self.owner, spec=spec))
        if contacts:
            await self.add_contacts(made.campaign.id, numbers(contacts))
        return made.campaign

    async def add_contacts(self, campaign_id: str, written: list[str]) -> contract.ContactsAdded:
        """Add contacts as the owner."""
        rows = tuple(contract.ContactRow(row=row, phone_number=number) for row, number in enumerate(written, start=1))
        request = contract.AddContacts(actor=self.owner, campaign_id=campaign_id, rows=rows)
        return await self.ask(contract.ADD_CONTACTS, request)

    async def move(self, campaign_id: str, move: str) -> contract.Campaign:
        """Move a campaign on, as the owner."""
        return await self.ask(contract.MOVE_CAMPAIGN, self.moving(campaign_id, move))

    def moving(self, campaign_id: str, move: str) -> contract.MoveCampaign:
        """The owner's request of a move."""
        return contract.MoveCampaign(actor=self.owner, campaign_id=campaign_id, move=contract.CampaignMove(move))

    async def get(self, campaign_id: str) -> contract.Campaign:
        """A campaign as the owner sees it."""
        return await self.ask(contract.GET_CAMPAIGN, contract.GetCampaign(actor=self.owner, campaign_id=campaign_id))

    async def until(self, campaign_id: str, holds: Callable[[contract.Campaign], bool]) -> contract.Campaign:
        """The campaign, once this holds of it."""
        async with asyncio.timeout(15):
            while not holds(campaign := await self.get(campaign_id)):
                await asyncio.sleep(0.05)
        return campaign

    async def events_of(self, campaign_id: str, count: int) -> list[tuple[str, dict[str, Any]]]:
        """The first events about a campaign, once so many have come."""
        async with asyncio.timeout(10):
            while True:
                found = [(kind, data) for kind, data in self.events if data["campaign_id"] == campaign_id]
                if len(found) >= count:
                    return found
                await asyncio.sleep(0.02)

    async def heard(self, message: Msg) -> None:
        """An event came. It may come again, when two processes change a campaign in turn; its id tells."""
        assert message.headers is not None
        if message.headers["ce-id"] in self._heard:
            return
        self._heard.add(message.headers["ce-id"])
        kind = message.headers["ce-type"].removeprefix("voxbus.campaign.").removesuffix(".v1")
        self.events.append((kind, json.loads(message.data)))

    async def get_agent(self, request: agents.GetAgent) -> agents.Agent:
        """As `agents` answers."""
        self.asked_for_agents += 1
        if self.before_agent:
            await self.before_agent(self.asked_for_agents)
        if self.agents_fail:
            raise RequestFailedError(RequestErrorCode.UNAVAILABLE, "the store cannot be reached", retryable=True)
        agent = self.agents.get(request.agent_id)
        if agent is None or (request.actor and not request.actor.sees(agent.user_id)):
            raise not_found("agent")
        return agent

    async def get_user(self, request: auth.GetUser) -> auth.User:
        """As `auth` answers."""
        if request.user_id not in self.users:
            raise not_found("user")
        at = datetime.now(UTC)
        return auth.User(
            id=request.user_id, email="a@b.example", role=Role.USER, created_at=at, updated_at=at, revision=1
        )


def numbers(count: int, start: int = 0) -> list[str]:
    """Different numbers that exist as far as anybody can tell."""
    return [
        f"+1415555{number:04d}" if number < 10_000 else f"+1416{2_000_000 + number}"
        for number in range(start, start + count)
    ]


@asynccontextmanager
async def world(nats_url: str) -> AsyncIterator[World]:
    """Connected, and gone afterwards."""
    async with connected(nats_url) as bus:
        around = World(bus)
        async with (
            serving(nats_url, "agents", {agents.GET_AGENT: around.get_agent}),
            serving(nats_url, "auth", {auth.GET_USER: around.get_user}),
        ):
            await bus.subscribe("voxbus.event.campaign.>", around.heard)
            await bus.flush()
            yield around

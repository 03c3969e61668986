"""The agents service as real processes on real servers, between an `auth` and a `campaigns` that are fakes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from control_plane import ServiceStand
from nats.aio.msg import Msg

from voxbus.contracts import auth, campaigns
from voxbus.contracts.access import ROLE_PERMISSIONS, Actor, Role
from voxbus.contracts.base import new_id
from voxbus.contracts.rpc import Operation, RequestErrorCode, RequestT, ResultT
from voxbus.runtime.bus import EventBus
from voxbus.runtime.rpc import RequestFailedError, RpcClient, RpcServer, not_found


def user(name: str = "user") -> Actor:
    """A user of the test's own."""
    return Actor(user_id=new_id(name), role=Role.USER, permissions=ROLE_PERMISSIONS[Role.USER])


def admin() -> Actor:
    """An admin."""
    return Actor(user_id=new_id("admin"), role=Role.ADMIN, permissions=ROLE_PERMISSIONS[Role.ADMIN])


class AgentsStand(ServiceStand):
    """Processes of the agents service."""

    def __init__(self, directory: Path, processes: int) -> None:
        super().__init__("agents", directory, processes)


class Neighbours:
    """The services around `agents`: who asks it, whom it asks, and what it tells."""

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        self._client = RpcClient(bus)
        self.users: set[str] = set()
        self.use: campaigns.AgentUse | None = campaigns.AgentUse(campaigns=(), total=0)
        """What `campaigns` answers; None: it is there and fails."""
        self.asking = asyncio.Event()
        """Set when `campaigns` has been asked."""
        self.answering = asyncio.Event()
        """Cleared, `campaigns` keeps its answer back."""
        self.answering.set()
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._heard: set[str] = set()

    async def ask(self, operation: Operation[RequestT, ResultT], request: RequestT) -> ResultT:
        """Send a request; raises RequestFailedError."""
        return await self._client.request(operation, request, timeout_s=15)

    async def refused(self, operation: Operation[RequestT, ResultT], request: RequestT) -> RequestFailedError:
        """The failure of a request that must fail."""
        try:
            result = await self.ask(operation, request)
        except RequestFailedError as error:
            return error
        raise AssertionError(f"it was answered: {result!r}")

    async def events_of(self, agent_id: str, count: int) -> list[str]:
        """The types of the first `count` events about an agent, once they have come."""
        async with asyncio.timeout(10):
            while True:
                found = [kind for kind, data in self.events if data["agent_id"] == agent_id]
                if len(found) >= count:
                    return found
                await asyncio.sleep(0.01)

    async def heard(self, message: Msg) -> None:
        """An event came. It may come again, when two processes change an agent in turn; its id tells."""
        assert message.headers is not None
        if message.headers["ce-id"] in self._heard:
            return
        self._heard.add(message.headers["ce-id"])
        kind = message.headers["ce-type"].removeprefix("voxbus.").removesuffix(".v1")
        self.events.append((kind, json.loads(message.data)))

    async def get_user(self, request: auth.GetUser) -> auth.User:
        """As `auth` answers."""
        if request.user_id not in self.users:
            raise not_found("user")
        at = datetime.now(UTC)
        return auth.User(
            id=request.user_id, email="a@b.example", role=Role.USER, created_at=at, updated_at=at, revision=1
        )

    async def of_agent(self, request: campaigns.CampaignsOfAgent) -> campaigns.AgentUse:
        """As `campaigns` answers: what is true when it is asked."""
        use = self.use
        self.asking.set()
        await self.answering.wait()
        if use is None:
            raise RequestFailedError(RequestErrorCode.UNAVAILABLE, "the store cannot be reached", retryable=True)
        return use


@asynccontextmanager
async def neighbours(nats_url: str) -> AsyncIterator[Neighbours]:
    """Connected, and gone afterwards."""
    bus = EventBus(nats_url, "neighbours", new_id("p"))
    await bus.start()
    around = Neighbours(bus)
    users, uses = RpcServer(bus, "auth"), RpcServer(bus, "campaigns")
    users.answer(auth.GET_USER, around.get_user)
    uses.answer(campaigns.CAMPAIGNS_OF_AGENT, around.of_agent)
    await users.start()
    await uses.start()
    await bus.subscribe("voxbus.event.agent.>", around.heard)
    await bus.flush()
    try:
        yield around
    finally:
        around.answering.set()
        await users.drain()
        await uses.drain()
        await bus.stop()

"""Where the gateway's agents come from, and when they are asked for again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from fake_control_plane import FakeAgents, unavailable
from servers import NatsServer
from voice_client import eventually

from voxbus.contracts.agents import AgentDeleted, AgentPublished, AgentUpdated
from voxbus.contracts.base import Message, new_id
from voxbus.contracts.rpc import RequestErrorCode
from voxbus.runtime.bus import EventBus
from voxbus.runtime.rpc import RequestFailedError, RpcClient
from voxbus.voice_gateway.agents import ABSENT_S, AWAY_S, FRESH_S, AgentCatalogue, AgentUnavailableError

pytestmark = pytest.mark.integration


class AgentStand:
    """An `agents` with one published agent, and catalogues on a clock that stands still."""

    def __init__(self, url: str, stack: AsyncExitStack) -> None:
        self.agents = FakeAgents(url)
        self.agents.publish("nurse", name="First")
        self.now = 1000.0
        self._url, self._stack = url, stack

    async def catalogue(self, directory: Path | None = None) -> AgentCatalogue:
        """A started catalogue with a bus of its own."""
        bus = EventBus(self._url, "voice-gateway", new_id("p"))
        await bus.start()
        self._stack.push_async_callback(bus.stop)
        made = AgentCatalogue(RpcClient(bus), bus, directory=directory, clock=lambda: self.now)
        await made.start()
        self._stack.push_async_callback(made.stop)
        return made

    async def tell(self, event: Message, catalogue: AgentCatalogue) -> None:
        """Publish an event and wait until the catalogue asks again because of it."""
        asked = self.agents.asked
        await self.agents.tell(event)
        async with asyncio.timeout(5):
            while self.agents.asked == asked:
                await catalogue.get("nurse")
                await asyncio.sleep(0.005)


@pytest_asyncio.fixture
async def stand(nats_url: str) -> AsyncIterator[AgentStand]:
    """`agents` runs."""
    async with AsyncExitStack() as stack:
        made = AgentStand(nats_url, stack)
        await made.agents.start()
        stack.push_async_callback(made.agents.stop)
        yield made


async def name_of(catalogue: AgentCatalogue, agent_id: str = "nurse") -> str | None:
    """The name of the agent a call would have now."""
    agent = await catalogue.get(agent_id)
    return agent.name if agent else None


async def test_an_agent_is_asked_for_once_in_ten_minutes(stand: AgentStand) -> None:
    """Until then every call has the same version, and then the new one."""
    catalogue = await stand.catalogue()
    assert [await name_of(catalogue) for _ in range(3)] == ["First"] * 3
    assert stand.agents.asked == 1
    stand.agents.publish("nurse", name="Second")
    stand.now += FRESH_S - 1
    assert await name_of(catalogue) == "First"
    stand.now += 1
    assert await name_of(catalogue) == "Second"
    assert stand.agents.asked == 2


@pytest.mark.parametrize("kind", ["published", "updated"])
async def test_an_event_drops_the_agent(stand: AgentStand, kind: str) -> None:
    """The call after the event has the new version, in every gateway."""
    catalogues = [await stand.catalogue(), await stand.catalogue()]
    for catalogue in catalogues:
        assert await name_of(catalogue) == "First"
    config = stand.agents.publish("nurse", name="Second")
    event: Message = AgentUpdated(agent_id="nurse", user_id="user_1", revision=2)
    if kind == "published":
        event = AgentPublished(agent_id="nurse", user_id="user_1", version=2, config=config)
    for catalogue in catalogues:
        await stand.tell(event, catalogue)
        assert await name_of(catalogue) == "Second"


async def test_events_of_other_agents_change_nothing(stand: AgentStand) -> None:
    """An agent is dropped by its own events alone."""
    catalogue = await stand.catalogue()
    stand.agents.publish("pilot")
    assert await name_of(catalogue, "pilot") == "Tester"
    await name_of(catalogue)
    asked = stand.agents.asked
    await stand.tell(AgentUpdated(agent_id="nurse", user_id="user_1", revision=2), catalogue)
    await name_of(catalogue, "pilot")
    assert stand.agents.asked == asked + 1


async def test_calls_share_a_question(stand: AgentStand) -> None:
    """Many calls of one agent at once ask for it once; one that gives up does not take the answer from the others."""
    catalogue = await stand.catalogue()
    stand.agents.gate.clear()
    calls = [asyncio.create_task(name_of(catalogue)) for _ in range(10)]
    await eventually(lambda: stand.agents.asked)
    calls[0].cancel()
    stand.agents.gate.set()
    assert await asyncio.gather(*calls[1:]) == ["First"] * 9
    assert stand.agents.asked == 1


async def test_an_answer_older_than_the_event_is_not_kept(stand: AgentStand) -> None:
    """A version that was being fetched when another one was published serves who asked for it, and nobody after."""
    catalogue = await stand.catalogue()
    stand.agents.gate.clear()
    early = asyncio.create_task(name_of(catalogue))
    await eventually(lambda: stand.agents.asked == 1)
    config = stand.agents.publish("nurse", name="Second")
    await stand.agents.tell(AgentPublished(agent_id="nurse", user_id="user_1", version=2, config=config))
    await eventually(lambda: "nurse" not in catalogue._asking)
    stand.agents.gate.set()
    assert await early == "First"
    assert await name_of(catalogue) == "Second"


@pytest.mark.parametrize("deleted", [False, True])
async def test_an_answer_that_an_event_overtook_is_the_last_known(stand: AgentStand, deleted: bool) -> None:
    """It is asked for again; if nobody answers then, it is still newer than what was known. A deletion leaves nothing."""
    catalogue = await stand.catalogue()
    await name_of(catalogue)
    config = stand.agents.publish("nurse", name="Second")
    stand.now += FRESH_S
    stand.agents.gate.clear()
    early = asyncio.create_task(name_of(catalogue))
    await eventually(lambda: stand.agents.asked == 2)
    published = AgentPublished(agent_id="nurse", user_id="user_1", version=2, config=config)
    await stand.agents.tell(AgentDeleted(agent_id="nurse", user_id="user_1") if deleted else published)
    await eventually(lambda: "nurse" not in catalogue._asking)
    stand.agents.gate.set()
    assert await early == "Second"
    stand.agents.failure = unavailable()
    if deleted:
        with pytest.raises(AgentUnavailableError):
            await catalogue.get("nurse")
    else:
        assert await name_of(catalogue) == "Second"


async def test_unknown_ids_do_not_flood_the_service(stand: AgentStand) -> None:
    """An id that nobody has is asked for once in a few seconds, and at once when it is published."""
    catalogue = await stand.catalogue()
    for _ in range(20):
        assert await name_of(catalogue, "nobody") is None
    assert stand.agents.asked == 1
    stand.now += ABSENT_S
    assert await name_of(catalogue, "nobody") is None
    assert stand.agents.asked == 2
    config = stand.agents.publish("nobody")
    await stand.agents.tell(AgentPublished(agent_id="nobody", user_id="user_1", version=1, config=config))
    await eventually(lambda: "nobody" not in catalogue._absent)
    assert await name_of(catalogue, "nobody") == "Tester"


@pytest.mark.parametrize("trouble", ["gone", "store away", "silent"])
async def test_the_last_known_version_while_the_service_is_away(stand: AgentStand, trouble: str) -> None:
    """Calls go on with what was published last, the service is left alone for a while, and then asked again."""
    catalogue = await stand.catalogue()
    await name_of(catalogue)
    stand.now += FRESH_S
    if trouble == "gone":
        await stand.agents.stop()
    elif trouble == "silent":
        stand.agents.gate.clear()
    else:
        stand.agents.failure = unavailable()
    assert await name_of(catalogue) == "First"
    asked = stand.agents.asked
    for _ in range(5):
        assert await name_of(catalogue) == "First"
    assert stand.agents.asked == asked
    stand.agents.publish("nurse", name="Second")
    stand.agents.failure = None
    stand.agents.gate.set()
    if trouble == "gone":
        await stand.agents.start()
    stand.now += AWAY_S
    assert await name_of(catalogue) == "Second"


async def test_an_agent_that_was_never_seen_while_the_service_is_away(stand: AgentStand) -> None:
    """Whether there is such an agent cannot be said, and the gateway says that it knows none."""
    catalogue = await stand.catalogue()
    assert catalogue.problem() is None
    stand.agents.failure = unavailable()
    with pytest.raises(AgentUnavailableError):
        await name_of(catalogue)
    assert catalogue.problem()
    stand.agents.failure = None
    assert await name_of(catalogue) == "First"
    assert catalogue.problem() is None


async def test_a_service_that_fails_for_one_agent(stand: AgentStand) -> None:
    """A fault in one agent's record does not make the gateway stop asking for the others."""
    catalogue = await stand.catalogue()
    stand.agents.publish("pilot")
    stand.agents.failure = RequestFailedError(RequestErrorCode.INTERNAL, "something went wrong")
    with pytest.raises(AgentUnavailableError):
        await name_of(catalogue)
    stand.agents.failure = None
    assert await name_of(catalogue, "pilot") == "Tester"


async def test_a_restart_while_the_service_is_away(stand: AgentStand, tmp_path: Path) -> None:
    """Agents are kept on disk for the gateway's user alone, and used by a gateway that starts without the service."""
    secret = {"url": "http://example.com/", "secret_headers": {"X-Key": "s3cret"}}
    stand.agents.publish("nurse", name="First", tools=[{"name": "t", "kind": "http", "http": secret}])
    file = tmp_path / "agents" / "nurse.json"
    seen = await (await stand.catalogue(tmp_path / "agents")).get("nurse")
    await eventually(file.exists)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    await stand.agents.stop()
    catalogue = await stand.catalogue(tmp_path / "agents")
    assert await catalogue.get("nurse") == seen
    with pytest.raises(AgentUnavailableError):
        await catalogue.get("nobody")
    stand.agents.publish("nurse", name="Second")
    await stand.agents.start()
    stand.now += AWAY_S
    assert await name_of(catalogue) == "Second"


@pytest.mark.parametrize("content", ["", "{}", '{"id": "pilot", "name": "Another"}'])
async def test_a_broken_file(stand: AgentStand, tmp_path: Path, content: str) -> None:
    """A kept file that is not the agent's is passed over."""
    (tmp_path / "nurse.json").write_text(content)
    stand.agents.failure = unavailable()
    with pytest.raises(AgentUnavailableError):
        await (await stand.catalogue(tmp_path)).get("nurse")


@pytest.mark.parametrize("how", ["told", "asked"])
async def test_a_deleted_agent_is_refused(stand: AgentStand, tmp_path: Path, how: str) -> None:
    """It is forgotten in memory and on disk, by its event or by the service's answer: also while the service is away then."""
    catalogue = await stand.catalogue(tmp_path)
    await name_of(catalogue)
    file = tmp_path / "nurse.json"
    await eventually(file.exists)
    del stand.agents.published["nurse"]
    if how == "told":
        await stand.agents.tell(AgentDeleted(agent_id="nurse", user_id="user_1"))
        await eventually(lambda: not file.exists())
    else:
        stand.now += FRESH_S
    assert await name_of(catalogue) is None
    await eventually(lambda: not file.exists())
    stand.now += ABSENT_S
    stand.agents.failure = unavailable()
    with pytest.raises(AgentUnavailableError):
        await catalogue.get("nurse")


async def test_a_deleted_agent_while_the_service_is_away(stand: AgentStand, tmp_path: Path) -> None:
    """Once the event has come, the last known version is not used any more, even if nobody can be asked."""
    catalogue = await stand.catalogue(tmp_path)
    await name_of(catalogue)
    file = tmp_path / "nurse.json"
    await eventually(file.exists)
    stand.agents.failure = unavailable()
    await stand.agents.tell(AgentDeleted(agent_id="nurse", user_id="user_1"))
    await eventually(lambda: not file.exists())
    with pytest.raises(AgentUnavailableError):
        await catalogue.get("nurse")


async def test_after_the_bus_was_away(nats_server: NatsServer) -> None:
    """What was published while the bus was away counts for the first call after it."""
    async with AsyncExitStack() as stack:
        stand = AgentStand(nats_server.url, stack)
        await stand.agents.start()
        stack.push_async_callback(stand.agents.stop)
        catalogue = await stand.catalogue()
        assert await name_of(catalogue) == "First"
        nats_server.stop()
        stand.agents.publish("nurse", name="Second")
        nats_server.start()
        watch: Any = catalogue._watch
        await eventually(lambda: watch.reconnects and stand.agents.bus.connected)
        async with asyncio.timeout(10):
            while await name_of(catalogue) != "Second":
                stand.now += AWAY_S
                await asyncio.sleep(0.05)
        assert stand.now < 1000.0 + FRESH_S  # else it was the time that made the catalogue ask

"""Events from the document to the stream, whatever dies on the way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
import structlog.testing
from nats.aio.msg import Msg
from pymongo.errors import OperationFailure
from rpc_stand import connected
from servers import NatsServer, provision_bus

from voxbus.contracts.agents import AgentCreated, AgentDeleted, AgentUpdated
from voxbus.contracts.base import Message
from voxbus.contracts.event import Event
from voxbus.contracts.rpc import RequestErrorCode
from voxbus.runtime.bus import BusUnavailableError, EventBus
from voxbus.runtime.rpc import RequestFailedError
from voxbus.runtime.store import DocumentStore, store_failure
from voxbus.runtime.store.outbox import OutboxRelay, deletion, entry, outbox_index

pytestmark = pytest.mark.integration


def event(data: Message, about: str = "agent_1") -> Event[Any]:
    """A fact about an agent."""
    return Event(source="/agents/p_1", subject=about, data=data)


def created(agent_id: str = "agent_1") -> Event[Any]:
    """The fact that it was made."""
    return event(AgentCreated(agent_id=agent_id, user_id="user_ann"), agent_id)


def updated(revision: int, agent_id: str = "agent_1") -> Event[Any]:
    """The fact that it was changed."""
    return event(AgentUpdated(agent_id=agent_id, user_id="user_ann", revision=revision), agent_id)


@pytest_asyncio.fixture
async def events(nats_server: NatsServer) -> AsyncIterator[EventBus]:
    """A bus with the platform's streams."""
    await provision_bus(nats_server.url)
    async with connected(nats_server.url, "agents") as bus:
        yield bus


@asynccontextmanager
async def relaying(store: DocumentStore, events: EventBus) -> AsyncIterator[OutboxRelay]:
    """A relay of the agents."""
    relay = OutboxRelay(store, events, ["agents"])
    await relay.start()
    try:
        yield relay
    finally:
        await relay.stop()


async def until(condition: Callable[[], Awaitable[bool]], timeout_s: float = 20) -> None:
    """Poll."""
    async with asyncio.timeout(timeout_s):
        while not await condition():
            await asyncio.sleep(0.02)


async def write(store: DocumentStore, agent_id: str, *facts: Event[Any]) -> None:
    """A document with these facts in its outbox."""
    await store.collection("agents").insert_one({"_id": agent_id, "outbox": [entry(fact) for fact in facts]})


async def told(store: DocumentStore) -> bool:
    """Whether no outbox holds anything."""
    return await store.collection("agents").count_documents({"outbox.at": {"$exists": True}}) == 0


async def kept(events: EventBus) -> list[str]:
    """The ids of the events in the stream, in order."""
    js = events.broker.connection.jetstream()
    state = (await js.stream_info("EVENTS")).state
    found = [await js.get_msg("EVENTS", number) for number in range(state.first_seq, state.last_seq + 1)]
    return [(message.headers or {})["ce-id"] for message in found if message.data]


async def test_what_was_written_is_published_at_once_and_in_order(store: DocumentStore, events: EventBus) -> None:
    """After a nudge the entries of a document are in the stream, whole and in order, and gone from the document."""
    facts = [created(), *(updated(revision) for revision in range(2, 6))]
    async with relaying(store, events) as relay:
        await write(store, "agent_1", *facts)
        relay.nudge("agents", "agent_1")
        await until(lambda: told(store), timeout_s=1.5)  # before a sweep could have found it
    assert await kept(events) == [fact.id for fact in facts]
    first = await events.broker.connection.jetstream().get_msg("EVENTS", 1)
    assert first.data == facts[0].data.encode()
    assert first.subject == "voxbus.event.agent.created.v1"
    assert facts[0].headers().items() <= (first.headers or {}).items()


async def test_many_documents_are_relayed_in_batches(store: DocumentStore, events: EventBus) -> None:
    """More nudges than fit in one batch are all served, also when the relay is stopped right after them."""
    facts = {f"agent_{number}": created(f"agent_{number}") for number in range(250)}
    async with relaying(store, events) as relay:
        await store.collection("agents").insert_many(
            [{"_id": agent_id, "outbox": [entry(fact)]} for agent_id, fact in facts.items()]
        )
        for agent_id in facts:
            relay.nudge("agents", agent_id)
    assert await told(store)
    assert sorted(await kept(events)) == sorted(fact.id for fact in facts.values())


async def test_large_outboxes_are_relayed_a_few_at_a_time(store: DocumentStore, events: EventBus) -> None:
    """Outboxes that are too large together for one batch are told all the same, by a nudge as by a sweep."""
    facts = [created(f"agent_{number}") for number in range(60)]
    padded = [{**entry(fact), "data": json.dumps({"padding": 600_000 * "x"})} for fact in facts]
    documents = [{"_id": f"agent_{number}", "outbox": [padded[number]]} for number in range(60)]
    for start in range(0, 60, 20):
        await store.collection("agents").insert_many(documents[start : start + 20])
    async with relaying(store, events) as relay:
        for number in range(30):
            relay.nudge("agents", f"agent_{number}")
        await until(lambda: told(store))
    assert sorted(await kept(events)) == sorted(fact.id for fact in facts)


async def test_a_document_full_of_events_is_unavailable_until_they_are_told(
    store: DocumentStore, events: EventBus
) -> None:
    """A change that has no place beside the events that wait is to be tried again, and succeeds once they are told."""
    collection = store.collection("agents")
    waiting = [{**entry(updated(n)), "data": json.dumps({"padding": 800_000 * "x"})} for n in range(19)]
    await collection.insert_one({"_id": "agent_1", "outbox": waiting})
    update = {"$push": {"outbox": {"$each": waiting[:2]}}}
    with pytest.raises(OperationFailure) as raised:
        await collection.update_one({"_id": "agent_1"}, update)
    failure = store_failure(raised.value)
    assert failure is not None
    assert failure.error.retryable
    assert failure.code is RequestErrorCode.UNAVAILABLE
    async with relaying(store, events) as relay:
        relay.nudge("agents", "agent_1")
        await until(lambda: told(store))
    assert (await collection.update_one({"_id": "agent_1"}, update)).modified_count == 1


async def test_what_another_process_left_is_found(store: DocumentStore, events: EventBus) -> None:
    """An entry without a nudge is published by the sweep of any process, through the index."""
    await outbox_index(store.database, "agents")
    await write(store, "agent_1", created())
    async with relaying(store, events):
        await until(lambda: told(store))
    assert len(await kept(events)) == 1


async def test_an_entry_added_meanwhile_stays(store: DocumentStore, events: EventBus) -> None:
    """Only what was published is removed: a change between reading and removing keeps its entry, and is told later."""
    first, second = created(), updated(2)

    class Busy(EventBus):
        async def publish_durably(
            self, event_id: str, subject: str, payload: bytes, headers: Mapping[str, str]
        ) -> None:
            await events.publish_durably(event_id, subject, payload, headers)
            if event_id == first.id:
                await store.collection("agents").update_one({"_id": "agent_1"}, {"$push": {"outbox": entry(second)}})

    async with relaying(store, Busy("nats://127.0.0.1:1", "agents", "p_2")) as relay:
        await write(store, "agent_1", first)
        relay.nudge("agents", "agent_1")
        await until(lambda: _holds(store, [second.id]))
        relay.nudge("agents", "agent_1")
        await until(lambda: told(store))
    assert await kept(events) == [first.id, second.id]


async def _holds(store: DocumentStore, ids: list[str]) -> bool:
    document = await store.collection("agents").find_one({"_id": "agent_1"})
    return [waiting["id"] for waiting in (document or {}).get("outbox", [])] == ids


async def test_a_relay_killed_after_publishing_leaves_one_event(store: DocumentStore, events: EventBus) -> None:
    """The next process publishes it again, with the same id, and the stream keeps it once."""
    published = asyncio.Event()

    class Dying(EventBus):
        async def publish_durably(
            self, event_id: str, subject: str, payload: bytes, headers: Mapping[str, str]
        ) -> None:
            await events.publish_durably(event_id, subject, payload, headers)
            published.set()
            await asyncio.Event().wait()

    fact = created()
    await write(store, "agent_1", fact)
    dying = OutboxRelay(store, Dying("nats://127.0.0.1:1", "agents", "p_2"), ["agents"])
    dying.nudge("agents", "agent_1")
    await dying.start()
    await published.wait()
    assert dying._task
    dying._task.cancel()
    assert not await told(store)
    async with relaying(store, events):
        await until(lambda: told(store))
    assert await kept(events) == [fact.id]


async def test_two_processes_tell_each_event_once(store: DocumentStore, events: EventBus) -> None:
    """Two relays that find the same documents leave one message of each event."""
    facts = [created(f"agent_{number}") for number in range(30)]
    async with relaying(store, events) as one, relaying(store, events) as other:
        for number, fact in enumerate(facts):
            await write(store, f"agent_{number}", fact)
            one.nudge("agents", f"agent_{number}")
            other.nudge("agents", f"agent_{number}")
        await until(lambda: told(store))
    assert sorted(await kept(events)) == sorted(fact.id for fact in facts)


async def test_events_wait_for_a_missing_stream(store: DocumentStore, nats_server: NatsServer) -> None:
    """Without the stream entries stay in their documents, which is said once; when it comes they are published."""
    facts = [created(), updated(2)]
    async with connected(nats_server.url, "agents") as events, relaying(store, events) as relay:
        with structlog.testing.capture_logs() as logs:
            await write(store, "agent_1", *facts)
            for _ in range(3):
                relay.nudge("agents", "agent_1")
                await until(lambda: _warned(logs))
            assert await _holds(store, [fact.id for fact in facts])
            await provision_bus(nats_server.url)
            await until(lambda: told(store))
            await until(lambda: _said(logs, "events are published again"))
        assert await kept(events) == [fact.id for fact in facts]
    warnings = [entry for entry in logs if entry["log_level"] == "warning"]
    assert [warning["event"] for warning in warnings] == ["events wait in their documents"]


async def _warned(logs: list[Any]) -> bool:
    return any(line["log_level"] == "warning" for line in logs)


async def _said(logs: list[Any], what: str) -> bool:
    return any(line["event"] == what for line in logs)


async def test_events_wait_for_a_bus_that_went_away(
    store: DocumentStore, nats_server: NatsServer, events: EventBus
) -> None:
    """Written while the bus is down, an event is published when it is back."""
    async with relaying(store, events) as relay:
        nats_server.stop()
        fact = created()
        await write(store, "agent_1", fact)
        relay.nudge("agents", "agent_1")
        await asyncio.to_thread(nats_server.start)
        await until(lambda: told(store))
        assert await kept(events) == [fact.id]


async def test_a_tombstone_goes_when_its_event_is_told(store: DocumentStore, events: EventBus) -> None:
    """A deleted document stays, without its idempotency key, until all of its events are published; then it is removed."""
    agents = store.collection("agents")
    gone = event(AgentDeleted(agent_id="agent_1", user_id="user_ann"))
    await agents.insert_one(
        {"_id": "agent_1", "revision": 1, "idempotency": {"key": "k"}, "outbox": [entry(created())]}
    )
    await agents.update_one({"_id": "agent_1"}, deletion(gone))
    tombstone = await agents.find_one({"_id": "agent_1"})
    assert tombstone
    assert (tombstone["deleted"], tombstone["revision"], "idempotency" in tombstone) == (True, 2, False)
    async with relaying(store, events) as relay:
        relay.nudge("agents", "agent_1")
        await until(lambda: _gone(store))
    assert (await kept(events))[-1] == gone.id
    assert len(await kept(events)) == 2


async def _gone(store: DocumentStore) -> bool:
    return await store.collection("agents").count_documents({}) == 0


async def test_our_listeners_answer_nothing(events: EventBus) -> None:
    """A listener of this process hears a durable event and leaves the acknowledgement to the stream."""
    heard: list[bytes] = []

    async def listen(message: Msg) -> None:
        heard.append(message.data)

    await events.subscribe("voxbus.event.agent.created.v1", listen)
    fact = created()
    inbox = await events.broker.connection.subscribe(events.broker.connection.new_inbox())
    await events.flush()
    await events.broker.connection.publish(fact.bus_subject, fact.data.encode(), reply=inbox.subject)
    acknowledgement = await inbox.next_msg(timeout=5)
    assert b'"stream":"EVENTS"' in acknowledgement.data
    await until(lambda: _heard(heard))
    await events.flush()
    assert inbox.pending_msgs == 0
    assert heard == [fact.data.encode()]


async def _heard(heard: list[bytes]) -> bool:
    return bool(heard)


@pytest.mark.parametrize("answer", [b"", b"{}", b"[]", b'{"seq": 1}'])
async def test_a_foreign_answer_is_no_acknowledgement(nats_server: NatsServer, answer: bytes) -> None:
    """What anybody else answers to an event does not count as kept."""

    async def reply(message: Msg) -> None:
        await message.respond(answer)

    fact = created()
    async with connected(nats_server.url, "agents") as events:
        await events.broker.connection.subscribe(fact.bus_subject, cb=reply)
        with pytest.raises(BusUnavailableError):
            await events.publish_durably(fact.id, fact.bus_subject, fact.data.encode(), fact.headers())


async def test_an_event_the_bus_cannot_carry_is_refused_when_it_is_written() -> None:
    """It fails before the write, since it could never be told."""
    with pytest.raises(RequestFailedError) as raised:
        entry(event(AgentCreated.model_construct(agent_id="x" * 1_000_000, user_id="u")))
    assert raised.value.code is RequestErrorCode.TOO_LARGE

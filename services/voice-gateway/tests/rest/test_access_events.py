"""Credentials stop working when `auth` says so, in every process, on a real NATS."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any

import pytest
import pytest_asyncio
from servers import NatsServer, provision_bus

from voxbus.contracts import auth_events
from voxbus.contracts.access import Role
from voxbus.contracts.base import Message, new_id
from voxbus.contracts.event import Event
from voxbus.runtime.bus import EventBus
from voxbus.voice_gateway.rest.access_events import AccessEvents

pytestmark = pytest.mark.integration

CHANGED = auth_events.UserUpdated(user_id="user_1", role=Role.USER, enabled=False, access_changed=True)


class ToldCallers:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, datetime, bool]] = []
        self.revisions: list[int | None] = []
        self.revoked: list[str] = []
        self.forgotten = 0

    def user_changed(
        self, user_id: str, at: datetime, *, access_changed: bool = True, revision: int | None = None
    ) -> None:
        """As `Callers`."""
        self.changes.append((user_id, at, access_changed))
        self.revisions.append(revision)

    def user_deleted(self, user_id: str, at: datetime) -> None:
        """As `Callers`."""
        self.changes.append((user_id, at, True))

    def api_key_revoked(self, api_key_id: str) -> None:
        """As `Callers`."""
        self.revoked.append(api_key_id)

    def forget(self) -> None:
        """As `Callers`."""
        self.forgotten += 1


class Stand:
    """A bus with the stream of events, and a process that hears them."""

    def __init__(self, url: str) -> None:
        self.bus = EventBus(url, "rest-gateway", new_id("p"))
        self.callers = ToldCallers()
        self.events: Any = AccessEvents(self.bus, self.callers)  # type: ignore[arg-type]

    async def publish(self, data: Message) -> Event[Any]:
        """Keep an event in the stream, as the outbox does."""
        event: Event[Any] = Event(source="/auth", subject="x", data=data)
        await self.bus.publish_durably(event.id, event.bus_subject, data.encode(), event.headers())
        return event


async def until(condition: Callable[[], bool]) -> None:
    """Wait for it, 15 seconds at most."""
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


@pytest_asyncio.fixture
async def stand(nats_server: NatsServer) -> AsyncIterator[Stand]:
    """Not started yet."""
    await provision_bus(nats_server.url)
    stand = Stand(nats_server.url)
    await stand.bus.start()
    yield stand
    await stand.events.stop()
    await stand.bus.stop()


async def test_told_as_it_happens(stand: Stand) -> None:
    """Changed and deleted users and revoked keys are told, with the time at which it happened."""
    await stand.events.start()
    changed = await stand.publish(CHANGED)
    renamed = await stand.publish(CHANGED.model_copy(update={"access_changed": False, "revision": 7}))
    deleted = await stand.publish(auth_events.UserDeleted(user_id="user_2"))
    await stand.publish(auth_events.UserCreated(user_id="user_3", role=Role.USER))
    await stand.publish(auth_events.ApiKeyRevoked(api_key_id="key_1", user_id="user_1"))
    await until(lambda: len(stand.callers.changes) == 3 and stand.callers.revoked == ["key_1"])
    assert stand.callers.changes == [
        ("user_1", changed.time, True),
        ("user_1", renamed.time, False),
        ("user_2", deleted.time, True),
    ]
    assert stand.callers.revisions == [None, 7]


async def test_what_happened_before_the_start(stand: Stand) -> None:
    """A process that starts knows at once which tokens of before are stale."""
    events = [await stand.publish(CHANGED) for _ in range(3)]
    await stand.events.start()
    assert [at for _, at, _ in stand.callers.changes] == [event.time for event in events]


async def test_nothing_happened_before_the_start(stand: Stand) -> None:
    """An empty stream does not hold up the start."""
    started = time.monotonic()
    await stand.events.start()
    assert time.monotonic() - started < 3


async def test_what_happened_while_the_bus_was_away(stand: Stand, nats_server: NatsServer) -> None:
    """After the bus was away the stream is read again, and keys are checked anew."""
    await stand.publish(CHANGED)
    await stand.events.start()
    assert len(stand.callers.changes) == 1
    nats_server.stop()
    nats_server.start()
    await until(lambda: len(stand.callers.changes) == 2 and stand.callers.forgotten > 0)


async def test_without_the_stream(nats_server: NatsServer) -> None:
    """A platform whose stream does not exist yet starts all the same, and reads it once it is there."""
    stand = Stand(nats_server.url)
    await stand.bus.start()
    try:
        await stand.events.start()
        await provision_bus(nats_server.url)
        await stand.publish(CHANGED)
        await until(lambda: len(stand.callers.changes) >= 2)  # once as it happened, once from the stream
    finally:
        await stand.events.stop()
        await stand.bus.stop()


async def test_an_event_that_cannot_be_read(stand: Stand) -> None:
    """What cannot be read is passed over."""
    await stand.events.start()
    await stand.bus.publish_durably("evt_1", "voxbus.event.user.updated.v1", b"{}", {})
    await stand.publish(CHANGED)
    await until(lambda: len(stand.callers.changes) == 1)

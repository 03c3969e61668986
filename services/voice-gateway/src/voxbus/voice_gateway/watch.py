"""Facts of other services, told to this process: each process of the gateway hears all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import structlog
from nats.aio.msg import Msg
from pydantic import ValidationError

from voxbus.contracts import subjects
from voxbus.contracts.base import Message
from voxbus.contracts.event import EVENT_TYPES
from voxbus.runtime.bus import BusSubscriber, EventBus

log = structlog.get_logger(__name__)

DataT = TypeVar("DataT", bound=Message)


class EventWatch:
    """Calls a handler for each event of a type, as it is published.

    What is published while the bus is away is not told later. Who keeps something that events keep fresh compares
    `reconnects` with what it was when it asked for it.
    """

    def __init__(self, events: EventBus) -> None:
        self._events = events
        self._subscribers: list[BusSubscriber] = []

    @property
    def reconnects(self) -> int:
        """How often the bus has come back. Grows before a request can be answered on the new connection."""
        return int(self._events.broker.connection.stats["reconnects"])

    async def on(self, kind: type[DataT], handler: Callable[[DataT], None]) -> None:
        """Subscribe; `handler` must not block. The bus is connected by now. `listening` makes it surely active."""
        noun, verb = EVENT_TYPES[kind]

        async def told(message: Msg) -> None:
            try:
                data = kind.model_validate_json(message.data)
            except ValidationError as error:
                log.warning("event cannot be read", event_type=f"{noun}.{verb}", problems=error.error_count())
                return
            handler(data)

        self._subscribers.append(await self._events.subscribe(subjects.EVENT(noun=noun, verb=verb), told))

    async def listening(self) -> None:
        """Wait until the bus knows all subscriptions."""
        await self._events.flush()

    async def stop(self) -> None:
        """Unsubscribe."""
        subscribers, self._subscribers = self._subscribers, []
        for subscriber in subscribers:
            await self._events.leave(subscriber)

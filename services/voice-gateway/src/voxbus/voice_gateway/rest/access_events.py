"""What happened to users and API keys, so that credentials stop working at once in every REST process.

Events are heard as they are published. What was published before, while this process was not there or the bus was away, is read
again from the stream of events.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final

import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import APIError
from pydantic import ValidationError

from voxbus.contracts import auth_events, subjects
from voxbus.runtime.bus import BusSubscriber, EventBus
from voxbus.voice_gateway.rest.callers import LONGEST_TOKEN_S, Callers

log = structlog.get_logger(__name__)

_USERS: Final = "voxbus.event.user.*.v1"
_KEYS: Final = "voxbus.event.api_key.revoked.v1"
_LOOK_S: Final = 1.0
"""How often it is seen that the bus came back."""
_RETRY_S: Final = 2.0
_BATCH: Final = 500
_TROUBLE = (nats.errors.Error, APIError, TimeoutError, OSError, ValueError)


class AccessEvents:
    """Tells `Callers` what happened."""

    def __init__(self, bus: EventBus, callers: Callers) -> None:
        self._bus = bus
        self._callers = callers
        self._subscribers: list[BusSubscriber] = []
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to listen, and read what was published before; that goes on in the background while it cannot be read."""
        for subject in (_USERS, _KEYS):
            self._subscribers.append(await self._bus.subscribe(subject, self._on_event))
        await self._bus.flush()
        read = await self._read_past()
        self._task = asyncio.create_task(self._keep_up(read), name="access-events")

    async def stop(self) -> None:
        """Listen no more."""
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        for subscriber in self._subscribers:
            await self._bus.leave(subscriber)

    async def _keep_up(self, read: bool) -> None:
        """Read the stream again when it could not be read, and whenever the bus was away."""
        reconnects = self._reconnects
        while True:
            await asyncio.sleep(_LOOK_S if read else _RETRY_S)
            if self._reconnects != reconnects or not read:
                reconnects = self._reconnects
                self._callers.forget()
                read = await self._read_past()

    async def _read_past(self) -> bool:
        """Hear the events of the time that tokens live; whether that was possible."""
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_TIME,
            opt_start_time=datetime.now(UTC) - timedelta(seconds=LONGEST_TOKEN_S),
            ack_policy=AckPolicy.NONE,
            mem_storage=True,
            inactive_threshold=5,
        )
        try:
            past = await self._client.jetstream(timeout=2).pull_subscribe(_USERS, stream="EVENTS", config=config)
        except _TROUBLE as error:
            log.warning("past events of users cannot be read, trying again", reason=type(error).__name__)
            return False
        try:
            left = (await past.consumer_info()).num_pending
            while left:
                messages = await past.fetch(min(left, _BATCH), timeout=2)
                for message in messages:
                    await self._on_event(message)
                left = messages[-1].metadata.num_pending or 0
        except _TROUBLE as error:
            log.warning("past events of users cannot be read, trying again", reason=type(error).__name__)
            return False
        finally:
            with suppress(nats.errors.Error):  # else the connection waits for it when it is closed
                await past.unsubscribe()
        return True

    async def _on_event(self, message: Msg) -> None:
        found = subjects.EVENT.match(message.subject)
        try:
            match (found["noun"], found["verb"]) if found else None:
                case ("user", "updated"):
                    updated = auth_events.UserUpdated.model_validate_json(message.data)
                    self._callers.user_changed(
                        updated.user_id,
                        _time(message),
                        access_changed=updated.access_changed,
                        revision=updated.revision,
                    )
                case ("user", "deleted"):
                    deleted = auth_events.UserDeleted.model_validate_json(message.data)
                    self._callers.user_deleted(deleted.user_id, _time(message))
                case ("api_key", "revoked"):
                    self._callers.api_key_revoked(
                        auth_events.ApiKeyRevoked.model_validate_json(message.data).api_key_id
                    )
        except ValidationError as error:
            log.warning("event cannot be read", subject=message.subject, problems=error.error_count())

    @property
    def _client(self) -> Client:
        return self._bus.broker.connection

    @property
    def _reconnects(self) -> int:
        return int(self._client.stats["reconnects"])


def _time(message: Msg) -> datetime:
    """When it happened; now, if it does not say."""
    try:
        time = datetime.fromisoformat((message.headers or {})["ce-time"])
    except (LookupError, ValueError):
        return datetime.now(UTC)
    return time if time.tzinfo else time.replace(tzinfo=UTC)

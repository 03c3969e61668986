"""Asks every process on the bus how it is."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import APIError
from pydantic import ValidationError

from voxbus.contracts.stage import ProcessStatus, StoreStatus
from voxbus.contracts.subjects import STATUS
from voxbus.runtime.bus import EventBus
from voxbus.voice_gateway.rest.health import Answer, PlatformHealth, State, judge

log = structlog.get_logger(__name__)

COLLECT_S: Final = 0.3
"""How long answers are waited for: nobody knows how many processes there are."""
FRESH_S: Final = 2.0
"""How long a report is good, so that whoever asks often costs the platform nothing."""


class PlatformStatus:
    """The reports of `/health` and `/ready`."""

    def __init__(
        self, bus: EventBus, expected: Sequence[str], own: Callable[[], tuple[bool, Mapping[str, Any]]]
    ) -> None:
        """`own`: whether this process is well, and the details, as `Health.report` tells them."""
        self._bus = bus
        self._expected = tuple(expected)
        self._own = own
        self._made_at: float | None = None
        self._health: PlatformHealth | None = None
        self._making: asyncio.Task[PlatformHealth] | None = None

    async def report(self) -> tuple[int, bytes]:
        """The status and the body of `/health`; those who ask at the same time share the work."""
        health = self._health
        if health is None or self._made_at is None or time.monotonic() - self._made_at > FRESH_S:
            if self._making is None or self._making.done():
                self._making = asyncio.create_task(self._make(), name="platform-health")
            health = await asyncio.shield(self._making)
        return 503 if health.status is State.DOWN else 200, health.model_dump_json().encode()

    def ready(self) -> tuple[int, bytes]:
        """The status and the body of `/ready`."""
        ready, details = self._own()
        return 200 if ready else 503, json.dumps({"status": details["status"], "checks": details["checks"]}).encode()

    async def _make(self) -> PlatformHealth:
        answers, jetstream = await asyncio.gather(self._ask_all(), self._jetstream())
        health = judge(answers, self._expected, [jetstream])
        self._health, self._made_at = health, time.monotonic()
        return health

    async def _ask_all(self) -> list[Answer]:
        client = self._client
        answers: list[Answer] = []
        if not client.is_connected:
            return answers

        async def on_answer(message: Msg) -> None:
            try:
                status = ProcessStatus.model_validate_json(message.data)
            except ValidationError as error:
                log.warning("status cannot be read", problems=error.error_count())
                return
            answers.append(Answer(status, (time.perf_counter() - started) * 1000))

        inbox = client.new_inbox()
        subscription = await client.subscribe(inbox, cb=on_answer)
        started = time.perf_counter()
        try:
            await client.publish(STATUS(), b"", reply=inbox)
            await asyncio.sleep(COLLECT_S)
        except nats.errors.Error as error:
            log.warning("processes cannot be asked", reason=type(error).__name__)
        finally:
            try:
                await subscription.unsubscribe()
            except nats.errors.Error:
                pass  # the bus went away, and the subscription with it
        return answers

    async def _jetstream(self) -> StoreStatus:
        started = time.perf_counter()
        try:
            if not self._client.is_connected:
                raise nats.errors.ConnectionClosedError
            await self._client.jetstream(timeout=COLLECT_S).account_info()
        except (nats.errors.Error, APIError, TimeoutError, OSError) as error:
            return StoreStatus(name="jetstream", problem=type(error).__name__)
        return StoreStatus(name="jetstream", latency_ms=round((time.perf_counter() - started) * 1000, 2))

    @property
    def _client(self) -> Client:
        return self._bus.broker.connection

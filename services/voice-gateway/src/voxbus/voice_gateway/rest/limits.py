"""Rate limits that all REST processes share.

Each limit is a JetStream stream in memory whose messages live for the window and of which a subject may hold as many as the
limit allows: publishing to the subject of a key is one atomic step that either counts the request or is refused. This is an
exact sliding window, with nothing to read before and nothing to clean up after. These streams are scratch state of this
process kind, so it makes them itself.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import nats.errors
import structlog
from nats.aio.client import Client
from nats.js.api import DiscardPolicy, StorageType, StreamConfig
from nats.js.errors import APIError, NotFoundError

from voxbus.contracts.subjects import LIMIT
from voxbus.runtime.bus import EventBus
from voxbus.voice_gateway.rest.errors import ProblemError
from voxbus.voice_gateway.rest.metrics import RATE_LIMIT_LOCAL, RATE_LIMITED
from voxbus.voice_gateway.rest.settings import Rate
from voxbus.voice_gateway.rest.windows import SlidingWindows

log = structlog.get_logger(__name__)

_ACK_TIMEOUT_S: Final = 0.5
_RETRY_S: Final = 2.0
"""How long requests are counted here alone after the shared count could not be reached."""
_TOO_MANY: Final = "maximum messages per subject exceeded"
"""How JetStream says that a subject holds what it may hold; the error's code also stands for a stream that is full."""
_MAX_BYTES: Final = 32 * 1024 * 1024
"""Of all keys of one limit: some 300,000 requests within the window."""
_REMEMBERED: Final = 10_000
_UNREACHABLE = (nats.errors.Error, APIError, TimeoutError, OSError, ValueError)


class SharedLimits:
    """Counts requests for all processes together; while JetStream is away, each process counts for itself."""

    def __init__(
        self, bus: EventBus, rates: Mapping[str, Rate | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`rates`: name of a limit, which is one token of a subject, to what it allows; None: no limit."""
        self._bus = bus
        self._rates = {name: rate for name, rate in rates.items() if rate is not None}
        self._clock = clock
        self._alone = {name: SlidingWindows(rate, clock) for name, rate in self._rates.items()}
        self._alone_until: float | None = 0.0
        self._refused: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._mending: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Make the streams, or bring them to what the settings say; without JetStream, later."""
        await self._mend()

    async def stop(self) -> None:
        """Try to reach JetStream no more."""
        if self._mending:
            self._mending.cancel()
            with suppress(asyncio.CancelledError):
                await self._mending

    async def take(self, name: str, key: str) -> None:
        """Count one request of `key`. Raises ProblemError 429 when there were too many."""
        rate = self._rates.get(name)
        if rate is None:
            return
        wait_s = self._still_refused(name, key)
        if wait_s is None:
            wait_s = await self._take_shared(name, rate, key) if self._shared() else self._take_alone(name, key)
            if wait_s is not None:
                self._remember(name, key, wait_s)
        if wait_s is not None:
            RATE_LIMITED.labels(name).inc()
            raise _too_many(name, rate, wait_s)

    def _still_refused(self, name: str, key: str) -> int | None:
        """A sender that goes on in spite of a 429 costs no message."""
        until = self._refused.get((name, key), 0.0)
        left_s = until - self._clock()
        if left_s <= 0:
            self._refused.pop((name, key), None)
            return None
        return math.ceil(left_s)

    def _remember(self, name: str, key: str, wait_s: int) -> None:
        self._refused[name, key] = self._clock() + wait_s
        if len(self._refused) > _REMEMBERED:
            self._refused.popitem(last=False)

    def _shared(self) -> bool:
        """Whether to try the shared count; after a failure only when it has been mended."""
        if self._alone_until is None:
            return True
        if self._clock() >= self._alone_until and (self._mending is None or self._mending.done()):
            self._alone_until = self._clock() + _RETRY_S
            self._mending = asyncio.create_task(self._mend(), name="limits-mend")
        return False

    def _take_alone(self, name: str, key: str) -> int | None:
        RATE_LIMIT_LOCAL.labels(name).inc()
        return self._alone[name].take(key)

    async def _take_shared(self, name: str, rate: Rate, key: str) -> int | None:
        subject = LIMIT(limit=name, key=_token(key))
        client = self._client
        try:
            if not client.is_connected:
                raise nats.errors.ConnectionClosedError
            answer = (await client.request(subject, b"", timeout=_ACK_TIMEOUT_S)).data
            refused = b'"error"' in answer and _is_too_many(json.loads(answer)["error"])
        except _UNREACHABLE as error:
            if self._alone_until is None:
                log.warning("rate limits are counted per process", reason=str(error) or type(error).__name__)
            self._alone_until = self._clock() + _RETRY_S
            return self._take_alone(name, key)
        return await self._wait_s(name, rate, subject) if refused else None

    async def _wait_s(self, name: str, rate: Rate, subject: str) -> int:
        """Whole seconds until the oldest request of a key leaves the window."""
        try:
            oldest = await self._client.jetstream(timeout=_ACK_TIMEOUT_S).get_msg(
                _stream(name), subject=subject, seq=1, next=True, direct=True
            )
            age_s = (datetime.now(UTC) - oldest.time).total_seconds() if oldest.time else 0.0
        except NotFoundError:
            return 1  # it has just left
        except _UNREACHABLE:
            return rate.window_s
        return min(rate.window_s, max(1, math.ceil(rate.window_s - age_s)))

    async def _mend(self) -> None:
        """Use the shared count again when its streams are there."""
        try:
            if not self._client.is_connected:
                raise nats.errors.ConnectionClosedError
            for name, rate in self._rates.items():
                await self._provide(name, rate)
        except _UNREACHABLE as error:
            if self._alone_until == 0.0:
                log.warning("rate limits are counted per process", reason=type(error).__name__)
            self._alone_until = self._clock() + _RETRY_S
            return
        if self._alone_until:
            log.info("rate limits are shared again")
        self._alone_until = None

    async def _provide(self, name: str, rate: Rate) -> None:
        js = self._client.jetstream(timeout=2)
        wanted = _config(name, rate)
        try:
            found = (await js.stream_info(_stream(name))).config
        except NotFoundError:
            await js.add_stream(wanted)
            return
        if (found.max_age, found.max_msgs_per_subject) != (wanted.max_age, wanted.max_msgs_per_subject):
            await js.update_stream(wanted)

    @property
    def _client(self) -> Client:
        return self._bus.broker.connection


def _config(name: str, rate: Rate) -> StreamConfig:
    return StreamConfig(
        name=_stream(name),
        description="Requests of the last while, to count them; may be deleted at any time",
        subjects=[LIMIT.wildcard(limit=name)],
        storage=StorageType.MEMORY,
        max_age=rate.window_s,
        max_msgs_per_subject=rate.limit,
        max_bytes=_MAX_BYTES,
        discard=DiscardPolicy.NEW,
        discard_new_per_subject=True,
        allow_direct=True,
    )


def _stream(name: str) -> str:
    return f"LIMIT_{name}"


def _token(key: str) -> str:
    """Addresses and ids stay out of subjects."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]


def _is_too_many(error: Mapping[str, Any]) -> bool:
    description = str(error.get("description"))
    if description != _TOO_MANY:
        raise nats.errors.Error(description)
    return True


def _too_many(name: str, rate: Rate, wait_s: int) -> ProblemError:
    headers = {
        "Retry-After": str(wait_s),
        "RateLimit": f'"{name}";r=0;t={wait_s}',
        "RateLimit-Policy": f'"{name}";q={rate.limit};w={rate.window_s}',
    }
    detail = f"at most {rate.limit} in {rate.window_s} seconds; try again in {wait_s} s"
    return ProblemError(429, detail, headers=headers)

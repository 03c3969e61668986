"""The connection of the live plane."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from voxbus.runtime.bus import connection
from voxbus.runtime.metrics import BUS_CONNECTED, BUS_ERRORS, BUS_RECONNECTS

log = structlog.get_logger(__name__)

MessageHandler = Callable[[Msg], Awaitable[None]]
_RECONNECT_WAIT_S = 0.25
_PENDING_BYTES = 16 * 1024 * 1024


class LiveBus:
    """Core NATS with raw bytes: no headers, no middleware, no JSON on the way of audio."""

    def __init__(self, client: Client) -> None:
        self._client = client

    @classmethod
    async def connect(cls, url: str, name: str) -> LiveBus:
        """Connect, waiting for the server as long as it takes; reconnects for ever."""
        plane = BUS_CONNECTED.labels("live")
        waiting = False

        async def disconnected() -> None:
            plane.set(0)
            if not (client.is_closed or client.is_draining):
                log.warning("live bus disconnected, reconnecting")

        async def reconnected() -> None:
            nonlocal waiting
            waiting = False
            plane.set(1)
            BUS_RECONNECTS.labels("live").inc()
            log.info("live bus reconnected")

        async def failed(error: Exception) -> None:
            nonlocal waiting
            BUS_ERRORS.labels("live", type(error).__name__).inc()
            if not isinstance(error, nats.errors.Error | OSError | TimeoutError):
                log.error(
                    "message handler failed", exc_info=error
                )  # ours: the client reports what a callback raises here
            elif not (client.is_connected or waiting):
                waiting = True
                log.warning("the bus cannot be reached, trying again", error=type(error).__name__)

        client = Client()
        await client.connect(
            servers=url.split(","),
            name=name,
            max_reconnect_attempts=-1,
            reconnect_time_wait=_RECONNECT_WAIT_S,  # type: ignore[arg-type]  # it only sleeps for it
            connect_timeout=2,
            ping_interval=10,
            max_outstanding_pings=2,
            skip_subject_validation=True,  # subjects come from `Subject`, which refuses what is none; saves 0.3 µs a frame
            pending_size=_PENDING_BYTES,
            disconnected_cb=disconnected,
            reconnected_cb=reconnected,
            error_cb=failed,
        )
        plane.set(1)
        return cls(client)

    @property
    def connected(self) -> bool:
        """Whether the connection is up now."""
        return bool(self._client.is_connected)

    async def publish(self, subject: str, payload: bytes) -> None:
        """Send and go on; while the bus is away the newest messages are lost once the client's buffer is full."""
        try:
            await self._client.publish(subject, payload)
        except nats.errors.Error as error:
            BUS_ERRORS.labels("live", type(error).__name__).inc()

    async def request(self, subject: str, payload: bytes, timeout_s: float) -> bytes:
        """The first answer. Raises NoWorkerError when nobody listens, TimeoutError, BusUnavailableError.

        While the bus is away it fails at once: a request that waited would be answered when nobody needs it any more.
        """
        return await connection.request(self._client, subject, payload, timeout_s)

    async def subscribe(self, subject: str, handler: MessageHandler, queue: str = "") -> Subscription:
        """Call `handler` for each message, one after the other."""
        return await self._client.subscribe(subject, queue=queue, cb=handler)

    async def leave(self, subscription: Subscription) -> None:
        """Unsubscribe, and handle what was under way."""
        await connection.leave(self._client, subscription)

    async def flush(self) -> None:
        """Wait until the server has processed what was sent, so that a new subscription is known to be active."""
        await connection.flush(self._client)

    async def close(self) -> None:
        """Send what is left, then disconnect."""
        BUS_CONNECTED.labels("live").set(0)
        try:
            await self._client.drain()
        except nats.errors.Error:
            await self._client.close()

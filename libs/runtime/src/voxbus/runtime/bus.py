"""The two connections of a process: a raw one for the live plane, and FastStream's for events and requests.

The live plane has its own connection so that a slow event handler or a large reply never delays audio; FastStream costs 4 to 8
times as much per message (see docs/decisions/0003-stage-streams.md).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import nats.errors
import structlog
from faststream import AckPolicy
from faststream.nats import NatsBroker
from faststream.nats.prometheus.provider import NatsMetricsSettingsProvider
from faststream.prometheus import ConsumeAttrs
from faststream.prometheus.middleware import PrometheusMiddleware
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from prometheus_client import REGISTRY

from voxbus.contracts.base import Message
from voxbus.contracts.event import DataT, Event
from voxbus.contracts.stage import ProcessStatus
from voxbus.contracts.subjects import STATUS, canonical
from voxbus.runtime.metrics import BUS_CONNECTED, BUS_ERRORS, BUS_RECONNECTS, EVENTS_PUBLISHED

log = structlog.get_logger(__name__)

MessageHandler = Callable[[Msg], Awaitable[None]]
_RECONNECT_WAIT_S = 0.25
_PENDING_BYTES = 16 * 1024 * 1024


class BusUnavailableError(Exception):
    """The bus cannot be reached now; it is tried again without end."""


class NoWorkerError(Exception):
    """Nobody answers on the subject: no process is there, or all are at capacity."""


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
        if not self._client.is_connected:
            raise BusUnavailableError("the bus is not connected")
        try:
            reply = await self._client.request(subject, payload, timeout=timeout_s)
        except nats.errors.NoRespondersError as error:
            raise NoWorkerError(subject) from error
        except nats.errors.TimeoutError as error:
            raise TimeoutError(f"no answer on {subject} within {timeout_s} s") from error
        except nats.errors.Error as error:
            raise BusUnavailableError(str(error)) from error
        return reply.data

    async def subscribe(self, subject: str, handler: MessageHandler, queue: str = "") -> Subscription:
        """Call `handler` for each message, one after the other."""
        return await self._client.subscribe(subject, queue=queue, cb=handler)

    async def leave(self, subscription: Subscription) -> None:
        """Unsubscribe, and handle what was under way: `unsubscribe` drops it, and so may nats-py's `drain` (see `flush`)."""
        with suppress(nats.errors.Error):  # the bus is away, and the subscription with it
            await self._client._send_unsubscribe(subscription._id)
            await self.flush()
            await subscription.drain()  # type: ignore[no-untyped-call]

    async def flush(self) -> None:
        """Wait until the server has processed what was sent, so that a new subscription is known to be active."""
        # nats-py 2.16 writes the ping ahead of what its flusher has still to write; by the first answer the flusher has run.
        await self._client.flush()
        await self._client.flush()

    async def close(self) -> None:
        """Send what is left, then disconnect."""
        BUS_CONNECTED.labels("live").set(0)
        try:
            await self._client.drain()
        except nats.errors.Error:
            await self._client.close()


class _CanonicalLabels(NatsMetricsSettingsProvider):
    """Labels are subject templates; the concrete subject holds ids, and FastStream would make a series of each."""

    def get_consume_attrs_from_message(self, msg: Any) -> ConsumeAttrs:
        attrs = super().get_consume_attrs_from_message(msg)
        return {**attrs, "destination_name": canonical(attrs["destination_name"])}

    def get_publish_destination_name_from_cmd(self, cmd: Any) -> str:
        return canonical(cmd.destination)


# One per process: its metrics register themselves once.
_BROKER_METRICS: PrometheusMiddleware[Any, Any] = PrometheusMiddleware(
    settings_provider_factory=lambda _message: _CanonicalLabels(), registry=REGISTRY, app_name="voxbus"
)


class EventBus:
    """FastStream's broker with safe defaults: NACK on errors, reconnect for ever, silent logger, canonical labels."""

    def __init__(self, url: str, service: str, instance_id: str) -> None:
        self.service = service
        self.instance_id = instance_id
        self.broker = NatsBroker(
            url.split(","),
            name=f"{service} {instance_id} events",
            max_reconnect_attempts=-1,
            reconnect_time_wait=1,
            ack_policy=AckPolicy.NACK_ON_ERROR,
            logger=None,
            middlewares=[_BROKER_METRICS],
            disconnected_cb=self._disconnected,
            reconnected_cb=self._reconnected,
        )

    async def _disconnected(self) -> None:
        BUS_CONNECTED.labels("events").set(0)

    async def _reconnected(self) -> None:
        BUS_CONNECTED.labels("events").set(1)
        BUS_RECONNECTS.labels("events").inc()

    def answer_status(self, status: Callable[[], ProcessStatus]) -> None:
        """Answer requests on `voxbus.control.status.v1`; call it before `start`."""

        @self.broker.subscriber(STATUS.template)
        async def answer() -> dict[str, object]:
            return status().model_dump(mode="json")

    async def start(self) -> None:
        """Connect, waiting for the server as long as it takes."""
        await self.broker.start()
        BUS_CONNECTED.labels("events").set(1)

    async def publish(self, data: DataT, *, subject: str, traceparent: str | None = None) -> None:
        """Publish a fact about `subject`; while the bus is away it is counted and logged, and the caller goes on."""
        event: Event[Message] = Event(
            source=f"/{self.service}/{self.instance_id}", subject=subject, data=data, traceparent=traceparent
        )
        try:
            await self.broker.publish(event.data.encode(), event.bus_subject, headers=event.headers())
        except (nats.errors.Error, TimeoutError) as error:
            EVENTS_PUBLISHED.labels(event.type, "failed").inc()
            log.warning("event not published", event_type=event.type, error=type(error).__name__)
            return
        EVENTS_PUBLISHED.labels(event.type, "ok").inc()

    async def stop(self) -> None:
        """Finish the requests that have begun (broker.stop() alone loses them), then disconnect."""
        for subscriber in self.broker.subscribers:
            subscription = getattr(subscriber, "subscription", None)
            if isinstance(subscription, Subscription):
                subscriber.subscription = None  # type: ignore[attr-defined]  # else stop() unsubscribes it once more
                with suppress(nats.errors.Error):  # the bus is away: there is nothing under way
                    await subscription.drain()  # type: ignore[no-untyped-call]
        with suppress(nats.errors.Error):
            await self.broker.stop()
        BUS_CONNECTED.labels("events").set(0)

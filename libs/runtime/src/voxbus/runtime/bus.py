"""The two connections of a process: a raw one for the live plane, and FastStream's for events and requests.

The live plane has its own connection so that a slow event handler or a large reply never delays audio; FastStream costs 4 to 8
times as much per message (docs/decisions/0003-stage-streams.md), which is why requests only use its connection (0010).
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import nats.errors
import structlog
from faststream import AckPolicy
from faststream._internal.endpoint.subscriber import SubscriberUsecase
from faststream.nats import NatsBroker, NatsMessage
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from voxbus.contracts.base import Message
from voxbus.contracts.event import DataT, Event
from voxbus.contracts.stage import ProcessStatus
from voxbus.contracts.subjects import STATUS
from voxbus.runtime.broker_metrics import BROKER_METRICS
from voxbus.runtime.metrics import BUS_CONNECTED, BUS_ERRORS, BUS_RECONNECTS, EVENTS_PUBLISHED

log = structlog.get_logger(__name__)

MessageHandler = Callable[[Msg], Awaitable[None]]
BusSubscriber = SubscriberUsecase[Any]
_RECONNECT_WAIT_S = 0.25
_ACK_TIMEOUT_S = 2.0
_NOT_JETSTREAM = (ValueError, TypeError, KeyError, AttributeError)
"""What nats-py raises when something else answered than JetStream."""
_PENDING_BYTES = 16 * 1024 * 1024
_PATIENCE = "Voxbus-Timeout-Ms"
"""Header of requests. A duration, not a time of day: clocks differ between machines."""


class BusUnavailableError(Exception):
    """The bus cannot be reached now; it is tried again without end."""


class NoWorkerError(Exception):
    """Nobody answers on the subject: no process is there, or all are at capacity."""


class TooLargeError(Exception):
    """The message is larger than the bus carries."""


def patience_s(request: Msg) -> float:
    """How long the sender of a request waits for its answer; for ever when it does not say."""
    try:
        return int((request.headers or {})[_PATIENCE]) / 1000
    except (KeyError, ValueError):
        return math.inf


async def _flush(client: Client) -> None:
    # nats-py 2.16 writes the ping ahead of what its flusher has still to write; by the first answer the flusher has run.
    await client.flush()
    await client.flush()


async def _leave(client: Client, subscription: Subscription) -> None:
    # `unsubscribe` drops what was under way, and so may nats-py's `drain` alone (see `_flush`).
    with suppress(nats.errors.Error):
        if not client.is_connected:  # nothing can be answered, and it must not come back with the bus
            await subscription.unsubscribe()
            return
        await client._send_unsubscribe(subscription._id)
        await _flush(client)
        await subscription.drain()  # type: ignore[no-untyped-call]


async def _request(
    client: Client, subject: str, payload: bytes, timeout_s: float, headers: dict[str, str] | None = None
) -> bytes:
    if not client.is_connected:
        raise BusUnavailableError("the bus is not connected")
    try:
        reply = await client.request(subject, payload, timeout=timeout_s, headers=headers)
    except nats.errors.NoRespondersError as error:
        raise NoWorkerError(subject) from error
    except nats.errors.TimeoutError as error:
        raise TimeoutError(f"no answer on {subject} within {timeout_s} s") from error
    except nats.errors.MaxPayloadError as error:
        raise TooLargeError(f"{len(payload)} bytes on {subject}") from error
    except nats.errors.Error as error:
        raise BusUnavailableError(str(error)) from error
    return reply.data


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
        return await _request(self._client, subject, payload, timeout_s)

    async def subscribe(self, subject: str, handler: MessageHandler, queue: str = "") -> Subscription:
        """Call `handler` for each message, one after the other."""
        return await self._client.subscribe(subject, queue=queue, cb=handler)

    async def leave(self, subscription: Subscription) -> None:
        """Unsubscribe, and handle what was under way."""
        await _leave(self._client, subscription)

    async def flush(self) -> None:
        """Wait until the server has processed what was sent, so that a new subscription is known to be active."""
        await _flush(self._client)

    async def close(self) -> None:
        """Send what is left, then disconnect."""
        BUS_CONNECTED.labels("live").set(0)
        try:
            await self._client.drain()
        except nats.errors.Error:
            await self._client.close()


async def _as_it_came(message: NatsMessage) -> Msg:
    # A decoder makes what the handler gets: left out, bytes are tried as JSON, and a `Context` parameter instead costs
    # a turn in a worker thread for each message, which is more than all the rest of FastStream.
    return message.raw_message


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
            middlewares=[BROKER_METRICS],
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

    async def publish_durably(self, event_id: str, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        """Publish into the stream EVENTS and wait until it is kept there; repeated soon with the same id, it is kept once.

        Raises BusUnavailableError (also when the stream is missing or JetStream is away), TooLargeError.
        """
        client = self.broker.connection
        if not client.is_connected:
            raise BusUnavailableError("the bus is not connected")
        try:
            await client.jetstream().publish(
                subject, payload, timeout=_ACK_TIMEOUT_S, headers={**headers, "Nats-Msg-Id": event_id}
            )
        except nats.errors.MaxPayloadError as error:
            raise TooLargeError(f"event {event_id} of {len(payload)} bytes") from error
        except (nats.errors.Error, TimeoutError, *_NOT_JETSTREAM) as error:
            raise BusUnavailableError(f"{type(error).__name__} on {subject}") from error

    async def request(self, subject: str, payload: bytes, timeout_s: float) -> bytes:
        """The first answer. Raises NoWorkerError when nobody listens, TimeoutError, TooLargeError, BusUnavailableError.

        The message says how long it is waited for, see `patience_s`.
        """
        headers = {_PATIENCE: str(int(timeout_s * 1000))}
        return await _request(self.broker.connection, subject, payload, timeout_s, headers)

    @property
    def connected(self) -> bool:
        """Whether the connection is up now."""
        return bool(self.broker.connection.is_connected)

    async def subscribe(self, subject: str, handler: MessageHandler, queue: str = "") -> BusSubscriber:
        """Call `handler` for each message, one after the other, with its body as it came. `flush` makes it surely active.

        Nothing is answered but what the handler answers (`message.respond`): an event that was published durably carries a
        reply subject of JetStream's, where FastStream's automatic answer would be taken for the acknowledgement.
        """
        subscriber = self.broker.subscriber(subject, queue=queue, decoder=_as_it_came, no_reply=True)

        @subscriber
        async def handle(message: Any) -> None:
            await handler(message)

        await subscriber.start()
        return subscriber

    async def subscribe_requests(self, subject: str, handler: MessageHandler, queue: str) -> Subscription:
        """Like `subscribe`, by nats-py alone: for requests, of which there are many. `RpcServer` counts them."""
        return await self.broker.connection.subscribe(subject, queue=queue, cb=handler)

    async def flush(self) -> None:
        """Wait until the server has processed what was sent, so that new subscriptions are known to be active."""
        await _flush(self.broker.connection)

    async def leave(self, subscriber: BusSubscriber | Subscription) -> None:
        """Unsubscribe, and hand over what was under way (`broker.stop()` alone loses it)."""
        if isinstance(subscriber, Subscription):
            await _leave(self.broker.connection, subscriber)
            return
        subscription = getattr(subscriber, "subscription", None)
        if isinstance(subscription, Subscription):
            subscriber.subscription = None  # type: ignore[attr-defined]  # else stop() unsubscribes it once more
            await _leave(self.broker.connection, subscription)

    async def stop(self) -> None:
        """Finish the requests that have begun, then disconnect."""
        for subscriber in self.broker.subscribers:
            await self.leave(subscriber)
        with suppress(nats.errors.Error):
            await self.broker.stop()
        BUS_CONNECTED.labels("events").set(0)

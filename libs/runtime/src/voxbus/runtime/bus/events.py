"""The connection of events and requests."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import nats.errors
import structlog
from faststream import AckPolicy
from faststream._internal.endpoint.subscriber import SubscriberUsecase
from faststream.nats import NatsBroker, NatsMessage
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from voxbus.contracts.base import Message
from voxbus.contracts.event import DataT, Event
from voxbus.contracts.stage import ProcessStatus
from voxbus.contracts.subjects import STATUS
from voxbus.runtime.broker_metrics import BROKER_METRICS
from voxbus.runtime.bus import connection
from voxbus.runtime.bus.errors import BusUnavailableError, TooLargeError
from voxbus.runtime.bus.live import MessageHandler
from voxbus.runtime.metrics import BUS_CONNECTED, BUS_RECONNECTS, EVENTS_PUBLISHED

log = structlog.get_logger(__name__)

BusSubscriber = SubscriberUsecase[Any]
_ACK_TIMEOUT_S = 2.0
_NOT_JETSTREAM = (ValueError, TypeError, KeyError, AttributeError)
"""What nats-py raises when something else answered than JetStream."""
_PATIENCE = "Voxbus-Timeout-Ms"
"""Header of requests. A duration, not a time of day: clocks differ between machines."""


def patience_s(request: Msg) -> float:
    """How long the sender of a request waits for its answer; for ever when it does not say."""
    try:
        return int((request.headers or {})[_PATIENCE]) / 1000
    except (KeyError, ValueError):
        return math.inf


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
        return await connection.request(self.broker.connection, subject, payload, timeout_s, headers)

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
        await connection.flush(self.broker.connection)

    async def leave(self, subscriber: BusSubscriber | Subscription) -> None:
        """Unsubscribe, and hand over what was under way (`broker.stop()` alone loses it)."""
        if isinstance(subscriber, Subscription):
            await connection.leave(self.broker.connection, subscriber)
            return
        subscription = getattr(subscriber, "subscription", None)
        if isinstance(subscription, Subscription):
            subscriber.subscription = None  # type: ignore[attr-defined]  # else stop() unsubscribes it once more
            await connection.leave(self.broker.connection, subscription)

    async def stop(self) -> None:
        """Finish the requests that have begun, then disconnect."""
        for subscriber in self.broker.subscribers:
            await self.leave(subscriber)
        with suppress(nats.errors.Error):
            await self.broker.stop()
        BUS_CONNECTED.labels("events").set(0)

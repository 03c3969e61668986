"""What both connections do with nats-py's client."""

from __future__ import annotations

from contextlib import suppress

import nats.errors
from nats.aio.client import Client
from nats.aio.subscription import Subscription

from voxbus.runtime.bus.errors import BusUnavailableError, NoWorkerError, TooLargeError


async def flush(client: Client) -> None:
    """Wait until the server has processed what was sent."""
    # nats-py 2.16 writes the ping ahead of what its flusher has still to write; by the first answer the flusher has run.
    await client.flush()
    await client.flush()


async def leave(client: Client, subscription: Subscription) -> None:
    """Unsubscribe, and hand over what was under way."""
    # `unsubscribe` drops what was under way, and so may nats-py's `drain` alone (see `flush`).
    with suppress(nats.errors.Error):
        if not client.is_connected:  # nothing can be answered, and it must not come back with the bus
            await subscription.unsubscribe()
            return
        await client._send_unsubscribe(subscription._id)
        await flush(client)
        await subscription.drain()  # type: ignore[no-untyped-call]


async def request(
    client: Client, subject: str, payload: bytes, timeout_s: float, headers: dict[str, str] | None = None
) -> bytes:
    """The first answer. Raises NoWorkerError, TimeoutError, TooLargeError, BusUnavailableError; at once when the bus is away."""
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

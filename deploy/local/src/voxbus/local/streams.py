"""The streams of the bus, applied from here: no service creates them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats
import nats.errors
import nats.js.errors
from nats.js import JetStreamContext

from voxbus.local.errors import CommandError, ExitCode
from voxbus.runtime import event_streams
from voxbus.runtime.event_streams import StreamChange

_TIMEOUT_S = 5


class BusUnreachableError(CommandError):
    """Nobody answers at the bus' address."""

    exit_code = ExitCode.NOT_RUNNING


async def apply_streams(nats_url: str, *, replicas: int = 1) -> list[StreamChange]:
    """Create or correct every stream; may be repeated. Raises CommandError."""
    async with _jetstream(nats_url) as js:
        try:
            return await event_streams.apply_streams(js, replicas=replicas)
        except (nats.js.errors.Error, nats.errors.Error, TimeoutError) as error:
            raise CommandError(
                f"the streams could not be applied: {error}", "is JetStream switched on in the NATS server?"
            ) from None


@asynccontextmanager
async def _jetstream(nats_url: str) -> AsyncIterator[JetStreamContext]:
    try:
        bus = await nats.connect(
            nats_url, allow_reconnect=False, connect_timeout=_TIMEOUT_S, name="voxbus-streams", error_cb=_ignore
        )
    except (OSError, nats.errors.Error, TimeoutError) as error:
        raise BusUnreachableError(
            f"no NATS server answers ({error})", "is it running, and its address right?"
        ) from None
    try:
        yield bus.jetstream(timeout=_TIMEOUT_S)
    finally:
        await bus.close()


async def _ignore(_error: Exception) -> None:
    """What goes wrong is raised by the request it belongs to."""

"""The definition of the streams, applied."""

from __future__ import annotations

from dataclasses import replace

import nats
import pytest
from nats.js.api import StreamConfig
from servers import NatsServer, provision_bus

from voxbus.runtime.event_streams import EVENTS, StreamChange

pytestmark = pytest.mark.integration


async def test_streams_are_created_once(nats_server: NatsServer) -> None:
    """The first time creates the stream as it is defined, the second changes nothing."""
    assert await provision_bus(nats_server.url) == [StreamChange("EVENTS", "created")]
    assert await provision_bus(nats_server.url) == [StreamChange("EVENTS", "unchanged")]


async def test_what_drifted_is_corrected_and_the_rest_is_kept(nats_server: NatsServer) -> None:
    """Fields of the definition are set right and reported; messages and what the operator decided stay."""
    bus = await nats.connect(nats_server.url)
    js = bus.jetstream()
    drifted = StreamConfig(
        name="EVENTS", subjects=["voxbus.event.>"], max_age=3600, duplicate_window=60, max_bytes=10_000_000
    )
    await js.add_stream(drifted)
    await js.publish("voxbus.event.call.started.v1", b"{}")
    [change] = await provision_bus(nats_server.url)
    assert change.action == "corrected"
    assert {"max_age", "duplicate_window"} <= set(change.fields)
    info = await js.stream_info("EVENTS")
    assert (info.config.max_age, info.config.duplicate_window) == (EVENTS.max_age, EVENTS.duplicate_window)
    assert info.config.max_bytes == 10_000_000
    assert info.state.messages == 1
    assert await provision_bus(nats_server.url) == [StreamChange("EVENTS", "unchanged")]
    await bus.close()


async def test_a_repeated_event_is_kept_once(nats_server: NatsServer) -> None:
    """The stream drops a message whose id it has seen."""
    await provision_bus(nats_server.url)
    bus = await nats.connect(nats_server.url)
    js = bus.jetstream()
    for expected in (None, True):
        ack = await js.publish("voxbus.event.call.started.v1", b"{}", headers={"Nats-Msg-Id": "evt_1"})
        assert ack.duplicate is expected
    assert replace((await js.stream_info("EVENTS")).state).messages == 1
    await bus.close()

"""The stage stream protocol when things go wrong in the wrong moment."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any

import echo_stage as fakes
import pytest
import structlog
from stream_stand import Stand, opened, say, until

from voxbus.contracts.frame import Kind, encode_frame
from voxbus.contracts.stage import ErrorCode, Stage
from voxbus.contracts.subjects import OPEN, OUTPUT
from voxbus.runtime.bus import BusUnavailableError, NoWorkerError
from voxbus.runtime.streams import OwnedStream, StageFailure

pytestmark = pytest.mark.integration


async def forge(stand: Stand, stream: OwnedStream, kind: Kind, seq: int, text: str = "") -> None:
    """Output as if from the stream's worker."""
    output = OUTPUT(stage="tts", owner_id=stand.client.owner_id, stream_id=stream.stream_id)
    body = say(text).encode() if text else b""
    await stand.client.live.publish(output, encode_frame(kind, attempt=stream.attempt, seq=seq, body=body))


async def test_nothing_is_delivered_after_a_gap(stand: Stand) -> None:
    """Frames that follow a hole in the same attempt never reach the listener."""
    await stand.worker()
    listener, stream = await opened(stand)
    await forge(stand, stream, Kind.MESSAGE, 0, "zero")
    await forge(stand, stream, Kind.MESSAGE, 2, "two")
    await forge(stand, stream, Kind.MESSAGE, 3, "three")
    await listener.until(lambda: bool(listener.takeovers))
    assert listener.texts == ["zero"]


async def test_a_close_after_a_gap_does_not_end_the_stream(stand: Stand) -> None:
    """Output that was lost before the end is made again, not taken for complete."""
    await stand.worker()
    listener, stream = await opened(stand)
    await forge(stand, stream, Kind.MESSAGE, 1, "one")
    await forge(stand, stream, Kind.CLOSE, 2)
    await listener.until(lambda: bool(listener.takeovers))
    assert not listener.closed
    assert not stream.over


async def test_a_rolling_restart_does_not_wear_a_stream_out(stand: Stand) -> None:
    """A stream that is moved more often than failures are allowed goes on."""
    workers = [await stand.worker()]
    listener, stream = await opened(stand)
    for number in range(8):
        workers.append(await stand.worker())
        await workers[number].drain(1.0)
        await listener.until(lambda number=number: len(listener.takeovers) > number)
    assert listener.failed is None
    await stream.send(say("still here"))
    await listener.until(lambda: listener.texts == ["still here"])


async def test_workers_that_stop_without_a_drain_do_not_wear_a_stream_out(stand: Stand) -> None:
    """A worker that stops says so, and that is no failure of the stage, however often it happens."""
    worker = await stand.worker()
    listener, _ = await opened(stand)
    for number in range(8):
        following = await stand.worker()
        await worker.stop()
        await listener.until(lambda number=number: len(listener.takeovers) > number)
        worker = following
    assert listener.failed is None
    assert {takeover.reason for takeover in listener.takeovers} == {"draining"}


async def test_a_draining_worker_serves_until_another_one_has_taken_over(stand: Stand) -> None:
    """With no other worker there, the old one goes on; when one appears, it takes over, and nothing is lost or repeated."""
    first = await stand.worker()
    listener, stream = await opened(stand)
    drained = asyncio.create_task(first.drain(5.0))
    await until(lambda: first.draining)
    for number in range(20):
        await stream.send(say(str(number), number))
    await listener.until(lambda: len(listener.texts) == 20)
    assert not first.service.handlers[0].cancelled
    second = await stand.worker()
    await listener.until(lambda: bool(listener.takeovers))
    await drained
    await stream.send(say("20", 20))
    await listener.until(lambda: len(listener.texts) == 21)
    assert listener.texts == [str(number) for number in range(21)]
    assert stream.worker_id == second.worker_id


async def test_input_during_a_move_is_neither_lost_nor_repeated(stand: Stand) -> None:
    """A stream that is moved to and fro under traffic delivers every message once and in order."""
    workers = [await stand.worker()]
    listener, stream = await opened(stand)

    async def talk() -> None:
        for number in range(300):
            await stream.send(say(str(number), number))
            await asyncio.sleep(0.003)

    talking = asyncio.create_task(talk())
    for number in range(3):
        workers.append(await stand.worker())
        await workers[number].drain(2.0)
    await talking
    await listener.until(lambda: len(listener.texts) >= 300)
    assert listener.texts == [str(number) for number in range(300)]
    assert len(listener.takeovers) == 3


async def test_opens_under_way_are_answered_when_a_worker_leaves(stand: Stand) -> None:
    """A worker that reaches its capacity, or drains, answers what was on its way to it instead of dropping it."""
    await stand.worker(capacity=2)
    slow: list[float] = []

    async def one(delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        started = time.monotonic()
        try:
            await stand.client.live.request(OPEN(stage="tts"), fakes.open_request().encode(), 2.0)
        except NoWorkerError:
            pass
        except TimeoutError:
            slow.append(time.monotonic() - started)

    for _ in range(5):
        await asyncio.gather(*(one(number * 0.0002) for number in range(40)))
    assert slow == []


async def test_a_provider_that_is_never_ready_frees_its_room(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """An open that hangs is answered as a timeout, and the worker's room is free again."""
    monkeypatch.setattr("voxbus.runtime.streams.worker._OPEN_TIMEOUT_S", 0.2)
    worker = await stand.worker()
    worker.service.gate.clear()
    with pytest.raises(StageFailure) as failure:
        await stand.client.open(Stage.TTS, fakes.open_request(), fakes.RecordingListener(), deadline_s=0.1)
    assert failure.value.code is ErrorCode.TIMEOUT
    await until(lambda: worker.active == 0)


async def test_a_listener_that_fails_costs_its_stream_alone(stand: Stand) -> None:
    """An exception in the owner's own code ends that stream, is logged with its call, and the others go on."""
    worker = await stand.worker()
    listener, stream = await opened(stand)
    other_listener, other = await opened(stand)
    listener.on_message = lambda _body: 1 / 0
    with structlog.testing.capture_logs() as logs:
        await stream.send(say("boom"))
        await listener.until(lambda: listener.failed is not None)
    assert listener.failed.code is ErrorCode.INTERNAL
    (entry,) = [entry for entry in logs if entry["event"] == "output not handled"]
    assert entry["call_id"] == "call_1"
    await other.send(say("fine"))
    await other_listener.until(lambda: other_listener.texts == ["fine"])
    await until(lambda: worker.active == 1)


async def test_a_watchdog_that_stumbles_goes_on(stand: Stand) -> None:
    """An exception while one stream is looked at does not end the watch over the others."""
    first = await stand.worker()
    _, stumbling = await opened(stand)
    listener, _ = await opened(stand)
    stumbling.check = lambda *_: 1 / 0
    await first._live._client.close()
    await stand.worker()
    await listener.until(lambda: bool(listener.takeovers))


async def test_giving_up_frees_the_worker(stand: Stand) -> None:
    """A stream that its owner gives up is cancelled on the worker at once, not when it is orphaned."""
    worker = await stand.worker()
    listener, stream = await opened(stand)
    listener.on_message = lambda _body: 1 / 0
    await stream.send(say("boom"))
    await listener.until(lambda: listener.failed is not None)
    await until(lambda: worker.active == 0, 1.0)


async def test_a_slow_cancel_does_not_hold_up_other_streams(stand: Stand) -> None:
    """While one handler takes its time to stop, the input of another is handled."""
    worker = await stand.worker()
    _, slow = await opened(stand)
    listener, quick = await opened(stand)
    stopping, released = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        stopping.set()
        await released.wait()

    worker.service.handlers[0].on_cancel = wait
    await slow.cancel()
    await stopping.wait()
    await quick.send(say("quick"))
    await listener.until(lambda: listener.texts == ["quick"], 1.0)
    released.set()


async def test_an_error_before_the_answer_is_an_error_of_the_open(stand: Stand) -> None:
    """A stream that fails for good while it is being opened makes `connect` raise, and is not reported a second time."""
    worker = await stand.worker()
    real = worker.service.open

    async def fails(request: Any, stream: Any) -> Any:
        handler = await real(request, stream)
        await stream.fail(StageFailure(ErrorCode.PROVIDER_REJECTED, "wrong key", retryable=False))
        return handler

    worker.service.open = fails
    listener = fakes.RecordingListener()
    with pytest.raises(StageFailure) as failure:
        await stand.client.open(Stage.TTS, fakes.open_request(), listener)
    assert failure.value.code is ErrorCode.PROVIDER_REJECTED
    assert listener.failed is None


async def test_nothing_is_asked_of_a_bus_that_is_away(nats_server: Any) -> None:
    """A request fails at once, and an open waits for the bus: the worker then gets one open, not a heap of stale ones."""
    async with AsyncExitStack() as stack:
        stand = Stand(nats_server.url, stack)
        await stand.owner()
        worker = await stand.worker()
        nats_server.stop()
        await until(lambda: not stand.client.live.connected and not worker._live.connected)
        with pytest.raises(BusUnavailableError):
            await stand.client.live.request(OPEN(stage="tts"), b"", 5.0)
        opening = asyncio.create_task(
            stand.client.open(Stage.TTS, fakes.open_request(), fakes.RecordingListener(), deadline_s=3)
        )
        nats_server.start()
        await opening
        assert len(worker.service.handlers) == 1


async def test_an_outage_of_the_bus_orphans_nobody(nats_server: Any) -> None:
    """A worker does not take its owners for gone while nobody can be heard."""
    async with AsyncExitStack() as stack:
        stand = Stand(nats_server.url, stack)
        await stand.owner()
        worker = await stand.worker(orphan_timeout_s=0.4)
        await opened(stand)
        nats_server.stop()
        await until(lambda: not worker._live.connected)
        await asyncio.sleep(1.0)  # the fact is about time passing
        assert worker.active == 1
        nats_server.start()
        await until(lambda: worker._live.connected and stand.client.live.connected)


async def test_a_worker_whose_engine_fails_takes_no_streams_until_it_works(stand: Stand) -> None:
    """It leaves the queue group, is not ready, and comes back by itself."""
    worker = await stand.worker()
    worker.service.broken = "the model fails"
    await until(lambda: worker._open_subscription is None)
    assert not worker.fit
    with pytest.raises(StageFailure):
        await stand.client.open(Stage.TTS, fakes.open_request(), fakes.RecordingListener(), deadline_s=0.05)
    worker.service.broken = None
    await opened(stand)
    assert worker.fit

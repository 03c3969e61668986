"""The stage stream protocol between a real worker end and a real owner end over a real NATS server."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import echo_stage as fakes
import pytest
from stream_stand import FAST, Stand, opened, say, until

from voxbus.contracts.audio import FRAME_BYTES
from voxbus.contracts.frame import Kind, decode_frame, encode_frame
from voxbus.contracts.stage import ErrorCode, Stage, StreamReply
from voxbus.contracts.subjects import INPUT, OPEN, OUTPUT
from voxbus.runtime.bus import NoWorkerError
from voxbus.runtime.streams import StageFailure

pytestmark = pytest.mark.integration


async def test_messages_and_audio_come_back_in_order(stand: Stand) -> None:
    """What goes in comes out, in order, and the stream closes when the worker has finished."""
    await stand.worker()
    listener, stream = await opened(stand)
    for number in range(20):
        await stream.send(say(str(number), number))
    await stream.send_audio(bytes(FRAME_BYTES), 123_456)
    await stream.close()
    await listener.until(lambda: listener.closed)
    assert listener.texts == [str(number) for number in range(20)]
    assert listener.audio == [(123_456, bytes(FRAME_BYTES))]
    assert stream.over


async def test_no_worker_is_answered_at_once(stand: Stand) -> None:
    """Without a worker an open fails within its deadline, and the bus says so at once."""
    with pytest.raises(NoWorkerError):
        await stand.client.live.request(OPEN(stage="tts"), b"", 5.0)
    with pytest.raises(StageFailure) as failure:
        await stand.client.open(Stage.TTS, fakes.open_request(), fakes.RecordingListener(), deadline_s=0.05)
    assert failure.value.code is ErrorCode.AT_CAPACITY


async def no_responders(stand: Stand) -> None:
    """Wait until the server itself says that there is nobody to take a stream."""
    async with asyncio.timeout(5):
        while True:
            try:
                await stand.client.live.request(OPEN(stage="tts"), fakes.open_request().encode(), 5.0)
            except NoWorkerError:
                return


async def test_a_full_worker_leaves_the_group_and_comes_back(stand: Stand) -> None:
    """At capacity there is nobody to answer an open; with room again there is."""
    worker = await stand.worker(capacity=1)
    listener, stream = await opened(stand)
    await no_responders(stand)
    await stream.close()
    await listener.until(lambda: listener.closed)
    _, again = await opened(stand)
    assert again.worker_id == worker.worker_id


async def test_capacity_is_never_exceeded_by_a_burst(stand: Stand) -> None:
    """Of many opens at once, no more than the capacity get in; the rest are refused as retryable."""
    worker = await stand.worker(capacity=3)
    replies = await asyncio.gather(
        *(stand.client.live.request(OPEN(stage="tts"), fakes.open_request().encode(), 2.0) for _ in range(12)),
        return_exceptions=True,
    )
    taken = [reply for reply in replies if isinstance(reply, bytes) and StreamReply.model_validate_json(reply).opened]
    assert len(taken) == 3, replies
    assert worker.active == 3


async def test_a_bad_open_gets_a_typed_error(stand: Stand) -> None:
    """A malformed open is answered with what is wrong, not with silence."""
    await stand.worker()
    reply = StreamReply.model_validate_json(await stand.client.live.request(OPEN(stage="tts"), b'{"attempt": 0}', 2.0))
    assert reply.error is not None
    assert reply.error.code is ErrorCode.BAD_REQUEST
    assert not reply.error.retryable


async def test_a_refusal_for_good_is_not_tried_again(stand: Stand) -> None:
    """A refusal that is not retryable reaches the caller of open at once."""
    worker = await stand.worker()
    worker.service.refusal = StageFailure(ErrorCode.UNKNOWN_PROVIDER, "no such provider", retryable=False)
    with pytest.raises(StageFailure) as failure:
        await stand.client.open(Stage.TTS, fakes.open_request(), fakes.RecordingListener())
    assert failure.value.code is ErrorCode.UNKNOWN_PROVIDER
    assert worker.active == 0


async def test_a_silent_stream_stays_alive_by_heartbeats(stand: Stand) -> None:
    """A stream without output for several watchdog deadlines is not taken over, nor orphaned."""
    worker = await stand.worker(orphan_timeout_s=0.8)
    listener, stream = await opened(stand)
    await asyncio.sleep(FAST.watchdog_s * 4)  # the fact is about time passing
    assert not listener.takeovers
    assert worker.active == 1
    await stream.send(say("still here"))
    await listener.until(lambda: listener.texts == ["still here"])


async def test_a_dead_worker_is_replaced_and_gets_what_was_not_acknowledged(stand: Stand) -> None:
    """When a worker falls silent, another one gets exactly the input that was not acknowledged."""
    first = await stand.worker()
    listener, stream = await opened(stand)
    await stream.send(say("one"))
    await listener.until(lambda: listener.texts == ["one"])
    attempt = stream.attempt
    first.service.acknowledge = False
    await stream.send(say("two"))
    await listener.until(lambda: listener.texts == ["one", "two"])
    second = await stand.worker()
    await first._live._client.close()  # gone without a word
    await listener.until(lambda: bool(listener.takeovers))
    await listener.until(lambda: listener.texts == ["one", "two", "two"])
    assert listener.takeovers[0].reason == "silent"
    assert stream.worker_id == second.worker_id
    assert stream.attempt > attempt
    await stream.send(say("three"))
    await listener.until(lambda: listener.texts[-1] == "three")


async def test_input_sent_during_a_takeover_is_not_lost(stand: Stand) -> None:
    """Input while no worker is there is kept, and reaches the next worker in order."""
    first = await stand.worker()
    listener, stream = await opened(stand)
    await first._live._client.close()
    for number in range(50):
        await stream.send(say(str(number), number))
        await asyncio.sleep(0.005)
    await stand.worker()
    await listener.until(lambda: len(listener.texts) == 50)
    assert listener.texts == [str(number) for number in range(50)]


async def test_output_of_a_dead_attempt_is_dropped(stand: Stand) -> None:
    """A worker that comes back after a takeover cannot speak."""
    await stand.worker()
    listener, stream = await opened(stand)
    output = OUTPUT(stage="tts", owner_id=stand.client.owner_id, stream_id=stream.stream_id)
    assert stream._legs.current is not None
    dead = stream.attempt
    stream._legs.current.attempt = dead + 1
    body = say("from the grave").encode()
    await stand.client.live.publish(output, encode_frame(Kind.MESSAGE, attempt=dead, seq=0, body=body))
    await stand.client.live.publish(
        output, encode_frame(Kind.MESSAGE, attempt=dead + 1, seq=0, body=say("alive").encode())
    )
    await listener.until(lambda: listener.texts == ["alive"])


async def test_a_gap_in_the_output_is_a_failure(stand: Stand) -> None:
    """When output is missing, the stream is opened again rather than going on with a hole."""
    await stand.worker()
    listener, stream = await opened(stand)
    output = OUTPUT(stage="tts", owner_id=stand.client.owner_id, stream_id=stream.stream_id)
    await stand.client.live.publish(output, encode_frame(Kind.HEARTBEAT, attempt=stream.attempt, seq=7))
    await listener.until(lambda: bool(listener.takeovers))
    assert listener.takeovers[0].reason == "gap"
    assert listener.reopened >= 1


async def test_lost_input_makes_the_worker_ask_for_a_replay(stand: Stand) -> None:
    """When a message to the worker is lost, the stream fails as retryable and the owner replays it."""
    await stand.worker(acknowledge=True)
    listener, stream = await opened(stand)
    real, lost = stand.client.live.publish, []

    async def lossy(subject: str, payload: bytes) -> None:
        if decode_frame(payload).kind is Kind.MESSAGE and not lost:
            lost.append(payload)
            return
        await real(subject, payload)

    stand.client.live.publish = lossy  # type: ignore[method-assign]
    await stream.send(say("one"))
    await stream.send(say("two"))
    await listener.until(lambda: listener.texts == ["one", "two"])
    assert len(lost) == 1
    assert listener.takeovers[0].reason == ErrorCode.INTERNAL.value


async def test_a_repeated_input_is_handled_once(stand: Stand) -> None:
    """A frame that arrives twice is dropped the second time."""
    await stand.worker()
    listener, stream = await opened(stand)
    subject = INPUT(stage="tts", worker_id=stream.worker_id, stream_id=stream.stream_id)
    frame = encode_frame(Kind.MESSAGE, attempt=stream.attempt, seq=0, body=say("once").encode())
    await stand.client.live.publish(subject, frame)
    await stand.client.live.publish(subject, frame)
    await stand.client.live.publish(subject, encode_frame(Kind.CLOSE, attempt=stream.attempt, seq=1))
    await listener.until(lambda: listener.closed)
    assert listener.texts == ["once"]


async def test_a_crashing_handler_gives_up_after_some_tries(stand: Stand) -> None:
    """Input that kills every worker's handler ends the stream with an error, not with an endless loop."""
    await stand.worker()
    listener, stream = await opened(stand)
    await stream.send(say("crash"))
    await listener.until(lambda: listener.failed is not None)
    assert listener.failed.code is ErrorCode.PROVIDER_FAILED
    assert stream.over


async def test_a_failure_for_good_is_not_taken_over(stand: Stand) -> None:
    """A failure that is not retryable ends the stream at once."""
    await stand.worker()
    listener, stream = await opened(stand)
    await stream.send(say("refuse"))
    await listener.until(lambda: listener.failed is not None)
    assert listener.failed.code is ErrorCode.PROVIDER_REJECTED
    assert not listener.takeovers


async def test_after_a_providers_failure_the_next_one_goes_first(stand: Stand) -> None:
    """A stream that failed by its provider is opened again with the next of the agent's list in front."""
    worker = await stand.worker()
    listener, stream = await opened(stand)
    await stream.send(say("provider trouble"))
    await listener.until(lambda: len(listener.takeovers) >= 2)
    orders = [[choice.name for choice in request.providers] for request in worker.service.requests[:3]]
    assert orders == [["echo", "second"], ["second", "echo"], ["echo", "second"]]


async def test_an_open_that_was_overtaken_frees_its_handler(stand: Stand) -> None:
    """When a newer attempt comes while the older one is being opened, the older handler is cancelled."""
    worker = await stand.worker()
    service = worker.service
    service.gate.clear()
    request = fakes.open_request()
    newer = request.model_copy(update={"attempt": 2})
    requests = [
        asyncio.create_task(stand.client.live.request(OPEN(stage="tts"), one.encode(), 5.0)) for one in (request, newer)
    ]
    await until(lambda: len(service.requests) == 2)
    service.gate.set()
    await asyncio.gather(*requests)
    await until(lambda: service.handlers[0].cancelled)
    assert not service.handlers[1].cancelled
    assert worker.active == 1


async def test_cancel_stops_the_handler_and_silences_the_stream(stand: Stand) -> None:
    """After a cancel the worker's handler is told, its room is free, and nothing more is delivered."""
    worker = await stand.worker()
    listener, stream = await opened(stand)
    await stream.cancel()
    await until(lambda: worker.active == 0)
    assert worker.service.handlers[0].cancelled
    assert not listener.closed
    assert listener.failed is None


async def test_an_orphan_ends_by_itself(stand: Stand) -> None:
    """A stream whose owner is gone frees its room."""
    worker = await stand.worker(orphan_timeout_s=0.3)
    await opened(stand)
    await stand.client.live._client.close()
    await until(lambda: worker.active == 0)
    await until(lambda: worker.service.handlers[0].cancelled)


async def test_drain_moves_streams_to_another_worker(stand: Stand) -> None:
    """A draining worker hands its streams over, is left empty, and takes no new ones."""
    first = await stand.worker()
    listener, stream = await opened(stand)
    second = await stand.worker()
    await first.drain(2.0)
    await listener.until(lambda: bool(listener.takeovers))
    assert listener.takeovers[0].reason == "moving"
    assert stream.worker_id == second.worker_id
    await until(lambda: first.active == 0)
    _, other = await opened(stand)
    assert other.worker_id == second.worker_id


async def test_opens_are_shared_by_the_workers(stand: Stand) -> None:
    """Two workers of a stage both get streams."""
    workers = [await stand.worker(), await stand.worker()]
    for _ in range(20):
        await opened(stand)
    assert all(worker.active > 0 for worker in workers)
    assert sum(worker.active for worker in workers) == 20


async def test_streams_survive_a_restart_of_the_server(nats_server: Any) -> None:
    """After the NATS server was away, streams go on, by takeover where frames were lost."""
    async with AsyncExitStack() as stack:
        stand = Stand(nats_server.url, stack)
        await stand.owner()
        worker = await stand.worker()
        listener, stream = await opened(stand)
        await stream.send(say("before"))
        await listener.until(lambda: listener.texts == ["before"])
        nats_server.stop()
        await until(lambda: not stand.client.live.connected and not worker._live.connected)
        nats_server.start()
        await until(lambda: stand.client.live.connected and worker._live.connected)
        await stream.send(say("after"))
        await listener.until(lambda: listener.texts[-1] == "after", 10.0)
        assert listener.failed is None

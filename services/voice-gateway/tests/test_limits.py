"""What no stage, client or fault can do: hold a call open, start one that is lost, or stop the others."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from call_stand import FRAME, Stand
from fake_line import FakeLine, until
from fake_stages import FakeEarHandler
from prometheus_client import REGISTRY

from voxbus.contracts.call import CallEnded, CallStarted, EndReason
from voxbus.contracts.native import Ended
from voxbus.contracts.stage import ErrorCode, Stage
from voxbus.contracts.stt import SttOpen
from voxbus.runtime.bus import LiveBus
from voxbus.runtime.streams import OwnedStream, StageFailure, WorkerStream
from voxbus.voice_gateway.edge.line import CallRefused
from voxbus.voice_gateway.playout import Clock

pytestmark = pytest.mark.integration


async def test_a_stuck_voice_ends_the_call(stand: Stand) -> None:
    """A voice worker that lives and says nothing is a failed stage after the stall timeout."""
    _, line = await stand.call()
    stand.mouth.stuck = True
    await stand.heard.says("hello")
    await until(lambda: line.ended)
    assert line.ended is not None
    assert line.ended.reason is EndReason.STAGE_UNAVAILABLE
    assert line.ended.detail == "tts: timeout"


async def test_a_stuck_model_is_apologised_for(stand: Stand) -> None:
    """So is a language worker that stops in the middle of its reply; what it had written has been heard."""
    _, line = await stand.call(phrases={"unavailable": "Sorry."})
    stand.mind.replies.append(["One moment.", asyncio.Event()])
    await stand.heard.says("hello")
    await until(lambda: line.ended)
    assert line.ended is not None
    assert line.ended.detail == "llm: timeout"
    assert [turn.agent_text for turn in line.turns] == ["One moment.", "Sorry."]


async def test_a_model_may_wait_for_its_tool(stand: Stand) -> None:
    """With an HTTP tool the language worker has the tool's time besides; the voice worker has not."""
    http = {"url": "http://tool.example/", "timeout_s": 30}
    call, line = await stand.call(tools=[{"name": "find", "kind": "http", "http": http}, {"name": "note"}])
    answered = asyncio.Event()
    stand.mind.replies.append(["One moment.", answered, "Found."])
    await stand.heard.says("hello")
    await until(lambda: any("One moment." in mouth.sentences for mouth in stand.mouth.handlers))
    turn = call._dialogue.turn
    await until(lambda: not turn.utterance.awaited and not call._playout.speaking and not call._playout.buffered_ms)
    since = turn._progress_at
    turn.check(since + 31)
    assert turn._failure is None
    answered.set()
    await until(lambda: line.turns)
    assert line.turns[0].agent_text == "One moment. Found."
    assert turn._context.patience_s(Stage.LLM) == 32.0
    assert turn._context.patience_s(Stage.TTS) == 2.0


async def test_a_long_answer_is_no_standstill(stand: Stand) -> None:
    """While the caller hears the agent, no stage has to bring anything."""
    _, line = await stand.call()
    stand.mouth.ms_per_word = 1300
    stand.mind.replies.append(["one two"])
    await stand.heard.says("go")
    await until(lambda: line.turns)
    assert line.turns[0].agent_text == "one two"
    assert line.ended is None


async def test_the_absence_of_the_bus_is_no_standstill(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the bus is away no stage can bring anything; they get their time when it is back."""
    call, _ = await stand.call()
    stand.mouth.stuck = True
    await stand.heard.says("hello")
    await until(lambda: stand.mouth.handlers)
    turn, now = call._dialogue.turn, time.monotonic()
    with monkeypatch.context() as away:
        away.setattr(LiveBus, "connected", property(lambda bus: False))
        turn.check(now + 100)
    turn.check(now + 101)
    assert turn._failure is None
    turn.check(now + 103)
    assert turn._failure is not None


async def test_a_goodbye_that_is_never_heard_ends_the_call_all_the_same(stand: Stand) -> None:
    """The goodbye has a deadline of its own."""
    call, line = await stand.call(phrases={"goodbye_duration": "one two three four five six seven eight nine ten"})
    stand.mouth.ms_per_word = 1000
    call._started -= 1800
    await until(lambda: call._ending)
    assert 15 < call._goodbye_by - time.monotonic() < 20
    call._goodbye_by -= 20
    await until(lambda: line.ended)
    assert line.ended is not None
    assert line.ended.reason is EndReason.MAX_DURATION


async def test_an_ear_that_leaves_by_itself_ends_the_call(stand: Stand) -> None:
    """A worker that closes the stream without being asked is a failed stage: no call goes on deaf."""
    _, line = await stand.call(phrases={"unavailable": "Sorry."})
    await stand.heard.stream.finish()
    await until(lambda: line.ended)
    assert line.ended is not None
    assert line.ended.detail == "stt: internal"
    assert line.turns[-1].agent_text == "Sorry."


async def test_an_ear_that_fails_as_it_is_opened_refuses_the_call(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no greeting and no event of a call whose ear was lost before it began."""
    real = stand.ear.open

    async def failing(request: SttOpen, stream: WorkerStream) -> FakeEarHandler:
        handler = await real(request, stream)
        await stream.fail(StageFailure(ErrorCode.PROVIDER_REJECTED, "no", retryable=False))
        return handler

    monkeypatch.setattr(stand.ear, "open", failing)
    with pytest.raises(CallRefused):
        await stand.call(greeting="Welcome.")
    assert stand.calls.live == 0
    assert stand.events.kept == []
    assert stand.mouth.handlers == []


async def test_an_ear_that_closes_in_the_moment_of_its_opening_refuses_the_call(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is there one of a call whose ear took its leave together with its answer."""
    real = OwnedStream.connect

    async def connect(stream: OwnedStream, deadline_s: float | None = None) -> None:
        await real(stream, deadline_s)
        stream._listener.on_closed()

    monkeypatch.setattr(OwnedStream, "connect", connect)
    with pytest.raises(CallRefused):
        await stand.call(greeting="Welcome.")
    assert stand.calls.live == 0
    assert stand.events.kept == []


async def set_up_slowly(stand: Stand, monkeypatch: pytest.MonkeyPatch, line: FakeLine) -> asyncio.Task[Any]:
    """A call whose ear is being opened."""
    real, asked, go = stand.ear.open, asyncio.Event(), asyncio.Event()

    async def slow(request: SttOpen, stream: WorkerStream) -> FakeEarHandler:
        asked.set()
        await go.wait()
        return await real(request, stream)

    monkeypatch.setattr(stand.ear, "open", slow)
    task = asyncio.create_task(stand.call(line=line, greeting="Hello."))
    await asked.wait()
    asyncio.get_running_loop().call_later(0.05, go.set)
    return task


async def test_a_call_that_is_being_set_up_does_not_outlive_the_gateway(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused when its ear has been found, its stream is freed, and nothing is published."""
    task = await set_up_slowly(stand, monkeypatch, FakeLine())
    await stand.calls.stop()
    with pytest.raises(CallRefused):
        await task
    assert stand.calls.live == 0
    assert stand.events.kept == []
    await until(lambda: stand.workers["stt"].active == 0)


async def test_a_client_that_left_during_the_set_up_gets_no_call(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is greeted on a closed line."""
    line = FakeLine()
    task = await set_up_slowly(stand, monkeypatch, line)
    line.ended = Ended(reason=EndReason.CALLER_DISCONNECTED, detail="", duration_s=0.0)
    with pytest.raises(CallRefused):
        await task
    assert stand.events.kept == []
    await until(lambda: stand.workers["stt"].active == 0)


async def test_one_broken_stream_does_not_make_the_others_deaf(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pump of callers' audio outlives an error of one call."""
    broken, _ = await stand.call()
    ear = broken._ear
    call, _ = await stand.call()

    async def boom(pcm: bytes, timestamp_us: int) -> None:
        raise RuntimeError

    monkeypatch.setattr(ear.stream, "send_audio", boom)
    broken.on_audio(FRAME)
    call.on_audio(FRAME)
    await until(lambda: stand.heard.frames)


async def test_a_call_that_breaks_in_its_clock_is_ended(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not left running without time, and the clock goes on for the others."""
    call, line = await stand.call()
    _, other = await stand.call()

    def boom(now: float) -> None:
        raise RuntimeError

    monkeypatch.setattr(call._playout, "tick", boom)
    await until(lambda: line.ended)
    assert line.ended is not None
    assert line.ended.reason is EndReason.INTERNAL_ERROR
    await stand.heard.says("hello")
    await until(lambda: other.turns)


@pytest.mark.unit
async def test_a_member_of_the_clock_that_raises_is_called_once() -> None:
    """It is told so, and removed; a second fault of its own does not stop the clock."""
    clock, ticks, failures = Clock(20), [0, 0], [0]

    def bad(now: float) -> None:
        ticks[0] += 1
        raise RuntimeError

    def good(now: float) -> None:
        ticks[1] += 1

    def failed() -> None:
        failures[0] += 1

    clock.add(bad, failed)
    clock.add(good, failed)
    clock.start()
    await until(lambda: ticks[1] >= 3)
    await clock.stop()
    assert ticks[0] == failures[0] == 1


async def test_the_end_is_told_whatever_fails_on_the_way(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that cannot be cancelled and a line that breaks cost neither the event nor the client's `ended`."""
    call, line = await stand.call()
    ended: list[Ended] = []

    async def boom() -> None:
        raise RuntimeError

    async def breaks(message: Ended) -> None:
        ended.append(message)
        raise ConnectionError

    monkeypatch.setattr(call._ear.stream, "cancel", boom)
    monkeypatch.setattr(line, "end", breaks)
    call.on_hangup()
    await call.finished()
    assert [message.reason for message in ended] == [EndReason.CALLER_HANGUP]
    assert [type(event) for event in stand.events.kept] == [CallStarted, CallEnded]
    monkeypatch.undo()
    await call._ear.stream.cancel()


async def test_a_turn_that_does_not_end_is_cancelled(stand: Stand) -> None:
    """The end of a call waits for its turns, but not for ever."""
    call, line = await stand.call()
    task = call._dialogue._spawn(asyncio.Event().wait())
    call.on_hangup()
    await until(lambda: line.ended)
    assert task.cancelled()


async def test_only_answers_to_speech_count_in_the_latencies(stand: Stand) -> None:
    """A greeting has no end of speech to count from, and is not in the histogram of steps."""

    def counted() -> float:
        return REGISTRY.get_sample_value("voxbus_turn_step_seconds_count", {"step": "first_played"}) or 0.0

    before = counted()
    _, line = await stand.call(greeting="Hello.")
    await until(lambda: line.turns)
    assert counted() == before
    await stand.heard.says("hello")
    await until(lambda: len(line.turns) == 2)
    assert counted() == before + 1

"""A session with stand-ins for the models: what leaves together, and what happens when an engine is late."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from voxbus.contracts.audio import FRAME_BYTES, FRAME_MS
from voxbus.contracts.frame import Kind, decode_frame
from voxbus.contracts.stage import ErrorCode, ProviderChoice, StageError
from voxbus.contracts.stt import STT_EVENT, SpeechStarted, SttOpen, Transcript, TurnEnded, TurnEndReason, TurnTaking
from voxbus.runtime.streams import WorkerStream
from voxbus.stt_worker.engines import Engines
from voxbus.stt_worker.providers.base import RecogniserSession, Words
from voxbus.stt_worker.session import SttSession
from voxbus.stt_worker.vad import WINDOW_MS

pytestmark = pytest.mark.unit

VOICE, SILENCE = 0.9, 0.0


class FakeVad:
    """Hears what the test says."""

    def open(self, on_probabilities: Callable[[list[float]], None], on_deaf: Callable[[], None]) -> object:
        self.deliver = on_probabilities
        self.give_up = on_deaf
        return object()

    def feed(self, stream: object, pcm: bytes) -> None:
        """The test delivers."""

    def close(self, stream: object) -> None:
        """Nothing to free."""


class FakeJob:
    """An inference that is done when the test says so."""

    def __init__(self) -> None:
        self.stopped = False
        self._probability = 0.0
        self._callback: Callable[[], None] | None = None

    def on_done(self, callback: Callable[[], None]) -> None:
        self._callback = callback

    def cancel(self) -> None:
        self.stopped = True

    def value(self) -> float:
        return self._probability

    def resolve(self, probability: float) -> None:
        self._probability = probability
        assert self._callback is not None
        self._callback()


class FakePool:
    """Keeps the jobs."""

    def __init__(self) -> None:
        self.jobs: list[FakeJob] = []

    def submit(self, *_: object) -> FakeJob:
        self.jobs.append(FakeJob())
        return self.jobs[-1]


class FakeRecogniser(RecogniserSession):
    """Recognises nothing by itself."""

    model: ClassVar[str] = "fake"

    def __init__(self) -> None:
        self.finished = asyncio.Event()
        self.finished.set()

    def hear(self, pcm: bytes, at_ms: int) -> None:
        """Not listening."""

    async def finish_turn(self, speech_end_ms: int) -> None:
        await self.finished.wait()

    def close(self) -> None:
        """Nothing to free."""


class FakedCall:
    """A session, the stand-ins it works with and the frames it sent."""

    def __init__(self, start_ms: int = 0, **fields: Any) -> None:
        self.frames: list[tuple[Any, int]] = []
        self.error: StageError | None = None
        self.vad, self.pool, self.recogniser = FakeVad(), FakePool(), FakeRecogniser()
        request = SttOpen(
            call_id="call",
            stream_id="call_stt",
            attempt=1,
            owner_id="gateway",
            agent_id="agent",
            providers=(ProviderChoice(name="local"),),
            **fields,
        )
        self.stream = WorkerStream("stt", request, self._publish, lambda *_: None)
        engines: Any = Engines(self.vad, SimpleNamespace(), self.pool)  # type: ignore[arg-type]
        self.session = SttSession(request, self.stream, engines, self.recogniser)
        self._heard_ms = self._sent_ms = start_ms
        self._seq = 0
        self._changed = asyncio.Event()

    async def _publish(self, _: str, data: bytes) -> None:
        frame = decode_frame(data)
        if frame.kind is Kind.MESSAGE:
            self.frames.append((STT_EVENT.validate_json(frame.body), frame.ack))
        elif frame.kind is Kind.ERROR:
            self.error = StageError.model_validate_json(frame.body)
        self._changed.set()

    async def hear(self, probability: float, duration_ms: int) -> None:
        """So much audio with that probability of a voice, at once."""
        windows = duration_ms // WINDOW_MS
        self._heard_ms += windows * WINDOW_MS
        while self._sent_ms < self._heard_ms:
            await self.session.on_audio(self._seq, self._sent_ms * 1000, bytes(FRAME_BYTES))
            self._sent_ms += FRAME_MS
            self._seq += 1
        self.vad.deliver([probability] * windows)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until what was sent makes `condition` true."""
        async with asyncio.timeout(5):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def of(self, kind: type) -> list[Any]:
        """The messages of one kind, each with the ack of its frame."""
        return [(message, ack) for message, ack in self.frames if isinstance(message, kind)]


async def test_final_words_and_their_ack_are_in_one_frame() -> None:
    """The frame with final words acknowledges all their audio: no loss of a later frame makes them come twice."""
    call = FakedCall()
    await call.hear(SILENCE, 320)
    await call.hear(VOICE, 9600)
    call.recogniser.listener.on_final(Words("eight seconds of words", 20, 8000))
    await call.until(lambda: bool(call.of(Transcript)))
    assert [ack * FRAME_MS for _, ack in call.of(Transcript)] == [8000]


async def test_the_end_of_a_turn_and_its_ack_are_in_one_frame() -> None:
    """The frame with a turn's end acknowledges the turn but for the margin before a next voice."""
    call = FakedCall()
    await call.hear(VOICE, 960)
    await call.hear(SILENCE, 1600)
    call.pool.jobs[0].resolve(0.9)
    await call.until(lambda: bool(call.of(TurnEnded)))
    ((_, ack),) = call.of(TurnEnded)
    heard_ms = 960 + 192 + 160  # up to the question, and what is heard past an open one
    assert heard_ms - 500 - FRAME_MS < ack * FRAME_MS <= heard_ms - 500


async def test_no_words_are_acknowledged_without_a_message() -> None:
    """A piece in which nothing was said leaves with the next sign of life, as an acknowledgement only."""
    call = FakedCall()
    await call.hear(VOICE, 3200)
    call.recogniser.listener.on_final(Words("", 0, 3000))
    await call.hear(SILENCE, 192)
    await call.until(lambda: len(call.frames) == 2)
    assert call.of(Transcript) == []
    assert call.frames[-1][1] * FRAME_MS == 3000


async def test_a_replay_waits_for_the_turn_model() -> None:
    """Audio heard much faster than real time past an open question ends the turn by its answer, not by the ceiling."""
    call = FakedCall(turn_taking=TurnTaking(silence_ms=600))
    await call.hear(VOICE, 960)
    await call.hear(SILENCE, 9600)
    call.pool.jobs[0].resolve(0.9)
    await call.until(lambda: bool(call.of(TurnEnded)))
    ((ended, _),) = call.of(TurnEnded)
    assert (ended.reason, ended.speech_end_ms) == (TurnEndReason.COMPLETE, 960)


async def test_a_turn_model_that_never_answers_does_not_deafen_the_call() -> None:
    """Without an answer the ceiling ends the turn, the inference is cancelled and the next voice is heard."""
    call = FakedCall(turn_taking=TurnTaking(silence_ms=500))
    await call.hear(VOICE, 960)
    await call.hear(SILENCE, 9600)
    await call.hear(VOICE, 1600)
    await call.until(lambda: len(call.of(SpeechStarted)) == 2)
    ((ended, _),) = call.of(TurnEnded)
    assert (ended.reason, ended.speech_end_ms, ended.probability) == (TurnEndReason.SILENCE, 960, None)
    assert [job.stopped for job in call.pool.jobs] == [True]


async def test_final_words_that_never_come_move_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recogniser that does not finish a turn in time fails the stream as a retryable timeout."""
    monkeypatch.setattr("voxbus.stt_worker.session.FINISH_WITHIN_S", 0.02)
    call = FakedCall()
    call.recogniser.finished.clear()
    await call.hear(VOICE, 960)
    await call.hear(SILENCE, 192)
    call.pool.jobs[0].resolve(0.9)
    await call.until(lambda: call.error is not None)
    assert call.error is not None
    assert (call.error.code, call.error.retryable) == (ErrorCode.TIMEOUT, True)
    assert call.of(TurnEnded) == []


async def test_a_stream_that_cannot_be_heard_moves() -> None:
    """When voice activity detection gives up, the stream fails once, as retryable, so that another worker hears the call."""
    call = FakedCall()
    await call.hear(SILENCE, 320)
    call.vad.give_up()
    call.vad.give_up()
    await call.until(lambda: call.error is not None)
    assert call.error is not None
    assert (call.error.code, call.error.retryable) == (ErrorCode.INTERNAL, True)
    assert call.stream.closed


async def test_the_first_of_several_last_pieces_acknowledges_only_itself() -> None:
    """While a turn that has ended still waits for words, the audio of those words is not acknowledged."""
    call = FakedCall()
    call.recogniser.finished.clear()
    await call.hear(VOICE, 9600)
    await call.hear(SILENCE, 1600)
    call.pool.jobs[0].resolve(0.9)
    call.recogniser.listener.on_final(Words("the first piece", 0, 8000))
    await call.until(lambda: bool(call.of(Transcript)))
    assert [ack * FRAME_MS for _, ack in call.of(Transcript)] == [8000]

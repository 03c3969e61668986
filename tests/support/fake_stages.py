"""Stages under a test's control, on the real worker end of the protocol: the test speaks for the engines.

`FakeEar` says what was heard when the test tells it to, `FakeMind` writes what the test prepared, `FakeMouth` makes a tone of a
known length for each sentence.
"""

from __future__ import annotations

import asyncio
from collections import deque

from voxbus.contracts.audio import FRAME_BYTES, FRAME_MS, FRAME_US
from voxbus.contracts.llm import (
    LlmFinished,
    LlmFirstToken,
    LlmOpen,
    LlmSentence,
    LlmToolCalled,
    ToolCall,
    ToolKind,
    Usage,
)
from voxbus.contracts.stage import ErrorCode, Stage
from voxbus.contracts.stt import SpeechPaused, SpeechStarted, SttOpen, Transcript, TurnEnded, TurnEndReason
from voxbus.contracts.tts import TtsOpen, TtsSentence, TtsSentenceDone, TtsSentenceStarted
from voxbus.runtime.streams import StageFailure, StageService, StreamHandler, WorkerStream

TONE_FRAME = b"\x10\x27" * (FRAME_BYTES // 2)


class FakeEarHandler(StreamHandler):
    """Keeps the frames; the test calls `starts`, `hears` and `ends`."""

    gaps_are_fatal = False

    def __init__(self, request: SttOpen, stream: WorkerStream) -> None:
        self.request = request
        self.stream = stream
        self.frames: list[tuple[int, bytes]] = []
        self.cancelled = False

    @property
    def heard_ms(self) -> int:
        return len(self.frames) * FRAME_MS

    async def on_audio(self, seq: int, timestamp_us: int, pcm: bytes) -> None:
        self.frames.append((timestamp_us, pcm))

    async def on_close(self) -> None:
        await self.stream.finish()

    async def on_cancel(self) -> None:
        self.cancelled = True

    async def starts(self) -> None:
        """The caller begins to speak."""
        await self.stream.emit(SpeechStarted(at_ms=self.heard_ms))

    async def pauses(self) -> None:
        """The caller falls silent; their turn is not over yet."""
        await self.stream.emit(SpeechPaused(at_ms=self.heard_ms))

    async def hears(self, text: str, *, final: bool = False) -> None:
        """Interim words, or final ones."""
        await self.stream.emit(Transcript(text=text, final=final, start_ms=0, end_ms=self.heard_ms))

    async def ends(self, text: str) -> None:
        """The caller's turn is over."""
        now = self.heard_ms
        await self.stream.emit(
            TurnEnded(
                text=text, start_ms=max(0, now - 500), speech_end_ms=now, reason=TurnEndReason.COMPLETE, provider="fake"
            )
        )

    async def says(self, text: str) -> None:
        """A whole turn of the caller."""
        await self.starts()
        await self.ends(text)


class FakeEar(StageService[SttOpen]):
    """Speech-to-text by dictation."""

    stage = Stage.STT
    open_model = SttOpen

    def __init__(self) -> None:
        self.handlers: list[FakeEarHandler] = []
        self.refusal: StageFailure | None = None

    def providers(self) -> tuple[str, ...]:
        return ("fake",)

    async def open(self, request: SttOpen, stream: WorkerStream) -> FakeEarHandler:
        if self.refusal:
            raise self.refusal
        handler = FakeEarHandler(request, stream)
        self.handlers.append(handler)
        return handler


class FakeMindHandler(StreamHandler):
    """Writes one prepared reply."""

    def __init__(self, service: FakeMind, request: LlmOpen, stream: WorkerStream) -> None:
        self.cancelled = False
        self.request = request
        self._service = service
        self._stream = stream
        self._task = asyncio.create_task(self._run())

    async def on_cancel(self) -> None:
        self.cancelled = True
        self._task.cancel()

    async def _run(self) -> None:
        await self._service.gate.wait()
        reply = self._service.replies.popleft() if self._service.replies else ["Yes."]
        stream = self._stream
        await stream.emit(LlmFirstToken(elapsed_ms=stream.elapsed_ms()))
        index = len(self.request.spoken)
        for part in reply[index:]:
            if isinstance(part, StageFailure):
                await stream.fail(part)
                return
            if isinstance(part, asyncio.Event):
                await part.wait()
                continue
            if isinstance(part, ToolKind):
                call = ToolCall(id=f"tool_{index}", name=part.value, arguments={"day": "Tuesday"})
                await stream.emit(LlmToolCalled(call=call, kind=part, result="ok"))
                continue
            await stream.emit(LlmSentence(index=index, text=part))
            index += 1
        await stream.emit(
            LlmFinished(provider="fake", elapsed_ms=stream.elapsed_ms(), usage=Usage(output_tokens=index))
        )
        await stream.finish()


class FakeMind(StageService[LlmOpen]):
    """A language model that does what the test put into `replies`: says sentences, calls tools, fails, waits for events."""

    stage = Stage.LLM
    open_model = LlmOpen

    def __init__(self) -> None:
        self.replies: deque[list[str | ToolKind | StageFailure | asyncio.Event]] = deque()
        self.requests: list[LlmOpen] = []
        self.handlers: list[FakeMindHandler] = []
        self.gate = asyncio.Event()
        self.gate.set()

    def providers(self) -> tuple[str, ...]:
        return ("fake",)

    async def open(self, request: LlmOpen, stream: WorkerStream) -> FakeMindHandler:
        self.requests.append(request)
        handler = FakeMindHandler(self, request, stream)
        self.handlers.append(handler)
        return handler


class FakeMouthHandler(StreamHandler):
    """Speaks each sentence as a tone."""

    def __init__(self, service: FakeMouth, stream: WorkerStream) -> None:
        self.sentences: list[str] = []
        self.cancelled = False
        self._service = service
        self._stream = stream
        self._position_us = 0

    async def on_message(self, seq: int, body: bytes) -> None:
        sentence = TtsSentence.model_validate_json(body)
        self.sentences.append(sentence.text)
        if self._service.stuck:
            return
        if sentence.text == "unspeakable":
            raise StageFailure(ErrorCode.PROVIDER_REJECTED, "as asked", retryable=False)
        frames = self._service.frames_of(sentence.text)
        await self._stream.emit(TtsSentenceStarted(index=sentence.index, elapsed_ms=self._stream.elapsed_ms()))
        for _ in range(frames):
            await self._stream.send_audio(TONE_FRAME, self._position_us)
            self._position_us += FRAME_US
        self._stream.ack(seq + 1)
        await self._stream.emit(TtsSentenceDone(index=sentence.index, duration_ms=frames * FRAME_MS))

    async def on_close(self) -> None:
        if not self._service.stuck:
            await self._stream.finish()

    async def on_cancel(self) -> None:
        self.cancelled = True


class FakeMouth(StageService[TtsOpen]):
    """Text-to-speech at `ms_per_word`; a `stuck` one lives and says nothing."""

    stage = Stage.TTS
    open_model = TtsOpen

    def __init__(self, ms_per_word: int = 40) -> None:
        self.ms_per_word = ms_per_word
        self.stuck = False
        self.handlers: list[FakeMouthHandler] = []

    def frames_of(self, text: str) -> int:
        """How many 20 ms frames a text takes."""
        return max(1, len(text.split()) * self.ms_per_word // FRAME_MS)

    def providers(self) -> tuple[str, ...]:
        return ("fake",)

    async def open(self, request: TtsOpen, stream: WorkerStream) -> FakeMouthHandler:
        handler = FakeMouthHandler(self, stream)
        self.handlers.append(handler)
        return handler

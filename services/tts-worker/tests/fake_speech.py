"""Fakes of the text-to-speech stage: a provider that does as it is told, an engine that notes its work, an owner that listens."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from typing import Any

from pydantic import JsonValue

from voxbus.contracts.audio import FRAME_BYTES
from voxbus.contracts.base import new_id
from voxbus.contracts.frame import Frame, Kind, decode_frame
from voxbus.contracts.stage import ErrorCode, ProviderChoice, StageError
from voxbus.contracts.tts import TTS_EVENT, TtsOpen, TtsSentence, TtsSentenceDone, TtsSentenceStarted
from voxbus.runtime.streams import StageFailure, WorkerStream
from voxbus.tts_worker.pace import Pace
from voxbus.tts_worker.patience import Patience
from voxbus.tts_worker.providers import TtsProvider, Utterance


class FakeUtterance(Utterance):
    """Speaks a frame per letter in chunks of 30 ms; obeys its provider's switches."""

    def __init__(self, provider: FakeProvider) -> None:
        self.provider = provider
        self.closed = False
        self.abandoned = 0

    async def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        provider = self.provider
        provider.said.append(text)
        left = len(text) * FRAME_BYTES
        chunks = 0
        try:
            while left:
                if provider.fail_after is not None and chunks >= provider.fail_after:
                    raise provider.error
                await asyncio.sleep(0)
                await provider.gate.wait()
                size = min(left, FRAME_BYTES * 3 // 2)
                yield b"\1\1" * (size // 2)
                left -= size
                chunks += 1
        except (GeneratorExit, asyncio.CancelledError):
            self.abandoned += 1
            raise

    async def close(self) -> None:
        self.closed = True


class FakeProvider(TtsProvider):
    """`gate` clear: gives no more audio; `fail_after` n: raises `error` after n chunks of a sentence."""

    def __init__(self, name: str = "fake") -> None:
        self.name = name  # type: ignore[misc]
        self.gate = asyncio.Event()
        self.gate.set()
        self.fail_after: int | None = None
        self.error: Exception = RuntimeError("the fake failed")
        self.refusal: Exception | None = None
        self.said: list[str] = []
        self.utterances: list[FakeUtterance] = []

    async def open(self, language: str, settings: Mapping[str, JsonValue], pace: Pace, patience: Patience) -> Utterance:
        if self.refusal is not None:
            raise self.refusal
        self.utterances.append(FakeUtterance(self))
        return self.utterances[-1]


class FakeEngine:
    """Sentences of some blocks of a second; notes whose block was begun and made. `hold` clear: the next block waits."""

    def __init__(self, blocks: int = 3) -> None:
        self._blocks = blocks
        self.begun: list[str] = []
        self.made: list[str] = []
        self.hold = threading.Event()
        self.hold.set()

    def blocks(self, text: str, speed: float, pause_ms: int) -> Iterator[bytes]:
        for _ in range(self._blocks):
            self.begun.append(text)
            assert self.hold.wait(10)
            self.made.append(text)
            yield b"\1\1" * 16_000


class Listener:
    """The owner of one stream: keeps what the worker sends."""

    def __init__(self, *choices: ProviderChoice, language: str = "en") -> None:
        self.request = TtsOpen(
            call_id=new_id("call"), stream_id=new_id("s"), attempt=1, owner_id="gw", agent_id="a", providers=choices,
            language=language,
        )  # fmt: skip
        self.frames: list[Frame] = []
        self.outcome: str | None = None
        self._news = asyncio.Event()
        self.stream = WorkerStream("tts", self.request, self._publish, self._ended)
        self.handler: Any = None
        self._seq = 0

    async def _publish(self, subject: str, data: bytes) -> None:
        self.frames.append(decode_frame(data))
        self._news.set()

    def _ended(self, stream: WorkerStream, outcome: str) -> None:
        self.outcome = outcome
        self._news.set()

    async def until(self, condition: Callable[[], object], timeout_s: float = 20.0) -> None:
        """Wait until `condition` holds; it is looked at after every frame."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def ended(self) -> None:
        """Wait until the stream is over."""
        await self.until(lambda: self.outcome is not None)

    async def say(self, *texts: str, first_index: int = 0) -> None:
        """Send sentences."""
        for index, text in enumerate(texts, first_index):
            await self.handler.on_message(self._seq, TtsSentence(index=index, text=text).encode())
            self._seq += 1

    async def speak(self, *texts: str) -> None:
        """Send sentences and the close, and wait for the end."""
        await self.say(*texts)
        await self.handler.on_close()
        await self.ended()

    @property
    def audio(self) -> list[Frame]:
        return [frame for frame in self.frames if frame.kind is Kind.AUDIO]

    @property
    def pcm(self) -> bytes:
        return b"".join(frame.body for frame in self.audio)

    @property
    def events(self) -> list[TtsSentenceStarted | TtsSentenceDone]:
        return [TTS_EVENT.validate_json(frame.body) for frame in self.frames if frame.kind is Kind.MESSAGE]

    @property
    def done(self) -> list[TtsSentenceDone]:
        return [event for event in self.events if isinstance(event, TtsSentenceDone)]

    @property
    def error(self) -> StageError | None:
        errors = [StageError.model_validate_json(frame.body) for frame in self.frames if frame.kind is Kind.ERROR]
        return errors[0] if errors else None


def choice(name: str, **settings: JsonValue) -> ProviderChoice:
    """A provider and its settings."""
    return ProviderChoice(name=name, settings=settings)


def refused() -> StageFailure:
    """What a provider says to settings it does not like."""
    return StageFailure(ErrorCode.BAD_REQUEST, "no such voice", retryable=False)

"""A stage that echoes: enough of a worker and of an owner to see the stream protocol at work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from voxbus.contracts.base import new_id
from voxbus.contracts.stage import ErrorCode, ProviderChoice, Stage, StageError
from voxbus.contracts.tts import TtsOpen, TtsSentence
from voxbus.runtime.streams import StageFailure, StageService, StreamHandler, StreamListener, Takeover, WorkerStream


class EchoHandler(StreamHandler):
    """Sends each message and each audio frame back; acknowledges messages when `acknowledge` is on."""

    def __init__(self, service: EchoService, stream: WorkerStream) -> None:
        self.service = service
        self.stream = stream
        self.messages: list[str] = []
        self.cancelled = False
        self.closed = False

    async def on_audio(self, seq: int, timestamp_us: int, pcm: bytes) -> None:
        await self.stream.send_audio(pcm, timestamp_us)

    async def on_message(self, seq: int, body: bytes) -> None:
        sentence = TtsSentence.model_validate_json(body)
        if sentence.text == "crash":
            raise RuntimeError("as asked")
        if sentence.text == "provider trouble":
            raise StageFailure(ErrorCode.PROVIDER_FAILED, "as asked", retryable=True)
        if sentence.text == "refuse":
            raise StageFailure(ErrorCode.PROVIDER_REJECTED, "as asked", retryable=False)
        self.messages.append(sentence.text)
        if self.service.acknowledge:
            self.stream.ack(seq + 1)
        await self.stream.emit(sentence)

    async def on_close(self) -> None:
        self.closed = True
        await self.stream.finish()

    async def on_cancel(self) -> None:
        self.cancelled = True


class EchoService(StageService[TtsOpen]):
    """Remembers the handlers it made."""

    stage = Stage.TTS
    open_model = TtsOpen

    def __init__(self, *, acknowledge: bool = True) -> None:
        self.acknowledge = acknowledge
        self.handlers: list[EchoHandler] = []
        self.refusal: StageFailure | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.requests: list[TtsOpen] = []
        self.broken: str | None = None

    def problem(self) -> str | None:
        return self.broken

    def providers(self) -> tuple[str, ...]:
        return ("echo",)

    async def open(self, request: TtsOpen, stream: WorkerStream) -> EchoHandler:
        self.requests.append(request)
        await self.gate.wait()
        if self.refusal:
            raise self.refusal
        handler = EchoHandler(self, stream)
        self.handlers.append(handler)
        return handler


class RecordingListener(StreamListener):
    """Keeps all that comes, and wakes whoever waits for something."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.audio: list[tuple[int, bytes]] = []
        self.takeovers: list[Takeover] = []
        self.closed = False
        self.failed: StageError | None = None
        self.reopened = 0
        self._changed = asyncio.Event()

    def on_audio(self, timestamp_us: int, pcm: bytes) -> None:
        self.audio.append((timestamp_us, pcm))
        self._changed.set()

    def on_message(self, body: bytes) -> None:
        self.texts.append(TtsSentence.model_validate_json(body).text)
        self._changed.set()

    def reopen(self) -> TtsOpen:
        self.reopened += 1
        return open_request()

    def on_takeover(self, takeover: Takeover) -> None:
        self.takeovers.append(takeover)
        self._changed.set()

    def on_closed(self) -> None:
        self.closed = True
        self._changed.set()

    def on_failed(self, error: StageError) -> None:
        self.failed = error
        self._changed.set()

    async def until(self, condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
        """Wait until the condition holds."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


def open_request() -> TtsOpen:
    """A valid request to open a stream of the echo stage."""
    return TtsOpen(
        call_id="call_1",
        stream_id=new_id("s"),
        attempt=1,
        owner_id="owner",
        agent_id="agent",
        providers=(ProviderChoice(name="echo"), ProviderChoice(name="second")),
    )

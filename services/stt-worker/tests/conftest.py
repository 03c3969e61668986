"""What the tests of this package share: human clips, the models, and a stream whose output is recorded."""

from __future__ import annotations

import asyncio
import sys
import wave
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from voxbus.contracts.audio import FRAME_BYTES, FRAME_US, SAMPLE_RATE
from voxbus.contracts.base import Message
from voxbus.contracts.frame import Kind, decode_frame
from voxbus.contracts.stage import ProviderChoice, StageError
from voxbus.contracts.stt import STT_EVENT, SttOpen, Transcript, TurnEnded
from voxbus.runtime.streams import WorkerStream
from voxbus.stt_worker import models
from voxbus.stt_worker.moonshine import Moonshine
from voxbus.stt_worker.prepare import ProgressLine, prepare
from voxbus.stt_worker.service import SttService
from voxbus.stt_worker.settings import Settings

DATA = Path(__file__).parent / "data"


def read_clip(name: str) -> NDArray[np.int16]:
    """A clip of `data/`, shape (samples,)."""
    with wave.open(str(DATA / f"{name}.wav")) as file:
        assert file.getframerate() == SAMPLE_RATE
        return np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")


def room(duration_ms: int) -> NDArray[np.int16]:
    """The faint noise of a quiet room."""
    samples = np.random.default_rng(duration_ms).normal(0, 8, duration_ms * SAMPLE_RATE // 1000)
    return samples.astype(np.int16)


class Call:
    """A call at the owner's end: sends audio to a handler, records what comes back."""

    def __init__(self, service: SttService, request: SttOpen) -> None:
        self.messages: list[Any] = []
        self.acks: list[int] = []
        self.ack_with_final: list[int] = []
        self.error: StageError | None = None
        self.ended = asyncio.Event()
        self.stream = WorkerStream("stt", request, self._publish, lambda _, __: self.ended.set())
        self._service = service
        self._request = request
        self._seq = 0
        self._changed = asyncio.Condition()

    async def open(self) -> Call:
        """Open the stream."""
        self.stream.handler = await self._service.open(self._request, self.stream)
        return self

    async def _publish(self, _: str, data: bytes) -> None:
        frame = decode_frame(data)
        self.acks.append(frame.ack)
        if frame.kind is Kind.MESSAGE:
            message = STT_EVENT.validate_json(frame.body)
            self.messages.append(message)
            if isinstance(message, Transcript) and message.final:
                self.ack_with_final.append(frame.ack)
        elif frame.kind is Kind.ERROR:
            self.error = StageError.model_validate_json(frame.body)
        async with self._changed:
            self._changed.notify_all()

    async def send(self, samples: NDArray[np.int16], start_ms: int = 0, frames: int = 1) -> None:
        """Send audio as fast as it is taken, `frames` frames a message; a last part of a frame is left out."""
        assert self.stream.handler is not None
        pcm = samples.tobytes()
        size = FRAME_BYTES * frames
        for number in range(len(pcm) // size):
            at_us = start_ms * 1000 + number * frames * FRAME_US
            await self.stream.handler.on_audio(self._seq, at_us, pcm[number * size : (number + 1) * size])
            self._seq += 1

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until what was received makes `condition` true."""
        async with asyncio.timeout(30), self._changed:
            await self._changed.wait_for(condition)

    async def close(self) -> None:
        """Close the input and wait for the end of the stream."""
        assert self.stream.handler is not None
        await self.stream.handler.on_close()
        async with asyncio.timeout(30):
            await self.ended.wait()

    def of(self, kind: type[Message]) -> list[Any]:
        """The messages of one kind."""
        return [message for message in self.messages if isinstance(message, kind)]

    @property
    def turns(self) -> list[TurnEnded]:
        """The turns that ended."""
        return self.of(TurnEnded)

    @property
    def finals(self) -> list[Transcript]:
        """The final transcripts."""
        return [transcript for transcript in self.of(Transcript) if transcript.final]


def open_request(call_id: str = "call_1", **fields: Any) -> SttOpen:
    """An open of the provider `local`."""
    fields.setdefault("providers", (ProviderChoice(name="local"),))
    fields.setdefault("attempt", 1)
    return SttOpen(call_id=call_id, stream_id=f"{call_id}_stt", owner_id="gateway", agent_id="agent", **fields)


@pytest.fixture(scope="session")
def weights() -> Path:
    """The converted weights in the real cache, prepared if need be."""
    return prepare(Settings().model_cache, ProgressLine(sys.stdout)).directory


@pytest.fixture(scope="session")
def moonshine(weights: Path) -> Moonshine:
    """The recogniser."""
    return Moonshine.load(weights, models.moonshine_source())


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def service(weights: Path) -> AsyncIterator[SttService]:
    """The worker's service, started once: its tests share the session's event loop."""
    running = SttService(Settings(model_cache=weights.parent))
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
def clip() -> Callable[[str], NDArray[np.int16]]:
    """Reads a human clip by name."""
    return read_clip


@pytest.fixture
def quiet() -> Callable[[int], NDArray[np.int16]]:
    """Makes that many milliseconds of a quiet room."""
    return room


@pytest.fixture
def place_call(service: SttService) -> Callable[..., Any]:
    """Opens a stream of the service; the arguments are fields of `SttOpen`."""

    async def place(**fields: Any) -> Call:
        return await Call(service, open_request(**fields)).open()

    return place

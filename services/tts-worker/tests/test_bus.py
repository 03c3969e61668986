"""The worker over a real bus."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fake_speech import FakeProvider, choice

from voxbus.contracts.audio import FRAME_BYTES
from voxbus.contracts.base import new_id
from voxbus.contracts.stage import Stage, StageError, StreamOpen
from voxbus.contracts.tts import TTS_EVENT, TtsOpen, TtsSentence, TtsSentenceDone
from voxbus.runtime.bus import LiveBus
from voxbus.runtime.streams import StageClient, StageFailure, StageWorker, StreamListener
from voxbus.tts_worker.service import TtsService
from voxbus.tts_worker.settings import Settings

pytestmark = pytest.mark.integration


class Ear(StreamListener):
    """Keeps what it hears."""

    def __init__(self, request: TtsOpen) -> None:
        self.request = request
        self.pcm = b""
        self.events: list[Any] = []
        self.error: StageError | None = None
        self.over = asyncio.Event()

    def on_audio(self, timestamp_us: int, pcm: bytes) -> None:
        assert timestamp_us == len(self.pcm) // FRAME_BYTES * 20_000
        self.pcm += pcm

    def on_message(self, body: bytes) -> None:
        self.events.append(TTS_EVENT.validate_json(body))

    def reopen(self) -> StreamOpen:
        return self.request

    def on_closed(self) -> None:
        self.over.set()

    def on_failed(self, error: StageError) -> None:
        self.error = error
        self.over.set()


async def test_an_utterance_over_the_bus(nats_server: Any) -> None:
    """Sentences go in through NATS, and their audio, marks and close come back in order; a wrong provider is refused."""
    live, owner_live = [await LiveBus.connect(nats_server.url, name) for name in ("worker", "owner")]
    service = TtsService(Settings(), {"fake": FakeProvider()})
    worker = StageWorker(service, live, worker_id=new_id("w"), capacity=2)
    await worker.start()
    await live.flush()
    client = StageClient(owner_live, new_id("gw"))
    await client.start()
    request = TtsOpen(
        call_id="c",
        stream_id=new_id("s"),
        attempt=1,
        owner_id=client.owner_id,
        agent_id="a",
        providers=(choice("fake"),),
    )
    ear = Ear(request)
    stream = await client.open(Stage.TTS, request, ear)
    await stream.send(TtsSentence(index=0, text="Hello **there**."))
    await stream.send(TtsSentence(index=1, text="Bye."))
    await stream.close()
    await asyncio.wait_for(ear.over.wait(), 10)
    assert ear.error is None
    assert len(ear.pcm) == (len("Hello there.") + len("Bye.")) * FRAME_BYTES
    assert [event.index for event in ear.events if isinstance(event, TtsSentenceDone)] == [0, 1]
    with pytest.raises(StageFailure, match="only: fake"):
        await client.open(Stage.TTS, request.model_copy(update={"providers": (choice("other"),)}), ear)
    await client.stop()
    await worker.stop()
    await live.close()
    await owner_live.close()

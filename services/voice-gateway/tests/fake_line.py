"""A caller's line that keeps what it is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from voxbus.contracts.native import Ended, TranscriptMessage, Turn
from voxbus.voice_gateway.edge.line import Line, LineMessage


class FakeLine(Line):
    """Records audio with its time, messages, clears and the end."""

    protocol = "fake"
    sample_rate = 16_000

    def __init__(self) -> None:
        self.audio: list[tuple[float, bytes]] = []
        self.messages: list[LineMessage] = []
        self.clears: list[float] = []
        self.ended: Ended | None = None

    @property
    def closed(self) -> bool:
        return self.ended is not None

    def send_audio(self, pcm: bytes) -> None:
        self.audio.append((time.monotonic(), pcm))

    def clear(self) -> None:
        self.clears.append(time.monotonic())

    def mark(self, name: str) -> None:
        self.messages = self.messages

    def send_message(self, message: LineMessage) -> None:
        self.messages.append(message)

    async def end(self, ended: Ended) -> None:
        self.ended = ended

    @property
    def turns(self) -> list[Turn]:
        return [message for message in self.messages if isinstance(message, Turn)]

    def transcripts(self, role: str, *, final: bool = True) -> list[str]:
        """What was shown of one party."""
        return [
            message.text
            for message in self.messages
            if isinstance(message, TranscriptMessage) and message.role == role and message.final is final
        ]

    @property
    def audio_ms(self) -> float:
        return sum(len(pcm) for _, pcm in self.audio) / 32


async def until(condition: Callable[[], object], timeout_s: float = 5.0) -> None:
    """Poll a condition of another task."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.005)

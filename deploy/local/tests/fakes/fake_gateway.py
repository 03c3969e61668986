"""A voice gateway, faked: speaks the native protocol, hears loud samples as voice, and answers each utterance with a tone.

Its agent greets, replies `reply_s` of audio after 200 ms of silence, and falls silent when the caller speaks into its words.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

AGENT_SAMPLE = 1000
"""Every sample of the agent's voice."""
_SILENCE_FRAMES = 10
_LEAD_S = 0.1


def tone(seconds: float, sample: int = AGENT_SAMPLE, sample_rate: int = 16_000) -> bytes:
    """PCM16 of one value."""
    return np.full(int(seconds * sample_rate), sample, "<i2").tobytes()


@dataclass
class FakeGateway:
    """What the gateway should do, and what it saw."""

    greeting_s: float = 0.2
    reply_s: float = 0.3
    refuse: dict[str, str] | None = None
    """Answer the auth with this error: code and message."""
    mute: bool = False
    """Hear everything and say nothing."""
    silent_turns: bool = False
    """Never tell that a turn is over."""
    mark: str = ""
    """Put this mark behind the greeting's audio."""
    end_after_turns: int | None = None
    drop_after_frames: int | None = None
    extra: list[str] = field(default_factory=list)
    """Text messages to send after `ready`."""

    url: str = ""
    auth: dict[str, Any] = field(default_factory=dict)
    frames: list[tuple[float, bytes]] = field(default_factory=list)
    """Arrival time (monotonic) and audio."""
    texts: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    utterances: int = 0
    speech_times: list[float] = field(default_factory=list)
    """When the caller's voice began, each time."""
    voice_times: list[float] = field(default_factory=list)
    """When the agent's audio began, each time."""

    def texts_of(self, kind: str) -> list[tuple[float, dict[str, Any]]]:
        """The messages of a type that the client sent."""
        return [(at, text) for at, text in self.texts if text["type"] == kind]


@contextlib.asynccontextmanager
async def serving(gateway: FakeGateway) -> AsyncIterator[FakeGateway]:
    """Serve `gateway` on a free port."""

    async def handle(socket: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            await _Session(gateway, socket).run()

    async with serve(handle, "127.0.0.1", 0, compression=None) as server:
        gateway.url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        yield gateway


class _Session:
    def __init__(self, gateway: FakeGateway, socket: ServerConnection) -> None:
        self.gateway = gateway
        self.socket = socket
        self.turn = 0
        self.speaking: asyncio.Task[None] | None = None

    async def run(self) -> None:
        gateway = self.gateway
        gateway.auth = json.loads(await self.socket.recv())
        if gateway.refuse:
            await self.send({"type": "error", "fatal": True, **gateway.refuse})
            await self.socket.close(4401)
            return
        rate = gateway.auth["sample_rate"]
        await self.send(
            {"type": "ready", "session_id": "call_1", "sample_rate": rate, "agent_id": "tester", "agent_name": "Tester"}
        )
        for text in gateway.extra:
            await self.socket.send(text)
        if gateway.greeting_s and not gateway.mute:
            self.speaking = asyncio.create_task(self.speak("greeting", gateway.greeting_s))
        try:
            await self.listen()
        finally:
            if self.speaking:
                self.speaking.cancel()
                await asyncio.gather(self.speaking, return_exceptions=True)

    async def listen(self) -> None:
        gateway = self.gateway
        in_voice, silent_frames = False, 0
        async for raw in self.socket:
            if isinstance(raw, str):
                gateway.texts.append((time.monotonic(), json.loads(raw)))
                if gateway.texts[-1][1]["type"] == "hangup":
                    await self.end("caller_hangup")
                    return
                continue
            gateway.frames.append((time.monotonic(), raw))
            if gateway.drop_after_frames is not None and len(gateway.frames) >= gateway.drop_after_frames:
                self.socket.transport.abort()
                return
            loud = int(np.abs(np.frombuffer(raw, "<i2").astype(int)).max(initial=0)) > 500
            if loud and not in_voice:
                in_voice = True
                gateway.speech_times.append(time.monotonic())
                await self.interrupt()
            silent_frames = 0 if loud else silent_frames + 1
            if in_voice and silent_frames >= _SILENCE_FRAMES:
                in_voice = False
                gateway.utterances += 1
                if not gateway.mute:
                    self.speaking = asyncio.create_task(self.speak("reply", gateway.reply_s))

    async def speak(self, kind: str, seconds: float) -> None:
        gateway = self.gateway
        if kind == "reply":
            text = f"utterance {gateway.utterances}"
            await self.send({"type": "transcript", "role": "caller", "text": text, "final": True, "turn": self.turn})
        await self.send({"type": "transcript", "role": "agent", "text": "aaa", "final": True, "turn": self.turn})
        began = time.monotonic()
        gateway.voice_times.append(began)
        for number in range(1, round(seconds * 50) + 1):
            await self.socket.send(tone(0.02, sample_rate=gateway.auth["sample_rate"]))
            await asyncio.sleep(max(0.0, began + number * 0.02 - _LEAD_S - time.monotonic()))
        if gateway.mark and kind == "greeting":
            await self.send({"type": "mark", "name": gateway.mark})
        await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))
        self.speaking = None
        await self.complete(kind, interrupted=False)
        if gateway.end_after_turns is not None and self.turn >= gateway.end_after_turns:
            await self.end("agent_ended")

    async def interrupt(self) -> None:
        if self.speaking:
            self.speaking.cancel()
            await asyncio.gather(self.speaking, return_exceptions=True)
            self.speaking = None
            await self.send({"type": "clear"})
            await self.complete("reply", interrupted=True)

    async def complete(self, kind: str, *, interrupted: bool) -> None:
        timings = {"turn_decided": 200.0, "first_token": 210.0, "first_sentence": 215.0, "first_audio": 300.0}
        message = {"type": "turn", "turn": self.turn, "kind": kind, "caller_text": "words", "agent_text": "aaa"}
        self.turn += 1
        if not self.gateway.silent_turns:
            await self.send({**message, "interrupted": interrupted, "timings": timings})

    async def end(self, reason: str) -> None:
        await self.send({"type": "ended", "reason": reason, "duration_s": 1.0})
        await self.socket.close()

    async def send(self, message: dict[str, Any]) -> None:
        await self.socket.send(json.dumps(message))

"""A caller: one call through the voice gateway's WebSocket, in real time.

The client sends a 20 ms frame every 20 ms, silence when it has nothing to say, plays what it receives on a clock of its own
(`PlayoutClock`), answers marks and obeys `clear`. What to say and when is up to the user of the class, see `dialogue`.

    async with CallClient(url, token=token, agent_id="receptionist") as call:
        await call.until(lambda: call.agent_spoke and not call.agent_speaking, timeout_s=10)
        said = await call.say(pcm)
        await call.hang_up()
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol, Self

from pydantic import ValidationError
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from voxbus.contracts import native
from voxbus.contracts.audio import FRAME_MS, SAMPLE_BYTES
from voxbus.local.handshake import open_call
from voxbus.local.playout import PlayoutClock
from voxbus.local.voice import voice_end_s

FRAME_S: Final = FRAME_MS / 1000
_ENDED_TIMEOUT_S: Final = 5.0

ServerMessage = (
    native.Ready
    | native.Audio
    | native.Mark
    | native.TranscriptMessage
    | native.Clear
    | native.Turn
    | native.ErrorMessage
    | native.Ended
)
Listener = Callable[[float, ServerMessage], None]
"""Is told each message with the second of the call at which it came."""


class AudioDevice(Protocol):
    """Where a live caller speaks and listens. PCM16 mono at the call's rate; must not block."""

    def read(self, size_bytes: int) -> bytes:
        """What the microphone has, at most `size_bytes`; the rest is filled up with silence."""

    def play(self, pcm: bytes) -> None:
        """Queue the agent's audio."""

    def clear(self) -> None:
        """Throw away what is queued."""


@dataclass(frozen=True)
class Said:
    """Something the caller said, in seconds of the call."""

    start_s: float
    voice_end_s: float
    """When the voice in it ended; after that there was only silence."""
    end_s: float


@dataclass(frozen=True)
class TimedMessage:
    """A message and the second of the call at which it came."""

    at_s: float
    message: ServerMessage


class CallClient:
    """One call. Use it as an async context manager, once."""

    def __init__(
        self,
        url: str,
        *,
        token: str,
        agent_id: str,
        sample_rate: int = 16_000,
        listener: Listener | None = None,
        device: AudioDevice | None = None,
    ) -> None:
        self._url = url
        self._auth = native.Auth.model_validate({"token": token, "agent_id": agent_id, "sample_rate": sample_rate})
        self._listener = listener
        self._device = device
        self._socket: ClientConnection | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._outgoing = bytearray()
        self._sent = bytearray()
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[bool]]] = []
        self._started = 0.0
        self._stopped_s: float | None = None
        self.sample_rate = sample_rate
        self.frame_bytes = int(sample_rate * FRAME_S) * SAMPLE_BYTES
        self.playout = PlayoutClock(sample_rate)
        self.ready: native.Ready | None = None
        self.ended: native.Ended | None = None
        self.messages: list[TimedMessage] = []
        """Every JSON message of the server after `ready`, but audio."""
        self.invalid_messages = 0
        """Messages that are not of the protocol, as far as this client knows it."""

    async def __aenter__(self) -> Self:
        """Connect and authenticate. Raises GatewayUnreachableError or CallRefusedError."""
        self._socket, self.ready = await open_call(self._url, self._auth)
        self._started = time.monotonic()
        self._tasks = [
            asyncio.create_task(self._send(self._socket), name="call-send"),
            asyncio.create_task(self._receive(self._socket), name="call-receive"),
        ]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection, without a goodbye unless `hang_up` said it."""
        self._stop()
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._socket is not None:
            await self._socket.close()
        for result in results:
            if isinstance(result, Exception) and error is None:
                raise result

    @property
    def now_s(self) -> float:
        """Seconds since the call started; stands still once it is over."""
        return self._stopped_s if self._stopped_s is not None else time.monotonic() - self._started

    @property
    def live(self) -> bool:
        """Whether the call goes on."""
        return self.ready is not None and self._stopped_s is None

    @property
    def agent_speaking(self) -> bool:
        """Whether the caller hears the agent now."""
        return self.playout.playing(self.now_s)

    @property
    def agent_spoke(self) -> bool:
        """Whether the caller heard anything of the agent yet."""
        return bool(self.playout.segments)

    @property
    def turns(self) -> list[native.Turn]:
        """The turns that are complete."""
        return [timed.message for timed in self.messages if isinstance(timed.message, native.Turn)]

    @property
    def errors(self) -> list[native.ErrorMessage]:
        """The errors the server told."""
        return [timed.message for timed in self.messages if isinstance(timed.message, native.ErrorMessage)]

    @property
    def caller_track(self) -> bytes:
        """What was sent, PCM16 from the first frame on."""
        return bytes(self._sent)

    @property
    def agent_track(self) -> bytes:
        """What was heard of the agent, PCM16 on the same timeline."""
        return self.playout.heard(self.now_s)

    async def say(self, pcm: bytes) -> Said:
        """Speak PCM16 mono at the call's rate; returns once its last frame was sent, or the call is over."""
        start_bytes = len(self._sent) + len(self._outgoing)
        self._outgoing += pcm
        end_bytes = start_bytes + len(pcm)
        await self.until(lambda: len(self._sent) >= end_bytes)
        start_s = self._seconds(start_bytes)
        return Said(start_s, start_s + voice_end_s(pcm, self.sample_rate), self._seconds(end_bytes))

    async def until(self, condition: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Wait until `condition`, looked at every 20 ms, holds; False after `timeout_s` or when the call is over before."""
        if condition():
            return True
        if not self.live:
            return False
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        waiter = (condition, future)
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            return False
        finally:
            with suppress(ValueError):
                self._waiters.remove(waiter)

    async def send_text(self, text: str) -> None:
        """Send a text message as it is, for tests of what a gateway does with it."""
        if self._socket is not None:
            await self._socket.send(text)

    async def press(self, digit: str) -> None:
        """Press a key of the telephone."""
        await self.send_text(native.Dtmf(digit=digit).encode().decode())

    async def hang_up(self) -> native.Ended | None:
        """End the call and wait for the server's `ended`, which is None if it does not come within 5 seconds."""
        if self.live:
            with suppress(ConnectionClosed):
                await self.send_text(native.Hangup().encode().decode())
            await self.until(lambda: self.ended is not None, timeout_s=_ENDED_TIMEOUT_S)
        return self.ended

    async def _send(self, socket: ClientConnection) -> None:
        """Send a frame every 20 ms; after a delay the frames that are late go at once, as from a real microphone."""
        frame = 0
        try:
            while self.live:
                await asyncio.sleep(max(0.0, self._started + frame * FRAME_S - time.monotonic()))
                await socket.send(self._next_frame())
                for name in self.playout.due_marks(self.now_s):
                    await socket.send(native.Mark(name=name).encode().decode())
                self._look()
                frame += 1
        except ConnectionClosed:
            pass  # the receiver ends the call once it has read what came before the close

    def _next_frame(self) -> bytes:
        size = self.frame_bytes
        if self._outgoing or self._device is None:
            pcm = bytes(self._outgoing[:size])
            del self._outgoing[:size]
        else:
            pcm = self._device.read(size)
        pcm = pcm.ljust(size, b"\0")
        self._sent += pcm
        return pcm

    async def _receive(self, socket: ClientConnection) -> None:
        try:
            async for raw in socket:
                if isinstance(raw, bytes):
                    self._on_audio(raw)
                else:
                    self._on_text(raw)
        except ConnectionClosed:
            pass  # without a close handshake; `ended` says whether the call ended well
        finally:
            self._stop()

    def _on_audio(self, pcm: bytes) -> None:
        self.playout.add(pcm, self.now_s)
        if self._device is not None:
            self._device.play(pcm)

    def _on_text(self, raw: str) -> None:
        try:
            message = native.SERVER_MESSAGE.validate_json(raw)
        except ValidationError:
            self.invalid_messages += 1
            return
        now_s = self.now_s
        self.messages.append(TimedMessage(now_s, message))
        match message:
            case native.Clear():
                self.playout.clear(now_s)
                if self._device is not None:
                    self._device.clear()
            case native.Mark():
                self.playout.mark(message.name, now_s)
            case native.Ended():
                self.ended = message
        if self._listener is not None:
            self._listener(now_s, message)

    def _stop(self) -> None:
        if self._stopped_s is None and self.ready is not None:
            self._stopped_s = time.monotonic() - self._started
        self._look()

    def _look(self) -> None:
        for condition, future in tuple(self._waiters):
            if not future.done() and condition():
                future.set_result(True)
            elif not future.done() and not self.live:
                future.set_result(False)

    def _seconds(self, size_bytes: int) -> float:
        return size_bytes / (self.sample_rate * SAMPLE_BYTES)

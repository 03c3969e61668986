"""A call that records what its line tells it, and a factory that makes such calls."""

from __future__ import annotations

import asyncio

from voxbus.contracts.agent import AgentConfig
from voxbus.contracts.base import new_id
from voxbus.contracts.native import NativeErrorCode
from voxbus.voice_gateway.edge.line import CallEnd, CallRefused, CallRequest, Line

AGENT_ID = "receptionist"


class RecordingCall(CallEnd):
    """Remembers every callback in `events`, audio apart in `frames`."""

    def __init__(self, request: CallRequest, line: Line) -> None:
        self.id = new_id("call")
        self.agent = AgentConfig(id=request.agent_id, name="Front desk")
        self.request = request
        self.line = line
        self.frames: list[bytes] = []
        self.events: list[str] = []
        self.disconnected = asyncio.Event()
        self.broken = False
        """Raise in `on_audio`, as a fault in the call logic would."""

    @property
    def audio(self) -> bytes:
        """All caller audio."""
        return b"".join(self.frames)

    def on_audio(self, pcm: bytes) -> None:
        """Recorded."""
        if self.broken:
            raise RuntimeError("the call logic is broken")
        self.frames.append(pcm)

    def on_mark(self, name: str) -> None:
        """Recorded."""
        self.events.append(f"mark {name}")

    def on_dtmf(self, digit: str) -> None:
        """Recorded."""
        self.events.append(f"dtmf {digit}")

    def on_hangup(self) -> None:
        """Recorded."""
        self.events.append("hangup")

    def on_disconnected(self) -> None:
        """Recorded."""
        self.events.append("disconnected")
        self.disconnected.set()


class Exchange:
    """The call factory: knows one agent, keeps the calls."""

    def __init__(self) -> None:
        self.calls: list[RecordingCall] = []
        self.gate = asyncio.Event()
        """Calls start once it is set."""
        self.gate.set()
        self.failure: Exception | None = None
        self.asked = asyncio.Event()

    async def start_call(self, request: CallRequest, line: Line) -> CallEnd:
        """Start a call. Raises CallRefused for any agent but the known one, and `failure`."""
        self.asked.set()
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        if request.agent_id != AGENT_ID:
            raise CallRefused(NativeErrorCode.UNKNOWN_AGENT, "there is no such agent")
        call = RecordingCall(request, line)
        self.calls.append(call)
        return call

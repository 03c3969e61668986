"""Facts about calls and turns: what is published when they start and end."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import Field, JsonValue

from voxbus.contracts.base import Identifier, Message
from voxbus.contracts.llm import ToolCall, Usage
from voxbus.contracts.stage import Stage


class Party(StrEnum):
    """Who made a call end."""

    CALLER = "caller"
    AGENT = "agent"
    PROVIDER = "provider"
    PLATFORM = "platform"


class EndReason(StrEnum):
    """How a call ended."""

    CALLER_HANGUP = "caller_hangup"
    CALLER_DISCONNECTED = "caller_disconnected"
    CALLER_SILENT = "caller_silent"
    AGENT_ENDED = "agent_ended"
    MAX_DURATION = "max_duration"
    PROVIDER_FAILED = "provider_failed"
    STAGE_UNAVAILABLE = "stage_unavailable"
    GATEWAY_STOPPED = "gateway_stopped"
    INTERNAL_ERROR = "internal_error"

    @property
    def party(self) -> Party:
        """Who made it end."""
        return _PARTIES[self]


_PARTIES = {
    EndReason.CALLER_HANGUP: Party.CALLER,
    EndReason.CALLER_DISCONNECTED: Party.CALLER,
    EndReason.CALLER_SILENT: Party.CALLER,
    EndReason.AGENT_ENDED: Party.AGENT,
    EndReason.MAX_DURATION: Party.AGENT,
    EndReason.PROVIDER_FAILED: Party.PROVIDER,
    EndReason.STAGE_UNAVAILABLE: Party.PLATFORM,
    EndReason.GATEWAY_STOPPED: Party.PLATFORM,
    EndReason.INTERNAL_ERROR: Party.PLATFORM,
}


class TurnTimings(Message):
    """The waterfall of one turn, in milliseconds after the end of the caller's speech (of the turn's start, if none).

    A step that never happened is None: a turn that was cut short has no `first_played`, a greeting no `turn_decided`.
    """

    speech_end: float = 0.0
    turn_decided: float | None = None
    first_token: float | None = None
    first_sentence: float | None = None
    first_audio: float | None = None
    first_played: float | None = None
    stt_ms: float | None = None
    """The speech engine's own share: waiting for silence, turn model, final words."""
    llm_ms: float | None = None
    """The language engine's own share: open to first token, as its worker measured it."""
    tts_ms: float | None = None
    """The voice engine's own share: first sentence to first audio, as its worker measured it."""

    @property
    def platform_ms(self) -> float | None:
        """What the bus and the gateway added between the decision and the first audio played, if the turn got there."""
        if None in (self.turn_decided, self.first_token, self.first_sentence, self.first_audio, self.first_played):
            return None
        assert self.turn_decided is not None and self.first_token is not None  # noqa: S101, PT018
        assert self.first_sentence is not None and self.first_played is not None  # noqa: S101, PT018
        writing = self.first_sentence - self.first_token
        engines = (self.llm_ms or 0.0) + writing + (self.tts_ms or 0.0)
        return self.first_played - self.turn_decided - engines


class TurnKind(StrEnum):
    """Why the agent spoke."""

    GREETING = "greeting"
    REPLY = "reply"
    PROMPT = "prompt"
    """The agent spoke on its own: "are you still there?", a goodbye."""


class CallStarted(Message):
    """`voxbus.call.started.v1`"""

    call_id: Identifier
    agent_id: Identifier
    agent_version: int
    gateway_id: Identifier
    protocol: str
    sample_rate: int
    started_at: datetime


class TurnCompleted(Message):
    """`voxbus.turn.completed.v1`: one exchange, as it was heard."""

    call_id: Identifier
    agent_id: Identifier
    turn: int = Field(ge=0)
    kind: TurnKind
    caller_text: str = ""
    caller_start_ms: int | None = None
    caller_end_ms: int | None = None
    agent_text: str = ""
    """What was heard."""
    agent_generated: str = ""
    """What was written, heard or not."""
    interrupted: bool = False
    tool_calls: tuple[ToolCall, ...] = ()
    timings: TurnTimings
    usage: Usage = Usage()
    providers: dict[str, str] = Field(default_factory=dict)
    """Stage to provider."""


class StreamTakenOver(Message):
    """`voxbus.stream.taken_over.v1`: a stage stream went on with another worker."""

    call_id: Identifier
    stage: Stage
    stream_id: Identifier
    attempt: int
    reason: str
    from_worker: str
    to_worker: str
    gap_ms: float
    """From the last sign of life of the old worker to the acceptance by the new one."""


class CallEnded(Message):
    """`voxbus.call.ended.v1`"""

    call_id: Identifier
    agent_id: Identifier
    agent_version: int
    gateway_id: Identifier
    reason: EndReason
    party: Party
    detail: str = ""
    started_at: datetime
    ended_at: datetime
    duration_s: float
    turns: int
    takeovers: int = 0
    variables: dict[str, JsonValue] = Field(default_factory=dict)
    """What the agent's tools recorded."""

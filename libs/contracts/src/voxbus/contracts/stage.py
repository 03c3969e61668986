"""Stage streams: what all three stages share. See docs/decisions/0003-stage-streams.md for the protocol."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, JsonValue, StringConstraints

from voxbus.contracts.base import Identifier, Message


class Stage(StrEnum):
    """The three stages of a call."""

    STT = "stt"
    LLM = "llm"
    TTS = "tts"


ProviderName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+$", max_length=64)]


class ProviderChoice(Message):
    """A provider of a stage and its settings, whose keys are the provider's own."""

    name: ProviderName
    settings: dict[str, JsonValue] = Field(default_factory=dict)


class StreamOpen(Message):
    """Ask any worker of a stage to open a stream. Each stage adds its own fields.

    `attempt` starts at 1 and grows with each takeover. `providers` is the agent's choice and its fallbacks, in order.
    The worker must send a frame at least every `heartbeat_ms`.
    """

    call_id: Identifier
    stream_id: Identifier
    attempt: int = Field(ge=1, le=0xFFFF)
    owner_id: Identifier
    agent_id: Identifier
    providers: tuple[ProviderChoice, ...] = Field(min_length=1)
    language: str = "en"
    heartbeat_ms: int = Field(default=250, ge=20, le=10_000)
    traceparent: str | None = None


class StreamOpened(Message):
    """A worker took the stream; send input to `voxbus.{stage}.in.v1.{worker_id}.{stream_id}`."""

    worker_id: Identifier
    provider: ProviderName


class ErrorCode(StrEnum):
    """Why a request or a stream failed."""

    AT_CAPACITY = "at_capacity"
    DRAINING = "draining"
    BAD_REQUEST = "bad_request"
    UNKNOWN_PROVIDER = "unknown_provider"
    PROVIDER_REJECTED = "provider_rejected"
    PROVIDER_FAILED = "provider_failed"
    TIMEOUT = "timeout"
    INTERNAL = "internal"


class StageError(Message):
    """A typed failure. `retryable`: another worker, or the same one later, may succeed."""

    code: ErrorCode
    message: str
    retryable: bool


class StreamReply(Message):
    """The answer to an open: exactly one of the two is set."""

    opened: StreamOpened | None = None
    error: StageError | None = None


class StoreStatus(Message):
    """A store, as a process that uses it sees it."""

    name: str
    """`mongodb`, `jetstream`, …"""
    problem: str | None = None
    """What is wrong; None: it answers."""
    latency_ms: float | None = None
    """How long its last answer took."""


class ProcessStatus(Message):
    """What one process says of itself when asked on `voxbus.control.status.v1`."""

    service: str
    instance_id: Identifier
    version: str
    uptime_s: float
    ready: bool
    draining: bool = False
    active: int = 0
    """Live calls of a gateway, open streams of a worker."""
    capacity: int | None = None
    providers: tuple[str, ...] = ()
    stores: tuple[StoreStatus, ...] = ()
    """What it keeps things in."""

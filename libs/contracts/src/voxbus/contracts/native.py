"""The native protocol of the voice WebSocket: JSON text messages, and audio as binary messages. See docs/protocols/native.md.

Audio is PCM16 little-endian mono at the rate agreed in `auth`, in messages of any whole number of samples.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from voxbus.contracts.base import Identifier, Message
from voxbus.contracts.call import EndReason, TurnKind, TurnTimings

SAMPLE_RATES = (8_000, 16_000, 24_000, 48_000)


class Auth(Message):
    """First message of the client, within 5 seconds."""

    type: Literal["auth"] = "auth"
    token: str = Field(max_length=8192)
    agent_id: Identifier
    sample_rate: Literal[8_000, 16_000, 24_000, 48_000] = 16_000
    audio: Literal["binary", "base64"] = "binary"
    """How the server sends audio; from the client both are always good."""


class Audio(Message):
    """Audio for clients that cannot send binary messages."""

    type: Literal["audio"] = "audio"
    data: str
    """Base64 of PCM16."""


class Mark(Message):
    """From the server: play-out has a mark here. From the client: everything before the mark has been played."""

    type: Literal["mark"] = "mark"
    name: str = Field(max_length=64)


class Dtmf(Message):
    """A key pressed by the caller."""

    type: Literal["dtmf"] = "dtmf"
    digit: str = Field(pattern=r"^[0-9A-D*#]$")


class Hangup(Message):
    """The caller ends the call."""

    type: Literal["hangup"] = "hangup"


class Ready(Message):
    """The call has started. `session_id` is the call's id."""

    type: Literal["ready"] = "ready"
    session_id: Identifier
    sample_rate: int
    agent_id: Identifier
    agent_name: str


class TranscriptMessage(Message):
    """Words as they are recognised (caller) or spoken (agent)."""

    type: Literal["transcript"] = "transcript"
    role: Literal["caller", "agent"]
    text: str
    final: bool
    turn: int


class Clear(Message):
    """Throw away all audio that was received and not yet played: the caller interrupted the agent."""

    type: Literal["clear"] = "clear"


class Turn(Message):
    """A turn is complete: what was said and heard, and its timings."""

    type: Literal["turn"] = "turn"
    turn: int
    kind: TurnKind
    caller_text: str
    agent_text: str
    interrupted: bool
    timings: TurnTimings


class NativeErrorCode(StrEnum):
    """What went wrong."""

    NOT_AUTHENTICATED = "not_authenticated"
    AUTH_TIMEOUT = "auth_timeout"
    INVALID_TOKEN = "invalid_token"  # noqa: S105
    UNKNOWN_AGENT = "unknown_agent"
    INVALID_MESSAGE = "invalid_message"
    INVALID_AUDIO = "invalid_audio"
    TOO_LARGE = "too_large"
    OVERLOADED = "overloaded"
    INTERNAL = "internal"


class ErrorMessage(Message):
    """Something was wrong with what the client sent, or with the call; `fatal`: the connection closes after this."""

    type: Literal["error"] = "error"
    code: NativeErrorCode
    message: str
    fatal: bool = False


class Ended(Message):
    """The call is over; the connection closes after this."""

    type: Literal["ended"] = "ended"
    reason: EndReason
    detail: str = ""
    duration_s: float


ClientMessage = Annotated[Auth | Audio | Mark | Dtmf | Hangup, Field(discriminator="type")]
CLIENT_MESSAGE: TypeAdapter[Auth | Audio | Mark | Dtmf | Hangup] = TypeAdapter(ClientMessage)
ServerMessage = Annotated[
    Ready | Audio | Mark | TranscriptMessage | Clear | Turn | ErrorMessage | Ended, Field(discriminator="type")
]
SERVER_MESSAGE: TypeAdapter[Ready | Audio | Mark | TranscriptMessage | Clear | Turn | ErrorMessage | Ended] = (
    TypeAdapter(ServerMessage)
)

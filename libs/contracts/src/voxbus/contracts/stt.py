"""Messages of the speech-to-text stage. All times are milliseconds of the call's caller audio (0 = its first sample)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from voxbus.contracts.base import Message
from voxbus.contracts.stage import StreamOpen


class TurnTaking(Message):
    """When a caller's turn ends and when they may interrupt the agent."""

    silence_ms: int = Field(default=1500, ge=200, le=10_000)
    """A turn ends after this much silence even if the words sound unfinished."""
    interruptible: bool = True
    min_words_to_interrupt: int = Field(default=0, ge=0, le=20)
    """0: the caller's voice alone stops the agent; n: it takes n recognised words."""


class SttOpen(StreamOpen):
    """Open a speech-to-text stream. The first audio frame's timestamp says where in the call the stream starts."""

    turn_taking: TurnTaking = TurnTaking()
    turn_text: str = ""
    """After a takeover: final words of the running turn that the owner already has; the turn's text begins with them."""
    turn_start_ms: int | None = None
    """After a takeover: when the running turn started."""


class SpeechStarted(Message):
    """The caller started to speak (a voice was heard long enough to be one)."""

    type: Literal["speech_started"] = "speech_started"
    at_ms: int


class SpeechPaused(Message):
    """The caller stopped speaking; whether the turn is over is decided next."""

    type: Literal["speech_paused"] = "speech_paused"
    at_ms: int


class Word(Message):
    """One recognised word."""

    text: str
    start_ms: int
    end_ms: int
    confidence: float | None = None


class Transcript(Message):
    """Words of the running turn. An interim one replaces the interim before it; a final one stands."""

    type: Literal["transcript"] = "transcript"
    text: str
    final: bool
    start_ms: int
    end_ms: int
    confidence: float | None = None
    words: tuple[Word, ...] = ()


class TurnEndReason(StrEnum):
    """Why a turn was taken to be over."""

    COMPLETE = "complete"
    """The words and their melody sounded finished."""
    SILENCE = "silence"
    """The silence ceiling was reached."""
    CLOSED = "closed"
    """The owner closed the stream."""


class TurnEnded(Message):
    """The caller's turn is over. `text` is all of its final words; empty when there was a noise but no words."""

    type: Literal["turn_ended"] = "turn_ended"
    text: str
    start_ms: int
    speech_end_ms: int
    """When the caller's voice ended."""
    reason: TurnEndReason
    probability: float | None = None
    """How sure the turn model was that the turn is complete, 0 to 1."""
    decide_ms: float = 0.0
    """From the end of the voice, as the worker heard it, to the decision: waiting for silence and the turn model."""
    transcribe_ms: float = 0.0
    """What the recogniser took for the final words of this turn, beyond the decision."""
    provider: str = ""
    model: str = ""


SttEvent = Annotated[SpeechStarted | SpeechPaused | Transcript | TurnEnded, Field(discriminator="type")]
STT_EVENT: TypeAdapter[SpeechStarted | SpeechPaused | Transcript | TurnEnded] = TypeAdapter(SttEvent)

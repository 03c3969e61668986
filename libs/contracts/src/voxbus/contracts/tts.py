"""Messages of the text-to-speech stage. A stream is one utterance of the agent: sentences in, their audio out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from voxbus.contracts.base import Message
from voxbus.contracts.stage import StreamOpen


class TtsOpen(StreamOpen):
    """Open a text-to-speech stream for one utterance."""


class TtsSentence(Message):
    """Input: speak this. Sentences come in order; one that was already received (by index) is ignored."""

    index: int = Field(ge=0)
    text: str


class TtsSentenceStarted(Message):
    """The audio frames that follow belong to this sentence."""

    type: Literal["sentence_started"] = "sentence_started"
    index: int
    elapsed_ms: float
    """From the arrival of the sentence at the worker to its first audio."""


class TtsSentenceDone(Message):
    """All audio of this sentence has been sent."""

    type: Literal["sentence_done"] = "sentence_done"
    index: int
    duration_ms: float


TtsEvent = Annotated[TtsSentenceStarted | TtsSentenceDone, Field(discriminator="type")]
TTS_EVENT: TypeAdapter[TtsSentenceStarted | TtsSentenceDone] = TypeAdapter(TtsEvent)

"""What a provider of speech-to-text is: it turns audio into words. When a turn starts and ends is the worker's own matter.

A session is told everything in the order of the audio, on the event loop, and answers through its listener.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

from pydantic import JsonValue

from voxbus.contracts.stt import Transcript, Word
from voxbus.runtime.streams import StageFailure


@dataclass(frozen=True)
class Words:
    """Words recognised between two times of the call, in milliseconds; the text may be empty."""

    text: str
    start_ms: int
    end_ms: int
    confidence: float | None = None
    words: tuple[Word, ...] = ()

    def transcript(self, *, final: bool) -> Transcript:
        """The message that carries them."""
        confidence = None if self.confidence is None else round(self.confidence, 3)
        return Transcript(
            text=self.text,
            final=final,
            start_ms=self.start_ms,
            end_ms=self.end_ms,
            confidence=confidence,
            words=self.words,
        )


class WordsListener(Protocol):
    """Who hears what a session recognised. Called on the event loop; returns at once."""

    def on_interim(self, words: Words) -> None:
        """The words since the last final ones, as they seem now."""

    def on_final(self, words: Words) -> None:
        """Words that stand. The audio before their end is not needed any more; no words (empty text) say just that."""

    def on_failure(self, failure: StageFailure) -> None:
        """The session cannot go on."""


class RecogniserSession(ABC):
    """The recogniser of one call. All but `finish_turn` return at once."""

    model: ClassVar[str]
    """The name of the model that recognises."""

    listener: WordsListener

    def listen(self, listener: WordsListener) -> None:
        """Give what is recognised to `listener`; called once, before anything is heard."""
        self.listener = listener

    @abstractmethod
    def hear(self, pcm: bytes, at_ms: int) -> None:
        """The call's next audio, PCM16 mono 16 kHz, without gaps; its first sample is at `at_ms`.

        May be ahead of what the other calls speak of, above all when audio is replayed.
        """

    def quiet_until(self, now_ms: int) -> None:
        """No turn is running, and a voice that begins later is the first to matter."""

    def speech_started(self, at_ms: int) -> None:
        """A voice was heard from `at_ms`: a turn starts, or goes on after a pause."""

    def speech_until(self, now_ms: int) -> None:
        """The voice has been going on until `now_ms`; called about 30 times a second of speech."""

    def speech_paused(self, at_ms: int) -> None:
        """The voice ended at `at_ms`; the turn may be over, which is being decided. A good moment to begin with final words."""

    @abstractmethod
    async def finish_turn(self, speech_end_ms: int) -> None:
        """The turn is over; returns when all its final words were given to the listener. Cancelled by `close`."""

    @abstractmethod
    def close(self) -> None:
        """Stop at once and free everything; the listener hears nothing more."""


class SttProvider(ABC):
    """A provider, shared by all calls of the worker."""

    name: ClassVar[str]

    async def start(self) -> None:
        """Load what all sessions share; called before any call."""

    async def stop(self) -> None:
        """Free it."""

    @abstractmethod
    async def open(self, language: str, settings: Mapping[str, JsonValue]) -> RecogniserSession:
        """A session for one call; raises StageFailure when the settings or the language won't do, or there is no connection."""

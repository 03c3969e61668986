"""What a provider of text-to-speech is: it turns a sentence into audio, piece by piece."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping
from typing import ClassVar

from pydantic import JsonValue

from voxbus.tts_worker.pace import Pace
from voxbus.tts_worker.patience import Patience


class Utterance(ABC):
    """One utterance at a provider: sentences one after the other, in one voice. It may keep a connection or a context."""

    @abstractmethod
    def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        """The audio of one sentence, as early as it is there: chunks of whole samples of PCM16 mono 16 kHz, none empty.

        `text` is plain (no markup) and not empty; a long one comes in parts of about `markup.MAX_PART_CHARS` characters. Text
        with nothing this provider can say has no chunks. Closing the generator stops the work. Raises any exception when the
        provider fails; the worker decides what becomes of the sentence.
        """

    async def close(self) -> None:
        """The utterance is over or was cancelled; free what it holds. Called once, and fast."""


class TtsProvider(ABC):
    """A provider, shared by all utterances of the worker."""

    name: ClassVar[str]

    async def start(self) -> None:
        """Load what all utterances share; called before any utterance."""

    async def stop(self) -> None:
        """Free it."""

    @abstractmethod
    async def open(self, language: str, settings: Mapping[str, JsonValue], pace: Pace, patience: Patience) -> Utterance:
        """A new utterance; raises StageFailure when the settings or the language won't do, or there is no connection.

        `pace` says how urgent the utterance's next audio is, for a provider that must choose between utterances.
        `patience` must be told when work waits in a queue of this worker, or the wait counts as the provider's failure.
        """

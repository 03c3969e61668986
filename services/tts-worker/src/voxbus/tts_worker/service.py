"""The text-to-speech stage: what all utterances of this worker share, and how a stream is opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from voxbus.contracts.stage import Stage
from voxbus.contracts.tts import TtsOpen
from voxbus.runtime.streams import StageService, StreamHandler, WorkerStream
from voxbus.tts_worker.handler import UtteranceHandler
from voxbus.tts_worker.pace import Pace
from voxbus.tts_worker.patience import Patience
from voxbus.tts_worker.providers import TtsProvider, make_providers
from voxbus.tts_worker.settings import Settings
from voxbus.tts_worker.voices import Voices


class TtsService(StageService[TtsOpen]):
    """Reply to speech."""

    stage: ClassVar[Stage] = Stage.TTS
    open_model = TtsOpen

    def __init__(self, settings: Settings, providers: Mapping[str, TtsProvider] | None = None) -> None:
        """`providers` by name, not yet started; left out: all that this worker has."""
        self._timeout_s = settings.tts_provider_timeout_s
        self._providers = make_providers(settings) if providers is None else providers

    async def start(self) -> None:
        """Load and warm up every provider."""
        for provider in self._providers.values():
            await provider.start()

    async def stop(self) -> None:
        """Free what the providers hold."""
        for provider in self._providers.values():
            await provider.stop()

    def providers(self) -> tuple[str, ...]:
        """Names of the providers this worker can serve."""
        return tuple(self._providers)

    async def open(self, request: TtsOpen, stream: WorkerStream) -> StreamHandler:
        """An utterance with the first of the request's providers that can be opened; raises StageFailure when none can."""
        pace = Pace()
        patience = Patience(pace, self._timeout_s)
        voices = Voices(self._providers, request, pace, patience, stream.log)
        await voices.open()
        stream.provider = voices.provider
        return UtteranceHandler(stream, voices, pace, patience)

"""Who speaks an utterance: the agent's provider, and after a failure the next of its fallbacks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from voxbus.contracts.stage import ErrorCode, ProviderChoice
from voxbus.contracts.tts import TtsOpen
from voxbus.runtime.streams import StageFailure
from voxbus.tts_worker.pace import Pace
from voxbus.tts_worker.patience import Patience
from voxbus.tts_worker.providers.base import TtsProvider, Utterance


class Voices:
    """The providers of one utterance, in the agent's order; one of them is open. A provider that failed is not tried again."""

    def __init__(
        self, providers: Mapping[str, TtsProvider], request: TtsOpen, pace: Pace, patience: Patience, log: Any
    ) -> None:
        self._providers = providers
        self._language = request.language
        self._choices = list(request.providers)
        self._pace = pace
        self._patience = patience
        self._log = log
        self._utterance: Utterance | None = None
        self.provider = ""
        """The name of the one that is open."""

    async def open(self) -> None:
        """Open the first that can be opened.

        When none can, raises the first StageFailure that may pass, for another worker or another time may do; else the first.
        """
        failures: list[StageFailure] = []
        while self._choices:
            choice = self._choices.pop(0)
            try:
                self._utterance = await self._open(choice)
            except StageFailure as failure:
                self._log.warning("provider refused", provider=choice.name, code=failure.code.value)
                failures.append(failure)
            else:
                self.provider = choice.name
                return
        if not failures:
            raise StageFailure(ErrorCode.PROVIDER_FAILED, "no provider is left", retryable=True)
        raise next((failure for failure in failures if failure.retryable), failures[0])

    async def next(self) -> bool:
        """Give up the open one for the next that can be opened; False when there is none, and the open one stays."""
        failed = self._utterance
        try:
            await self.open()
        except StageFailure:
            return False
        if failed is not None:
            await failed.close()
        return True

    def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        """The audio of a sentence from the one that is open."""
        if self._utterance is None:
            raise RuntimeError("no provider is open")
        return self._utterance.speak(text)

    async def close(self) -> None:
        """Free what the open one holds."""
        utterance, self._utterance = self._utterance, None
        if utterance is not None:
            await utterance.close()

    async def _open(self, choice: ProviderChoice) -> Utterance:
        provider = self._providers.get(choice.name)
        if provider is None:
            known = ", ".join(self._providers)
            message = f"this worker has no text-to-speech provider {choice.name!r}, only: {known}"
            raise StageFailure(ErrorCode.UNKNOWN_PROVIDER, message, retryable=False)
        try:
            return await provider.open(self._language, choice.settings, self._pace, self._patience)
        except StageFailure:
            raise
        except Exception as error:
            message = f"the provider {choice.name} could not be opened: {type(error).__name__}"
            raise StageFailure(ErrorCode.PROVIDER_FAILED, message, retryable=True) from error

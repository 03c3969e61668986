"""The offline provider: hibari on threads of this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from functools import partial
from typing import ClassVar, Literal

import structlog
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from voxbus.contracts.stage import ErrorCode
from voxbus.runtime.streams import StageFailure
from voxbus.tts_worker import metrics
from voxbus.tts_worker.deadline_pool import DeadlinePool
from voxbus.tts_worker.engine import Engine
from voxbus.tts_worker.pace import Pace
from voxbus.tts_worker.patience import Patience
from voxbus.tts_worker.providers.base import TtsProvider, Utterance

log = structlog.get_logger(__name__)


class VoiceSettings(BaseModel):
    """What an agent may choose."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    voice: Literal["heart"] = "heart"
    speed: float = Field(default=1.0, ge=0.5, le=2.0, strict=True, allow_inf_nan=False)
    pause_ms: int = Field(default=250, ge=0, le=1000, strict=True)
    """Silence after a sentence."""


_ALLOWED = "allowed are voice: heart; speed: 0.5 to 2.0; pause_ms: 0 to 1000"


def _voice_settings(settings: Mapping[str, JsonValue]) -> VoiceSettings:
    try:
        return VoiceSettings.model_validate(settings)
    except ValidationError as error:
        names = ", ".join(sorted({str(problem["loc"][0]) for problem in error.errors(include_url=False)}))
        message = f"settings of the provider local are wrong ({names}); {_ALLOWED}"
        raise StageFailure(ErrorCode.BAD_REQUEST, message, retryable=False) from None


class LocalUtterance(Utterance):
    """One utterance; its work is queued block by block, so utterances share the threads fairly."""

    def __init__(
        self, engine: Engine, pool: DeadlinePool, settings: VoiceSettings, pace: Pace, patience: Patience
    ) -> None:
        self._engine = engine
        self._pool = pool
        self._settings = settings
        self._pace = pace
        self._patience = patience

    async def speak(self, text: str) -> AsyncGenerator[bytes, None]:
        """The audio of one sentence, trimmed, from its first half second on."""
        blocks = self._engine.blocks(text, self._settings.speed, self._settings.pause_ms)
        while True:
            self._patience.queued()
            pcm = await self._pool.run(self._pace.deadline, partial(next, blocks, None), self._patience.running)
            if pcm is None:
                return
            if pcm:
                yield pcm


class LocalProvider(TtsProvider):
    """Loads the engine once; all utterances share it."""

    name: ClassVar[str] = "local"

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._engine: Engine | None = None
        self._pool: DeadlinePool | None = None

    async def start(self) -> None:
        """Load the model and warm it up, off the event loop."""
        self._pool = DeadlinePool(self._threads, "tts", metrics.QUEUE_SECONDS.observe)
        self._engine = await self._pool.run(0, Engine)
        await self._pool.run(0, self._engine.warm_up)
        log.info("speech engine ready", threads=self._threads)

    async def stop(self) -> None:
        """Wait for the piece of work that runs."""
        if self._pool is not None:
            await asyncio.to_thread(self._pool.close)

    async def open(self, language: str, settings: Mapping[str, JsonValue], pace: Pace, patience: Patience) -> Utterance:
        """An utterance in English; refuses any other language."""
        voice_settings = _voice_settings(settings)
        if language.partition("-")[0] != "en":
            message = f"the provider local speaks English (en) only, not {language!r}"
            raise StageFailure(ErrorCode.BAD_REQUEST, message, retryable=False)
        if self._engine is None or self._pool is None:
            raise RuntimeError("the provider was not started")
        return LocalUtterance(self._engine, self._pool, voice_settings, pace, patience)

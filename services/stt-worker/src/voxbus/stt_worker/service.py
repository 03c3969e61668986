"""The speech-to-text stage: what all calls of this worker share, and how a stream is opened."""

from __future__ import annotations

import asyncio
from typing import ClassVar

import structlog

from voxbus.contracts.stage import ErrorCode, ProviderChoice, Stage
from voxbus.contracts.stt import SttOpen
from voxbus.runtime.streams import StageFailure, StageService, StreamHandler, WorkerStream
from voxbus.stt_worker import models
from voxbus.stt_worker.engines import Engines
from voxbus.stt_worker.pool import InferencePool
from voxbus.stt_worker.providers import RecogniserSession, SttProvider, make_providers
from voxbus.stt_worker.session import SttSession
from voxbus.stt_worker.settings import Settings
from voxbus.stt_worker.smart_turn import SmartTurn
from voxbus.stt_worker.vad import SileroVad, VadTicker, vad_failure

log = structlog.get_logger(__name__)


class SttService(StageService[SttOpen]):
    """Speech to words, and when a turn starts and ends."""

    stage: ClassVar[Stage] = Stage.STT
    open_model = SttOpen

    def __init__(self, settings: Settings) -> None:
        self._pool = InferencePool(settings.stt_inference_threads)
        self._providers = make_providers(settings, self._pool)
        self._engines: Engines | None = None

    async def start(self) -> None:
        """Load every model; the first start on a machine converts the recogniser's weights, about 20 s."""
        vad = VadTicker(await asyncio.to_thread(SileroVad, models.silero_vad()))
        smart_turn = await asyncio.to_thread(SmartTurn, models.smart_turn())
        for provider in self._providers.values():
            await provider.start()
        vad.start()
        self._engines = Engines(vad, smart_turn, self._pool)

    async def stop(self) -> None:
        """Stop the inferences and free the models."""
        if self._engines is not None:
            await self._engines.vad.stop()
        for provider in self._providers.values():
            await provider.stop()
        await asyncio.to_thread(self._pool.close)

    def problem(self) -> str | None:
        """A worker that cannot hear takes no calls."""
        deaf = self._engines is not None and self._engines.vad.deaf
        return "voice activity detection fails" if deaf else None

    def providers(self) -> tuple[str, ...]:
        """Names of the providers this worker can serve."""
        return tuple(self._providers)

    async def open(self, request: SttOpen, stream: WorkerStream) -> StreamHandler:
        """A stream with the first of the request's providers that can be opened; none while the worker cannot hear."""
        if self._engines is None:
            raise RuntimeError("the service was not started")
        if self._engines.vad.deaf:
            raise vad_failure()
        choice, recogniser = await self._open_recogniser(request)
        stream.provider = choice.name
        return SttSession(request, stream, self._engines, recogniser)

    async def _open_recogniser(self, request: SttOpen) -> tuple[ProviderChoice, RecogniserSession]:
        """The first provider that opens, and its session.

        Raises a failure when none does: a retryable one if there is one, for then another try may succeed.
        """
        failures: list[StageFailure] = []
        for choice in request.providers:
            try:
                return choice, await self._provider(choice.name).open(request.language, choice.settings)
            except StageFailure as failure:
                log.warning("provider refused", provider=choice.name, code=failure.code.value, call_id=request.call_id)
                failures.append(failure)
            except Exception:
                log.exception("provider failed to open", provider=choice.name, call_id=request.call_id)
                message = f"speech-to-text provider {choice.name!r} failed to open"
                failures.append(StageFailure(ErrorCode.PROVIDER_FAILED, message, retryable=True))
        raise next((failure for failure in failures if failure.retryable), failures[0])

    def _provider(self, name: str) -> SttProvider:
        provider = self._providers.get(name)
        if provider is None:
            known = ", ".join(self._providers)
            message = f"this worker has no speech-to-text provider {name!r}, only: {known}"
            raise StageFailure(ErrorCode.UNKNOWN_PROVIDER, message, retryable=False)
        return provider

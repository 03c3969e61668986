"""The language-model stage of a worker process."""

from __future__ import annotations

from collections.abc import Mapping

from voxbus.contracts.llm import LlmOpen
from voxbus.contracts.stage import ErrorCode, Stage
from voxbus.llm_worker.handler import Choice, LlmHandler
from voxbus.llm_worker.providers.base import Provider
from voxbus.llm_worker.tools import Toolbox
from voxbus.runtime.streams import StageFailure, StageService, WorkerStream


class LlmService(StageService[LlmOpen]):
    """Opens a stream with the first provider of the request that this worker has; the others of it are its fallbacks."""

    stage = Stage.LLM
    open_model = LlmOpen

    def __init__(self, providers: Mapping[str, Provider], *, first_piece_chars: int | None, tool_rounds: int) -> None:
        self._providers = dict(providers)
        self._first_piece_chars = first_piece_chars
        self._tool_rounds = tool_rounds

    def providers(self) -> tuple[str, ...]:
        """Names of the providers this worker can serve."""
        return tuple(self._providers)

    async def open(self, request: LlmOpen, stream: WorkerStream) -> LlmHandler:
        """Checks settings and tools, then lets the reply begin."""
        choices = self._choices(request)
        toolbox = Toolbox(request.tools)
        stream.provider = choices[0].provider
        return LlmHandler(
            request,
            stream,
            choices,
            toolbox,
            first_piece_chars=self._first_piece_chars,
            tool_rounds=self._tool_rounds,
        )

    async def stop(self) -> None:
        """Close the providers' connections."""
        for provider in self._providers.values():
            await provider.stop()

    def _choices(self, request: LlmOpen) -> tuple[Choice, ...]:
        wanted = [choice for choice in request.providers if choice.name in self._providers]
        if not wanted:
            names = ", ".join(choice.name for choice in request.providers)
            known = ", ".join(self._providers)
            message = f"this worker has no provider {names}; it has: {known}"
            raise StageFailure(ErrorCode.UNKNOWN_PROVIDER, message, retryable=False)
        return tuple(
            Choice(choice.name, self._providers[choice.name].model(choice.settings, request.tools)) for choice in wanted
        )

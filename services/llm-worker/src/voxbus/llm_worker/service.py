"""The language-model stage of a worker process."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from voxbus.contracts.llm import LlmOpen
from voxbus.contracts.stage import ErrorCode, ProviderChoice, Stage
from voxbus.llm_worker import metrics
from voxbus.llm_worker.handler import Choice, LlmHandler
from voxbus.llm_worker.http_tools import HttpTools
from voxbus.llm_worker.providers.base import Provider
from voxbus.llm_worker.tools import Toolbox
from voxbus.runtime.streams import StageFailure, StageService, WorkerStream

log = structlog.get_logger(__name__)


class LlmService(StageService[LlmOpen]):
    """Opens a stream with the first provider of the request that this worker has; the others of it are its fallbacks."""

    stage = Stage.LLM
    open_model = LlmOpen

    def __init__(
        self,
        providers: Mapping[str, Provider],
        *,
        first_piece_chars: int | None,
        tool_rounds: int,
        http: HttpTools | None = None,
    ) -> None:
        """`http` calls the agents' HTTP tools; None: public addresses alone."""
        self._providers = dict(providers)
        self._first_piece_chars = first_piece_chars
        self._tool_rounds = tool_rounds
        self._http = http or HttpTools()

    def providers(self) -> tuple[str, ...]:
        """Names of the providers this worker can serve."""
        return tuple(self._providers)

    async def open(self, request: LlmOpen, stream: WorkerStream) -> LlmHandler:
        """Checks settings and tools, then lets the reply begin."""
        choices = self._choices(request)
        toolbox = Toolbox(request.tools, self._http, call_id=request.call_id, place=len(request.messages))
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
        choices, failures = self._models(wanted, request)
        if not choices:
            raise next((failure for failure in failures if failure.retryable), failures[0])
        return tuple(choices)

    def _models(self, wanted: list[ProviderChoice], request: LlmOpen) -> tuple[list[Choice], list[StageFailure]]:
        """The models that can be made, and why the others cannot: one that is set up wrongly does not stop the others."""
        choices: list[Choice] = []
        failures: list[StageFailure] = []
        for choice in wanted:
            try:
                provider = self._providers[choice.name]
                provider.check_language(request.language)
                choices.append(Choice(choice.name, provider.model(choice.settings, request.tools)))
            except StageFailure as failure:
                failures.append(failure)
            except Exception:
                log.exception("a provider broke at its settings", provider=choice.name)
                message = f"the worker failed to set up provider {choice.name}"
                failures.append(StageFailure(ErrorCode.INTERNAL, message, retryable=True))
            else:
                continue
            metrics.PROVIDER_ERRORS.labels(choice.name, failures[-1].code.value).inc()
        return choices, failures

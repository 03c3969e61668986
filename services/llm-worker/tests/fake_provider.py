"""A provider whose replies are given by the test."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping

from pydantic import JsonValue

from voxbus.contracts.llm import Tool
from voxbus.llm_worker.providers.base import Model, Provider, ReplyEvent, ReplyRequest
from voxbus.runtime.streams import StageFailure

Item = ReplyEvent | StageFailure | Exception | None


class FakeProvider(Provider):
    """Each request takes the next of `rounds`: events, failures to raise, or None to wait for ever."""

    name = "fake"

    def __init__(self, name: str = "fake") -> None:
        self.name = name  # type: ignore[misc]
        self.rounds: deque[list[Item]] = deque()
        self.requests: list[ReplyRequest] = []
        self.refusal: Exception | None = None
        self.closed = 0

    def model(self, settings: Mapping[str, JsonValue], tools: tuple[Tool, ...]) -> Model:
        if self.refusal:
            raise self.refusal
        return FakeModel(self)


class FakeModel(Model):
    """Plays the rounds of its provider."""

    name = "fake-1"

    def __init__(self, provider: FakeProvider) -> None:
        self._provider = provider

    async def reply(self, request: ReplyRequest) -> AsyncGenerator[ReplyEvent, None]:
        self._provider.requests.append(request)
        try:
            for item in self._provider.rounds.popleft():
                if item is None:
                    await asyncio.Event().wait()
                elif isinstance(item, Exception):
                    raise item
                else:
                    await asyncio.sleep(0)
                    yield item
        finally:
            self._provider.closed += 1

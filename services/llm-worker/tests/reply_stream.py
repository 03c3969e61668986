"""A real worker end of a stream whose output is kept instead of published, and requests for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from voxbus.contracts.base import new_id
from voxbus.contracts.frame import Kind, decode_frame
from voxbus.contracts.llm import (
    LLM_EVENT,
    ChatMessage,
    LlmFinished,
    LlmOpen,
    LlmSentence,
    LlmToolCalled,
    Role,
)
from voxbus.contracts.stage import ProviderChoice, StageError
from voxbus.llm_worker.service import LlmService
from voxbus.runtime.streams import WorkerStream


class ReplyStream:
    """Opens a stream on a service and keeps all that comes."""

    def __init__(self, request: LlmOpen) -> None:
        self.request = request
        self.events: list[Any] = []
        self.error: StageError | None = None
        self.outcome: str | None = None
        self._changed = asyncio.Event()
        self.stream = WorkerStream("llm", request, self._publish, self._ended)

    async def open(self, service: LlmService) -> ReplyStream:
        """As the runtime does it."""
        self.stream.handler = await service.open(self.request, self.stream)
        return self

    async def done(self) -> ReplyStream:
        """Wait until the stream has ended."""
        await self.until(lambda: self.outcome is not None)
        return self

    async def until(self, condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
        """Wait until the condition holds."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def cancel(self) -> None:
        """As the runtime does it on barge-in."""
        self.stream.end("cancelled")
        assert self.stream.handler is not None
        await self.stream.handler.on_cancel()

    @property
    def sentences(self) -> list[str]:
        """Texts of the sentences."""
        return [event.text for event in self.events if isinstance(event, LlmSentence)]

    @property
    def indices(self) -> list[int]:
        """Indices of the sentences."""
        return [event.index for event in self.events if isinstance(event, LlmSentence)]

    @property
    def calls(self) -> list[LlmToolCalled]:
        """Tool calls."""
        return [event for event in self.events if isinstance(event, LlmToolCalled)]

    @property
    def finished(self) -> LlmFinished:
        """The last event."""
        assert isinstance(self.events[-1], LlmFinished)
        return self.events[-1]

    @property
    def kinds(self) -> list[str]:
        """Types of the events."""
        return [event.type for event in self.events]

    async def _publish(self, _subject: str, data: bytes) -> None:
        frame = decode_frame(data)
        if frame.kind is Kind.MESSAGE:
            self.events.append(LLM_EVENT.validate_json(frame.body))
        elif frame.kind is Kind.ERROR:
            self.error = StageError.model_validate_json(frame.body)
        self._changed.set()

    def _ended(self, _stream: WorkerStream, outcome: str) -> None:
        self.outcome = outcome
        self._changed.set()


def said(*texts: str) -> tuple[ChatMessage, ...]:
    """A conversation, the agent first, taking turns."""
    return tuple(
        ChatMessage(role=Role.USER if number % 2 else Role.ASSISTANT, text=text) for number, text in enumerate(texts)
    )


def calls_made(*calls: LlmToolCalled) -> tuple[ChatMessage, ...]:
    """Calls of a turn and their results, as the gateway tells them to the next worker."""
    return tuple(
        message
        for called in calls
        for message in (
            ChatMessage(role=Role.ASSISTANT, tool_calls=(called.call,)),
            ChatMessage(role=Role.TOOL, text=called.result, tool_call_id=called.call.id),
        )
    )


def reply_request(*providers: ProviderChoice, **fields: Any) -> LlmOpen:
    """A valid request."""
    fields.setdefault("messages", said("Hello, which day?", "Tuesday."))
    return LlmOpen(
        call_id="call_1",
        stream_id=new_id("s"),
        attempt=fields.pop("attempt", 1),
        owner_id="owner",
        agent_id="agent",
        providers=providers,
        **fields,
    )

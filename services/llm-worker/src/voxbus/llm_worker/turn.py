"""One turn of the agent: from the model's tokens to sentences, with the rounds that tool calls need."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import cast

from voxbus.contracts.llm import ChatMessage, LlmToolCalled, Role, ToolCall, ToolKind, Usage
from voxbus.llm_worker.cutter import SentenceCutter
from voxbus.llm_worker.providers.base import (
    Model,
    ReplyEvent,
    ReplyRequest,
    TextDelta,
    ToolCallRequested,
    UsageReported,
)
from voxbus.llm_worker.tools import Toolbox


@dataclass(frozen=True, slots=True)
class FirstToken:
    """The model began to answer."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """A piece to speak."""

    text: str


TurnEvent = FirstToken | Sentence | LlmToolCalled


class Turn:
    """Runs one turn with one model. `usage` adds up over its rounds."""

    def __init__(self, model: Model, toolbox: Toolbox, *, first_piece_chars: int | None, max_rounds: int) -> None:
        self.usage = Usage()
        self._model = model
        self._toolbox = toolbox
        self._first_piece_chars = first_piece_chars
        self._max_rounds = max_rounds
        self._began = False
        self._made: dict[str, LlmToolCalled] = {}

    async def run(self, request: ReplyRequest) -> AsyncGenerator[TurnEvent, None]:
        """First token, sentences that were not spoken yet, and tool calls, as they come."""
        unspoken = _Unspoken(request.spoken)
        request, first_round = self._taken_over(request)
        if first_round and self._toolbox.ends_call(self._made.values()):
            return
        for round_number in range(first_round, self._max_rounds + 1):
            last = round_number == self._max_rounds
            if last:
                request = replace(request, tools=())  # nothing is left but to speak
            written: list[str] = []
            calls: list[LlmToolCalled] = []
            async with aclosing(self._round(request, written, calls, last=last)) as events:
                async for event in events:
                    if not isinstance(event, Sentence) or unspoken.is_new(event.text):
                        yield event
            if not calls or self._toolbox.ends_call(calls):
                return
            request = request.extended(*_round_messages("".join(written), calls))

    def _taken_over(self, request: ReplyRequest) -> tuple[ReplyRequest, int]:
        """Where to go on after calls that another worker made: an exact model writes them again, others start after them."""
        self._made = self._toolbox.made(request.turn)
        if self._model.exact or not request.turn:
            return replace(request, turn=()), 0
        rounds = sum(message.role is Role.ASSISTANT for message in request.turn)
        return replace(request, messages=(*request.messages, *request.turn), turn=()), min(rounds, self._max_rounds)

    async def _round(
        self, request: ReplyRequest, written: list[str], calls: list[LlmToolCalled], *, last: bool
    ) -> AsyncGenerator[TurnEvent, None]:
        cutter = SentenceCutter(first_piece_chars=self._first_piece_chars if not request.turn else None)
        due: list[LlmToolCalled] = []
        async with aclosing(_generator(self._model.reply(request))) as reply:
            async for event in reply:
                if isinstance(event, UsageReported):
                    self._add(event.usage)
                    continue
                if not self._began:
                    self._began = True
                    yield FirstToken()
                if isinstance(event, TextDelta):
                    written.append(event.text)
                    for sentence in _speakable(cutter.feed(event.text)):
                        yield sentence
                elif isinstance(event, ToolCallRequested):
                    for sentence in _speakable(cutter.finish()):
                        yield sentence
                    if event.id in self._made:
                        calls.append(self._made[event.id])
                        continue
                    call = self._toolbox.call(event)
                    if not last and self._toolbox.is_due(call):
                        due.append(
                            call
                        )  # once the model is done: it may be slow, and the provider must not wait for it
                    elif not last or call.kind is ToolKind.END_CALL:
                        calls.append(call)
                        yield call
        for sentence in _speakable(cutter.finish()):
            yield sentence
        for call in due:
            done = await self._toolbox.carry_out(call)
            calls.append(done)
            yield done

    def _add(self, usage: Usage) -> None:
        self.usage = Usage(
            input_tokens=self.usage.input_tokens + usage.input_tokens,
            output_tokens=self.usage.output_tokens + usage.output_tokens,
        )


class _Unspoken:
    """Holds back, after a takeover, the sentences that the caller's side already has, if the model writes them again."""

    def __init__(self, spoken: tuple[str, ...]) -> None:
        self._spoken = [" ".join(text.split()) for text in spoken]
        self._matched = 0

    def is_new(self, text: str) -> bool:
        if self._matched < len(self._spoken) and " ".join(text.split()) == self._spoken[self._matched]:
            self._matched += 1
            return False
        self._matched = len(self._spoken)
        return True


def _generator(events: AsyncIterator[ReplyEvent]) -> AsyncGenerator[ReplyEvent, None]:
    """Providers write `reply` as an async generator, whose closing stops the request."""
    return cast("AsyncGenerator[ReplyEvent, None]", events)


def _speakable(pieces: Iterable[str]) -> list[Sentence]:
    """Pieces with something to say; a line of dashes has nothing."""
    return [Sentence(piece) for piece in pieces if any(char.isalnum() for char in piece)]


def _round_messages(text: str, calls: list[LlmToolCalled]) -> list[ChatMessage]:
    tool_calls: tuple[ToolCall, ...] = tuple(call.call for call in calls)
    results = [ChatMessage(role=Role.TOOL, text=call.result, tool_call_id=call.call.id) for call in calls]
    return [ChatMessage(role=Role.ASSISTANT, text=text, tool_calls=tool_calls), *results]

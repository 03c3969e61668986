"""One open stream: runs the turn, falls back to the next provider before anything was said, reports."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass

from voxbus.contracts.llm import LlmFinished, LlmFirstToken, LlmOpen, LlmSentence, LlmToolCalled
from voxbus.contracts.stage import ErrorCode
from voxbus.llm_worker import metrics
from voxbus.llm_worker.providers.base import Model, ReplyRequest
from voxbus.llm_worker.tools import Toolbox
from voxbus.llm_worker.turn import FirstToken, Sentence, Turn
from voxbus.runtime.streams import StageFailure, StreamHandler, WorkerStream


@dataclass(frozen=True, slots=True)
class Choice:
    """A provider's name and its model with the agent's settings."""

    provider: str
    model: Model


class LlmHandler(StreamHandler):
    """Starts at once; needs no input."""

    def __init__(
        self,
        request: LlmOpen,
        stream: WorkerStream,
        choices: tuple[Choice, ...],
        toolbox: Toolbox,
        *,
        first_piece_chars: int | None,
        tool_rounds: int,
    ) -> None:
        self._request = ReplyRequest.of(request)
        self._stream = stream
        self._choices = choices
        self._toolbox = toolbox
        self._first_piece_chars = first_piece_chars
        self._tool_rounds = tool_rounds
        self._next_index = len(request.spoken)
        self._said_something = False
        self._first_token_sent = False
        self._task = asyncio.create_task(self._run(), name=f"reply {request.stream_id}")

    async def on_close(self) -> None:
        """The reply needs no input: it goes on and finishes the stream by itself."""

    async def on_cancel(self) -> None:
        """Stop the provider's request."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            await self._stream_reply()
        except StageFailure as failure:
            await self._stream.fail(failure)
        except Exception:
            self._stream.log.exception("the reply broke")
            message = "the worker failed to write the reply"
            await self._stream.fail(StageFailure(ErrorCode.INTERNAL, message, retryable=True))

    async def _stream_reply(self) -> None:
        for position, choice in enumerate(self._choices, start=1):
            try:
                await self._reply_with(choice)
            except StageFailure as failure:
                metrics.PROVIDER_ERRORS.labels(choice.provider, failure.code.value).inc()
                if self._said_something or position == len(self._choices):
                    raise
                following = self._choices[position].provider
                self._stream.log.warning(
                    "provider failed, trying the next",
                    provider=choice.provider,
                    next=following,
                    code=failure.code.value,
                )
            else:
                return

    async def _reply_with(self, choice: Choice) -> None:
        self._stream.provider = choice.provider
        turn = Turn(
            choice.model, self._toolbox, first_piece_chars=self._first_piece_chars, max_rounds=self._tool_rounds
        )
        async with aclosing(turn.run(self._request)) as events:
            async for event in events:
                if isinstance(event, FirstToken):
                    await self._first_token(choice)
                elif isinstance(event, Sentence):
                    await self._sentence(event.text, choice)
                else:
                    await self._tool_called(event)
        metrics.TOKENS.labels(choice.provider, "input").inc(turn.usage.input_tokens)
        metrics.TOKENS.labels(choice.provider, "output").inc(turn.usage.output_tokens)
        await self._stream.emit(
            LlmFinished(
                provider=choice.provider, model=choice.model.name, elapsed_ms=self._elapsed_ms(), usage=turn.usage
            )
        )
        await self._stream.finish()

    async def _first_token(self, choice: Choice) -> None:
        if self._first_token_sent:
            return
        self._first_token_sent = True
        elapsed_ms = self._elapsed_ms()
        metrics.FIRST_TOKEN_SECONDS.labels(choice.provider).observe(elapsed_ms / 1000)
        await self._stream.emit(LlmFirstToken(elapsed_ms=elapsed_ms))

    async def _sentence(self, text: str, choice: Choice) -> None:
        if not self._said_something:
            metrics.FIRST_SENTENCE_SECONDS.labels(choice.provider).observe(self._elapsed_ms() / 1000)
        self._said_something = True
        metrics.SENTENCES.labels(choice.provider).inc()
        index, self._next_index = self._next_index, self._next_index + 1
        await self._stream.emit(LlmSentence(index=index, text=text))

    async def _tool_called(self, event: LlmToolCalled) -> None:
        self._said_something = True
        metrics.TOOL_CALLS.labels(event.kind.value, "ok" if event.ok else "error").inc()
        await self._stream.emit(event)

    def _elapsed_ms(self) -> float:
        return round(self._stream.elapsed_ms(), 3)

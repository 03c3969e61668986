"""Provider `local`: any OpenAI-compatible server by its base URL (vLLM, Ollama, llama.cpp), through the openai SDK."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

from openai import AsyncOpenAI, AsyncStream, Timeout
from openai.resources.chat import AsyncCompletions  # imported here, or the SDK does it in the first call (50 ms)
from openai.types.chat import ChatCompletionChunk
from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from voxbus.contracts.llm import Tool, Usage
from voxbus.contracts.stage import ErrorCode
from voxbus.llm_worker.providers.base import (
    Model,
    Provider,
    ReplyEvent,
    ReplyRequest,
    TextDelta,
    ToolCallRequested,
    UsageReported,
    bad_settings,
    well_formed,
)
from voxbus.llm_worker.providers.openai_errors import failure_of
from voxbus.llm_worker.providers.openai_messages import chat_messages, chat_tools
from voxbus.llm_worker.settings import Settings
from voxbus.runtime.streams import StageFailure

_NO_KEY: Final = "none"
_USAGE_TIMEOUT_S: Final = 0.3
"""After the finish reason only the usage is still to come, and some servers never close the connection."""


class LocalSettings(BaseModel):
    """What an agent may set. What it leaves out is the worker's default, or the server's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: AnyHttpUrl | None = None
    model: str | None = Field(default=None, min_length=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    first_token_timeout_s: float | None = Field(default=None, gt=0, le=60)
    token_timeout_s: float | None = Field(default=None, gt=0, le=60)


class LocalProvider(Provider):
    """All streams share one client, that is one pool of connections; the SDK's own retries are off.

    The worker's key goes to the worker's base URL only: an agent that names another server is not given the key.
    """

    name = "local"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._base_url = _plain(settings.llm_local_base_url)
        connect_s = settings.llm_connect_timeout_s
        self._client = AsyncOpenAI(
            api_key=_NO_KEY,
            base_url=self._base_url or "http://127.0.0.1:9/unset",
            organization="",
            project="",
            max_retries=0,
            timeout=Timeout(None, connect=connect_s, write=connect_s, pool=connect_s),
        )

    def model(self, settings: Mapping[str, JsonValue], tools: tuple[Tool, ...]) -> Model:
        """Raises StageFailure(BAD_REQUEST) for wrong settings, or where neither agent nor worker names server and model."""
        try:
            chosen = LocalSettings.model_validate(settings)
        except ValidationError as error:
            raise bad_settings(self.name, LocalSettings, error) from None
        base_url = _plain(str(chosen.base_url)) if chosen.base_url else self._base_url
        model = chosen.model or self._settings.llm_local_model
        if not base_url or not model:
            message = (
                "provider local needs base_url and model, from the agent's settings or from "
                "VOXBUS_LLM_LOCAL_BASE_URL and VOXBUS_LLM_LOCAL_MODEL"
            )
            raise StageFailure(ErrorCode.BAD_REQUEST, message, retryable=False)
        key = self._settings.llm_local_api_key
        api_key = key.get_secret_value() if key and base_url == self._base_url else _NO_KEY
        return LocalModel(
            self._client.with_options(base_url=base_url, api_key=api_key).chat.completions,
            model,
            chosen,
            first_token_timeout_s=chosen.first_token_timeout_s or self._settings.llm_first_token_timeout_s,
            token_timeout_s=chosen.token_timeout_s or self._settings.llm_token_timeout_s,
        )

    async def stop(self) -> None:
        """Close the connections."""
        await self._client.close()


class LocalModel(Model):
    """A model behind an OpenAI-compatible server."""

    def __init__(
        self,
        completions: AsyncCompletions,
        model: str,
        settings: LocalSettings,
        *,
        first_token_timeout_s: float,
        token_timeout_s: float,
    ) -> None:
        self.name = model
        self._completions = completions
        self._first_token_timeout_s = first_token_timeout_s
        self._token_timeout_s = token_timeout_s
        self._options: dict[str, Any] = settings.model_dump(
            include={"temperature", "top_p", "max_tokens"}, exclude_none=True
        )

    async def reply(self, request: ReplyRequest) -> AsyncGenerator[ReplyEvent, None]:
        """Text as it comes; tool calls once they are complete."""
        calls = _ToolCalls(round_number=len(request.messages) + len(request.turn))
        finished = False
        chunks = self._chunks(request)
        try:
            async for chunk in chunks:
                if chunk.usage is not None:
                    yield UsageReported(_usage(chunk))
                for choice in (chunk.choices or ())[:1]:
                    finished = finished or choice.finish_reason is not None
                    delta = choice.delta
                    if delta is not None and delta.content:
                        yield TextDelta(well_formed(delta.content))
                    calls.add(delta)
        except (AttributeError, TypeError):  # the SDK does not validate what it was sent
            raise failure_of(ValueError("malformed chunk")) from None
        finally:
            await chunks.aclose()
        if not finished:
            message = "the server ended the reply before it was complete"
            raise StageFailure(ErrorCode.PROVIDER_FAILED, message, retryable=True)
        for call in calls.complete():
            yield call

    async def _chunks(self, request: ReplyRequest) -> AsyncGenerator[ChatCompletionChunk, None]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._first_token_timeout_s
        stream: AsyncStream[ChatCompletionChunk] | None = None
        finished = False
        try:
            async with asyncio.timeout_at(deadline):
                stream = await self._open(request)
            while True:
                async with asyncio.timeout_at(deadline):
                    chunk = await anext(stream)
                if not finished and _finishes(chunk):
                    finished = True
                    deadline = loop.time() + min(_USAGE_TIMEOUT_S, self._token_timeout_s)
                elif not finished and _says_something(chunk):
                    deadline = loop.time() + self._token_timeout_s
                yield chunk
        except StopAsyncIteration:
            return
        except (GeneratorExit, asyncio.CancelledError):
            raise
        except Exception as error:
            if not finished:
                raise failure_of(error) from None
        finally:
            if stream is not None:
                await stream.close()

    async def _open(self, request: ReplyRequest) -> AsyncStream[ChatCompletionChunk]:
        options = dict(self._options)
        if request.tools:
            options["tools"] = chat_tools(request.tools)
        stream: AsyncStream[ChatCompletionChunk] = await self._completions.create(
            model=self.name,
            messages=chat_messages(request),
            stream=True,
            stream_options={"include_usage": True},
            **options,
        )
        return stream


class _ToolCalls:
    """Puts tool calls together from their parts."""

    def __init__(self, round_number: int) -> None:
        self._round_number = round_number
        self._parts: list[list[str]] = []
        self._latest: dict[int | None, list[str]] = {}

    def add(self, delta: Any) -> None:
        for part in (delta.tool_calls if delta is not None else None) or ():
            call = self._call(part.index, part.id or "")
            if part.function is not None:
                call[1] += part.function.name or ""
                call[2] += part.function.arguments or ""

    def complete(self) -> list[ToolCallRequested]:
        return [
            ToolCallRequested(
                well_formed(call_id) or f"call_{self._round_number}_{position}",
                well_formed(name),
                well_formed(arguments),
            )
            for position, (call_id, name, arguments) in enumerate(self._parts)
        ]

    def _call(self, index: int | None, call_id: str) -> list[str]:
        """The call that a part belongs to. Some servers send index 0, or none, for all: then a new id is a new call."""
        call = self._latest.get(index)
        if call is None or (call_id and call[0] and call_id != call[0]):
            call = self._latest[index] = ["", "", ""]
            self._parts.append(call)
        call[0] = call[0] or call_id
        return call


def _says_something(chunk: ChatCompletionChunk) -> bool:
    """Servers send a chunk with the role alone before they have done any work."""
    return any(choice.delta.content or choice.delta.tool_calls for choice in chunk.choices or () if choice.delta)


def _finishes(chunk: ChatCompletionChunk) -> bool:
    return any(choice.finish_reason is not None for choice in (chunk.choices or ())[:1])


def _usage(chunk: ChatCompletionChunk) -> Usage:
    assert chunk.usage is not None  # noqa: S101  # the caller looked
    return Usage(input_tokens=chunk.usage.prompt_tokens or 0, output_tokens=chunk.usage.completion_tokens or 0)


def _plain(url: str | None) -> str | None:
    return url.rstrip("/") if url else None

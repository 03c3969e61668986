"""What a provider of the language-model stage is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Final

from pydantic import BaseModel, JsonValue, ValidationError

from voxbus.contracts.llm import ChatMessage, LlmOpen, Tool, Usage
from voxbus.contracts.stage import ErrorCode
from voxbus.runtime.streams import StageFailure

OK: Final = "ok"
"""The result of a tool call that was right and has nothing to tell."""
FAILED: Final = "error: "
"""How the result of a tool call that failed begins."""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """Some more text of the reply: a token, or a few."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallRequested:
    """The model wants a tool to be called. `arguments` is the JSON text as the model wrote it, valid or not."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class UsageReported:
    """Tokens of this request."""

    usage: Usage


ReplyEvent = TextDelta | ToolCallRequested | UsageReported


@dataclass(frozen=True, slots=True)
class ReplyRequest:
    """Ask for the agent's next words.

    `turn` is what this turn already has: the assistant's messages with tool calls, and the tools' results. `spoken` are
    sentences of this turn that another worker already delivered; a provider whose reply is not the same every time must
    go on after them. The calls which that worker made stand at the end of `messages` for such a provider.
    """

    system_prompt: str = ""
    language: str = "en"
    messages: tuple[ChatMessage, ...] = ()
    tools: tuple[Tool, ...] = ()
    turn: tuple[ChatMessage, ...] = ()
    spoken: tuple[str, ...] = ()

    @classmethod
    def of(cls, request: LlmOpen) -> ReplyRequest:
        """The first request of a turn."""
        return cls(
            request.system_prompt, request.language, request.messages, request.tools, request.turn, request.spoken
        )

    def extended(self, *messages: ChatMessage) -> ReplyRequest:
        """The request for the next round of the turn, after tool calls."""
        return replace(self, turn=(*self.turn, *messages))


class Model(ABC):
    """A provider with the settings of one agent."""

    name: str = ""
    """What the provider calls the model."""
    exact: ClassVar[bool] = False
    """The same conversation gives the same reply, with the same ids of tool calls, on any worker."""

    @abstractmethod
    def reply(self, request: ReplyRequest) -> AsyncIterator[ReplyEvent]:
        """The reply as it is written. Closing the iterator stops the provider's request at once.

        Raises StageFailure; anything else is a fault of the worker.
        """


class Provider(ABC):
    """One per worker process; shares connections between the streams."""

    name: ClassVar[str]

    @abstractmethod
    def model(self, settings: Mapping[str, JsonValue], tools: tuple[Tool, ...]) -> Model:
        """The model for an agent's settings and tools. Fast; raises StageFailure(BAD_REQUEST) for wrong settings."""

    def check_language(self, language: str) -> None:
        """Raises StageFailure(BAD_REQUEST) for a language (such as "en" or "en-GB") that the provider does not speak."""

    async def stop(self) -> None:
        """Close what is shared."""


def failed(result: str) -> bool:
    """Whether this is the result of a tool call that failed."""
    return result.startswith(FAILED)


def arguments_schema(tool: Tool) -> dict[str, JsonValue]:
    """The JSON schema of the tool's arguments; that of an empty object if it has none."""
    return dict(tool.parameters) or {"type": "object", "properties": {}}


def well_formed(text: str) -> str:
    """The text with "\ufffd" for each half of a surrogate pair that is alone; UTF-8, and so no message, can carry those."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def bad_settings(provider: str, settings: type[BaseModel], error: ValidationError) -> StageFailure:
    """The refusal of an agent's settings: what is wrong with them and which there are."""
    problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    known = ", ".join(settings.model_fields)
    message = f"settings of provider {provider}: {where}: {problem['msg']}; known settings: {known}"
    return StageFailure(ErrorCode.BAD_REQUEST, message, retryable=False)

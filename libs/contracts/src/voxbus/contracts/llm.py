"""Messages of the language-model stage. A stream is one turn of the agent."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, JsonValue, TypeAdapter

from voxbus.contracts.base import Message
from voxbus.contracts.stage import StreamOpen


class Role(StrEnum):
    """Who said a message of the conversation."""

    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class ToolCall(Message):
    """A tool call the model asked for."""

    id: str
    name: str
    arguments: dict[str, JsonValue] = Field(default_factory=dict)


class ChatMessage(Message):
    """One message of the conversation, as it was really heard."""

    role: Role
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    """Of a tool message: the call that it answers."""
    interrupted: bool = False
    """Of an assistant message: the caller cut it short; `text` is what was heard."""


class ToolKind(StrEnum):
    """What happens when the model calls a tool."""

    RECORD = "record"
    """The arguments become variables of the call; the model goes on."""
    END_CALL = "end_call"
    """The call ends once the agent has finished speaking."""


class Tool(Message):
    """A tool that the agent's model may call."""

    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    description: str = ""
    kind: ToolKind = ToolKind.RECORD
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    """JSON schema of the arguments; empty: no arguments."""


class LlmOpen(StreamOpen):
    """Ask for the agent's next words."""

    system_prompt: str = ""
    messages: tuple[ChatMessage, ...] = ()
    tools: tuple[Tool, ...] = ()
    spoken: tuple[str, ...] = ()
    """When the turn goes on (after a takeover, or a noise that cut it off): its sentences so far; index len(spoken) is next."""
    turn: tuple[ChatMessage, ...] = ()
    """When the turn goes on: tool calls already made in it, with their results; they are not made again."""


class LlmFirstToken(Message):
    """The provider's first token came."""

    type: Literal["first_token"] = "first_token"
    elapsed_ms: float
    """Since the worker got the open."""


class LlmSentence(Message):
    """A complete sentence, to be spoken."""

    type: Literal["sentence"] = "sentence"
    index: int = Field(ge=0)
    text: str


class LlmToolCalled(Message):
    """The model called a tool, and this was its result."""

    type: Literal["tool_called"] = "tool_called"
    call: ToolCall
    kind: ToolKind
    result: str
    ok: bool = True


class Usage(Message):
    """What a turn cost in tokens."""

    input_tokens: int = 0
    output_tokens: int = 0


class LlmFinished(Message):
    """The reply is complete."""

    type: Literal["finished"] = "finished"
    provider: str
    model: str = ""
    elapsed_ms: float
    usage: Usage = Usage()


LlmEvent = Annotated[LlmFirstToken | LlmSentence | LlmToolCalled | LlmFinished, Field(discriminator="type")]
LLM_EVENT: TypeAdapter[LlmFirstToken | LlmSentence | LlmToolCalled | LlmFinished] = TypeAdapter(LlmEvent)

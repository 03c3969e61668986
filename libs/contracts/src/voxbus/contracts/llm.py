"""Messages of the language-model stage. A stream is one turn of the agent."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, StringConstraints, TypeAdapter, model_validator

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
    HTTP = "http"
    """The arguments are sent to `Tool.http`; its answer goes to the model."""


HeaderName = Annotated[str, StringConstraints(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$")]
HeaderValue = Annotated[str, StringConstraints(max_length=2048, pattern=r"^[\x20-\x7e\t]*$")]


class HttpEndpoint(Message):
    """Where an HTTP tool sends its arguments: in the query of a GET or DELETE, else as a JSON body."""

    url: str = Field(max_length=2048, pattern=r"^https?://[^\s/?#@]+([/?][^\s#]*)?$")
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict, max_length=20)
    secret_headers: dict[HeaderName, HeaderValue] = Field(default_factory=dict, max_length=20, repr=False)
    """Sent like `headers`, and never shown again."""
    timeout_s: float = Field(default=10.0, gt=0, le=60)


class Tool(Message):
    """A tool that the agent's model may call."""

    name: str = Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    description: str = ""
    kind: ToolKind = ToolKind.RECORD
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    """JSON schema of the arguments; empty: no arguments."""
    http: HttpEndpoint | None = None
    """Of kind `http` only."""

    @model_validator(mode="after")
    def _endpoint_fits_kind(self) -> Self:
        if (self.http is not None) != (self.kind is ToolKind.HTTP):
            raise ValueError("`http` belongs to tools of kind `http`, and they need it")
        return self


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

"""Tool calls of models: which tool, are its arguments right, what is the result. The gateway acts on them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from voxbus.contracts.llm import ChatMessage, LlmToolCalled, Role, Tool, ToolCall, ToolKind
from voxbus.contracts.stage import ErrorCode
from voxbus.llm_worker import schemas
from voxbus.llm_worker.http_tools import HttpTools, Origin
from voxbus.llm_worker.providers.base import FAILED, OK, ToolCallRequested, arguments_schema, failed, well_formed
from voxbus.runtime.streams import StageFailure

_MAX_DEPTH: Final = 32
"""Of arguments. Messages that are nested much deeper cannot be read on the other side."""
_TOO_DEEP: Final = "the arguments are nested too deeply"


@dataclass(frozen=True, slots=True)
class _Entry:
    tool: Tool
    schema: schemas.ArgumentsSchema


class Toolbox:
    """The tools of an agent. Raises StageFailure(BAD_REQUEST) when a tool's parameters are no JSON schema."""

    def __init__(
        self, tools: tuple[Tool, ...], http: HttpTools | None = None, *, call_id: str = "", place: int = 0
    ) -> None:
        """`place`: of the turn in the conversation."""
        self._entries = {tool.name: _Entry(tool, _schema(tool)) for tool in tools}
        self._http = http or HttpTools()
        self._call_id, self._place = call_id, place

    def ends_call(self, calls: Iterable[LlmToolCalled]) -> bool:
        """Whether one of them ended the call."""
        return any(call.ok and call.kind is ToolKind.END_CALL for call in calls)

    def made(self, messages: Iterable[ChatMessage]) -> dict[str, LlmToolCalled]:
        """The calls in messages that have their results, by id."""
        known = tuple(messages)
        results = {message.tool_call_id: message.text for message in known if message.role is Role.TOOL}
        return {
            call.id: LlmToolCalled(
                call=call, kind=self._kind(call.name), result=results[call.id], ok=not failed(results[call.id])
            )
            for message in known
            for call in message.tool_calls
            if call.id in results
        }

    def call(self, request: ToolCallRequested) -> LlmToolCalled:
        """The call and its result. A call that is wrong gets a result that tells the model why.

        One of kind `http` that is right is still to be carried out.
        """
        entry = self._entries.get(request.name)
        arguments, problem = _arguments(request.arguments)
        if entry is None:
            problem = f"there is no tool {request.name!r}; there are: {', '.join(self._entries) or 'none'}"
        elif not problem:
            problem = entry.schema.problem(arguments)
        return LlmToolCalled(
            call=ToolCall(id=request.id, name=request.name, arguments=arguments),
            kind=self._kind(request.name),
            result=FAILED + problem if problem else OK,
            ok=not problem,
        )

    def is_due(self, called: LlmToolCalled) -> bool:
        """Whether it is still to be carried out."""
        return called.ok and called.kind is ToolKind.HTTP

    async def carry_out(self, called: LlmToolCalled) -> LlmToolCalled:
        """The call with the answer of the tool's server, or with what went wrong."""
        tool = self._entries[called.call.name].tool
        assert tool.http is not None  # noqa: S101  # the contract of `Tool`
        origin = Origin(self._call_id, tool.name, self._key(called.call))
        result = await self._http.call(tool.http, called.call.arguments, origin)
        return called.model_copy(update={"result": result.text, "ok": result.ok})

    def _key(self, call: ToolCall) -> str:
        """The same for the same call of the same turn: one that is made again after a takeover can be told by it.

        A model gives it another id then, so the id is not in it.
        """
        content = json.dumps([self._call_id, self._place, call.name, call.arguments], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:32]

    def _kind(self, name: str) -> ToolKind:
        entry = self._entries.get(name)
        return entry.tool.kind if entry else ToolKind.RECORD


def _schema(tool: Tool) -> schemas.ArgumentsSchema:
    try:
        return schemas.compiled(arguments_schema(tool))
    except ValueError as error:
        message = f"tool {tool.name}: its parameters are no JSON schema: {error}"
        raise StageFailure(ErrorCode.BAD_REQUEST, message, retryable=False) from None


def _arguments(text: str) -> tuple[dict[str, Any], str]:
    """The arguments, and what is wrong with them."""
    try:
        arguments = json.loads(text) if text.strip() else {}
        arguments = json.loads(well_formed(json.dumps(arguments, ensure_ascii=False)))
    except ValueError:
        return {}, "the arguments are not valid JSON"
    except RecursionError:
        return {}, _TOO_DEEP
    if _is_deep(arguments, _MAX_DEPTH):
        return {}, _TOO_DEEP
    return (arguments, "") if isinstance(arguments, dict) else ({}, "the arguments must be a JSON object")


def _is_deep(part: Any, levels: int) -> bool:
    if not isinstance(part, dict | list):
        return False
    return levels == 0 or any(
        _is_deep(item, levels - 1) for item in (part.values() if isinstance(part, dict) else part)
    )

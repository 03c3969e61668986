"""Tool calls of models: which tool, are its arguments right, what is the result. The gateway acts on them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator, SchemaError, ValidationError

from voxbus.contracts.llm import LlmToolCalled, Tool, ToolCall, ToolKind
from voxbus.contracts.stage import ErrorCode
from voxbus.llm_worker.providers.base import ToolCallRequested, arguments_schema
from voxbus.runtime.streams import StageFailure

OK = "ok"


@dataclass(frozen=True, slots=True)
class _Entry:
    tool: Tool
    validator: Draft202012Validator


class Toolbox:
    """The tools of an agent. Raises StageFailure(BAD_REQUEST) when a tool's parameters are no JSON schema."""

    def __init__(self, tools: tuple[Tool, ...]) -> None:
        self._entries = {tool.name: _Entry(tool, _validator(tool)) for tool in tools}

    def call(self, request: ToolCallRequested) -> LlmToolCalled:
        """The call and its result. A call that is wrong gets a result that tells the model why."""
        entry = self._entries.get(request.name)
        arguments, problem = _arguments(request.arguments)
        if entry is None:
            problem = f"there is no tool {request.name!r}; there are: {', '.join(self._entries) or 'none'}"
        elif not problem:
            problem = _problem(entry.validator, arguments)
        return LlmToolCalled(
            call=ToolCall(id=request.id, name=request.name, arguments=arguments),
            kind=entry.tool.kind if entry else ToolKind.RECORD,
            result=f"error: {problem}" if problem else OK,
            ok=not problem,
        )


def _validator(tool: Tool) -> Draft202012Validator:
    schema = arguments_schema(tool)
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        message = f"tool {tool.name}: its parameters are no JSON schema: {error.message}"
        raise StageFailure(ErrorCode.BAD_REQUEST, message, retryable=False) from None
    return Draft202012Validator(schema)


def _arguments(text: str) -> tuple[dict[str, Any], str]:
    """The arguments, and what is wrong with them."""
    try:
        arguments = json.loads(text) if text.strip() else {}
    except ValueError:
        return {}, "the arguments are not valid JSON"
    return (arguments, "") if isinstance(arguments, dict) else ({}, "the arguments must be a JSON object")


def _problem(validator: Draft202012Validator, arguments: dict[str, Any]) -> str:
    error: ValidationError | None = next(iter(validator.iter_errors(arguments)), None)
    if error is None:
        return ""
    return f"{error.json_path}: {error.message}"

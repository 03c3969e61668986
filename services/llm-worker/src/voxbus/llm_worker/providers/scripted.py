"""Provider `scripted`: no model; replies from a script, streamed in tokens as a model would."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Mapping
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from voxbus.contracts.llm import ChatMessage, Role, Tool, ToolKind, Usage
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
    failed,
)
from voxbus.llm_worker.script import library
from voxbus.llm_worker.script.engine import CallTool, EndCall, Say, Step, plan
from voxbus.llm_worker.script.model import Script
from voxbus.runtime.streams import StageFailure

_TOKEN: Final = re.compile(r"\s*\S+")


class ScriptedSettings(BaseModel):
    """What an agent may set: a script, or the name of one that comes with the worker."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    script: str | dict[str, JsonValue] = "receptionist"
    token_ms: float = Field(default=5.0, ge=0, le=1000)


class ScriptedProvider(Provider):
    """Deterministic: the same conversation gives the same reply, on any worker."""

    name = "scripted"

    def model(self, settings: Mapping[str, JsonValue], tools: tuple[Tool, ...]) -> Model:
        """Raises StageFailure(BAD_REQUEST) for a wrong script, or one that calls a tool the agent does not have."""
        try:
            chosen = ScriptedSettings.model_validate(settings)
        except ValidationError as error:
            raise bad_settings(self.name, ScriptedSettings, error) from None
        script = self._script(chosen.script)
        known = {tool.name for tool in tools}
        missing = {call.tool for call in (script.done.calls if script.done else ())} - known
        if missing:
            has = ", ".join(sorted(known)) or "none"
            message = f"the script calls {', '.join(sorted(missing))}; the agent's tools are: {has}"
            raise StageFailure(ErrorCode.BAD_REQUEST, message, retryable=False)
        end_tool = next((tool.name for tool in tools if tool.kind is ToolKind.END_CALL), None)
        return ScriptedModel(script, chosen.token_ms / 1000, end_tool)

    def check_language(self, language: str) -> None:
        """What is said on days, times and yes or no is English."""
        if language.partition("-")[0] != "en":
            message = f"the provider scripted speaks English (en) only, not {language!r}"
            raise StageFailure(ErrorCode.BAD_REQUEST, message, retryable=False)

    def _script(self, wanted: str | dict[str, JsonValue]) -> Script:
        if isinstance(wanted, dict):
            try:
                return library.parse(wanted)
            except ValidationError as error:
                raise bad_settings(f"{self.name}, script", Script, error) from None
        try:
            return library.load(wanted)
        except KeyError:
            message = f"there is no script {wanted!r}; there are: {', '.join(library.names())}"
            raise StageFailure(ErrorCode.BAD_REQUEST, message, retryable=False) from None


class ScriptedModel(Model):
    """One script. `end_tool` is the agent's tool that ends the call; without one the agent cannot hang up."""

    name = "script"
    exact = True

    def __init__(self, script: Script, token_s: float, end_tool: str | None) -> None:
        self._script = script
        self._token_s = token_s
        self._end_tool = end_tool

    async def reply(self, request: ReplyRequest) -> AsyncGenerator[ReplyEvent, None]:
        """The steps of the turn up to its next tool call."""
        tokens = 0
        for step in self._steps(request):
            if isinstance(step, ToolCallRequested):
                yield step
                break
            for token in _TOKEN.findall(step.text):
                await asyncio.sleep(self._token_s)
                tokens += 1
                yield TextDelta(token)
        yield UsageReported(Usage(output_tokens=tokens))

    def _steps(self, request: ReplyRequest) -> list[Say | ToolCallRequested]:
        """What is left of the turn after the tool calls that were made, with the ids that any worker would give them."""
        results = [message for message in request.turn if message.role is Role.TOOL]
        steps: list[Say | ToolCallRequested] = []
        made = 0
        for step in plan(self._script, request.messages):
            if isinstance(step, Say):
                steps.append(step)
                continue
            call = self._call(step, request.messages, made)
            if call is None:
                continue
            if made == len(results):
                return [*steps, call]
            if failed(results[made].text) and isinstance(step, CallTool):
                return self._after_failure(step, request.messages, results[made:])
            made += 1
            steps = []
        return steps

    def _after_failure(
        self, step: CallTool, messages: tuple[ChatMessage, ...], results: list[ChatMessage]
    ) -> list[Say | ToolCallRequested]:
        end = self._call(EndCall(), messages, -1)
        rest: list[Say | ToolCallRequested] = [Say(step.failed)]
        return [*rest, end] if end and len(results) == 1 else rest

    def _call(self, step: Step, messages: tuple[ChatMessage, ...], position: int) -> ToolCallRequested | None:
        call_id = f"call_{len(messages)}_{position}" if position >= 0 else f"call_{len(messages)}_end"
        if isinstance(step, CallTool):
            return ToolCallRequested(call_id, step.tool, json.dumps(step.arguments))
        return ToolCallRequested(call_id, self._end_tool, "{}") if self._end_tool else None

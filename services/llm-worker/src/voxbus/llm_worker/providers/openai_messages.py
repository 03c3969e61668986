"""A conversation in the form of OpenAI's chat completions."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from voxbus.contracts.llm import ChatMessage, Role, Tool, ToolCall
from voxbus.llm_worker.providers.base import ReplyRequest, arguments_schema

CONTINUE = (
    "Your reply was cut off right after the assistant's last words above; the caller has heard them. "
    "Write only what comes next. Do not repeat any of it."
)

BEGIN = "(the call begins)"
"""Stands before a greeting: the templates of many models refuse a conversation that the assistant begins."""


def chat_messages(request: ReplyRequest) -> list[Any]:
    """System prompt, conversation, this turn's rounds and, after a takeover, what was already spoken of the reply."""
    messages: list[dict[str, Any]] = []
    if request.system_prompt:
        messages.append({"role": "system", "content": request.system_prompt})
    spoken = (ChatMessage(role=Role.ASSISTANT, text=" ".join(request.spoken)),) if request.spoken else ()
    conversation = _conversation((*request.messages, *spoken, *request.turn))
    if conversation and conversation[0]["role"] != "user":
        messages.append({"role": "user", "content": BEGIN})
    messages.extend(conversation)
    if spoken and not request.turn:  # from the user, for templates that take a system message at the start only
        messages.append({"role": "user", "content": CONTINUE})
    return messages


def chat_tools(tools: Iterable[Tool]) -> list[Any]:
    """The tools as functions."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": arguments_schema(tool),
            },
        }
        for tool in tools
    ]


def _conversation(messages: tuple[ChatMessage, ...]) -> list[dict[str, Any]]:
    """Servers refuse a tool call without its result and a result without its call, so neither is sent alone."""
    answered = {message.tool_call_id for message in messages if message.role is Role.TOOL}
    called = {call.id for message in messages for call in message.tool_calls}
    result: list[dict[str, Any]] = []
    for message in messages:
        if message.role is Role.TOOL:
            if message.tool_call_id in called:
                result.append({"role": "tool", "tool_call_id": message.tool_call_id, "content": message.text})
        elif message.role is Role.USER:
            result.append({"role": "user", "content": message.text})
        else:
            result.extend(_assistant(message, [call for call in message.tool_calls if call.id in answered]))
    return result


def _assistant(message: ChatMessage, calls: list[ToolCall]) -> list[dict[str, Any]]:
    text = f"{message.text}…" if message.interrupted and message.text else message.text
    if not text and not calls:
        return []
    converted: dict[str, Any] = {"role": "assistant", "content": text}
    if calls:
        converted["tool_calls"] = [_call(call) for call in calls]
    return [converted]


def _call(call: ToolCall) -> dict[str, Any]:
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}

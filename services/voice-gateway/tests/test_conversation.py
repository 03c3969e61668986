"""What the model is told of the conversation so far."""

from __future__ import annotations

import pytest

from voxbus.contracts.llm import LlmToolCalled, Role, ToolCall, ToolKind
from voxbus.voice_gateway.conversation import FORGOTTEN, MAX_RESULT_CHARS, Conversation

pytestmark = pytest.mark.unit


def called(number: int, result: str) -> LlmToolCalled:
    """A call and its result."""
    return LlmToolCalled(call=ToolCall(id=f"t{number}", name="find"), kind=ToolKind.HTTP, result=result)


def test_old_results_make_room_for_new_ones() -> None:
    """The newest results are kept as far as there is room; of the older ones the model knows that they were there."""
    conversation = Conversation()
    for number in range(5):
        conversation.agent_said("So.", interrupted=False, tool_calls=(called(number, f"{number}" * 40_000),))
    conversation.agent_said("Done.", interrupted=False, tool_calls=(called(5, "ok"),))
    results = [message.text for message in conversation.messages if message.role is Role.TOOL]
    assert results == [FORGOTTEN, FORGOTTEN, FORGOTTEN, "3" * 40_000, "4" * 40_000, "ok"]
    calls = [call.id for message in conversation.messages for call in message.tool_calls]
    assert calls == [message.tool_call_id for message in conversation.messages if message.role is Role.TOOL]


def test_short_results_are_kept() -> None:
    """A thousand short ones need no room that matters."""
    conversation = Conversation()
    conversation.agent_said("", interrupted=False, tool_calls=(called(0, "x" * (MAX_RESULT_CHARS - 2)),))
    for number in range(1, 1000):
        conversation.agent_said("", interrupted=False, tool_calls=(called(number, "ok"),))
    results = [message.text for message in conversation.messages if message.role is Role.TOOL]
    assert results == [FORGOTTEN, *["ok"] * 999]

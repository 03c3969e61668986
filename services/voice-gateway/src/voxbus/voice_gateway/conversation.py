"""The conversation as it was really heard: what the next turn is based on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from voxbus.contracts.llm import ChatMessage, LlmToolCalled, Role

MAX_RESULT_CHARS: Final = 100_000
"""Of tools' results in the conversation, the newest first: all of it goes to the model, in one message of the bus, each turn."""
FORGOTTEN: Final = "(this result is no longer available; call the tool again if you need it)"


def tool_messages(tool_calls: Iterable[LlmToolCalled]) -> tuple[ChatMessage, ...]:
    """Each call and its result, as messages."""
    messages: list[ChatMessage] = []
    for called in tool_calls:
        messages.append(ChatMessage(role=Role.ASSISTANT, tool_calls=(called.call,)))
        messages.append(ChatMessage(role=Role.TOOL, text=called.result, tool_call_id=called.call.id))
    return tuple(messages)


class Conversation:
    """Messages between caller and agent. No I/O."""

    def __init__(self) -> None:
        self._messages: list[ChatMessage] = []

    @property
    def messages(self) -> tuple[ChatMessage, ...]:
        """All messages so far."""
        return tuple(self._messages)

    def caller_said(self, text: str) -> None:
        """The caller's turn; words that follow an unanswered turn of theirs continue it."""
        last = self._messages[-1] if self._messages else None
        if last is not None and last.role is Role.USER:
            self._messages[-1] = ChatMessage(role=Role.USER, text=f"{last.text} {text}")
        else:
            self._messages.append(ChatMessage(role=Role.USER, text=text))

    def agent_said(self, heard: str, *, interrupted: bool, tool_calls: tuple[LlmToolCalled, ...] = ()) -> None:
        """The agent's turn: what was heard of it, and the tools it called, which have had their effect in any case."""
        if tool_calls:
            self._messages += tool_messages(tool_calls)
            self._forget_results()
        if heard:
            self._messages.append(ChatMessage(role=Role.ASSISTANT, text=heard, interrupted=interrupted))

    def _forget_results(self) -> None:
        left = MAX_RESULT_CHARS
        for place in range(len(self._messages) - 1, -1, -1):
            message = self._messages[place]
            if message.role is Role.TOOL:
                left -= len(message.text)
                if left < 0 and len(message.text) > len(FORGOTTEN):
                    self._messages[place] = message.model_copy(update={"text": FORGOTTEN})

    @property
    def unanswered(self) -> bool:
        """Whether the last word is the caller's, or a tool's that the agent has said nothing about."""
        return bool(self._messages) and self._messages[-1].role in (Role.USER, Role.TOOL)

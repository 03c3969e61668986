"""Tool calls and takeovers of provider `local`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from local_stand import BOOK, HANG_UP, make_service, reply
from openai_server import Fault, OpenAiServer, Reply
from reply_stream import calls_made, said

from voxbus.contracts.llm import ChatMessage, Role, ToolCall, ToolKind
from voxbus.llm_worker.providers.openai_messages import BEGIN, CONTINUE
from voxbus.llm_worker.service import LlmService

pytestmark = pytest.mark.integration


@pytest_asyncio.fixture
async def server() -> AsyncIterator[OpenAiServer]:
    """An OpenAI-compatible server."""
    async with OpenAiServer() as made:
        yield made


@pytest_asyncio.fixture
async def service(server: OpenAiServer) -> AsyncIterator[LlmService]:
    """A service with the provider, pointed at the server."""
    made = make_service(llm_local_base_url=server.base_url)
    yield made
    await made.stop()


async def test_a_takeover_goes_on_after_what_was_spoken(server: OpenAiServer, service: LlmService) -> None:
    """The model is told what was spoken; indices go on after it, and a model that repeats it is not heard twice."""
    server.replies.append(Reply(tokens=("One. ", "Two. ", "Three.")))
    stream = await reply(service, spoken=("One.", "Two."), attempt=2)
    assert (stream.sentences, stream.indices) == (["Three."], [2])
    assert server.requests[0]["messages"][-2:] == [
        {"role": "assistant", "content": "One. Two."},
        {"role": "user", "content": CONTINUE},
    ]


async def test_a_takeover_after_a_tool_call_goes_on_after_it(server: OpenAiServer, service: LlmService) -> None:
    """The model sees the call, its result and what was spoken; ids that the worker gives are new ones."""
    server.replies.append(Reply(tokens=("One moment.",), tool_calls=(("", "book", ('{"day": "x"}',)),)))
    server.replies.append(Reply(fault=Fault.CUT))
    first = await reply(service, tools=(BOOK,))
    server.replies.append(Reply(tool_calls=(("", "book", ('{"day": "y"}',)),)))
    server.replies.append(Reply(tokens=("Booked.",)))
    stream = await reply(
        service, tools=(BOOK,), spoken=tuple(first.sentences), turn=calls_made(*first.calls), attempt=2
    )
    roles = [message["role"] for message in server.requests[2]["messages"]]
    assert roles[-4:-1] == ["assistant", "tool", "assistant"]
    assert server.requests[2]["messages"][-1]["content"] == CONTINUE
    assert (stream.sentences, stream.indices) == (["Booked."], [1])
    assert stream.calls[0].call.id != first.calls[0].call.id


async def test_a_takeover_after_the_end_of_the_call_asks_nothing(server: OpenAiServer, service: LlmService) -> None:
    """When the agent has already hung up, all that was missing is the end of the stream."""
    server.replies.append(Reply(tokens=("Bye.",), tool_calls=(("c1", "hang_up", ()),)))
    first = await reply(service, tools=(HANG_UP,))
    stream = await reply(
        service, tools=(HANG_UP,), spoken=tuple(first.sentences), turn=calls_made(*first.calls), attempt=2
    )
    assert stream.kinds == ["finished"]
    assert len(server.requests) == 1


async def test_the_model_goes_on_after_a_tool_call(server: OpenAiServer, service: LlmService) -> None:
    """The call's parts are put together, its arguments checked, and the model gets the result."""
    server.replies.extend(
        [
            Reply(tokens=("One moment.",), tool_calls=(("call_a", "book", ('{"day": ', '"Tuesday"}')),)),
            Reply(tokens=("Booked.",), tool_calls=(("call_b", "hang_up", ()),)),
        ]
    )
    stream = await reply(service, tools=(BOOK, HANG_UP))
    assert stream.kinds == ["first_token", "sentence", "tool_called", "sentence", "tool_called", "finished"]
    assert [(call.call.name, call.call.arguments, call.kind, call.ok) for call in stream.calls] == [
        ("book", {"day": "Tuesday"}, ToolKind.RECORD, True),
        ("hang_up", {}, ToolKind.END_CALL, True),
    ]
    assert stream.finished.usage.input_tokens == 14
    assert [message["role"] for message in server.requests[1]["messages"][-2:]] == ["assistant", "tool"]
    assert server.requests[1]["messages"][-1] == {"role": "tool", "tool_call_id": "call_a", "content": "ok"}
    assert server.requests[0]["tools"][0]["function"]["parameters"] == BOOK.parameters


@pytest.mark.parametrize("indices", [(0, 1), (0, 0), (None, None)])
async def test_calls_side_by_side_are_told_apart(
    server: OpenAiServer, service: LlmService, indices: tuple[int | None, ...]
) -> None:
    """Two calls in one reply stay two, also when the server gives both the same index or none."""
    calls = (("call_a", "book", ('{"day": ', '"Monday"}')), ("call_b", "book", ('{"day": ', '"Tuesday"}')))
    server.replies.extend([Reply(tool_calls=calls, indices=indices), Reply(tokens=("Booked.",))])
    stream = await reply(service, tools=(BOOK,))
    assert [(call.call.id, call.call.arguments) for call in stream.calls] == [
        ("call_a", {"day": "Monday"}),
        ("call_b", {"day": "Tuesday"}),
    ]


async def test_a_conversation_with_tools_and_interruptions_is_one_that_servers_accept(
    server: OpenAiServer, service: LlmService
) -> None:
    """Tool calls are sent with their results and never alone; what was cut short ends in an ellipsis."""
    call = ToolCall(id="call_1", name="book", arguments={"day": "Tuesday"})
    orphan = ToolCall(id="call_2", name="book")
    messages = (
        *said("Hello, which day?", "Tuesday."),
        ChatMessage(role=Role.ASSISTANT, tool_calls=(call,)),
        ChatMessage(role=Role.TOOL, text="ok", tool_call_id="call_1"),
        ChatMessage(role=Role.ASSISTANT, text="It is", interrupted=True, tool_calls=(orphan,)),
        ChatMessage(role=Role.TOOL, text="ok", tool_call_id="call_3"),
        ChatMessage(role=Role.ASSISTANT),
        ChatMessage(role=Role.USER, text="Wait."),
    )
    server.replies.append(Reply(tokens=("Yes?",)))
    stream = await reply(service, messages=messages)
    assert stream.sentences == ["Yes?"]
    assert [message["content"] for message in server.requests[0]["messages"]] == [
        BEGIN, "Hello, which day?", "Tuesday.", "", "ok", "It is…", "Wait.",
    ]  # fmt: skip

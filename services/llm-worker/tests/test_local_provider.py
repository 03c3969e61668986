"""Provider `local` through the real SDK over real HTTP."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from local_stand import BOOK, LOCAL, make_service, reply
from openai_server import KEY, MODEL, Fault, OpenAiServer, Reply
from reply_stream import ReplyStream, reply_request
from structlog.testing import capture_logs

from voxbus.contracts.llm import ChatMessage, Role
from voxbus.contracts.stage import ErrorCode, ProviderChoice
from voxbus.llm_worker.providers.openai_messages import BEGIN
from voxbus.llm_worker.service import LlmService
from voxbus.runtime.streams import StageFailure

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


async def test_a_reply_comes_sentence_by_sentence(server: OpenAiServer, service: LlmService) -> None:
    """First token, sentences with their indices, and the end with model and usage."""
    server.replies.append(Reply(tokens=("Tues", "day is", " fine", ".", " At", " what", " time", "?")))
    stream = await reply(service, system_prompt="You book appointments.")
    assert stream.kinds == ["first_token", "sentence", "sentence", "finished"]
    assert stream.sentences == ["Tuesday is fine.", "At what time?"]
    assert stream.indices == [0, 1]
    assert (stream.finished.provider, stream.finished.model) == ("local", MODEL)
    assert (stream.finished.usage.input_tokens, stream.finished.usage.output_tokens) == (7, 8)
    assert stream.outcome == "finished"
    assert server.requests[0]["messages"] == [
        {"role": "system", "content": "You book appointments."},
        {"role": "user", "content": BEGIN},
        {"role": "assistant", "content": "Hello, which day?"},
        {"role": "user", "content": "Tuesday."},
    ]


async def test_a_caller_who_speaks_first_needs_no_placeholder(server: OpenAiServer, service: LlmService) -> None:
    """A conversation that the caller began is sent as it is, and system messages come at the start only."""
    server.replies.append(Reply(tokens=("Yes.",)))
    messages = (ChatMessage(role=Role.USER, text="Hello?"),)
    await reply(service, system_prompt="You book.", messages=messages, spoken=("Hi.",), attempt=2)
    assert [message["role"] for message in server.requests[0]["messages"]] == ["system", "user", "assistant", "user"]


async def test_a_sentence_leaves_while_the_model_still_writes(server: OpenAiServer, service: LlmService) -> None:
    """The first sentence is out although the reply never ends."""
    server.replies.append(Reply(tokens=("Yes", ".", " And"), endless=True))
    stream = await ReplyStream(reply_request(LOCAL)).open(service)
    await stream.until(lambda: stream.sentences == ["Yes."])
    await stream.cancel()


async def test_cancelling_stops_the_request_at_once(server: OpenAiServer, service: LlmService) -> None:
    """The server sees the connection close while it still writes, and nothing more is sent."""
    server.replies.append(Reply(tokens=("Yes", ".", " And"), endless=True))
    stream = await ReplyStream(reply_request(LOCAL)).open(service)
    await stream.until(lambda: bool(stream.sentences))
    await stream.cancel()
    count = len(stream.events)
    async with asyncio.timeout(1):
        await server.disconnected.wait()
    assert len(stream.events) == count


async def test_settings_reach_the_server(server: OpenAiServer, service: LlmService) -> None:
    """Model, temperature and token limit of the agent are sent; what it leaves out is not."""
    server.replies.append(Reply(tokens=("Yes.",)))
    settings = {"model": MODEL, "temperature": 0.2, "max_tokens": 50}
    await reply(service, ProviderChoice(name="local", settings=settings))
    sent = server.requests[0]
    assert (sent["model"], sent["temperature"], sent["max_tokens"]) == (MODEL, 0.2, 50)
    assert "top_p" not in sent
    assert "tools" not in sent


async def test_the_key_goes_to_the_workers_server_only(server: OpenAiServer, service: LlmService) -> None:
    """An agent that names a server of its own is not given the worker's key."""
    server.replies.extend([Reply(tokens=("Yes.",)), Reply(tokens=("Yes.",))])
    await reply(service)
    async with OpenAiServer() as other:
        other.replies.append(Reply(tokens=("Mine.",)))
        stream = await reply(service, ProviderChoice(name="local", settings={"base_url": other.base_url}))
        assert stream.sentences == ["Mine."]
        assert other.keys == ["Bearer none"]
    assert server.keys == [f"Bearer {KEY}"]


async def test_streams_share_connections(server: OpenAiServer, service: LlmService) -> None:
    """Replies one after the other use one connection."""
    for _ in range(3):
        server.replies.append(Reply(tokens=("Yes.",)))
        await reply(service)
    assert server.connections == 1


@pytest.mark.parametrize(
    ("answer", "code", "retryable"),
    [
        (Reply(status=400), ErrorCode.PROVIDER_REJECTED, False),
        (Reply(status=401), ErrorCode.PROVIDER_REJECTED, False),
        (Reply(status=404), ErrorCode.PROVIDER_REJECTED, False),
        (Reply(status=408), ErrorCode.TIMEOUT, True),
        (Reply(status=429), ErrorCode.PROVIDER_FAILED, True),
        (Reply(status=500), ErrorCode.PROVIDER_FAILED, True),
        (Reply(status=503), ErrorCode.PROVIDER_FAILED, True),
        (Reply(fault=Fault.STALL), ErrorCode.TIMEOUT, True),
        (Reply(tokens=("A", "B"), fault=Fault.STALL, fault_after=1), ErrorCode.TIMEOUT, True),
        (Reply(fault=Fault.CUT), ErrorCode.PROVIDER_FAILED, True),
        (Reply(tokens=("A", "B"), fault=Fault.CUT, fault_after=1), ErrorCode.PROVIDER_FAILED, True),
        (Reply(tokens=("A",), fault=Fault.MALFORMED), ErrorCode.PROVIDER_FAILED, True),
        (Reply(tokens=("A",), fault=Fault.NO_COMPLETION), ErrorCode.PROVIDER_FAILED, True),
        (Reply(tokens=("A",), fault=Fault.ERROR_EVENT), ErrorCode.PROVIDER_FAILED, True),
        (Reply(tokens=("A",), fault=Fault.SILENT_END), ErrorCode.PROVIDER_FAILED, True),
    ],
)
async def test_failures_have_a_code(
    server: OpenAiServer, service: LlmService, answer: Reply, code: ErrorCode, retryable: bool
) -> None:
    """Each fault ends the stream with its code after one request; neither key nor words are in the message or the logs."""
    server.replies.append(answer)
    with capture_logs() as logs:
        stream = await reply(service)
    assert stream.error is not None
    assert (stream.error.code, stream.error.retryable) == (code, retryable)
    assert len(server.requests) == 1
    told = json.dumps(logs, default=str) + stream.error.message
    assert KEY not in told
    assert "words" not in told
    assert "Tuesday" not in told


@pytest.mark.parametrize(("open_after", "tokens"), [("stop", 0), ("usage", 7), ("cut", 0)])
async def test_a_complete_reply_needs_no_close(server: OpenAiServer, open_after: str, tokens: int) -> None:
    """A server that said "stop" is not waited for any longer, whatever happens to the connection."""
    service = make_service(llm_local_base_url=server.base_url, llm_token_timeout_s=5)
    server.replies.append(Reply(tokens=("Yes.",), open_after=open_after))
    began = time.monotonic()
    stream = await reply(service)
    assert stream.sentences == ["Yes."]
    assert stream.finished.usage.input_tokens == tokens
    assert time.monotonic() - began < 2
    await service.stop()


async def test_half_a_character_does_not_end_the_turn(server: OpenAiServer, service: LlmService) -> None:
    """A lone surrogate in the text, or in a tool call, is replaced."""
    server.replies.append(Reply(tokens=("Hello \ud83d.",), tool_calls=(("c1\ud83d", "bo\ud83dok", ("{}\ud83d",)),)))
    server.replies.append(Reply(tokens=("Bye.",)))
    stream = await reply(service, tools=(BOOK,))
    assert stream.sentences == ["Hello \ufffd.", "Bye."]
    assert (stream.calls[0].call.id, stream.calls[0].call.name) == ("c1\ufffd", "bo\ufffdok")
    assert stream.outcome == "finished"


async def test_a_server_that_is_not_there_is_a_retryable_failure() -> None:
    """A refused connection is the provider's failure and comes at once."""
    service = make_service(llm_local_base_url="http://127.0.0.1:1/v1")
    began = time.monotonic()
    stream = await reply(service)
    assert stream.error is not None
    assert (stream.error.code, stream.error.retryable) == (ErrorCode.PROVIDER_FAILED, True)
    assert time.monotonic() - began < 2
    await service.stop()


async def test_the_next_provider_steps_in_before_anything_was_said(server: OpenAiServer, service: LlmService) -> None:
    """A first choice that stalls before its first token falls back within the turn."""
    server.replies.extend([Reply(fault=Fault.STALL), Reply(tokens=("Here", " I am."))])
    stream = await reply(service, LOCAL, ProviderChoice(name="local", settings={"temperature": 0}))
    assert stream.sentences == ["Here I am."]
    assert stream.error is None
    assert len(server.requests) == 2


async def test_after_the_first_sentence_a_failure_is_left_to_the_owner(
    server: OpenAiServer, service: LlmService
) -> None:
    """What was said cannot be taken back, so the stream fails and the owner opens it again with what was spoken."""
    server.replies.append(Reply(tokens=("One", ".", " Two"), fault=Fault.CUT, fault_after=3))
    stream = await reply(service, LOCAL, LOCAL)
    assert stream.sentences == ["One."]
    assert stream.error is not None
    assert stream.error.retryable
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"temprature": 1}, "temprature"),
        ({"temperature": 3}, "temperature"),
        ({"base_url": "ftp://x"}, "base_url"),
        ({"max_tokens": 0}, "max_tokens"),
    ],
)
async def test_wrong_settings_are_refused_with_what_is_allowed(settings: dict[str, Any], told: str) -> None:
    """The refusal names the setting and lists those there are, and is no provider's failure."""
    service = make_service(llm_local_base_url="http://127.0.0.1:1/v1")
    with pytest.raises(StageFailure) as failure:
        await ReplyStream(reply_request(ProviderChoice(name="local", settings=settings))).open(service)
    assert failure.value.code is ErrorCode.BAD_REQUEST
    assert told in failure.value.message
    assert "known settings: base_url, model" in failure.value.message


async def test_without_a_server_the_refusal_says_what_to_set() -> None:
    """Neither agent nor worker names a server: the message names both places."""
    with pytest.raises(StageFailure, match="VOXBUS_LLM_LOCAL_BASE_URL"):
        await ReplyStream(reply_request(LOCAL)).open(make_service())

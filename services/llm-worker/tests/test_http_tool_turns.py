"""HTTP tools within a turn: when they are called, how often, and who reads the answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from fake_provider import FakeProvider
from local_stand import LOCAL, make_service
from openai_server import OpenAiServer
from openai_server import Reply as ModelReply
from reply_stream import ReplyStream, calls_made, reply_request, said
from tool_server import Answer, ToolServer

from voxbus.contracts.llm import Role, Tool, ToolKind
from voxbus.contracts.stage import ProviderChoice
from voxbus.llm_worker.destinations import Destinations
from voxbus.llm_worker.http_tools import HttpTools
from voxbus.llm_worker.providers.base import TextDelta, ToolCallRequested
from voxbus.llm_worker.providers.scripted import ScriptedProvider
from voxbus.llm_worker.service import LlmService

pytestmark = pytest.mark.integration

FAKE = ProviderChoice(name="fake")
HERE = Destinations(["127.0.0.1"])
HANG_UP = Tool(name="hang_up", kind=ToolKind.END_CALL)
ORDER = {
    "slots": [{"name": "day", "kind": "day", "ask": "Which day?"}],
    "done": {
        "calls": [{"tool": "find", "arguments": {"day": "{day}"}}],
        "say": "It is free.",
        "failed": "I can't look.",
    },
}


@pytest_asyncio.fixture
async def server() -> AsyncIterator[ToolServer]:
    """The tool's server."""
    async with ToolServer() as made:
        yield made


@pytest.fixture
def fake() -> FakeProvider:
    """A model whose rounds the test gives."""
    return FakeProvider()


@pytest.fixture
def service(fake: FakeProvider) -> LlmService:
    """A worker with this model and scripts, whose tools may reach this machine."""
    providers = {"fake": fake, "scripted": ScriptedProvider()}
    return LlmService(providers, first_piece_chars=None, tool_rounds=2, http=HttpTools(HERE))


def find(server: ToolServer, **http: Any) -> Tool:
    """A tool of the server that finds a day."""
    parameters: dict[str, Any] = {"type": "object", "properties": {"day": {"type": "string"}}, "required": ["day"]}
    return Tool.model_validate(
        {"name": "find", "kind": "http", "parameters": parameters, "http": {"url": server.url(), **http}}
    )


def wants(call_id: str = "c1", arguments: str = '{"day": "Tuesday"}', name: str = "find") -> ToolCallRequested:
    return ToolCallRequested(call_id, name, arguments)


async def opened(service: LlmService, *choices: ProviderChoice, **fields: Any) -> ReplyStream:
    return await ReplyStream(reply_request(*(choices or (FAKE,)), **fields)).open(service)


async def test_the_model_reads_the_answer(service: LlmService, fake: FakeProvider, server: ToolServer) -> None:
    """What was said before the call is spoken while the tool works, and the model goes on with its answer."""
    server.answers.append(Answer(b'{"free": ["10:00"]}'))
    fake.rounds.extend([[TextDelta("One moment."), wants()], [TextDelta("Ten is free.")]])
    stream = await (await opened(service, tools=(find(server),))).done()
    assert stream.kinds == ["first_token", "sentence", "tool_called", "sentence", "finished"]
    called = stream.calls[0]
    assert (called.kind, called.ok, called.result) == (ToolKind.HTTP, True, '{"free": ["10:00"]}')
    assert [message.text for message in fake.requests[1].turn if message.role is Role.TOOL] == ['{"free": ["10:00"]}']
    assert server.asked[0].content == {"day": "Tuesday"}
    assert server.asked[0].headers["x-voxbus-call-id"] == "call_1"


async def test_the_words_before_do_not_wait(service: LlmService, fake: FakeProvider, server: ToolServer) -> None:
    """The sentence before a slow tool is out before the tool has answered."""
    server.answers.append(Answer(hangs=True))
    fake.rounds.append([TextDelta("One moment."), wants()])
    stream = await opened(service, tools=(find(server),))
    await asyncio.wait_for(server.came.wait(), 5)
    assert stream.sentences == ["One moment."]
    assert stream.calls == []
    await stream.cancel()


async def test_the_callers_words_stop_the_request(service: LlmService, fake: FakeProvider, server: ToolServer) -> None:
    """A turn that is cut off leaves no request behind."""
    server.answers.append(Answer(hangs=True))
    fake.rounds.append([wants()])
    stream = await opened(service, tools=(find(server),))
    await asyncio.wait_for(server.came.wait(), 5)
    await stream.cancel()
    await asyncio.wait_for(server.left.wait(), 5)
    assert stream.calls == []


async def test_a_failure_is_told_to_the_model(service: LlmService, fake: FakeProvider, server: ToolServer) -> None:
    """A tool that fails is not called again by the worker, and the turn goes on."""
    server.answers.append(Answer(b"full", status=409, content_type="text/plain"))
    fake.rounds.extend([[wants()], [TextDelta("Sorry, full.")]])
    stream = await (await opened(service, tools=(find(server),))).done()
    assert (stream.calls[0].ok, stream.calls[0].result) == (False, "error: the tool answered 409: full")
    assert stream.sentences == ["Sorry, full."]
    assert len(server.asked) == 1


async def test_wrong_arguments_are_not_sent(service: LlmService, fake: FakeProvider, server: ToolServer) -> None:
    """They are checked against the schema first."""
    fake.rounds.extend([[wants(arguments='{"day": 7}')], [TextDelta("Which day?")]])
    stream = await (await opened(service, tools=(find(server),))).done()
    assert not stream.calls[0].ok
    assert server.asked == []


async def test_calls_of_a_round_are_made_in_order(service: LlmService, fake: FakeProvider, server: ToolServer) -> None:
    """Each has its own answer, beside calls of other kinds."""
    server.answers.extend([Answer(b"first", content_type="text/plain"), Answer(b"second", content_type="text/plain")])
    note = Tool(name="note")
    fake.rounds.extend(
        [[wants("a", '{"day": "1"}'), wants("b", "{}", "note"), wants("c", '{"day": "2"}')], [TextDelta("Done.")]]
    )
    stream = await (await opened(service, tools=(find(server), note))).done()
    assert {called.call.id: called.result for called in stream.calls} == {"a": "first", "b": "ok", "c": "second"}
    assert [asked.content["day"] for asked in server.asked] == ["1", "2"]


async def test_the_last_round_sends_nothing(service: LlmService, fake: FakeProvider, server: ToolServer) -> None:
    """When the model has to speak, a call that nobody would read the answer of is not made."""
    fake.rounds.extend([[wants("a")], [wants("b")], [TextDelta("So."), wants("c")]])
    stream = await (await opened(service, tools=(find(server),))).done()
    assert [called.call.id for called in stream.calls] == ["a", "b"]
    assert len(server.asked) == 2


async def test_the_same_call_has_the_same_key(service: LlmService, fake: FakeProvider, server: ToolServer) -> None:
    """A call that a takeover repeats can be told by its key, whatever id the model gives it; other calls have others."""
    tools = (find(server),)
    for call_id in ("a", "b"):  # the second worker knows nothing of the first one's call, whose answer never came
        fake.rounds.extend([[wants(call_id)], []])
        await (await opened(service, tools=tools)).done()
    fake.rounds.extend([[wants("c", '{"day": "Friday"}')], []])
    await (await opened(service, tools=tools)).done()
    fake.rounds.extend([[wants("d")], []])
    await (await opened(service, tools=tools, messages=said("Hello.", "Tuesday.", "Free.", "And again?"))).done()
    keys = [asked.headers["idempotency-key"] for asked in server.asked]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


@pytest.mark.parametrize("ok", [True, False])
async def test_scripts_call_tools(service: LlmService, server: ToolServer, ok: bool) -> None:
    """A script goes on after an answer, whatever it says, and with its words for failures after a failure."""
    server.answers.append(Answer(b'{"free": true}', status=200 if ok else 500))
    script = ProviderChoice(name="scripted", settings={"script": ORDER, "token_ms": 0})
    stream = await (await opened(service, script, tools=(find(server), HANG_UP))).done()
    assert stream.calls[0].ok is ok
    assert stream.sentences == (["It is free."] if ok else ["I can't look."])


@pytest.mark.parametrize("ok", [True, False])
async def test_a_takeover_repeats_no_answered_call(service: LlmService, server: ToolServer, ok: bool) -> None:
    """The next worker goes on with the answer that the first one got, and asks nobody again."""
    server.answers.append(Answer(b'{"free": true}', status=200 if ok else 500))
    script = ProviderChoice(name="scripted", settings={"script": ORDER, "token_ms": 0})
    tools = (find(server), HANG_UP)
    whole = await (await opened(service, script, tools=tools)).done()
    rest = await (await opened(service, script, tools=tools, turn=calls_made(whole.calls[0]), attempt=2)).done()
    assert rest.sentences == whole.sentences
    assert len(server.asked) == 1


async def test_a_model_behind_a_server(server: ToolServer) -> None:
    """Provider `local` offers the tool as a function, without its address and secrets, and passes its answer on."""
    server.answers.append(Answer(b"Tuesday is free", content_type="text/plain"))
    async with OpenAiServer() as model:
        model.replies.append(ModelReply(tool_calls=(("t1", "find", ('{"day": "Tues', 'day"}')),)))
        model.replies.append(ModelReply(tokens=("It is free.",)))
        service = make_service(HttpTools(HERE), llm_local_base_url=model.base_url)
        tool = find(server, secret_headers={"X-Key": "s3cret"})
        stream = await (await opened(service, LOCAL, tools=(tool,))).done()
        await service.stop()
    assert stream.sentences == ["It is free."]
    assert model.requests[1]["messages"][-1] == {"role": "tool", "tool_call_id": "t1", "content": "Tuesday is free"}
    assert server.asked[0].headers["x-key"] == "s3cret"
    assert "s3cret" not in str(model.requests)
    assert str(server.port) not in str(model.requests)

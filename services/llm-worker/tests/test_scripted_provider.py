"""Provider `scripted` as a stage: tokens, tools, takeovers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from reply_stream import ReplyStream, calls_made, reply_request, said

from voxbus.contracts.agent import AgentConfig
from voxbus.contracts.llm import Tool, ToolKind
from voxbus.contracts.stage import ErrorCode, ProviderChoice
from voxbus.llm_worker.providers.base import ReplyRequest, TextDelta
from voxbus.llm_worker.providers.scripted import ScriptedProvider
from voxbus.llm_worker.service import LlmService
from voxbus.runtime.streams import StageFailure

pytestmark = pytest.mark.unit

RECORD = Tool(
    name="record_appointment",
    parameters={"type": "object", "required": ["day"], "properties": {"name": {"type": "string", "maxLength": 20}}},
)
END = Tool(name="end_call", kind=ToolKind.END_CALL)
COMPLETE = ("Hello.", "Tuesday at three.", "Name?", "Charlie.", "Number?", "555 0147.", "Is that right?", "Yes.")
DOCUMENTATION = Path(__file__).parents[3] / "docs" / "agents" / "scripted.md"


def scripted(**settings: Any) -> ProviderChoice:
    return ProviderChoice(name="scripted", settings={"token_ms": 0, **settings})


@pytest.fixture
def service() -> LlmService:
    """A service with the provider."""
    return LlmService({"scripted": ScriptedProvider()}, first_piece_chars=70, tool_rounds=4)


async def reply(service: LlmService, *texts: str, choice: ProviderChoice | None = None, **fields: Any) -> ReplyStream:
    fields.setdefault("tools", (RECORD, END))
    request = reply_request(choice or scripted(), messages=said(*texts), **fields)
    return await (await ReplyStream(request).open(service)).done()


async def test_a_reply_is_streamed_in_tokens() -> None:
    """The words come one by one, and together they are the script's line."""
    model = ScriptedProvider().model({"script": {"otherwise": "You said: {heard}"}, "token_ms": 0}, ())
    request = ReplyRequest(messages=said("Hello.", "one two"))
    deltas = [event.text async for event in model.reply(request) if isinstance(event, TextDelta)]
    assert deltas == ["You", " said:", " one", " two"]


async def test_token_ms_sets_the_pace(service: LlmService) -> None:
    """Ten tokens of 10 ms take at least 100 ms, and the first is there long before the last."""
    choice = scripted(script={"otherwise": "one two three four. five six seven eight nine ten."}, token_ms=10)
    stream = await reply(service, "Hello.", "hm", choice=choice)
    assert stream.sentences == ["One two three four.", "five six seven eight nine ten."]
    assert stream.finished.elapsed_ms >= 100
    assert stream.events[0].elapsed_ms <= stream.finished.elapsed_ms - 80
    assert stream.finished.usage.output_tokens == 10


async def test_the_default_is_the_receptionist(service: LlmService) -> None:
    """An agent without settings books appointments."""
    stream = await reply(service, "Hello.", "Tuesday.", choice=ProviderChoice(name="scripted"))
    assert stream.sentences == ["Tuesday, very good.", "What time would suit you?"]


async def test_the_tools_are_called_around_the_words(service: LlmService) -> None:
    """The appointment is recorded before the agent says so, and the call ends after the goodbye."""
    stream = await reply(service, *COMPLETE)
    assert stream.kinds[1] == "tool_called"
    assert stream.kinds[-2:] == ["tool_called", "finished"]
    assert [call.call.name for call in stream.calls] == ["record_appointment", "end_call"]
    assert stream.calls[0].call.arguments == {"day": "Tuesday", "time": "15:00", "name": "Charlie", "phone": "5550147"}
    assert stream.sentences[-1] == "Goodbye."


async def test_a_tool_that_refuses_its_arguments_is_told_to_the_caller(service: LlmService) -> None:
    """The agent does not claim success: it says that something went wrong, and ends the call."""
    picky = RECORD.model_copy(update={"parameters": {"type": "object", "required": ["insurance"]}})
    stream = await reply(service, *COMPLETE, tools=(picky, END))
    assert [call.ok for call in stream.calls] == [False, True]
    assert stream.sentences[0] == "I am sorry, something went wrong on our side."
    assert stream.calls[-1].kind is ToolKind.END_CALL


async def test_without_a_tool_to_end_the_call_the_agent_only_says_goodbye(service: LlmService) -> None:
    """The goodbye is spoken, and nothing is called that the agent does not have."""
    stream = await reply(service, "Hello.", "Goodbye.", tools=(RECORD,))
    assert stream.sentences[-1].endswith("goodbye.")
    assert stream.calls == []


@pytest.mark.parametrize("delivered", range(5))
async def test_a_takeover_goes_on_exactly(service: LlmService, delivered: int) -> None:
    """Whatever number of sentences was delivered, another worker delivers the rest, with the same tool call ids."""
    whole = await reply(service, *COMPLETE)
    assert len(whole.sentences) == 4
    rest = await reply(service, *COMPLETE, spoken=tuple(whole.sentences[:delivered]), attempt=2)
    assert rest.sentences == whole.sentences[delivered:]
    assert rest.indices == whole.indices[delivered:]
    assert [call.call for call in rest.calls] == [call.call for call in whole.calls]


@pytest.mark.parametrize("made", [1, 2])
@pytest.mark.parametrize("delivered", range(5))
async def test_a_takeover_makes_no_call_twice(service: LlmService, delivered: int, made: int) -> None:
    """Calls that another worker made are neither made nor reported again, wherever in the reply it broke off."""
    whole = await reply(service, *COMPLETE)
    rest = await reply(
        service, *COMPLETE, spoken=tuple(whole.sentences[:delivered]), turn=calls_made(*whole.calls[:made]), attempt=2
    )
    assert rest.sentences == whole.sentences[delivered:]
    assert [call.call for call in rest.calls] == [call.call for call in whole.calls[made:]]
    assert rest.outcome == "finished"


async def test_a_takeover_after_a_failed_call_does_not_claim_success(service: LlmService) -> None:
    """The result that the first worker got is what counts."""
    picky = RECORD.model_copy(update={"parameters": {"type": "object", "required": ["insurance"]}})
    whole = await reply(service, *COMPLETE, tools=(picky, END))
    rest = await reply(service, *COMPLETE, tools=(picky, END), turn=calls_made(whole.calls[0]), attempt=2)
    assert rest.sentences == whole.sentences
    assert [call.kind for call in rest.calls] == [ToolKind.END_CALL]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"script": "butler"}, "there is no script 'butler'; there are: receptionist"),
        ({"scrip": "receptionist"}, "known settings: script, token_ms"),
        ({"token_ms": -1}, "token_ms"),
        ({"script": {"slots": []}}, "slots or otherwise"),
        ({"script": {"otherwise": "Hm {x}"}}, "unknown placeholders: x"),
    ],
)
async def test_wrong_settings_are_refused(service: LlmService, settings: dict[str, Any], told: str) -> None:
    """The refusal says what is wrong and what there is."""
    with pytest.raises(StageFailure) as failure:
        await ReplyStream(reply_request(scripted(**settings))).open(service)
    assert failure.value.code is ErrorCode.BAD_REQUEST
    assert told in failure.value.message


@pytest.mark.parametrize("language", ["de", "hi-IN", "eng"])
async def test_another_language_is_refused(service: LlmService, language: str) -> None:
    """A script understands English only, and an agent in another language learns so at the open."""
    with pytest.raises(StageFailure, match=f"English.*not '{language}'") as failure:
        await ReplyStream(reply_request(scripted(), language=language)).open(service)
    assert failure.value.code is ErrorCode.BAD_REQUEST


async def test_any_english_will_do(service: LlmService) -> None:
    """Regional English is English."""
    stream = await reply(service, "Hello.", "Tuesday.", language="en-GB")
    assert stream.sentences[0] == "Tuesday, very good."


async def test_a_script_needs_the_tools_that_it_calls(service: LlmService) -> None:
    """A script that would call a tool the agent lacks is refused at the open."""
    with pytest.raises(StageFailure, match="record_appointment"):
        await ReplyStream(reply_request(scripted(), tools=(END,))).open(service)


async def test_the_documented_example_works(service: LlmService) -> None:
    """The agent in docs/agents/scripted.md has the conversation that the page shows."""
    page = DOCUMENTATION.read_text()
    agent = AgentConfig.model_validate_json(page.split("```json\n")[1].split("```")[0])
    shown = [line for line in page.split("```text\n")[1].split("```")[0].splitlines() if line]
    assert shown[0] == f"agent:  {agent.greeting}"
    texts = [shown[0].removeprefix("agent:  ")]
    for caller, expected in zip(shown[1::2], shown[2::2], strict=True):
        texts.append(caller.removeprefix("caller: "))
        stream = await reply(service, *texts, choice=agent.llm.provider, tools=agent.tools)
        words = " ".join(stream.sentences)
        calls = "".join(f" [{call.call.name}]" for call in stream.calls)
        assert f"agent:  {words}{calls}" == expected
        texts.append(words)

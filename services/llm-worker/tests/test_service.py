"""The stage service with a provider under the test's control."""

from __future__ import annotations

import pytest
from fake_provider import FakeProvider
from prometheus_client import REGISTRY
from reply_stream import ReplyStream, reply_request
from structlog.testing import capture_logs

from voxbus.contracts.llm import Role, Tool, ToolKind, Usage
from voxbus.contracts.stage import ErrorCode, ProviderChoice
from voxbus.llm_worker.providers.base import TextDelta, ToolCallRequested, UsageReported
from voxbus.llm_worker.service import LlmService
from voxbus.runtime.streams import StageFailure

pytestmark = pytest.mark.unit

FAKE = ProviderChoice(name="fake")
SPARE = ProviderChoice(name="spare")
BOOK = Tool(
    name="book",
    parameters={"type": "object", "properties": {"day": {"type": "string"}}, "required": ["day"]},
)
HANG_UP = Tool(name="hang_up", kind=ToolKind.END_CALL)
DOWN = StageFailure(ErrorCode.PROVIDER_FAILED, "down", retryable=True)


@pytest.fixture
def fake() -> FakeProvider:
    """The agent's provider."""
    return FakeProvider()


@pytest.fixture
def spare() -> FakeProvider:
    """The agent's fallback."""
    return FakeProvider("spare")


@pytest.fixture
def service(fake: FakeProvider, spare: FakeProvider) -> LlmService:
    """A service with both."""
    return LlmService({"fake": fake, "spare": spare}, first_piece_chars=None, tool_rounds=3)


def text(*tokens: str) -> list[TextDelta]:
    return [TextDelta(token) for token in tokens]


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_an_unknown_provider_is_refused(service: LlmService) -> None:
    """The refusal says which providers this worker has, and that another try is no use."""
    with pytest.raises(StageFailure, match="it has: fake, spare") as failure:
        await ReplyStream(reply_request(ProviderChoice(name="other"))).open(service)
    assert failure.value.code is ErrorCode.UNKNOWN_PROVIDER
    assert not failure.value.retryable


async def test_a_provider_this_worker_does_not_have_is_passed_over(service: LlmService, fake: FakeProvider) -> None:
    """The agent's first choice lives elsewhere: the stream opens with the fallback and says so."""
    fake.rounds.append([*text("Hello.")])
    stream = await ReplyStream(reply_request(ProviderChoice(name="other"), FAKE)).open(service)
    assert stream.stream.provider == "fake"
    await stream.done()
    assert stream.finished.provider == "fake"


async def test_wrong_settings_refuse_the_stream(service: LlmService, fake: FakeProvider) -> None:
    """A refusal by the provider's settings check reaches the owner as it is."""
    fake.refusal = StageFailure(ErrorCode.BAD_REQUEST, "no such setting", retryable=False)
    with pytest.raises(StageFailure, match="no such setting"):
        await ReplyStream(reply_request(FAKE)).open(service)


@pytest.mark.parametrize("order", [(FAKE, SPARE), (SPARE, FAKE)])
@pytest.mark.parametrize(
    "refusal", [StageFailure(ErrorCode.BAD_REQUEST, "no such setting", retryable=False), KeyError("x")]
)
async def test_a_provider_that_is_set_up_wrongly_is_passed_over(
    service: LlmService,
    fake: FakeProvider,
    spare: FakeProvider,
    order: tuple[ProviderChoice, ...],
    refusal: Exception,
) -> None:
    """Wherever it stands in the list, the others speak."""
    fake.refusal = refusal
    spare.rounds.append([*text("Hello.")])
    with capture_logs():
        stream = await (await ReplyStream(reply_request(*order)).open(service)).done()
    assert stream.sentences == ["Hello."]
    assert stream.finished.provider == "spare"


async def test_when_no_provider_can_be_set_up_the_refusal_is_the_one_worth_another_try(
    service: LlmService, fake: FakeProvider, spare: FakeProvider
) -> None:
    """A retryable refusal goes before one that will not change; an exception is the worker's fault, and not quoted."""
    fake.refusal = StageFailure(ErrorCode.BAD_REQUEST, "no such setting", retryable=False)
    spare.refusal = KeyError("the caller said Tuesday")
    with capture_logs(), pytest.raises(StageFailure, match="failed to set up provider spare") as failure:
        await ReplyStream(reply_request(FAKE, SPARE)).open(service)
    assert (failure.value.code, failure.value.retryable) == (ErrorCode.INTERNAL, True)


async def test_a_tool_whose_parameters_are_no_schema_is_refused(service: LlmService) -> None:
    """A wrong JSON schema is found at the open, not in the middle of a call."""
    tool = Tool(name="book", parameters={"type": "nonsense"})
    with pytest.raises(StageFailure, match="tool book") as failure:
        await ReplyStream(reply_request(FAKE, tools=(tool,))).open(service)
    assert failure.value.code is ErrorCode.BAD_REQUEST


async def test_an_empty_reply_is_a_finished_one(service: LlmService, fake: FakeProvider) -> None:
    """A model that says nothing yields no sentence and no first token."""
    fake.rounds.append([])
    stream = await (await ReplyStream(reply_request(FAKE)).open(service)).done()
    assert stream.kinds == ["finished"]


async def test_what_cannot_be_spoken_is_left_out(service: LlmService, fake: FakeProvider) -> None:
    """Lines of dashes and smileys are no sentences."""
    fake.rounds.append([*text("Hello.\n", "---\n", "Bye. ", ":-)")])
    stream = await (await ReplyStream(reply_request(FAKE)).open(service)).done()
    assert stream.sentences == ["Hello.", "Bye."]


async def test_a_first_piece_may_leave_at_a_clause(fake: FakeProvider) -> None:
    """The setting for the first piece reaches the cutter."""
    service = LlmService({"fake": fake}, first_piece_chars=30, tool_rounds=1)
    fake.rounds.append([*text("If you would like to come today, we can see you.")])
    stream = await (await ReplyStream(reply_request(FAKE)).open(service)).done()
    assert stream.sentences == ["If you would like to come today,", "we can see you."]


async def test_the_fallback_speaks_when_the_first_fails_early(
    service: LlmService, fake: FakeProvider, spare: FakeProvider
) -> None:
    """Tokens that completed no sentence were not heard, so the next provider starts afresh; the failure is counted."""
    errors = counted("voxbus_llm_provider_errors_total", provider="fake", code="provider_failed")
    fake.rounds.append([*text("I thi"), DOWN])
    spare.rounds.append([*text("Hello", ".")])
    stream = await (await ReplyStream(reply_request(FAKE, SPARE)).open(service)).done()
    assert stream.sentences == ["Hello."]
    assert stream.kinds.count("first_token") == 1
    assert stream.finished.provider == "spare"
    assert counted("voxbus_llm_provider_errors_total", provider="fake", code="provider_failed") == errors + 1


async def test_the_last_failure_is_told(service: LlmService, fake: FakeProvider, spare: FakeProvider) -> None:
    """When every provider fails, the owner gets the last one's error."""
    fake.rounds.append([DOWN])
    spare.rounds.append([StageFailure(ErrorCode.TIMEOUT, "too slow", retryable=True)])
    stream = await (await ReplyStream(reply_request(FAKE, SPARE)).open(service)).done()
    assert stream.error is not None
    assert stream.error.code is ErrorCode.TIMEOUT


async def test_after_a_sentence_there_is_no_fallback(
    service: LlmService, fake: FakeProvider, spare: FakeProvider
) -> None:
    """What was said stays said: the stream fails, and the spare is not asked."""
    fake.rounds.append([*text("One. ", "Two"), DOWN])
    stream = await (await ReplyStream(reply_request(FAKE, SPARE)).open(service)).done()
    assert stream.sentences == ["One."]
    assert stream.outcome == "failed_provider_failed"
    assert not spare.requests


async def test_a_fault_of_the_worker_is_an_internal_error(service: LlmService, fake: FakeProvider) -> None:
    """An unexpected exception ends the stream with a retryable error that does not quote it."""
    fake.rounds.append([RuntimeError("the caller said Tuesday")])
    with capture_logs():
        stream = await (await ReplyStream(reply_request(FAKE)).open(service)).done()
    assert stream.error is not None
    assert (stream.error.code, stream.error.retryable) == (ErrorCode.INTERNAL, True)
    assert "Tuesday" not in stream.error.message


async def test_cancelling_closes_the_reply(service: LlmService, fake: FakeProvider) -> None:
    """Barge-in ends the provider's iterator before `on_cancel` returns, and nothing is sent any more."""
    fake.rounds.append([*text("One. ", "Two"), None])
    stream = await ReplyStream(reply_request(FAKE)).open(service)
    await stream.until(lambda: bool(stream.sentences))
    await stream.cancel()
    assert fake.closed == 1
    assert stream.kinds == ["first_token", "sentence"]


async def test_closing_the_input_lets_the_reply_finish(service: LlmService, fake: FakeProvider) -> None:
    """A reply needs no input, so the end of it changes nothing."""
    fake.rounds.append([*text("One. ", "Two.")])
    stream = await ReplyStream(reply_request(FAKE)).open(service)
    assert stream.stream.handler is not None
    await stream.stream.handler.on_close()
    await stream.done()
    assert stream.sentences == ["One.", "Two."]


async def test_text_before_a_tool_call_is_complete(service: LlmService, fake: FakeProvider) -> None:
    """The model's words before a call are spoken before it; the next round sees them, the call and its result."""
    fake.rounds.append([*text("One moment"), ToolCallRequested("c1", "book", '{"day": "Tuesday"}')])
    fake.rounds.append([*text("Done."), UsageReported(Usage(input_tokens=1, output_tokens=2))])
    stream = await (await ReplyStream(reply_request(FAKE, tools=(BOOK,))).open(service)).done()
    assert stream.kinds == ["first_token", "sentence", "tool_called", "sentence", "finished"]
    assert stream.sentences == ["One moment", "Done."]
    turn = fake.requests[1].turn
    assert [(message.role, message.text, message.tool_call_id) for message in turn] == [
        (Role.ASSISTANT, "One moment", None),
        (Role.TOOL, "ok", "c1"),
    ]
    assert turn[0].tool_calls[0].arguments == {"day": "Tuesday"}


@pytest.mark.parametrize(
    ("name", "arguments", "why"),
    [
        ("book", '{"day": 3}', "3 is not of type 'string'"),
        ("book", "{}", "'day' is a required property"),
        ("book", '{"day": ', "not valid JSON"),
        ("book", '["Tuesday"]', "must be a JSON object"),
        ("cook", "{}", "there is no tool 'cook'; there are: book"),
    ],
)
async def test_a_wrong_call_goes_back_to_the_model(
    service: LlmService, fake: FakeProvider, name: str, arguments: str, why: str
) -> None:
    """A call with wrong arguments is reported as not ok, and its result tells the model why, so that it can mend it."""
    fake.rounds.append([ToolCallRequested("c1", name, arguments)])
    fake.rounds.append([ToolCallRequested("c2", "book", '{"day": "Tuesday"}')])
    fake.rounds.append([*text("Done.")])
    stream = await (await ReplyStream(reply_request(FAKE, tools=(BOOK,))).open(service)).done()
    assert [call.ok for call in stream.calls] == [False, True]
    assert why in stream.calls[0].result
    assert fake.requests[1].turn[-1].text == stream.calls[0].result


async def test_ending_the_call_ends_the_turn(service: LlmService, fake: FakeProvider) -> None:
    """After end_call the model is not asked again."""
    fake.rounds.append([*text("Goodbye."), ToolCallRequested("c1", "hang_up", "")])
    stream = await (await ReplyStream(reply_request(FAKE, tools=(HANG_UP,))).open(service)).done()
    assert [call.kind for call in stream.calls] == [ToolKind.END_CALL]
    assert len(fake.requests) == 1
    assert stream.outcome == "finished"


async def test_a_turn_with_many_tools_ends_in_words(service: LlmService, fake: FakeProvider) -> None:
    """A model that would call tools for ever may go on three times, as set; the last time without tools, so it speaks."""
    fake.rounds.extend([[ToolCallRequested(f"c{number}", "book", '{"day": "x"}')] for number in range(3)])
    fake.rounds.append([*text("All is booked.")])
    stream = await (await ReplyStream(reply_request(FAKE, tools=(BOOK,))).open(service)).done()
    assert [len(request.tools) for request in fake.requests] == [1, 1, 1, 0]
    assert stream.sentences == ["All is booked."]
    assert stream.kinds[-1] == "finished"


async def test_a_model_that_calls_tools_it_was_not_given_is_stopped(service: LlmService, fake: FakeProvider) -> None:
    """Calls in the last round are neither made nor reported, and there is no other round."""
    fake.rounds.extend([[ToolCallRequested(f"c{number}", "book", '{"day": "x"}')] for number in range(10)])
    stream = await (await ReplyStream(reply_request(FAKE, tools=(BOOK,))).open(service)).done()
    assert (len(fake.requests), len(stream.calls)) == (4, 3)
    assert stream.kinds[-1] == "finished"


async def test_a_repeated_beginning_is_not_spoken_again(service: LlmService, fake: FakeProvider) -> None:
    """After a takeover a reply that starts from the beginning is heard from where the caller left off."""
    fake.rounds.append([*text("One. Two. ", "Three. One.")])
    request = reply_request(FAKE, spoken=("One.", "Two."), attempt=2)
    stream = await (await ReplyStream(request).open(service)).done()
    assert list(zip(stream.indices, stream.sentences, strict=True)) == [(2, "Three."), (3, "One.")]
    assert fake.requests[0].spoken == ("One.", "Two.")


async def test_sentences_and_calls_are_counted(service: LlmService, fake: FakeProvider) -> None:
    """The worker's metrics grow by what was sent."""
    sentences = counted("voxbus_llm_sentences_total", provider="fake")
    calls = counted("voxbus_llm_tool_calls_total", kind="record", outcome="ok")
    first = counted("voxbus_llm_first_token_seconds_count", provider="fake")
    fake.rounds.append([*text("One. Two."), ToolCallRequested("c1", "book", '{"day": "x"}')])
    fake.rounds.append([])
    await (await ReplyStream(reply_request(FAKE, tools=(BOOK,))).open(service)).done()
    assert counted("voxbus_llm_sentences_total", provider="fake") == sentences + 2
    assert counted("voxbus_llm_tool_calls_total", kind="record", outcome="ok") == calls + 1
    assert counted("voxbus_llm_first_token_seconds_count", provider="fake") == first + 1

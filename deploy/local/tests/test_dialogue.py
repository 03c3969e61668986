"""The scripted caller: whose turn it is, barge-in, and silence for an answer."""

from __future__ import annotations

import pytest
from fake_gateway import FakeGateway, serving, tone

from voxbus.contracts import native
from voxbus.local.client import CallClient
from voxbus.local.dialogue import Exchange, Pace, ScriptLine, converse

pytestmark = pytest.mark.unit
PACE = Pace(pause_s=0.1, greeting_s=0.5, reply_s=1.0, settled_s=0.6, goodbye_s=0.1)
VOICE = tone(0.2, 8000)


async def talk(gateway: FakeGateway, lines: list[ScriptLine], pace: Pace = PACE) -> tuple[list[Exchange], CallClient]:
    async with serving(gateway), CallClient(gateway.url, token="good", agent_id="tester") as call:
        return await converse(call, lines, pace), call


async def test_the_caller_speaks_only_when_the_agent_has_finished() -> None:
    """Nobody is interrupted: each line begins a pause after the agent's audio was heard to its end."""
    gateway = FakeGateway(greeting_s=0.3, reply_s=0.3)
    exchanges, call = await talk(gateway, [ScriptLine("one", VOICE), ScriptLine("two", VOICE)])
    assert [exchange.answered for exchange in exchanges] == [True, True]
    ends = [segment.start_s + len(segment.pcm) / 32_000 for segment in call.playout.segments]
    for exchange, end_s in zip(exchanges, ends, strict=False):
        assert exchange.said.start_s >= end_s + 0.08
    assert [turn.interrupted for turn in call.turns] == [False, False, False]
    assert call.ended is not None
    assert call.ended.reason == "caller_hangup"


async def test_the_response_time_is_what_the_caller_heard() -> None:
    """From the end of the voice, not of the file, to the first audio: here the fake's 200 ms of silence."""
    exchanges, _call = await talk(FakeGateway(), [ScriptLine("one", VOICE + bytes(3200))])
    assert exchanges[0].response_s == pytest.approx(0.2, abs=0.1)


async def test_barge_in_speaks_into_the_agents_words() -> None:
    """A line with a barge-in starts that long after the agent's audio began, and the agent falls silent."""
    gateway = FakeGateway(reply_s=5.0)
    exchanges, call = await talk(gateway, [ScriptLine("one", VOICE), ScriptLine("two", VOICE, barge_in_ms=400)])
    first_reply = next(s for s in call.playout.segments if s.start_s >= exchanges[0].said.voice_end_s)
    assert exchanges[1].said.start_s - first_reply.start_s == pytest.approx(0.4, abs=0.08)
    assert [turn.interrupted for turn in call.turns] == [False, True, False]
    assert len(first_reply.pcm) / 32_000 < 1.0
    assert exchanges[1].answered


async def test_barge_in_into_the_greeting() -> None:
    """The first line can interrupt the greeting."""
    exchanges, call = await talk(FakeGateway(greeting_s=5.0), [ScriptLine("one", VOICE, barge_in_ms=200)])
    assert exchanges[0].said.start_s == pytest.approx(call.playout.segments[0].start_s + 0.2, abs=0.08)
    assert any(isinstance(timed.message, native.Clear) for timed in call.messages)


async def test_an_agent_that_does_not_greet_is_spoken_to() -> None:
    """Without a greeting the caller begins, after a patient moment."""
    exchanges, _call = await talk(FakeGateway(greeting_s=0.0), [ScriptLine("one", VOICE)])
    assert exchanges[0].answered
    assert exchanges[0].said.start_s >= 0.5


async def test_no_answer_is_told_and_the_call_goes_on() -> None:
    """A line that is not answered in time is marked as such, and the next one is said."""
    gateway = FakeGateway(mute=True)
    exchanges, _call = await talk(gateway, [ScriptLine("one", VOICE), ScriptLine("two", VOICE)])
    assert [(exchange.name, exchange.answered, exchange.response_s) for exchange in exchanges] == [
        ("one", False, None),
        ("two", False, None),
    ]
    assert gateway.utterances == 2


async def test_an_agent_that_never_tells_its_turns_is_waited_for() -> None:
    """Where no `turn` message comes, a long silence of the agent counts as the end of its words."""
    exchanges, call = await talk(FakeGateway(silent_turns=True), [ScriptLine("one", VOICE)])
    assert exchanges[0].answered
    assert call.turns == []


async def test_the_agent_may_end_the_call() -> None:
    """When the agent ends the call, the lines that were not said are not in the result."""
    gateway = FakeGateway(end_after_turns=2)
    exchanges, call = await talk(gateway, [ScriptLine("one", VOICE), ScriptLine("two", VOICE)])
    assert [exchange.name for exchange in exchanges] == ["one"]
    assert call.ended is not None
    assert call.ended.reason == "agent_ended"

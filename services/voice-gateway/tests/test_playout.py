"""Play-out, what was heard of an utterance, and the conversation: without any I/O."""

from __future__ import annotations

import pytest
from fake_line import FakeLine
from hypothesis import given
from hypothesis import strategies as st

from voxbus.contracts.audio import FRAME_BYTES
from voxbus.contracts.llm import LlmToolCalled, Role, ToolCall, ToolKind
from voxbus.voice_gateway.conversation import Conversation
from voxbus.voice_gateway.playout import Playout
from voxbus.voice_gateway.speech import Utterance

pytestmark = pytest.mark.unit

FRAME = bytes(FRAME_BYTES)
LEAD_MS = 100


class Rig:
    """A play-out under a clock of the test."""

    def __init__(self) -> None:
        self.line = FakeLine()
        self.playout = Playout(self.line, LEAD_MS)
        self.utterance = Utterance()
        self.drained = 0
        self.now = 1000.0
        self.playout.begin(self.utterance)
        self.playout.on_drained = self._count

    def _count(self) -> None:
        self.drained += 1

    def say(self, frames: int, index: int = 0, text: str = "some words") -> None:
        """Audio of a sentence arrives."""
        self.utterance.add(index, text)
        self.utterance.received(index, frames * 20)
        self.playout._queue.extend([(FRAME, index)] * frames)
        self.playout.tick(self.now)

    def advance(self, ms: int) -> None:
        """Time passes in ticks of 20 ms."""
        for _ in range(ms // 20):
            self.now += 0.02
            self.playout.tick(self.now)

    @property
    def sent_ms(self) -> float:
        return self.line.audio_ms


def test_the_lead_is_sent_at_once_and_the_rest_at_its_time() -> None:
    """The caller's buffer holds the lead, never more."""
    rig = Rig()
    rig.say(50)
    assert rig.sent_ms == LEAD_MS
    rig.advance(200)
    assert LEAD_MS + 180 <= rig.sent_ms <= LEAD_MS + 220
    rig.advance(2000)
    assert rig.sent_ms == 1000


def test_a_turn_is_drained_when_its_end_was_heard_not_when_it_was_sent() -> None:
    """The lead still has to be played."""
    rig = Rig()
    rig.say(20)
    rig.playout.finish()
    rig.advance(320)
    assert rig.sent_ms == 400
    assert rig.drained == 0
    rig.advance(100)
    assert rig.drained == 1
    assert not rig.playout.speaking


def test_a_turn_without_audio_is_drained_at_once() -> None:
    """Nothing to hear, nothing to wait for."""
    rig = Rig()
    rig.playout.finish()
    rig.advance(20)
    assert rig.drained == 1


def test_clear_takes_back_what_the_caller_has_not_heard() -> None:
    """Of what was sent, the unplayed lead does not count as heard."""
    rig = Rig()
    rig.say(100, text="one two three four five six seven eight nine ten")
    rig.utterance.complete(0)
    rig.advance(1000)
    rig.playout.clear(rig.now)
    assert len(rig.line.clears) == 1
    heard, rest = rig.utterance.split()
    assert heard == "one two three four five"
    assert rest == "six seven eight nine ten"
    rig.advance(200)
    assert rig.sent_ms <= 1000 + LEAD_MS + 20
    assert rig.drained == 0


def test_audio_that_comes_after_clear_is_not_played() -> None:
    """What arrived with the caller's interruption does not make the agent speak again, nor end a turn."""
    rig = Rig()
    rig.say(100)
    rig.playout.clear(rig.now)
    sent_ms = rig.sent_ms
    rig.playout.add(FRAME * 50, 0)
    rig.playout.finish()
    rig.advance(2000)
    assert rig.sent_ms == sent_ms
    assert not rig.playout.speaking
    assert rig.drained == 0


def test_silence_is_not_cleared() -> None:
    """A client that hears nothing is not told to clear."""
    rig = Rig()
    rig.playout.clear(rig.now)
    assert rig.line.clears == []


def test_late_audio_starts_a_new_stretch_with_its_own_pace() -> None:
    """After a gap the lead is built up again, and nothing is sent in a burst to catch up."""
    rig = Rig()
    rig.say(10)
    rig.advance(1000)
    assert not rig.playout.speaking
    rig.say(50)
    assert rig.sent_ms == 200 + LEAD_MS


def test_a_stall_of_the_gateway_is_not_counted_as_heard() -> None:
    """While nothing was sent the caller heard nothing: what was heard is the audio, not the time that passed."""
    rig = Rig()
    rig.say(100, text="one two three four five six seven eight nine ten")
    rig.utterance.complete(0)
    rig.advance(500)
    rig.now += 1.0
    rig.playout.tick(rig.now)
    rig.playout.clear(rig.now)
    heard, _ = rig.utterance.split()
    assert heard == "one two three"


@given(st.lists(st.integers(1, 60), min_size=1, max_size=5), st.integers(0, 200))
def test_what_was_heard_and_the_rest_are_all_that_was_meant(lengths: list[int], ticks: int) -> None:
    """Wherever a turn is cut, heard and rest together are its words, in order."""
    rig = Rig()
    words = []
    for index, frames in enumerate(lengths):
        text = " ".join(f"w{index}x{number}" for number in range(max(1, frames // 5)))
        words.append(text)
        rig.say(frames, index, text)
        rig.utterance.complete(index)
    rig.advance(ticks * 20)
    rig.playout.clear(rig.now)
    heard, rest = rig.utterance.split()
    assert f"{heard} {rest}".split() == " ".join(words).split()
    assert rig.utterance.generated == " ".join(words)


def test_a_sentence_of_unknown_length_is_judged_by_its_letters() -> None:
    """While a sentence is still being made, a little of it does not count as all of it."""
    utterance = Utterance()
    utterance.add(0, "this is quite a long sentence that has only begun to be spoken")
    utterance.received(0, 400)
    utterance.played(0, 400)
    heard, rest = utterance.split()
    assert heard == "this"
    assert rest.startswith("is quite")


def test_unanswered_words_of_the_caller_are_joined() -> None:
    """Two turns of the caller in a row are one message."""
    conversation = Conversation()
    conversation.caller_said("I would like")
    conversation.agent_said("", interrupted=True)
    conversation.caller_said("a table")
    assert [message.text for message in conversation.messages] == ["I would like a table"]
    assert conversation.unanswered


def test_tool_calls_stand_before_the_words_they_led_to() -> None:
    """The conversation holds call, result and reply, also when the reply was cut off unheard."""
    conversation = Conversation()
    conversation.caller_said("book it")
    called = LlmToolCalled(call=ToolCall(id="t", name="book"), kind=ToolKind.RECORD, result="ok")
    conversation.agent_said("", interrupted=True, tool_calls=(called,))
    assert [message.role for message in conversation.messages] == [Role.USER, Role.ASSISTANT, Role.TOOL]
    assert conversation.messages[2].tool_call_id == "t"


def test_a_tool_result_without_words_is_unanswered() -> None:
    """The agent still owes the caller an answer; once something of it was heard, it does not."""
    conversation = Conversation()
    conversation.caller_said("book it")
    called = LlmToolCalled(call=ToolCall(id="t", name="book"), kind=ToolKind.RECORD, result="ok")
    conversation.agent_said("", interrupted=True, tool_calls=(called,))
    assert conversation.unanswered
    conversation.agent_said("It is", interrupted=True)
    assert not conversation.unanswered

"""What happens when the caller, or a noise, cuts the agent off."""

from __future__ import annotations

import pytest
from call_stand import FRAME, Stand
from fake_line import until

from voxbus.contracts.call import TurnKind
from voxbus.contracts.stage import ErrorCode, StageError

pytestmark = pytest.mark.integration


async def test_audio_that_was_under_way_is_not_heard_after_a_barge_in(stand: Stand) -> None:
    """Audio from the same read as the caller's voice does not make the agent speak on."""
    call, line = await stand.call()
    stand.mouth.ms_per_word = 1000
    stand.mind.replies.append(["one two"])
    await stand.heard.says("go")
    await until(lambda: line.audio_ms > 300)
    voice = call._dialogue.turn._voice_stream._listener
    call.on_speech_started()
    voice.on_audio(0, FRAME * 50)
    await until(lambda: call._dialogue.turn is None)
    assert not call._playout.speaking
    assert call._playout.buffered_ms == 0
    assert all(moment <= line.clears[0] for moment, _ in line.audio)


async def test_words_during_which_the_agent_began_are_answered(stand: Stand) -> None:
    """A turn of the caller that began before the agent's, and ended during it, is not lost."""
    call, line = await stand.call(greeting="one two three four five six")
    stand.mouth.ms_per_word = 300
    call._dialogue.fall_silent()
    await stand.heard.starts()
    await until(lambda: call._ear.speaking)
    call._dialogue.speak(TurnKind.PROMPT, "one two three four five six")
    await until(lambda: line.audio_ms > 400)
    await stand.heard.ends("this is what I said")
    await until(lambda: stand.mind.requests)
    assert stand.mind.requests[0].messages[-1].text == "this is what I said"
    assert line.clears


async def test_what_a_key_cut_off_is_not_said_later(stand: Stand) -> None:
    """A noise, long after the agent answered a key, does not bring back the words that the key had cut off."""
    call, line = await stand.call()
    stand.mouth.ms_per_word = 100
    stand.mind.replies.append(["one two three four five six seven eight nine ten"])
    stand.mind.replies.append(["You pressed five."])
    await stand.heard.says("count")
    await until(lambda: line.audio_ms > 400)
    call.on_dtmf("5")
    await until(lambda: len(line.turns) == 2)
    await stand.heard.says("")
    await stand.heard.says("next")
    await until(lambda: len(line.turns) == 3)
    assert [turn.agent_text for turn in line.turns[1:]] == ["You pressed five.", "Yes."]


async def test_what_words_cut_off_is_not_said_later(stand: Stand) -> None:
    """Nor does it when the interrupted turn was still ending as its successor was asked for."""
    call, line = await stand.call(turn_taking={"min_words_to_interrupt": 1})
    stand.mouth.ms_per_word = 100
    stand.mind.replies.append(["one two three four five six seven eight nine ten"])
    stand.mind.replies.append(["Okay."])
    await stand.heard.says("count")
    await until(lambda: line.audio_ms > 400)
    await stand.heard.hears("stop", final=True)
    await stand.heard.ends("stop")
    await until(lambda: len(line.turns) == 2)
    assert call._dialogue._interrupted is None
    assert [turn.caller_text for turn in line.turns] == ["count", "stop"]


async def test_words_are_credited_to_the_turn_that_answers_them(stand: Stand) -> None:
    """When voice and words come together, the interrupted turn keeps its own words of the caller."""
    _, line = await stand.call()
    stand.mouth.ms_per_word = 100
    stand.mind.replies.append(["one two three four five six seven eight nine ten"])
    await stand.heard.says("count")
    await until(lambda: line.audio_ms > 400)
    await stand.heard.says("stop")
    await until(lambda: len(line.turns) == 2)
    assert [(turn.caller_text, turn.interrupted) for turn in line.turns] == [("count", True), ("stop", False)]


async def test_a_withdrawn_turn_may_fail(stand: Stand) -> None:
    """A stage that fails for a turn that the caller has cut off does not end the call."""
    call, line = await stand.call()
    stand.mind.gate.clear()
    await stand.heard.says("one")
    await until(lambda: stand.mind.requests)
    thought = call._dialogue.turn._thought
    call.on_speech_started()
    thought.on_failed(StageError(code=ErrorCode.PROVIDER_FAILED, message="x", retryable=False))
    stand.mind.gate.set()
    await stand.heard.ends("two")
    await until(lambda: line.turns)
    assert line.turns[0].agent_text == "Yes."
    assert call._ending is None

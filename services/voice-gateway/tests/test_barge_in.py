"""What happens when the caller, or a noise, cuts the agent off."""

from __future__ import annotations

import asyncio

import pytest
from call_stand import FRAME, Stand
from fake_line import until

from voxbus.contracts.call import EndReason, TurnKind
from voxbus.contracts.llm import Role, ToolKind
from voxbus.contracts.stage import ErrorCode, StageError
from voxbus.runtime.streams import StageFailure

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
    turn = call._dialogue.turn
    call.on_speech_started()
    turn._thought.on_failed(StageError(code=ErrorCode.PROVIDER_FAILED, message="x", retryable=False))
    assert turn._failure is None
    stand.mind.gate.set()
    await stand.heard.ends("two")
    await until(lambda: line.turns)
    assert line.turns[0].agent_text == "Yes."
    assert call._ending is None


async def test_a_caller_who_cuts_off_a_failed_reply_goes_on(stand: Stand) -> None:
    """What failed behind the words that they interrupted does not end the call."""
    call, line = await stand.call()
    stand.mouth.ms_per_word = 200
    trouble = StageFailure(ErrorCode.PROVIDER_FAILED, "x", retryable=False)
    heard = asyncio.Event()
    stand.mind.replies.append(["one two three four five six", heard, trouble])
    await stand.heard.says("count")
    await until(lambda: line.audio_ms > 300)
    turn = call._dialogue.turn
    heard.set()
    await until(lambda: turn._failure)
    await stand.heard.says("stop")
    await until(lambda: len(line.turns) == 2)
    assert line.turns[1].agent_text == "Yes."
    assert call._ending is None


async def test_a_noise_does_not_undo_the_end_of_the_call(stand: Stand) -> None:
    """When a noise cut the goodbye off, the rest of it is said, and then the call ends."""
    _, line = await stand.call()
    stand.mouth.ms_per_word = 100
    stand.mind.replies.append(["Goodbye then and have a very nice day my friend.", ToolKind.END_CALL])
    await stand.heard.says("bye")
    await until(lambda: line.audio_ms > 400)
    await stand.heard.says("")
    await until(lambda: line.ended)
    assert line.ended is not None
    assert line.ended.reason is EndReason.AGENT_ENDED
    said = " ".join(turn.agent_text for turn in line.turns)
    assert said == "Goodbye then and have a very nice day my friend."


async def test_a_noise_at_the_very_end_of_the_goodbye_ends_the_call(stand: Stand) -> None:
    """Where nothing is left to be said, the call ends at once."""
    call, line = await stand.call()
    stand.mouth.ms_per_word = 2400
    stand.mind.replies.append(["Goodbye.", ToolKind.END_CALL])
    await stand.heard.says("bye")
    await until(lambda: line.audio_ms >= 2400)
    call.on_speech_started()
    await stand.heard.ends("")
    await until(lambda: line.ended)
    assert line.ended is not None
    assert line.ended.reason is EndReason.AGENT_ENDED
    assert [(turn.agent_text, turn.interrupted) for turn in line.turns] == [("Goodbye.", True)]


async def test_a_caller_who_speaks_into_the_goodbye_goes_on(stand: Stand) -> None:
    """Words, other than a noise, take back the end of the call."""
    call, line = await stand.call()
    stand.mouth.ms_per_word = 100
    stand.mind.replies.append(["Goodbye then and have a very nice day my friend.", ToolKind.END_CALL])
    await stand.heard.says("bye")
    await until(lambda: line.audio_ms > 400)
    await stand.heard.says("one more thing")
    await until(lambda: len(line.turns) == 2)
    assert line.turns[1].agent_text == "Yes."
    assert not call._over


async def test_a_noise_after_a_tool_call_does_not_cost_the_answer(stand: Stand) -> None:
    """The model is asked on, with the tool's result, and the tool is not called again."""
    _, line = await stand.call()
    stand.mind.replies.append([ToolKind.RECORD, asyncio.Event()])
    stand.mind.replies.append(["Done."])
    await stand.heard.says("book it")
    await until(lambda: tools_called(stand))
    await stand.heard.says("")
    await until(lambda: line.turns)
    assert (line.turns[0].caller_text, line.turns[0].agent_text) == ("book it", "Done.")
    assert [message.role for message in stand.mind.requests[1].turn] == [Role.ASSISTANT, Role.TOOL]


def tools_called(stand: Stand) -> bool:
    """Whether the running turn of the only call has called a tool."""
    (call,) = stand.calls._calls.values()
    turn = call._dialogue.turn
    return turn is not None and turn._thought is not None and bool(turn._thought.tool_calls)


async def test_a_noise_while_the_model_writes_does_not_cost_the_rest(stand: Stand) -> None:
    """The rest of what was written is said, and the model writes on behind it, as one reply."""
    _, line = await stand.call()
    stand.mouth.ms_per_word = 100
    first = "one two three four five six."
    stand.mind.replies.append([ToolKind.RECORD, first, asyncio.Event()])
    stand.mind.replies.append([first, "seven eight nine."])
    await stand.heard.says("count")
    await until(lambda: line.audio_ms > 300)
    await stand.heard.says("")
    await until(lambda: len(line.turns) == 2)
    said = f"{line.turns[0].agent_text} {line.turns[1].agent_text}"
    assert said == "one two three four five six. seven eight nine."
    again = stand.mind.requests[1]
    assert again.spoken == (first,)
    assert [message.role for message in again.turn] == [Role.ASSISTANT, Role.TOOL]
    assert again.messages == stand.mind.requests[0].messages
    assert again.stream_id != stand.mind.requests[0].stream_id
    await stand.heard.says("next")
    await until(lambda: len(line.turns) == 3)
    texts = [message.text for message in stand.mind.requests[2].messages if message.role is Role.ASSISTANT]
    assert texts == ["", line.turns[0].agent_text, line.turns[1].agent_text]


async def test_a_reply_that_two_noises_cut_is_heard_once_and_wholly(stand: Stand) -> None:
    """Each time the model is told all that was written before."""
    _, line = await stand.call()
    stand.mouth.ms_per_word = 100
    parts = ["one two three four five six.", "seven eight nine ten eleven.", "twelve."]
    stand.mind.replies.append([ToolKind.RECORD, parts[0], asyncio.Event()])
    stand.mind.replies.append([*parts[:2], asyncio.Event()])
    stand.mind.replies.append(list(parts))
    await stand.heard.says("count")
    await until(lambda: line.audio_ms > 300)
    await stand.heard.says("")
    await until(lambda: line.audio_ms > 1000)
    await stand.heard.says("")
    await until(lambda: len(line.turns) == 3)
    assert " ".join(turn.agent_text for turn in line.turns) == " ".join(parts)
    assert [request.spoken for request in stand.mind.requests] == [(), tuple(parts[:1]), tuple(parts[:2])]
    assert [len(request.turn) for request in stand.mind.requests] == [0, 2, 2]


async def test_a_greeting_that_a_noise_cut_off_stays_a_greeting(stand: Stand) -> None:
    """The rest of it is reported as what it is."""
    _, line = await stand.call(greeting="one two three four five six seven eight nine ten eleven twelve")
    await until(lambda: line.audio_ms > 200)
    await stand.heard.says("")
    await until(lambda: len(line.turns) == 2)
    assert [turn.kind for turn in line.turns] == [TurnKind.GREETING, TurnKind.GREETING]
    assert line.turns[1].agent_text.endswith("twelve")

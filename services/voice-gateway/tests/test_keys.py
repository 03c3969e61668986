"""Keys of the caller: collected, answered together, and never a danger to the call."""

from __future__ import annotations

import asyncio

import pytest
from call_stand import Stand
from fake_line import FakeLine, until

from voxbus.contracts.call import EndReason
from voxbus.voice_gateway.dialogue import CallerWords
from voxbus.voice_gateway.keys import Keys
from voxbus.voice_gateway.timings import TurnClock

pytestmark = pytest.mark.integration


@pytest.mark.unit
def test_keys_are_one_text_after_a_second_of_quiet() -> None:
    """Each key starts the second anew."""
    keys = Keys()
    assert not keys.complete(0.0)
    for number, key in enumerate("5550"):
        keys.press(key, number * 0.9)
    assert not keys.complete(3.6)
    assert keys.complete(3.7)
    assert keys.take() == "5 5 5 0"
    assert not keys
    assert not keys.complete(9.0)


@pytest.mark.unit
def test_a_hash_ends_the_keys_at_once() -> None:
    """Behind others it only ends them; alone it is a key like any."""
    keys = Keys()
    for key in "42#":
        keys.press(key, 0.0)
    assert keys.complete(0.0)
    assert keys.take() == "4 2"
    keys.press("#", 1.0)
    assert keys.complete(1.0)
    assert keys.take() == "#"


async def test_a_flood_of_keys_is_one_turn(stand: Stand) -> None:
    """A hundred keys open one language stream, with no more keys than are kept."""
    call, line = await stand.call()
    for number in range(100):
        call.on_dtmf(str(number % 10))
    await until(lambda: line.turns)
    assert len(stand.mind.requests) == len(stand.mouth.handlers) == 1
    text = stand.mind.requests[0].messages[0].text
    assert text == " ".join(str(number % 10) for number in range(32))
    assert line.turns[0].caller_text == text


async def test_a_turn_that_was_interrupted_before_it_began_opens_nothing(stand: Stand) -> None:
    """A queued turn that was withdrawn costs no stream, and its words are answered with the next."""
    call, line = await stand.call()
    stand.mind.gate.clear()
    for text in ("one", "two", "three"):
        call._dialogue.answer(CallerWords(text, TurnClock.unprompted(), None))
        call._dialogue.barge_in()
    call._dialogue.answer(CallerWords("four", TurnClock.unprompted(), None))
    stand.mind.gate.set()
    await until(lambda: line.turns)
    assert [request.messages[-1].text for request in stand.mind.requests] == ["one two three four"]
    assert line.turns[0].caller_text == "one two three four"


async def press_during_a_turn(stand: Stand) -> tuple[object, FakeLine]:
    """A key, while an agent speaks that may not be interrupted."""
    call, line = await stand.call(turn_taking={"interruptible": False}, phrases={"goodbye_duration": "Time is up."})
    stand.mouth.ms_per_word = 300
    stand.mind.replies.append(["one two three four five"])
    await stand.heard.says("go")
    await until(lambda: line.audio_ms > 200)
    call.on_dtmf("5")
    await until(lambda: not call._keys)
    return call, line


async def test_a_key_waits_for_an_agent_that_may_not_be_interrupted(stand: Stand) -> None:
    """The running turn is heard to its end, and the key is answered then."""
    _, line = await press_during_a_turn(stand)
    await until(lambda: len(line.turns) == 2)
    assert [turn.caller_text for turn in line.turns] == ["go", "5"]
    assert not line.turns[0].interrupted
    assert not line.clears


async def test_a_hangup_after_a_key_ends_the_call(stand: Stand) -> None:
    """A key in a turn that may not be interrupted does not keep the call from ending."""
    call, line = await press_during_a_turn(stand)
    call.on_hangup()  # type: ignore[attr-defined]
    await until(lambda: line.ended)
    assert line.ended is not None
    assert line.ended.reason is EndReason.CALLER_HANGUP


async def test_the_time_limit_after_a_key_ends_the_call(stand: Stand) -> None:
    """Nor does it keep the goodbye from being heard."""
    call, line = await press_during_a_turn(stand)
    call._started -= 1800  # type: ignore[attr-defined]
    await until(lambda: line.ended)
    assert line.turns[-1].agent_text == "Time is up."


async def test_every_turn_that_waits_is_interrupted(stand: Stand) -> None:
    """When the agent falls silent, no turn that was queued behind another begins to speak."""
    call, line = await stand.call()
    stand.mouth.ms_per_word = 300
    stand.mind.replies.append(["one two three four five"])
    await stand.heard.says("go")
    await until(lambda: line.audio_ms > 200)
    running = call._dialogue.turn
    call._dialogue.answer(CallerWords("5", TurnClock.unprompted(), None))
    queued = call._dialogue.turn
    call._dialogue.fall_silent()
    assert running.interrupted
    assert queued.interrupted
    async with asyncio.timeout(2):
        await call._dialogue.close()
    assert len(stand.mind.requests) == 1


async def test_words_after_a_key_are_answered_with_it(stand: Stand) -> None:
    """Keys and the words that follow them are one turn of the caller, though the agent spoke in between."""
    call, line = await stand.call()
    await stand.heard.starts()
    await until(lambda: call._ear.speaking)
    stand.mouth.ms_per_word = 300
    stand.mind.replies.append(["one two three"])
    call.on_dtmf("5")
    await until(lambda: line.audio_ms > 60)
    call.on_dtmf("6")
    await stand.heard.ends("this is what I said")
    await until(lambda: len(stand.mind.requests) == 2)
    assert stand.mind.requests[1].messages[-1].text.endswith("6 this is what I said")

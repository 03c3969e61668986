"""When the agent asks whether the caller is still there, and when it gives up."""

from __future__ import annotations

import asyncio

import pytest
from call_stand import FRAME, Stand
from fake_line import until
from fake_stages import FakeEar

from voxbus.contracts.call import EndReason

pytestmark = pytest.mark.integration

ASKING = {"limits": {"silence_s": 1}, "phrases": {"still_there": "Hello?", "goodbye_silence": "Bye."}}


async def test_a_long_turn_of_the_caller_is_not_disturbed(stand: Stand) -> None:
    """A caller who speaks for longer than the silence limit, and then only pauses, is not asked, and is answered."""
    call, line = await stand.call(**ASKING)
    await stand.heard.starts()
    await until(lambda: call._ear.speaking)
    call._silence._since -= 2  # they speak for two seconds
    await stand.heard.pauses()
    await until(lambda: not call._ear.speaking)
    for _ in range(10):
        call.on_audio(FRAME)
        await asyncio.sleep(0.02)
    await stand.heard.ends("I would like to book a table for two")
    await until(lambda: line.turns)
    assert line.turns[0].caller_text == "I would like to book a table for two"
    assert line.turns[0].agent_text == "Yes."


async def test_a_voice_that_the_next_ear_does_not_hear_does_not_keep_the_call(stand: Stand) -> None:
    """After a takeover the silence limit counts again, though the lost worker had heard a voice begin."""
    call, line = await stand.call(**ASKING, turn_taking={"silence_ms": 200})
    await stand.heard.starts()
    await until(lambda: call._ear.speaking)
    await stand.workers["stt"]._live._client.close()
    ear = FakeEar()
    await stand.add_worker(ear)
    await until(lambda: ear.handlers)
    await until(lambda: line.turns)
    assert line.turns[0].agent_text == "Hello?"


async def test_noises_do_not_keep_a_silent_call(stand: Stand) -> None:
    """Turns without words are no life sign: the caller is asked, and let go, as in silence."""
    _, line = await stand.call(**ASKING)
    async with asyncio.timeout(8):
        while line.ended is None:
            await stand.heard.says("")
            await asyncio.sleep(0.4)
    assert line.ended.reason is EndReason.CALLER_SILENT


async def test_a_key_is_a_sign_of_life(stand: Stand) -> None:
    """A caller who was asked and pressed a key is asked again, not let go, at the next silence."""
    call, line = await stand.call(**ASKING)
    await until(lambda: line.turns)
    call.on_dtmf("5")
    await until(lambda: len(line.turns) == 3)
    assert [turn.agent_text for turn in line.turns] == ["Hello?", "Yes.", "Hello?"]

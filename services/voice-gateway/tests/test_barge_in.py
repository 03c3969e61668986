"""What happens when the caller, or a noise, cuts the agent off."""

from __future__ import annotations

import pytest
from call_stand import FRAME, Stand
from fake_line import until

from voxbus.contracts.call import TurnKind

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

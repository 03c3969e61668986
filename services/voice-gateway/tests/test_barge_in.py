"""What happens when the caller, or a noise, cuts the agent off."""

from __future__ import annotations

import pytest
from call_stand import FRAME, Stand
from fake_line import until

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
    await until(lambda: line.turns)
    assert not call._playout.speaking
    assert call._playout.buffered_ms == 0
    assert all(moment <= line.clears[0] for moment, _ in line.audio)

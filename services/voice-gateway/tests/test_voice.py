"""A turn's audio from the voice stream into play-out, without any I/O."""

from __future__ import annotations

import pytest
from fake_line import FakeLine

from voxbus.contracts.audio import FRAME_BYTES
from voxbus.contracts.base import new_id
from voxbus.contracts.stage import ProviderChoice
from voxbus.contracts.tts import TtsOpen, TtsSentenceDone, TtsSentenceStarted
from voxbus.voice_gateway.playout import Playout
from voxbus.voice_gateway.speech import Utterance
from voxbus.voice_gateway.timings import TurnClock
from voxbus.voice_gateway.voice import Voice

pytestmark = pytest.mark.unit


def test_a_sentence_that_is_complete_is_not_heard_again() -> None:
    """Another worker may make it longer than the first did: none of that is played."""
    utterance, playout = Utterance(), Playout(FakeLine(), 100)
    utterance.add(0, "Hello.")
    playout.begin(utterance)
    request = TtsOpen(
        call_id="c",
        stream_id=new_id("s"),
        attempt=1,
        owner_id="gw",
        agent_id="a",
        providers=(ProviderChoice(name="x"),),
    )
    voice = Voice(
        request,
        utterance,
        playout,
        TurnClock.unprompted(),
        failed=lambda error: None,
        taken_over=lambda takeover: None,
        progress=lambda: None,
    )
    for frames in (10, 12):
        voice.on_message(TtsSentenceStarted(index=0, elapsed_ms=1.0).encode())
        voice.on_audio(0, bytes(FRAME_BYTES) * frames)
        voice.on_message(TtsSentenceDone(index=0, duration_ms=frames * 20).encode())
    assert utterance.received_ms(0) == 200

"""What every provider's utterances do on the bus, shown with a fake one and with the real engine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest
from fake_speech import Listener

from voxbus.contracts.audio import FRAME_BYTES, FRAME_US
from voxbus.contracts.frame import Frame, Kind
from voxbus.tts_worker.audio_out import FIRST_FRAMES, MAX_FRAMES

pytestmark = pytest.mark.unit
Open = Callable[..., Awaitable[Listener]]

TWO = ("Hello, how may I help you today?", "We are open on Monday.")


def of_sentence(listener: Listener, index: int) -> list[Frame]:
    """The audio frames between a sentence's two messages."""
    marks = [position for position, frame in enumerate(listener.frames) if frame.kind is Kind.MESSAGE]
    return listener.frames[marks[2 * index] + 1 : marks[2 * index + 1]]


async def test_started_audio_done_for_each_sentence_then_close(open_any: Open) -> None:
    """Each sentence is a started message, its audio and a done message with its duration; after the last comes the close."""
    listener = await open_any()
    await listener.speak(*TWO)
    assert [(event.type, event.index) for event in listener.events] == [
        ("sentence_started", 0), ("sentence_done", 0), ("sentence_started", 1), ("sentence_done", 1),
    ]  # fmt: skip
    assert listener.frames[-1].kind is Kind.CLOSE
    assert listener.outcome == "finished"
    for index, done in enumerate(listener.done):
        audio = of_sentence(listener, index)
        assert audio
        assert {frame.kind for frame in audio} == {Kind.AUDIO}
        assert done.duration_ms == sum(len(frame.body) for frame in audio) / FRAME_BYTES * 20


async def test_timestamps_are_positions_in_the_utterance(open_any: Open) -> None:
    """The first audio is at 0, and each message begins where the one before ended, across sentences."""
    listener = await open_any()
    await listener.speak(*TWO)
    assert listener.audio[0].timestamp_us == 0
    for before, after in pairwise(listener.audio):
        assert after.timestamp_us - before.timestamp_us == len(before.body) // FRAME_BYTES * FRAME_US


async def test_the_first_message_of_a_sentence_is_small(open_any: Open) -> None:
    """The first audio message carries at most three frames, no message more than 25."""
    listener = await open_any()
    await listener.speak(*TWO)
    for index in range(2):
        sizes = [len(frame.body) // FRAME_BYTES for frame in of_sentence(listener, index)]
        assert sizes[0] <= FIRST_FRAMES
        assert max(sizes) <= MAX_FRAMES


async def test_a_sentence_is_acknowledged_when_it_is_done(open_any: Open) -> None:
    """The done message carries the acknowledgement of its sentence and of no later one."""
    listener = await open_any()
    await listener.speak(*TWO)
    acks = [frame.ack for frame in listener.frames if frame.kind is Kind.MESSAGE]
    assert acks == [0, 1, 1, 2]
    assert listener.frames[-1].ack == 2


async def test_a_known_index_is_not_spoken_again(open_any: Open) -> None:
    """Sentences that come twice are spoken once."""
    listener = await open_any()
    await listener.say(*TWO)
    await listener.say(*TWO)
    await listener.speak()
    assert [done.index for done in listener.done] == [0, 1]


async def test_only_the_missing_sentences_after_a_takeover(open_any: Open) -> None:
    """A new attempt may begin with a later index."""
    listener = await open_any()
    await listener.say(TWO[1], first_index=1)
    await listener.speak()
    assert [done.index for done in listener.done] == [1]


@pytest.mark.parametrize("text", ["", "   ", "🙂👍", "...", "```python\nprint(1)\n```", "---"])
async def test_nothing_to_say_is_done_at_once(open_any: Open, text: str) -> None:
    """A sentence without a word is started and done with no audio, and the next one is spoken."""
    listener = await open_any()
    await listener.speak(text, "Yes.")
    assert [(event.type, event.index) for event in listener.events][:2] == [
        ("sentence_started", 0),
        ("sentence_done", 0),
    ]
    assert listener.done[0].duration_ms == 0
    assert listener.done[1].duration_ms > 0


async def test_close_without_a_sentence(open_any: Open) -> None:
    """An utterance that is closed before any sentence finishes without audio."""
    listener = await open_any()
    await listener.speak()
    assert [frame.kind for frame in listener.frames] == [Kind.CLOSE]


async def test_cancel_stops_at_once(open_any: Open) -> None:
    """After a cancel nothing more is sent, neither of the sentence that was running nor of those that waited."""
    listener = await open_any()
    await listener.say(*TWO * 5)
    await listener.until(lambda: listener.audio)
    listener.stream.end("cancelled")
    await listener.handler.on_cancel()
    assert listener.handler._task.done()
    assert len(listener.done) < 10

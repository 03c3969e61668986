"""What counts as a conversation, and a person at a microphone."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from voxbus.local.client import Said
from voxbus.local.dialogue import Exchange
from voxbus.local.errors import CommandError
from voxbus.local.mic import Microphone
from voxbus.local.placing import CallResult

pytestmark = pytest.mark.unit
ENDED = {"type": "ended", "reason": "caller_hangup", "duration_s": 1.0}


def result(**changes: object) -> CallResult:
    answered = Exchange("one.wav", Said(0, 1, 1), True, 0.5)
    fields: dict[str, object] = {
        "session_id": "call_1", "agent_id": "a", "agent_name": "A", "duration_s": 2.0, "interrupted": False,
        "exchanges": (answered,), "lines": 1, "agent_audio_s": 1.0, "turns": (), "errors": (), "ended": ENDED,
        "recording": None,
    }  # fmt: skip
    return CallResult.model_validate({**fields, **changes})


def test_a_call_whose_lines_were_answered_has_no_problem() -> None:
    """That is a conversation."""
    assert result().problem is None


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"ended": None}, "the gateway dropped the call"),
        ({"agent_audio_s": 0}, "the agent was never heard"),
        ({"lines": 3}, "the call ended after 1 of 3 lines (caller_hangup)"),
        ({"exchanges": (Exchange("two.wav", Said(0, 1, 1), False, None),)}, "no answer to two.wav"),
    ],
)
def test_what_is_no_conversation(changes: dict[str, object], problem: str) -> None:
    """Each way in which it failed has its own words."""
    assert result(**changes).problem == problem


class FakeStream:
    """A stream of PortAudio that a test drives."""

    def __init__(self, *, callback: Any, **shape: object) -> None:
        self.callback = callback
        self.shape = shape
        self.state = "open"

    def start(self) -> None:
        self.state = "started"

    def close(self) -> None:
        self.state = "closed"


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeStream]:
    """The streams that were opened through a fake sounddevice."""
    opened: dict[str, FakeStream] = {}

    def opener(kind: str) -> Any:
        def open_stream(**more: Any) -> FakeStream:
            opened[kind] = FakeStream(**more)
            return opened[kind]

        return open_stream

    module = ModuleType("sounddevice")
    vars(module).update(RawInputStream=opener("in"), RawOutputStream=opener("out"), PortAudioError=OSError)
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    return opened


def test_a_microphone_passes_audio_both_ways(streams: dict[str, FakeStream]) -> None:
    """What is spoken is read in order, what is played comes out in blocks filled up with silence, `clear` silences."""
    with Microphone(16_000) as microphone:
        assert streams["in"].shape == {"samplerate": 16_000, "channels": 1, "dtype": "int16", "blocksize": 320}
        streams["in"].callback(b"abcd", 2, None, None)
        streams["in"].callback(b"efgh", 2, None, None)
        assert microphone.read(6) == b"abcdef"
        assert microphone.read(6) == b"gh"
        block = bytearray(4)
        microphone.play(b"123456")
        streams["out"].callback(block, 2, None, None)
        assert block == b"1234"
        streams["out"].callback(block, 2, None, None)
        assert block == b"56\0\0"
        microphone.play(b"789")
        microphone.clear()
        streams["out"].callback(block, 2, None, None)
        assert block == bytes(4)
    assert [stream.state for stream in streams.values()] == ["closed", "closed"]


def test_a_stalled_call_loses_old_words_instead_of_lagging(streams: dict[str, FakeStream]) -> None:
    """No more than half a second waits to be sent: the newest."""
    microphone = Microphone(16_000)
    for number in range(100):
        streams["in"].callback(bytes([number]) * 640, 320, None, None)
    waiting = microphone.read(1_000_000)
    assert len(waiting) == 16_000
    assert waiting[-1] == 99


def test_a_machine_without_a_sound_device_is_told(
    streams: dict[str, FakeStream], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error of PortAudio becomes a sentence."""

    def broken(**_more: object) -> None:
        raise OSError("no default input device")

    monkeypatch.setattr(sys.modules["sounddevice"], "RawInputStream", broken)
    with pytest.raises(CommandError, match="no sound device that can be used"):
        Microphone(16_000)
    assert streams == {}

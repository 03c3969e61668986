"""The call client against a fake gateway: pacing, play-out, turns, and what goes wrong."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest
from fake_gateway import AGENT_SAMPLE, FakeGateway, serving, tone

from voxbus.contracts import native
from voxbus.local.client import CallClient
from voxbus.local.errors import CallRefusedError, GatewayUnreachableError

pytestmark = pytest.mark.unit
VOICE = tone(0.3, 8000)


def client(gateway: FakeGateway, **more: object) -> CallClient:
    return CallClient(gateway.url, token="good", agent_id="tester", **more)  # type: ignore[arg-type]


async def test_frames_go_at_the_pace_of_real_time() -> None:
    """A 20 ms frame goes every 20 ms, silence when there is nothing to say, and no drift adds up."""
    async with serving(FakeGateway(mute=True)) as gateway, client(gateway) as call:
        assert await call.until(lambda: len(call.caller_track) >= 50 * call.frame_bytes, timeout_s=5)
        elapsed_s = call.now_s
        assert await call.until(lambda: len(gateway.frames) >= 50, timeout_s=5)
    assert all(len(pcm) == 640 for _at, pcm in gateway.frames)
    assert 0.98 <= elapsed_s < 1.3
    spans = [after - before for (before, _), (after, _) in pairwise(gateway.frames[:50])]
    assert 0.015 < float(np.median(spans)) < 0.025


async def test_what_is_said_arrives_whole_and_is_placed_on_the_timeline() -> None:
    """`say` returns when the last frame was sent, and tells when the voice ended."""
    async with serving(FakeGateway(mute=True)) as gateway, client(gateway) as call:
        said = await call.say(VOICE + bytes(3200))
        assert call.now_s >= said.end_s - 0.03
        assert await call.until(lambda: gateway.utterances == 1, timeout_s=5)
        track = call.caller_track
    assert said.voice_end_s - said.start_s == pytest.approx(0.3, abs=0.011)
    assert said.end_s - said.start_s == pytest.approx(0.4)
    start = int(said.start_s * 32_000)
    assert track[start : start + len(VOICE)] == VOICE
    assert b"".join(pcm for _at, pcm in gateway.frames).count(VOICE) == 1


async def test_the_agents_audio_is_laid_on_the_timeline_as_heard() -> None:
    """What was heard has the length of the call and holds the agent's audio where it was played."""
    async with serving(FakeGateway(greeting_s=0.2)) as gateway, client(gateway) as call:
        assert await call.until(lambda: call.turns != [] and not call.agent_speaking, timeout_s=5)
        await call.hang_up()
    samples = np.frombuffer(call.agent_track, "<i2")
    assert len(samples) / 16_000 == pytest.approx(call.now_s, abs=0.001)
    assert np.count_nonzero(samples == AGENT_SAMPLE) == 3200
    assert abs(len(call.caller_track) / 32_000 - call.now_s) < 0.1


async def test_clear_drops_what_was_not_heard() -> None:
    """After `clear` the rest of the agent's words is neither played nor recorded."""
    async with serving(FakeGateway(greeting_s=2.0)) as gateway, client(gateway) as call:
        assert await call.until(lambda: call.agent_speaking, timeout_s=5)
        await call.say(tone(0.1, 8000))
        assert await call.until(lambda: any(isinstance(m.message, native.Clear) for m in call.messages), timeout_s=5)
        cleared_s = call.now_s
        assert not call.agent_speaking
        heard = call.playout.heard_s
    assert heard < 2.0
    assert call.playout.ends_s <= cleared_s + 0.001


async def test_a_mark_is_answered_once_the_audio_before_it_was_heard() -> None:
    """The answer to a mark comes when play-out reaches it, not when it arrives."""
    async with serving(FakeGateway(greeting_s=0.4, mark="here")) as gateway, client(gateway) as call:
        assert await call.until(lambda: gateway.texts_of("mark") != [], timeout_s=5)
        answered, mark = gateway.texts_of("mark")[0]
    assert mark == {"type": "mark", "name": "here"}
    assert answered - gateway.voice_times[0] >= 0.38


async def test_hang_up_waits_for_the_servers_goodbye() -> None:
    """`hang_up` returns the server's `ended`, and the call is no longer live."""
    async with serving(FakeGateway()) as gateway, client(gateway) as call:
        ended = await call.hang_up()
        assert ended is not None
        assert ended.reason == "caller_hangup"
        assert await call.until(lambda: not call.live, timeout_s=5) or not call.live
    assert gateway.texts_of("hangup")


async def test_listeners_hear_messages_with_their_time() -> None:
    """A listener is told each message in order, with the second of the call."""
    heard: list[tuple[float, str]] = []
    async with (
        serving(FakeGateway(greeting_s=0.1)) as gateway,
        client(gateway, listener=lambda at_s, message: heard.append((at_s, message.type))) as call,
    ):
        assert await call.until(lambda: call.turns != [], timeout_s=5)
    assert [kind for _at, kind in heard] == ["transcript", "turn"]
    assert heard[0][0] < heard[1][0]


async def test_a_refusal_says_why_and_what_to_do() -> None:
    """An error instead of `ready` becomes CallRefusedError with the server's code and a hint."""
    refuse = {"code": "unknown_agent", "message": "there is no agent tester"}
    async with serving(FakeGateway(refuse=refuse)) as gateway:
        with pytest.raises(CallRefusedError, match="there is no agent tester") as refusal:
            async with client(gateway):
                pass
    assert refusal.value.code == "unknown_agent"
    assert "voxbus agents list" in refusal.value.hint


async def test_nobody_at_the_address() -> None:
    """A gateway that is not there is told as that."""
    with pytest.raises(GatewayUnreachableError, match="no voice gateway answers"):
        async with CallClient("ws://127.0.0.1:9", token="t", agent_id="tester"):
            pass


async def test_a_dropped_connection_ends_the_call_without_an_error() -> None:
    """A socket that breaks ends all waiting; `ended` stays None, which tells it from a good end."""
    async with serving(FakeGateway(mute=True, drop_after_frames=10)) as gateway, client(gateway) as call:
        began = time.monotonic()
        assert not await call.until(lambda: False, timeout_s=5)
        assert time.monotonic() - began < 4
        assert not call.live
        said = await call.say(VOICE)
        assert said.end_s > said.start_s
    assert call.ended is None
    assert len(gateway.frames) >= 10


async def test_messages_of_a_newer_server_are_counted_and_skipped() -> None:
    """Unknown messages and broken JSON don't end the call."""
    extra = ['{"type": "weather", "sky": "grey"}', "{"]
    async with serving(FakeGateway(greeting_s=0.1, extra=extra)) as gateway, client(gateway) as call:
        assert await call.until(lambda: call.turns != [], timeout_s=5)
        assert call.invalid_messages == 2


@pytest.mark.parametrize("sample_rate", [8_000, 24_000, 48_000])
async def test_other_rates_change_the_frames(sample_rate: int) -> None:
    """At each rate a frame is 20 ms of that rate, and the timelines stay right."""
    async with (
        serving(FakeGateway(greeting_s=0.1)) as gateway,
        client(gateway, sample_rate=sample_rate) as call,
    ):
        assert await call.until(lambda: call.turns != [], timeout_s=5)
        assert call.playout.heard_s == pytest.approx(0.1)
    assert gateway.auth["sample_rate"] == sample_rate
    assert {len(pcm) for _at, pcm in gateway.frames} == {sample_rate // 50 * 2}


async def test_a_live_caller_speaks_and_hears_through_a_device() -> None:
    """With a device the microphone's samples are sent, the agent's are played, and `clear` reaches the loudspeaker."""

    class Device:
        def __init__(self) -> None:
            self.played = 0
            self.cleared = 0
            self.input = b""

        def read(self, size_bytes: int) -> bytes:
            pcm, self.input = self.input[:size_bytes], self.input[size_bytes:]
            return pcm

        def play(self, pcm: bytes) -> None:
            self.played += len(pcm)

        def clear(self) -> None:
            self.cleared += 1

    device = Device()
    async with serving(FakeGateway(greeting_s=1.0)) as gateway, client(gateway, device=device) as call:
        assert await call.until(lambda: device.played > 0, timeout_s=5)
        device.input = VOICE
        assert await call.until(lambda: device.cleared == 1, timeout_s=5)
        assert await call.until(lambda: gateway.utterances == 1, timeout_s=5)
    assert VOICE in call.caller_track

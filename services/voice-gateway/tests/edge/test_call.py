"""A call on the native protocol: audio, messages, marks, and how it ends."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import math
import struct

import pytest
from voice_client import Gateway, close_code, eventually, receive, receive_audio

from voxbus.contracts.audio import FRAME_BYTES
from voxbus.contracts.call import EndReason, TurnKind, TurnTimings
from voxbus.contracts.native import Ended, TranscriptMessage, Turn

pytestmark = pytest.mark.integration


def tone(rate: int, duration_s: float = 0.2) -> bytes:
    """440 Hz at half scale."""
    count = int(rate * duration_s)
    return struct.pack(f"<{count}h", *(int(16_000 * math.sin(math.tau * 440 * at / rate)) for at in range(count)))


def loudness(pcm: bytes) -> float:
    """Root mean square."""
    samples = struct.unpack(f"<{len(pcm) // 2}h", pcm)
    return math.sqrt(sum(sample * sample for sample in samples) / len(samples))


def rising_edges(pcm: bytes) -> int:
    """How often the wave goes from below to above zero: its frequency times its duration. Ringing does not count."""
    samples = [sample for sample in struct.unpack(f"<{len(pcm) // 2}h", pcm) if abs(sample) > 1000]
    return sum(1 for before, after in itertools.pairwise(samples) if before < 0 <= after)


async def test_ready(gateway: Gateway) -> None:
    """`ready` names the call and the agent; the call knows who asked, from where and at which rate."""
    async with gateway.connect() as client:
        ready = await gateway.ready(client, sample_rate=24_000)
    assert ready == {
        "type": "ready",
        "session_id": gateway.call.id,
        "sample_rate": 24_000,
        "agent_id": "receptionist",
        "agent_name": "Front desk",
    }
    request = gateway.call.request
    assert (request.protocol, request.sample_rate, request.subject) == ("native", 24_000, "user-1")
    assert (request.remote_address, request.claims["aud"]) == ("127.0.0.1", "voxbus-voice")


@pytest.mark.parametrize("path", ["/", "/v1/voice", "/?from=somewhere"])
async def test_paths(gateway: Gateway, path: str) -> None:
    """The native protocol is spoken on both paths, whatever the query."""
    async with gateway.connect(path) as client:
        await gateway.ready(client)


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 48_000])
@pytest.mark.parametrize("as_json", [False, True])
async def test_caller_audio(gateway: Gateway, rate: int, as_json: bool) -> None:
    """Audio at each rate, binary or base64, in chunks of any size, reaches the call as frames of 640 bytes at 16 kHz."""
    pcm = tone(rate)
    async with gateway.connect() as client:
        await gateway.ready(client, sample_rate=rate)
        for start in range(0, len(pcm), 1234):
            chunk = pcm[start : start + 1234]
            message = json.dumps({"type": "audio", "data": base64.b64encode(chunk).decode()})
            await client.send(message if as_json else chunk)
        await eventually(lambda: len(gateway.call.frames) == 10)
    assert {len(frame) for frame in gateway.call.frames} == {FRAME_BYTES}
    assert loudness(gateway.call.audio) == pytest.approx(16_000 / math.sqrt(2), rel=0.03)
    assert rising_edges(gateway.call.audio) == pytest.approx(440 * 0.2, abs=1)


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 48_000])
@pytest.mark.parametrize("form", ["binary", "base64"])
async def test_agent_audio(gateway: Gateway, rate: int, form: str) -> None:
    """The agent's audio reaches the client at the client's rate, in the form that it asked for."""
    pcm = tone(16_000)
    received = b""
    async with gateway.connect() as client:
        await gateway.ready(client, sample_rate=rate, audio=form)
        for start in range(0, len(pcm), FRAME_BYTES):
            gateway.call.line.send_audio(pcm[start : start + FRAME_BYTES])
            if form == "binary":
                received += await receive_audio(client)
            else:
                received += base64.b64decode((await receive(client, "audio"))["data"])
    assert len(received) == rate * 2 // 5
    assert loudness(received) == pytest.approx(16_000 / math.sqrt(2), rel=0.03)
    assert rising_edges(received) == pytest.approx(440 * 0.2, abs=1)


async def test_messages_to_the_client(gateway: Gateway) -> None:
    """Transcript and turn messages arrive as they were sent, in order with the audio."""
    said = TranscriptMessage(role="agent", text="Good morning", final=True, turn=0)
    turn = Turn(
        turn=0,
        kind=TurnKind.GREETING,
        caller_text="",
        agent_text="Good morning",
        interrupted=False,
        timings=TurnTimings(first_audio=80.0),
    )
    async with gateway.connect() as client:
        await gateway.ready(client)
        gateway.call.line.send_message(said)
        gateway.call.line.send_audio(bytes(FRAME_BYTES))
        gateway.call.line.send_message(turn)
        assert TranscriptMessage.model_validate(await receive(client)) == said
        assert await receive_audio(client) == bytes(FRAME_BYTES)
        assert Turn.model_validate(await receive(client)) == turn


async def test_dtmf_and_hangup(gateway: Gateway) -> None:
    """Keys and the hang-up reach the call; the line stays open until the call ends it."""
    async with gateway.connect() as client:
        await gateway.ready(client)
        for digit in "1#*D":
            await client.send(json.dumps({"type": "dtmf", "digit": digit}))
        await client.send('{"type":"hangup"}')
        await eventually(lambda: "hangup" in gateway.call.events)
        assert gateway.call.events == ["dtmf 1", "dtmf #", "dtmf *", "dtmf D", "hangup"]
        assert not gateway.call.line.closed


async def test_mark_comes_back_when_played(gateway: Gateway) -> None:
    """A mark is over when the client says so, and those before it with it; a name nobody sent means nothing."""
    async with gateway.connect() as client:
        await gateway.ready(client)
        for name in ("one", "two", "three"):
            gateway.call.line.mark(name)
            assert (await receive(client, "mark"))["name"] == name
        assert gateway.call.events == []
        for name in ("invented", "two", "one", "three"):
            await client.send(json.dumps({"type": "mark", "name": name}))
        await eventually(lambda: len(gateway.call.events) == 3)
        assert gateway.call.events == ["mark one", "mark two", "mark three"]


async def test_clear_ends_marks(gateway: Gateway) -> None:
    """`clear` goes out between the audio before it and the audio after it, and ends marks without the client's word."""
    async with gateway.connect() as client:
        await gateway.ready(client)
        line = gateway.call.line
        line.send_audio(b"\1\0" * 320)
        line.mark("before")
        line.clear()
        assert gateway.call.events == []  # never from inside of the call's own call
        line.send_audio(b"\2\0" * 320)
        assert await receive_audio(client) == b"\1\0" * 320
        await receive(client, "mark")
        await receive(client, "clear")
        assert await receive_audio(client) == b"\2\0" * 320
        assert gateway.call.events == ["mark before"]
        await client.send('{"type":"mark","name":"before"}')
        await (await client.ping())
        assert gateway.call.events == ["mark before"]


async def test_client_without_marks(gateway: Gateway) -> None:
    """Marks of a client that never answers them don't pile up: the oldest are given up."""
    async with gateway.connect() as client:
        await gateway.ready(client)
        for number in range(300):
            gateway.call.line.mark(str(number))
        await eventually(lambda: len(gateway.call.events) == 300 - 256)
        assert gateway.call.events[0] == "mark 0"


@pytest.mark.parametrize(
    ("reason", "code"),
    [(EndReason.AGENT_ENDED, 1000), (EndReason.GATEWAY_STOPPED, 1001), (EndReason.INTERNAL_ERROR, 1011)],
)
async def test_end(gateway: Gateway, reason: EndReason, code: int) -> None:
    """`end` sends what was before it, then `ended`, then closes; the call hears nothing more."""
    async with gateway.connect() as client:
        await gateway.ready(client)
        line = gateway.call.line
        line.send_audio(bytes(FRAME_BYTES))
        ending = asyncio.create_task(line.end(Ended(reason=reason, duration_s=1.5)))
        assert await receive_audio(client) == bytes(FRAME_BYTES)
        assert await receive(client, "ended") == {
            "type": "ended",
            "reason": reason.value,
            "detail": "",
            "duration_s": 1.5,
        }
        assert await close_code(client) == code
        await asyncio.wait_for(ending, 5)
    assert line.closed
    assert gateway.call.events == []
    line.send_audio(bytes(FRAME_BYTES))
    line.clear()
    line.mark("late")
    await line.end(Ended(reason=reason, duration_s=1.5))


async def test_client_closes(gateway: Gateway) -> None:
    """A client that closes the socket disconnects the call, once."""
    async with gateway.connect() as client:
        await gateway.ready(client)
    await asyncio.wait_for(gateway.call.disconnected.wait(), 5)
    await eventually(lambda: gateway.server.connections == 0)
    assert gateway.call.events == ["disconnected"]
    await gateway.call.line.end(Ended(reason=EndReason.CALLER_DISCONNECTED, duration_s=0))
    assert client.close_code == 1000


async def test_socket_dropped_mid_word(gateway: Gateway) -> None:
    """A socket that vanishes in the middle of a message disconnects the call; the whole frames before it counted."""
    async with gateway.connect() as client:
        await gateway.ready(client)
        await client.send(bytes(FRAME_BYTES * 2 + 100))
        await eventually(lambda: len(gateway.call.frames) == 2)
        client.transport.write(b"\x82\xfe\x02")  # a frame's header, cut short
        client.transport.abort()
        await asyncio.wait_for(gateway.call.disconnected.wait(), 5)
    assert gateway.call.events == ["disconnected"]
    assert len(gateway.call.frames) == 2


async def test_two_calls_do_not_mix(gateway: Gateway) -> None:
    """Each call hears its own client."""
    async with gateway.connect() as one, gateway.connect() as two:
        await gateway.ready(one)
        await gateway.ready(two, sample_rate=8_000)
        await one.send(b"\1\0" * 320)
        await two.send(bytes(320))
        first, second = gateway.exchange.calls
        await eventually(lambda: first.frames and second.frames)
        assert first.frames == [b"\1\0" * 320]
        assert second.frames == [bytes(640)]
        second.line.send_audio(b"\5\0" * 320)
        assert len(await receive_audio(two)) == 320
        first.line.send_audio(b"\6\0" * 320)
        assert await receive_audio(one) == b"\6\0" * 320

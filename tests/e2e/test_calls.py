"""Real calls with human speech through all processes."""

from __future__ import annotations

import asyncio
import time

import nats
import pytest
from stack import RunningStack, reference, sample_lines, transcribe, word_error_rate

from voxbus.contracts.audio import SAMPLE_BYTES, SAMPLE_RATE
from voxbus.contracts.call import EndReason, TurnKind
from voxbus.contracts.frame import Kind, decode_frame
from voxbus.contracts.native import Clear, TranscriptMessage
from voxbus.contracts.stt import STT_EVENT, SpeechStarted
from voxbus.contracts.subjects import OUTPUT
from voxbus.local.client import CallClient
from voxbus.local.dialogue import Exchange, ScriptLine, converse, wait_greeting

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def caller_words(client: CallClient, exchange: Exchange) -> str:
    """What was recognised, finally, of one line of the caller."""
    return " ".join(
        timed.message.text
        for timed in client.messages
        if isinstance(timed.message, TranscriptMessage)
        and timed.message.role == "caller"
        and timed.message.final
        and exchange.said.start_s <= timed.at_s
        and (timed.at_s <= exchange.said.end_s + 4)
    )


async def dictate(stack: RunningStack, lines: list[ScriptLine]) -> list[str]:
    """Say the lines to the scribe; what it heard, line by line."""
    async with stack.client("scribe") as client:
        heard: list[str] = []
        for line in lines:
            before = len([turn for turn in client.turns if turn.kind is TurnKind.REPLY])
            await client.say(line.pcm)
            assert await client.until(
                lambda before=before: (
                    len([turn for turn in client.turns if turn.kind is TurnKind.REPLY]) > before
                    and not client.agent_speaking
                ),
                timeout_s=15,
            ), f"no answer to {line.name}"
            replies = [turn for turn in client.turns if turn.kind is TurnKind.REPLY]
            heard.append(" ".join(turn.caller_text for turn in replies[before:]))
        await client.hang_up()
        return heard


def agent_stretches(client: CallClient) -> list[bytes]:
    """The agent's audio as it was heard, one piece per stretch without a gap."""
    return [
        bytes(segment.pcm) for segment in client.playout.segments if len(segment.pcm) > SAMPLE_RATE * SAMPLE_BYTES // 2
    ]


async def test_a_conversation_with_human_speech_is_understood_and_answered(stack: RunningStack) -> None:
    """The receptionist books the appointment of the recordings: every turn is heard, answered, audible and timed."""
    async with stack.client("receptionist") as client:
        lines = sample_lines("booking")
        exchanges = await converse(client, lines)
    assert [exchange.answered for exchange in exchanges] == [True] * len(lines)
    replies = [turn for turn in client.turns if turn.kind is TurnKind.REPLY]
    assert len(replies) >= 3
    for turn in replies:
        steps = turn.timings
        assert steps.platform_ms is not None
        assert steps.turn_decided is not None
        assert steps.first_played is not None
        assert 0 < steps.turn_decided <= steps.first_played < 5000
    said = " ".join(turn.agent_text for turn in client.turns)
    assert "Wednesday" in said
    assert client.ended is not None
    assert client.ended.reason is EndReason.AGENT_ENDED


async def test_the_agents_speech_is_intelligible(stack: RunningStack) -> None:
    """What the caller heard of the agent, transcribed by an independent ear, is what the agent said."""
    async with stack.client("receptionist") as client:
        await wait_greeting(client)
        await converse(client, sample_lines("booking", 2))
    said = " ".join(turn.agent_text for turn in client.turns)
    heard = " ".join(transcribe(pcm[: 15 * SAMPLE_RATE * SAMPLE_BYTES]) for pcm in agent_stretches(client))
    assert word_error_rate([said], [heard]) <= 0.15, f"said {said!r}, heard {heard!r}"


async def test_human_sentences_are_recognised(stack: RunningStack) -> None:
    """The final transcripts of 16 human sentences have a word error rate of at most 10 %, in four calls at the same time.

    That the calls do not mix follows: every call hears its own sentences and nothing of the others.
    """
    lines = sample_lines("sentences")[::2][:16]
    shares = [lines[number::4] for number in range(4)]
    heard = await asyncio.gather(*(dictate(stack, share) for share in shares))
    references = [reference(line.name, "sentences") for share in shares for line in share]
    hypotheses = [text for texts in heard for text in texts]
    assert len(hypotheses) >= 10
    rate = word_error_rate(references, hypotheses)
    assert rate <= 0.10, "\n".join(f"{r} | {h}" for r, h in zip(references, hypotheses, strict=True))
    for expected, text in zip(references, hypotheses, strict=True):
        assert word_error_rate([expected], [text]) < 0.6, f"another call's words? {expected!r} {text!r}"


@pytest.mark.parametrize("sample_rate", [8_000, 24_000, 48_000])
async def test_every_sample_rate_is_understood_and_heard(stack: RunningStack, sample_rate: int) -> None:
    """A client of another rate is recognised, and gets intelligible audio of its own rate back."""
    from voxbus.runtime.audio import resample

    line = sample_lines("sentences", 3)[1]
    async with stack.client("echo", sample_rate) as client:
        await wait_greeting(client)
        await converse(client, [ScriptLine(line.name, resample(line.pcm, SAMPLE_RATE, sample_rate))])
    turn = next(turn for turn in client.turns if turn.kind is TurnKind.REPLY)
    assert word_error_rate([reference(line.name, "sentences")], [turn.caller_text]) <= 0.3
    pcm = bytes(client.playout.segments[-1].pcm)
    heard = transcribe(resample(pcm, sample_rate, SAMPLE_RATE)[: 15 * SAMPLE_RATE * SAMPLE_BYTES])
    assert word_error_rate([turn.agent_text], [heard]) <= 0.3, f"{turn.agent_text!r} {heard!r}"


async def test_barge_in_silences_the_agent(stack: RunningStack) -> None:
    """Within 150 ms of the gateway being told of the caller's voice the agent is silent, and only what was heard counts."""
    started: list[float] = []
    bus = await nats.connect(stack.info.nats_url)

    async def watch(msg: nats.aio.msg.Msg) -> None:
        frame = decode_frame(msg.data)
        if frame.kind is Kind.MESSAGE and isinstance(STT_EVENT.validate_json(frame.body), SpeechStarted):
            started.append(time.monotonic())

    await bus.subscribe(OUTPUT.wildcard(stage="stt"), cb=watch)
    try:
        async with stack.client("talker") as client:
            first, second = sample_lines("sentences", 2)
            exchanges = await converse(client, [first, ScriptLine(second.name, second.pcm, barge_in_ms=1500)])
            clear = next(timed for timed in client.messages if isinstance(timed.message, Clear))
            told = max(moment - client._started for moment in started if moment - client._started <= clear.at_s + 0.05)
            segment = next(s for s in client.playout.segments if s.start_s >= exchanges[0].said.voice_end_s)
    finally:
        await bus.close()
    silent_s = segment.start_s + len(segment.pcm) / (SAMPLE_RATE * SAMPLE_BYTES)
    assert clear.at_s - told <= 0.150
    assert silent_s - told <= 0.150
    cut = next(turn for turn in client.turns if turn.interrupted)
    assert cut.agent_text.startswith("Let me tell you")
    assert "put it out again" not in cut.agent_text


async def test_two_calls_at_the_same_time_do_not_mix(stack: RunningStack) -> None:
    """Two callers who speak at once each hear their own words back, in their own audio."""

    async def echo(line: ScriptLine) -> tuple[str, str, str]:
        async with stack.client("echo") as client:
            await wait_greeting(client)
            greeted_s = client.now_s
            await converse(client, [line])
        turn = next(turn for turn in client.turns if turn.kind is TurnKind.REPLY)
        pcm = b"".join(bytes(segment.pcm) for segment in client.playout.segments if segment.start_s > greeted_s)
        # In a thread: the other call goes on in this loop.
        return turn.caller_text, turn.agent_text, await asyncio.to_thread(transcribe, pcm)

    lines = [sample_lines("sentences")[number] for number in (3, 9)]
    results = await asyncio.gather(*(echo(line) for line in lines))
    for line, (caller, agent, heard) in zip(lines, results, strict=True):
        expected = reference(line.name, "sentences")
        assert word_error_rate([expected], [caller]) <= 0.3
        assert agent == f"You said: {caller}"
        assert word_error_rate([agent], [heard]) <= 0.3

"""A worker dies in the middle of a call."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import urllib.request

import pytest
from stack import STORY, RunningStack, reference, sample_lines, word_error_rate

from voxbus.contracts.call import TurnKind
from voxbus.contracts.stage import Stage
from voxbus.local.client import CallClient

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(120)]


def active(url: str, stage: Stage) -> float:
    """Open streams of a worker, by its metrics."""
    with urllib.request.urlopen(url.replace("/health", "/metrics"), timeout=5) as answer:  # noqa: S310
        found = re.search(rf'voxbus_stage_streams_active{{stage="{stage.value}"}} (\S+)', answer.read().decode())
    return float(found[1]) if found else 0.0


async def kill_the_busy_one(stack: RunningStack, stage: Stage) -> str:
    """Kill -9 the worker of the stage that has the call's stream; returns its name."""
    async with asyncio.timeout(10):
        while True:
            for info in stack.state.read().processes:
                ready = info.service == f"{stage.value}-worker" and info.pid and info.state == "ready"
                if ready and await asyncio.to_thread(active, info.health_url, stage) > 0:
                    assert info.pid
                    os.kill(info.pid, signal.SIGKILL)
                    return info.name
            await asyncio.sleep(0.02)


async def all_ready(stack: RunningStack) -> None:
    """Wait until the supervisor has brought everything back."""
    async with asyncio.timeout(60):
        while any(info.state != "ready" for info in stack.state.read().processes):
            await asyncio.sleep(0.1)


async def one_turn(client: CallClient, pcm: bytes) -> None:
    """Say something and wait until the answer has been heard."""
    before = len(client.turns)
    await client.say(pcm)
    assert await client.until(lambda: len(client.turns) > before and not client.agent_speaking, timeout_s=40)


async def test_the_ear_dies_while_the_caller_speaks(pairs: RunningStack) -> None:
    """Killed in mid-sentence, and the whole sentence is understood all the same, in one turn."""
    await all_ready(pairs)
    line = sample_lines("sentences", 1)[0]
    async with pairs.client("scribe") as client:
        turn = asyncio.create_task(one_turn(client, line.pcm))
        await client.until(lambda: client.now_s > 2)
        await kill_the_busy_one(pairs, Stage.STT)
        await turn
        await client.hang_up()
    heard = [turn.caller_text for turn in client.turns if turn.kind is TurnKind.REPLY]
    assert word_error_rate([reference(line.name, "sentences")], [" ".join(heard)]) <= 0.2, heard


@pytest.mark.parametrize("stage", [Stage.LLM, Stage.TTS])
async def test_the_mind_or_the_voice_dies_while_the_agent_speaks(pairs: RunningStack, stage: Stage) -> None:
    """Killed in the middle of a long answer, and the caller hears every word of it once, without a pause."""
    await all_ready(pairs)
    async with pairs.client("slow-talker") as client:
        turn = asyncio.create_task(one_turn(client, sample_lines("sentences", 1)[0].pcm))
        assert await client.until(lambda: client.agent_spoke, timeout_s=20)
        await kill_the_busy_one(pairs, stage)
        await turn
        await client.hang_up()
    (answer,) = [turn for turn in client.turns if turn.kind is TurnKind.REPLY]
    assert answer.agent_text == STORY
    assert not answer.interrupted
    gaps = [
        after.start_s - before.start_s - len(before.pcm) / 32_000
        for before, after in zip(client.playout.segments, client.playout.segments[1:], strict=False)
    ]
    assert sum(gaps) <= 1.0, gaps


async def test_a_killed_worker_is_replaced_by_the_runner(pairs: RunningStack) -> None:
    """After all this the stack is whole again, and takes calls."""
    await all_ready(pairs)
    async with pairs.client("scribe") as client:
        await one_turn(client, sample_lines("sentences", 1)[0].pcm)
        await client.hang_up()
    assert client.turns[-1].agent_text == "Noted."

"""The control plane goes away, and calls go on."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from stack import RunningStack, sample_lines

from voxbus.local.client import CallClient

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(120)]

CONTROL_PLANE = ("mongodb", "auth", "agents", "campaigns", "rest-gateway")


def pid_of(stack: RunningStack, name: str) -> int:
    """Of a process that runs now."""
    pid = next(info.pid for info in stack.state.read().processes if info.name == name)
    assert pid is not None
    return pid


@contextmanager
def frozen(stack: RunningStack, *names: str) -> Iterator[None]:
    """These processes answer nothing: worse than dead ones, whose absence is noticed at once."""
    pids = [pid_of(stack, name) for name in names]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def converse_once(stack: RunningStack, token: str) -> str:
    """A call of one turn to the scribe; what it answered."""
    async with CallClient(stack.info.voice_url, token=token, agent_id="scribe") as client:
        await client.say(sample_lines("sentences", 1)[0].pcm)
        assert await client.until(lambda: bool(client.turns) and not client.agent_speaking, timeout_s=40)
        await client.hang_up()
    return client.turns[-1].agent_text


async def replaced(stack: RunningStack, name: str, old: int) -> None:
    """Wait until another process has taken over."""
    async with asyncio.timeout(60):
        while True:
            info = next(info for info in stack.state.read().processes if info.name == name)
            if info.state == "ready" and info.pid not in (None, old):
                return
            await asyncio.sleep(0.1)


async def test_calls_go_on_without_the_control_plane(pairs: RunningStack) -> None:
    """With the store and every service on it frozen, a token that was given before is good for a call to a known agent.

    That holds for a gateway that is killed meanwhile, too: what it knew is on its disk.
    """
    token = await pairs.token("scribe")
    assert await converse_once(pairs, token) == "Noted."
    with frozen(pairs, *CONTROL_PLANE):
        assert await converse_once(pairs, token) == "Noted."
        gateway = pid_of(pairs, "voice-gateway")
        os.kill(gateway, signal.SIGKILL)
        await replaced(pairs, "voice-gateway", gateway)
        assert await converse_once(pairs, token) == "Noted."
    assert await converse_once(pairs, await pairs.token("scribe")) == "Noted."


async def test_a_killed_store_comes_back_with_everything(pairs: RunningStack) -> None:
    """What the API acknowledged before kill -9 of the store is there afterwards, and the services find it by themselves."""
    async with pairs.api() as api:
        made = [(await api.create("/agents", {"name": f"Survivor {number}"})).data["id"] for number in range(5)]
        store = pid_of(pairs, "mongodb")
        os.kill(store, signal.SIGKILL)
        await replaced(pairs, "mongodb", store)
        async with asyncio.timeout(30):
            while any(info.state != "ready" for info in pairs.state.read().processes):
                await asyncio.sleep(0.1)
        for agent_id in made:
            assert (await api.get(f"/agents/{agent_id}"))["id"] == agent_id

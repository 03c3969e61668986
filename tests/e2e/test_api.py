"""From an account to a call, through the REST API alone."""

from __future__ import annotations

import asyncio

import pytest
from stack import RunningStack

from voxbus.contracts.agents import AgentSpec
from voxbus.contracts.call import TurnKind
from voxbus.local.api import ApiClient
from voxbus.local.call_tokens import get_call_token
from voxbus.local.client import CallClient
from voxbus.local.demo_client import prepare_call
from voxbus.local.errors import CallRefusedError
from voxbus.local.problem import AccessRefusedError

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


async def greeting(stack: RunningStack, agent_id: str, token: str) -> str:
    """What the agent says first."""
    async with CallClient(stack.info.voice_url, token=token, agent_id=agent_id) as client:
        assert await client.until(lambda: bool(client.turns), timeout_s=20)
        await client.hang_up()
    assert client.turns[0].kind is TurnKind.GREETING
    return client.turns[0].agent_text


async def test_a_new_user_makes_an_agent_and_calls_it(stack: RunningStack) -> None:
    """Sign-up, agent, version and token come from the API, and the agent says what its draft said."""
    prepared = await prepare_call(stack.info, stack.state, AgentSpec(name="Fresh", greeting="Good morning."))
    assert prepared.version == 1
    assert await greeting(stack, prepared.agent_id, prepared.token.token) == "Good morning."


async def test_a_new_version_is_what_the_next_call_uses(stack: RunningStack) -> None:
    """The gateway keeps agents for minutes, and is told of a new version at once; drafts change nothing."""
    prepared = await prepare_call(stack.info, stack.state, AgentSpec(name="Changing", greeting="Good morning."))
    path = f"/agents/{prepared.agent_id}"
    token = prepared.token.token
    assert await greeting(stack, prepared.agent_id, token) == "Good morning."
    async with stack.api() as api:
        await api.patch(path, {"greeting": "Good evening."})
        assert await greeting(stack, prepared.agent_id, token) == "Good morning."
        await api.post(f"{path}/publish", {})
    async with asyncio.timeout(20):
        while await greeting(stack, prepared.agent_id, token) != "Good evening.":
            await asyncio.sleep(0.1)


async def test_nobody_calls_the_agent_of_another_user_or_none_that_is_published(stack: RunningStack) -> None:
    """To others it does not exist, without a login there are no tokens at all, and a mere draft cannot be called."""
    prepared = await prepare_call(stack.info, stack.state, AgentSpec(name="Private"))
    another = await prepare_call(stack.info, stack.state, AgentSpec(name="Another"))
    async with ApiClient(stack.info.rest_url) as anonymous:
        with pytest.raises(AccessRefusedError):
            await get_call_token(anonymous, prepared.agent_id)
    with pytest.raises(CallRefusedError, match="invalid_token"):
        await greeting(stack, prepared.agent_id, another.token.token)
    async with stack.api() as api:
        draft = (await api.create("/agents", {"name": "Draft"})).data
        with pytest.raises(CallRefusedError, match="conflict"):
            await get_call_token(api, draft["id"])

"""Clients that get no call: each is told why, and nothing else."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from voice_client import Gateway, Signer, StartGateway, close_code, eventually, expect_fatal, receive

from voxbus.contracts.native import NativeErrorCode
from voxbus.contracts.rpc import RequestErrorCode
from voxbus.runtime.rpc import RequestFailedError
from voxbus.voice_gateway.edge.line import CallRefused

pytestmark = pytest.mark.integration


async def test_wrong_token(gateway: Gateway) -> None:
    """A token of another signer gets invalid_token and 4401, and there is no call."""
    async with gateway.connect() as client:
        await client.send(gateway.auth(token=Signer().token()))
        error = await expect_fatal(client, "invalid_token", 4401)
    assert error["message"] == "the token is not signed by a key this gateway knows"
    assert gateway.exchange.calls == []


async def test_token_is_never_logged(gateway: Gateway, logs: list[Any]) -> None:
    """Neither the log nor the error holds the token, not even in part."""
    token = gateway.signer.token(exp=int(time.time()) - 3600)
    async with gateway.connect() as client:
        await client.send(gateway.auth(token=token))
        error = await expect_fatal(client, "invalid_token", 4401)
    assert [entry["event"] for entry in logs] == ["client dropped"]
    for part in token.split("."):
        assert part not in json.dumps(logs) + json.dumps(error)


async def test_token_for_another_agent(gateway: Gateway) -> None:
    """A token with an agent_id is good for that agent only."""
    async with gateway.connect() as client:
        await client.send(gateway.auth(token=gateway.signer.token(agent_id="somebody_else")))
        await expect_fatal(client, "invalid_token", 4401)


async def test_no_token(gateway: Gateway) -> None:
    """An auth message without a token is an invalid message, which before authentication is fatal."""
    async with gateway.connect() as client:
        await client.send('{"type":"auth","agent_id":"receptionist"}')
        error = await expect_fatal(client, "invalid_message", 4400)
    assert "token" in error["message"]


async def test_late_token(start_gateway: StartGateway) -> None:
    """A client that says nothing gets auth_timeout and 4408 when the deadline has passed, not before."""
    gateway = await start_gateway(auth_timeout_s=0.2)
    started = time.monotonic()
    async with gateway.connect() as client:
        await expect_fatal(client, "auth_timeout", 4408)
    assert 0.2 <= time.monotonic() - started < 2


async def test_deadline_ends_with_authentication(start_gateway: StartGateway) -> None:
    """The deadline is for the client's message: a call that takes longer to start is not cut off."""
    gateway = await start_gateway(auth_timeout_s=0.2)
    gateway.exchange.gate.clear()
    async with gateway.connect() as client:
        await client.send(gateway.auth())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.recv(), 0.4)
        gateway.exchange.gate.set()
        await receive(client, "ready")


async def test_deadline_covers_the_token(start_gateway: StartGateway) -> None:
    """A token whose keys do not come within the deadline is no valid auth message."""
    gateway = await start_gateway(auth_timeout_s=0.2)
    gateway.keys.gate.clear()
    async with gateway.connect() as client:
        await client.send(gateway.auth())
        await expect_fatal(client, "auth_timeout", 4408)
    gateway.keys.gate.set()
    assert gateway.exchange.calls == []


async def test_keys_out_of_reach(gateway: Gateway) -> None:
    """A client whose token cannot be verified now is told to try again, with 4503."""
    gateway.keys.failure = RequestFailedError(RequestErrorCode.UNAVAILABLE, "try again later", retryable=True)
    async with gateway.connect() as client:
        await client.send(gateway.auth())
        error = await expect_fatal(client, "overloaded", 4503)
    assert error["message"] == "try again later"
    assert gateway.exchange.calls == []


async def test_broken_verification(gateway: Gateway, failures_expected: list[str]) -> None:
    """A fault of ours while a token is verified gets internal and 1011, and no call."""
    failures_expected.append("token could not be verified")
    gateway.keys.failure = KeyError("secret detail")
    async with gateway.connect() as client:
        await client.send(gateway.auth())
        error = await expect_fatal(client, "internal", 1011)
    assert "secret" not in error["message"]
    assert gateway.exchange.calls == []


async def test_nothing_is_heard_before_the_token_is_verified(gateway: Gateway) -> None:
    """What a client sends while its token is looked at has no effect, but for a hang-up."""
    gateway.keys.gate.clear()
    async with gateway.connect() as client:
        for message in (gateway.auth(), bytes(640), '{"type":"dtmf","digit":"5"}', '{"type":"mark","name":"m"}'):
            await client.send(message)
        await client.send('{"type":"hangup"}')
        await (await client.ping())
        assert not gateway.exchange.asked.is_set()
        gateway.keys.gate.set()
        await receive(client, "ready")
        await eventually(lambda: gateway.call.events == ["hangup"])


async def test_unknown_agent(gateway: Gateway) -> None:
    """An agent nobody knows gets unknown_agent and 4404."""
    async with gateway.connect() as client:
        await client.send(gateway.auth(agent_id="nobody"))
        await expect_fatal(client, "unknown_agent", 4404)


@pytest.mark.parametrize("rate", [44_100, 0, -8_000, "fast", None, 16_000.5])
async def test_odd_sample_rate(gateway: Gateway, rate: object) -> None:
    """A rate that is not spoken gets an error that lists those that are."""
    async with gateway.connect() as client:
        await client.send(gateway.auth(sample_rate=rate))
        error = await expect_fatal(client, "invalid_message", 4400)
    assert "sample_rate" in error["message"]
    assert all(str(good) in error["message"] for good in (8000, 16000, 24000, 48000))


async def test_binary_before_auth(gateway: Gateway) -> None:
    """Audio of an unauthenticated client gets not_authenticated and 4401."""
    async with gateway.connect() as client:
        await client.send(bytes(640))
        await expect_fatal(client, "not_authenticated", 4401)


@pytest.mark.parametrize("message", ['{"type":"hangup"}', '{"type":"audio","data":""}', '{"type":"dtmf","digit":"1"}'])
async def test_other_message_before_auth(gateway: Gateway, message: str) -> None:
    """A message of the protocol before auth gets not_authenticated and 4401."""
    async with gateway.connect() as client:
        await client.send(message)
        await expect_fatal(client, "not_authenticated", 4401)


@pytest.mark.parametrize(
    "message", ["", "{", "null", "[]", '"auth"', "{}", '{"type":"sing"}', '{"type":7}', "[" * 60_000]
)
async def test_garbage_before_auth(gateway: Gateway, message: str) -> None:
    """What is no message of the protocol gets invalid_message and 4400."""
    async with gateway.connect() as client:
        await client.send(message)
        await expect_fatal(client, "invalid_message", 4400)


async def test_refused_by_the_call(gateway: Gateway) -> None:
    """The reason for which the call logic refuses a call reaches the client."""
    gateway.exchange.failure = CallRefused(NativeErrorCode.OVERLOADED, "all lines are busy")
    async with gateway.connect() as client:
        await client.send(gateway.auth())
        error = await expect_fatal(client, "overloaded", 4503)
    assert error["message"] == "all lines are busy"


async def test_broken_call_logic(gateway: Gateway, failures_expected: list[str]) -> None:
    """A fault of ours gets internal and 1011, and tells the client nothing of its cause."""
    failures_expected.append("call could not be started")
    gateway.exchange.failure = KeyError("secret detail")
    async with gateway.connect() as client:
        await client.send(gateway.auth())
        error = await expect_fatal(client, "internal", 1011)
    assert "secret" not in error["message"]


async def test_gone_while_the_call_starts(gateway: Gateway) -> None:
    """A call whose client left before it had started is told at once that it is disconnected."""
    gateway.exchange.gate.clear()
    async with gateway.connect() as client:
        await client.send(gateway.auth())
        await gateway.exchange.asked.wait()
    await eventually(lambda: gateway.server.connections == 0)
    gateway.exchange.gate.set()
    await eventually(lambda: gateway.exchange.calls)
    await asyncio.wait_for(gateway.call.disconnected.wait(), 5)
    assert gateway.call.line.closed


async def test_hangup_while_the_call_starts(gateway: Gateway) -> None:
    """A hang-up before `ready` is not lost."""
    gateway.exchange.gate.clear()
    async with gateway.connect() as client:
        await client.send(gateway.auth())
        await client.send('{"type":"hangup"}')
        await (await client.ping())
        gateway.exchange.gate.set()
        await receive(client, "ready")
        await eventually(lambda: gateway.call.events == ["hangup"])


async def test_too_many_connections(start_gateway: StartGateway) -> None:
    """Beyond the limit the upgrade is answered 503; a place that became free is given away again."""
    gateway = await start_gateway(max_connections=1)
    async with gateway.connect() as client:
        with pytest.raises(Exception, match="HTTP 503"):
            await gateway.connect()
    assert await close_code(client) == 1000
    await eventually(lambda: gateway.server.connections == 0)
    async with gateway.connect() as client:
        await gateway.ready(client)

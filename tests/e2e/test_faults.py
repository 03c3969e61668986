"""What callers do wrong, and what becomes of the stack's logs: the last tests on the shared stack."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from stack import RunningStack, sample_lines
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


async def told(socket: ClientConnection) -> tuple[list[dict[str, Any]], int | None]:
    """Every message until the connection closes, and the close code."""
    messages: list[dict[str, Any]] = []
    try:
        async with asyncio.timeout(15):
            async for raw in socket:
                if isinstance(raw, str):
                    messages.append(json.loads(raw))  # noqa: PERF401  # what came before the close must be kept
    except ConnectionClosed:
        pass  # without a closing handshake
    return messages, socket.close_code


async def refused(stack: RunningStack, *sent: str | bytes) -> str:
    """Send this as the first messages; the code of the only error the client is told."""
    async with connect(stack.info.voice_url, max_size=None) as socket:
        try:
            for message in sent:
                await socket.send(message)
        except ConnectionClosed:
            pass  # it had seen enough
        messages, code = await told(socket)
    assert [message["type"] for message in messages] == ["error"]
    assert messages[0]["fatal"]
    assert code is not None
    assert code >= 1000
    return str(messages[0]["code"])


async def auth(stack: RunningStack, **changes: Any) -> str:
    """A good first message, but for the changes."""
    good = {"type": "auth", "token": await stack.token("scribe"), "agent_id": "scribe", "sample_rate": 16_000}
    return json.dumps({**good, **changes})


async def test_a_wrong_token_gets_an_error_and_nothing_else(stack: RunningStack) -> None:
    """Garbage, an empty token, and another agent's token are all refused."""
    for token in ("garbage", "", await stack.token("echo")):
        assert await refused(stack, await auth(stack, token=token)) == "invalid_token"


async def test_no_token_in_time_gets_an_error(stack: RunningStack) -> None:
    """A client that says nothing is told so after five seconds."""
    assert await refused(stack) == "auth_timeout"


async def test_an_unknown_agent_is_named_as_the_problem(stack: RunningStack) -> None:
    """A good token for an agent that was deleted meanwhile."""
    async with stack.api() as api:
        agent = (await api.create("/agents", {"name": "Gone soon"})).data
        await api.post(f"/agents/{agent['id']}/publish", {}, revision="*")
        token = await stack.token(agent["id"])
        await api.delete(f"/agents/{agent['id']}", revision="*")
    assert await refused(stack, await auth(stack, agent_id=agent["id"], token=token)) == "unknown_agent"


async def test_an_odd_sample_rate_is_refused(stack: RunningStack) -> None:
    """11,025 Hz is not one of the rates."""
    assert await refused(stack, await auth(stack, sample_rate=11_025)) == "invalid_message"


async def test_audio_before_authentication_is_refused(stack: RunningStack) -> None:
    """An unauthenticated client cannot send audio."""
    assert await refused(stack, bytes(640)) == "not_authenticated"


async def test_a_message_of_ten_megabytes_ends_the_connection(stack: RunningStack) -> None:
    """It is refused as too large, whether authenticated or not, and the gateway goes on."""
    assert await refused(stack, "x" * 10_000_000) == "too_large"


async def test_garbage_within_a_call_is_told_and_survived(stack: RunningStack) -> None:
    """Malformed messages get errors that are not fatal, and the call still hears and answers."""
    async with stack.client("scribe") as client:
        for garbage in (
            "{",
            "[]",
            '{"type": "dance"}',
            '{"type": "audio", "data": "!"}',
            '{"type": "dtmf", "digit": "x"}',
        ):
            await client.send_text(garbage)
        await client.until(lambda: len(client.errors) >= 5, timeout_s=5)
        assert [error.fatal for error in client.errors] == [False] * 5
        await client.say(sample_lines("sentences", 3)[2].pcm)
        assert await client.until(lambda: bool(client.turns), timeout_s=15)
        await client.hang_up()


async def test_a_socket_that_drops_mid_word_frees_everything(stack: RunningStack) -> None:
    """The call ends as the caller's doing, and no stream of it is left on any worker."""
    from voxbus.local.status import ask_all

    async with stack.client("scribe") as client:
        pcm = sample_lines("sentences", 1)[0].pcm
        speaking = asyncio.create_task(client.say(pcm))
        await client.until(lambda: client.now_s > 1)
        assert client._socket is not None
        client._socket.transport.abort()
        await speaking

    async def idle() -> bool:
        return all(status.active == 0 for status in await ask_all(stack.info.nats_url))

    async with asyncio.timeout(10):
        while not await idle():
            await asyncio.sleep(0.1)
    ends = [line for line in stack.log_lines() if line["message"] == "call ended"]
    assert ends[-1]["reason"] == "caller_disconnected"


def test_every_log_line_has_the_fields(stack: RunningStack) -> None:
    """Every process logs JSON objects with the same fields, and lines of a call carry its ids."""
    lines = stack.log_lines()
    workers = {"voice-gateway", "stt-worker", "llm-worker", "tts-worker"}
    assert {line["service"] for line in lines} == {*workers, "auth", "agents", "campaigns", "rest-gateway"}
    for line in lines:
        assert {"timestamp", "level", "service", "message", "call_id", "agent_id", "trace_id"} <= set(line)
    for line in lines:
        if line["message"] in ("call started", "call ended"):
            assert line["call_id"]
            assert line["agent_id"]
            assert len(line["trace_id"]) == 32


def test_nothing_that_callers_did_made_a_process_stumble(stack: RunningStack) -> None:
    """After all calls and all abuse no process logged an error or a traceback."""
    lines = stack.log_lines()
    assert [line for line in lines if line["level"] in ("error", "critical") or "exception" in line] == []
    for path in stack.info.log_dir.glob("*.log"):
        assert "Traceback" not in path.read_text(), path.name


def test_no_words_and_no_tokens_reach_the_logs(stack: RunningStack) -> None:
    """What callers and agents said, what authenticates them and who they are, is in no log."""
    assert stack.state.admin_password() not in "".join(path.read_text() for path in stack.info.log_dir.glob("*.log"))
    text = "\n".join(path.read_text() for path in stack.info.log_dir.glob("*.log")).lower()
    for secret in ("monkeys", "mailbox", "lighthouse", "wednesday", "eyj", "private key", "@voxbus.example"):
        assert secret not in text

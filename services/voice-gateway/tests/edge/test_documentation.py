"""docs/protocols/native.md says what is true."""

from __future__ import annotations

import asyncio
import re
import wave
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter
from voice_client import Gateway, eventually

from voxbus.contracts.call import EndReason
from voxbus.contracts.native import CLIENT_MESSAGE, SERVER_MESSAGE, Ended, NativeErrorCode, TranscriptMessage
from voxbus.voice_gateway.edge.close_code import CloseCode
from voxbus.voice_gateway.edge.limits import EdgeLimits

pytestmark = pytest.mark.integration

PAGE = (Path(__file__).parents[4] / "docs/protocols/native.md").read_text()


def _section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def _code(section: str, language: str) -> str:
    found = re.search(f"```{language}\n(.*?)```", _section(section), re.DOTALL)
    assert found
    return found[1]


async def test_example_client(gateway: Gateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The example client makes a call: its audio arrives, it prints what is said, it hangs up and sees the end."""
    file = tmp_path / "caller.wav"
    with wave.open(str(file), "wb") as audio:
        audio.setparams((1, 2, 8_000, 0, "NONE", ""))
        audio.writeframes(bytes(8_000 // 5 * 2))
    example: dict[str, Any] = {"__name__": "example"}
    exec(_code("A client", "python"), example)  # noqa: S102 - our own page
    url = f"ws://127.0.0.1:{gateway.server.port}/v1/voice"
    calling = asyncio.create_task(example["call"](url, gateway.signer.token(), "receptionist", str(file)))
    await eventually(lambda: gateway.exchange.calls)
    call = gateway.call
    call.line.send_message(TranscriptMessage(role="agent", text="Good morning", final=True, turn=0))
    call.line.send_audio(bytes(640))
    await eventually(lambda: "hangup" in call.events)
    await call.line.end(Ended(reason=EndReason.CALLER_HANGUP, duration_s=0.2))
    await asyncio.wait_for(calling, 10)
    assert len(call.frames) == 10
    printed = capsys.readouterr().out
    assert "agent: Good morning" in printed
    assert "caller_hangup" in printed


@pytest.mark.parametrize(
    ("section", "messages"), [("From the client", CLIENT_MESSAGE), ("From the gateway", SERVER_MESSAGE)]
)
def test_example_messages(section: str, messages: TypeAdapter[Any]) -> None:
    """Every example message is one of the protocol."""
    examples = _code(section, "json").splitlines()
    assert len(examples) >= 4
    for example in examples:
        messages.validate_json(example)


@pytest.mark.parametrize(
    ("section", "messages"), [("From the client", CLIENT_MESSAGE), ("From the gateway", SERVER_MESSAGE)]
)
def test_every_message_is_described(section: str, messages: TypeAdapter[Any]) -> None:
    """The tables name every message and every field of the protocol."""
    text = _section(section)
    for name, schema in messages.json_schema()["$defs"].items():
        kind = schema.get("properties", {}).get("type", {}).get("const")
        if kind is None:
            continue
        fields = [field for field in schema["properties"] if (kind, field) != ("audio", "data")]
        assert f"`{kind}`" in text, name
        assert [field for field in fields if field != "type" and f"`{field}`" not in text] == [], name


def test_every_code_is_described() -> None:
    """The page names every error code and every close code."""
    text = _section("Errors and close codes")
    assert [code.value for code in NativeErrorCode if f"`{code.value}`" not in text] == []
    assert [code.name for code in CloseCode if f" {code.value} " not in text] == []


def test_limits_are_the_defaults() -> None:
    """The numbers on the page are those in the code."""
    limits, text = EdgeLimits(), _section("Limits")
    for phrase in (
        f"within {limits.auth_timeout_s:g} s",
        f"{limits.max_message_bytes:_} bytes".replace("_", " "),
        f"| {limits.audio_burst_s:g} s,",
        f"After {limits.max_dropped_s:g} s of dropped",
        f"{limits.message_rate:g} a second, with bursts of {limits.message_rate * 2:g}",
        f"{limits.fault_rate:g} a second, with bursts of {limits.fault_burst:g}",
        f"{limits.max_backlog_bytes // 1024} KiB in the gateway and {limits.max_backlog_bytes // 2048} KiB",
        f"after {limits.ping_interval_s:g} s without a word from the client; {limits.ping_interval_s:g} s later",
    ):
        assert phrase in text

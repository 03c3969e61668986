"""The command line: wrong usage, refusals, calls through a fake gateway."""

from __future__ import annotations

import json
import subprocess
import sys
import wave
from pathlib import Path

import pytest
from fake_gateway import FakeGateway, serving, tone
from typer.testing import CliRunner

from voxbus.local.cli.app import app
from voxbus.local.cli.token import parse_duration
from voxbus.local.errors import UsageError

pytestmark = pytest.mark.unit


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def voice(tmp_path: Path) -> str:
    file = tmp_path / "voice.wav"
    with wave.open(str(file), "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(8000)
        wav.writeframes(tone(0.2, 8000, 8000))
    return str(file)


async def call(*arguments: str) -> tuple[int, str, str]:
    """`voxbus call …` in a process of its own, as a person runs it."""
    import asyncio

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "voxbus.local", "call", *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize("command", ["up", "down", "status", "call", "token", "demo"])
def test_every_command_has_help(command: str) -> None:
    """`--help` of each command tells what it does and takes."""
    code, out, _err = run(command, "--help")
    assert code == 0
    assert "--state-dir" in out


@pytest.mark.parametrize("command", [["status"], ["down"], ["call", "VOICE"], ["token"], ["streams", "apply"]])
def test_without_a_stack_commands_say_how_to_start_one(tmp_path: Path, voice: str, command: list[str]) -> None:
    """Exit code 3, a sentence and a way out, no traceback."""
    arguments = [voice if part == "VOICE" else part for part in command]
    code, out, err = run(*arguments, "--state-dir", str(tmp_path / "none"))
    assert (code, out) == (3, "")
    assert "no stack runs in" in err
    assert "voxbus up" in err
    assert "Traceback" not in err


def test_a_state_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """No traceback."""
    (tmp_path / "file").touch()
    code, _out, err = run("demo", "--state-dir", str(tmp_path / "file" / "state"))
    assert code == 1
    assert "cannot be used" in err
    assert "--state-dir" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["call"],
        ["call", "VOICE", "--mic"],
        ["call", "VOICE", "--rate", "11025"],
        ["call", "VOICE", "--barge-in", "x"],
        ["call", "VOICE", "--barge-in", "2:100"],
        ["token", "--ttl", "soon"],
        ["up", "--processes", "ears=2"],
        ["up", "--voice-port", "0"],
    ],
)
def test_wrong_usage_is_exit_code_2(tmp_path: Path, voice: str, arguments: list[str]) -> None:
    """Options that cannot be used are refused before anything is done."""
    given = [voice if part == "VOICE" else part for part in arguments]
    code, _out, err = run(*given, "--state-dir", str(tmp_path / "s"))
    assert code == 2
    assert err
    assert "Traceback" not in err
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("15m", 900), ("1h", 3600)])
def test_durations(text: str, seconds: int) -> None:
    """A number with a unit, seconds without one."""
    assert parse_duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "0", "m", "-5m", "1.5h", "1w", "29s", "2h"])
def test_what_is_no_duration_of_a_token(text: str) -> None:
    """Anything else is a wrong usage, and so is what is shorter than 30 s or longer than an hour."""
    with pytest.raises(UsageError):
        parse_duration(text)


async def test_a_call_prints_the_conversation_and_saves_it(tmp_path: Path, voice: str) -> None:
    """Exit code 0, both sides' words, and a stereo file with the caller left and the agent right."""
    saved = tmp_path / "call.wav"
    async with serving(FakeGateway()) as gateway:
        code, out, err = await call(
            voice, "--url", gateway.url, "--token", "t", "--agent", "tester", "--save", str(saved)
        )
    assert (code, err) == (0, "")
    assert "caller  utterance 1" in out
    assert "turn 1 reply" in out
    with wave.open(str(saved)) as wav:
        assert (wav.getnchannels(), wav.getframerate()) == (2, 16_000)
        assert wav.getnframes() > 16_000 // 2


async def test_a_call_as_json(tmp_path: Path, voice: str) -> None:
    """--json prints one object with exchanges, turns and the end, and nothing else."""
    async with serving(FakeGateway()) as gateway:
        code, out, _err = await call(voice, "--url", gateway.url, "--token", "t", "--agent", "tester", "--json")
    result = json.loads(out)
    assert code == 0
    assert [exchange["answered"] for exchange in result["exchanges"]] == [True]
    assert [turn["kind"] for turn in result["turns"]] == ["greeting", "reply"]
    assert result["ended"]["reason"] == "caller_hangup"


async def test_a_call_that_ends_early_fails(voice: str) -> None:
    """Exit code 1 when a file was not said because the call was over, with the reason."""
    async with serving(FakeGateway(end_after_turns=2)) as gateway:
        code, _out, err = await call(voice, voice, "--url", gateway.url, "--token", "t", "--agent", "tester")
    assert code == 1
    assert "the call ended after 1 of 2 lines (agent_ended)" in err


async def test_a_dropped_call_fails(voice: str) -> None:
    """Exit code 1 when the connection breaks."""
    async with serving(FakeGateway(drop_after_frames=20)) as gateway:
        code, _out, err = await call(voice, "--url", gateway.url, "--token", "t", "--agent", "tester")
    assert code == 1
    assert "the gateway dropped the call" in err


async def test_a_refused_call_is_exit_code_4(voice: str) -> None:
    """The gateway's reason and a hint are shown."""
    refuse = {"code": "unknown_agent", "message": "there is no agent tester"}
    async with serving(FakeGateway(refuse=refuse)) as gateway:
        code, _out, err = await call(voice, "--url", gateway.url, "--token", "t", "--agent", "tester")
    assert code == 4
    assert "there is no agent tester" in err
    assert "hint:" in err


def test_a_microphone_that_cannot_be_used_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the optional package --mic says how to install it."""
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    code, _out, err = run("call", "--mic", "--url", "ws://127.0.0.1:9", "--token", "t", "--state-dir", str(tmp_path))
    assert code == 1
    assert "--extra mic" in err


def test_commands_do_not_wait_for_what_only_calls_need() -> None:
    """NumPy and WebSockets are a third of the time in which a command starts."""
    code = "import sys, voxbus.local.cli.app; sys.exit('numpy' in sys.modules or 'websockets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

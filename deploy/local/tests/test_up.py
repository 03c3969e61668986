"""The whole command against real processes: NATS, the store, every service, without workers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import nats
import pytest

from voxbus.local.api import ApiClient
from voxbus.local.errors import StackNotRunningError
from voxbus.local.ports import is_free
from voxbus.local.state import StackInfo, StateDir

pytestmark = pytest.mark.integration
_NO_WORKERS = ("--processes", "stt=0,llm=0,tts=0")
_NAMES = ["nats", "mongodb", "voice-gateway", "auth", "agents", "campaigns", "rest-gateway"]


async def voxbus(*arguments: str) -> tuple[int, str, str]:
    """Run the command to its end: exit code, stdout, stderr."""
    process = await start(*arguments)
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "voxbus.local", *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


async def until_ready(state: StateDir, process: asyncio.subprocess.Process) -> StackInfo:
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(StackNotRunningError):
                if (stack := state.read()).ready:
                    return stack
            assert process.returncode is None, await process.communicate()
            await asyncio.sleep(0.05)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


async def until_gone(pids: list[int]) -> None:
    async with asyncio.timeout(20):
        while not all(gone(pid) for pid in pids):
            await asyncio.sleep(0.05)


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[StateDir]:
    """A state directory; a stack that a failed test left in it is stopped."""
    directory = StateDir(tmp_path / "state")
    yield directory
    if directory.in_use():
        await voxbus("down", "--state-dir", str(directory.path))


async def test_the_life_of_a_stack(state: StateDir) -> None:
    """It starts on free ports, is seen by status, refuses a second one, keeps JetStream on disk, and `down` leaves nothing."""
    where = ("--state-dir", str(state.path))
    up = await start("up", *where, *_NO_WORKERS)
    stack = await until_ready(state, up)
    pids = [info.pid for info in stack.processes if info.pid]
    assert [info.name for info in stack.processes] == _NAMES

    code, out, _err = await voxbus("status", *where, "--json")
    report = json.loads(out)
    assert code == 0
    assert [process["healthy"] for process in report["processes"]] == [True] * len(_NAMES)
    services = [process["status"]["service"] for process in report["processes"] if process["status"]]
    assert services == _NAMES[2:]
    assert report["others"] == []
    code, out, _err = await voxbus("status", *where)
    assert (code, "voice-gateway" in out, "ready" in out) == (0, True, True)

    code, _out, err = await voxbus("up", *where, *_NO_WORKERS)
    assert code == 5
    assert "already runs" in err

    bus = await nats.connect(stack.nats_url)
    jetstream = bus.jetstream()
    await jetstream.add_stream(name="PROOF", subjects=["proof"])
    assert (await jetstream.publish("proof", b"kept")).seq == 1
    await bus.close()
    assert list((state.nats / "jetstream").rglob("PROOF"))

    code, out, _err = await voxbus("streams", "apply", *where, "--json")
    assert (code, [change["action"] for change in json.loads(out)]) == (0, ["unchanged"])

    assert (await voxbus("down", *where))[0] == 0
    out_bytes, _err_bytes = await up.communicate()
    assert up.returncode == 0
    assert b"ready after" in out_bytes
    await until_gone(pids)
    assert all(is_free(port) for info in stack.processes for port in info.ports.values())
    assert not state.in_use()
    assert (await voxbus("status", *where))[0] == 3


@pytest.mark.skipif(sys.platform != "linux", reason="the death of a parent is signalled by Linux only")
async def test_killing_the_command_leaves_nothing_and_it_can_start_again(state: StateDir) -> None:
    """After SIGKILL no process is left, and the next `up` in the same directory works."""
    where = ("--state-dir", str(state.path))
    up = await start("up", *where, *_NO_WORKERS)
    stack = await until_ready(state, up)
    up.kill()
    await up.communicate()
    await until_gone([info.pid for info in stack.processes if info.pid])
    code, _out, _err = await voxbus("up", *where, *_NO_WORKERS, "--detach")
    assert code == 0
    assert state.read().ready
    assert (await voxbus("down", *where))[0] == 0


async def test_ctrl_c_stops_everything(state: StateDir) -> None:
    """SIGINT is a clean end: exit code 0 and no process left."""
    up = await start("up", "--state-dir", str(state.path), *_NO_WORKERS, "--logs")
    stack = await until_ready(state, up)
    up.send_signal(signal.SIGINT)
    _out, err = await up.communicate()
    assert up.returncode == 0
    assert b"voice-gateway INFO" in err
    await until_gone([info.pid for info in stack.processes if info.pid])


async def test_a_service_that_dies_is_started_again(state: StateDir) -> None:
    """The gateway comes back by itself, and `status` counts it."""
    where = ("--state-dir", str(state.path))
    up = await start("up", *where, *_NO_WORKERS)
    stack = await until_ready(state, up)
    number = _NAMES.index("voice-gateway")
    gateway = stack.processes[number].pid
    assert gateway is not None
    os.kill(gateway, signal.SIGKILL)
    async with asyncio.timeout(30):
        while (now := state.read().processes[number]).restarts == 0 or now.state != "ready":
            await asyncio.sleep(0.05)
    assert now.pid not in (gateway, None)
    assert (await voxbus("down", *where))[0] == 0
    _out, err = await up.communicate()
    assert b"ended (SIGKILL), starting it again" in err


async def test_agents_come_from_files_at_each_start(state: StateDir, tmp_path: Path) -> None:
    """They are published through the API under their own ids; a changed file is a new version, an unchanged one is not."""
    directory = tmp_path / "agents"
    directory.mkdir()
    for name in ("one", "two"):
        (directory / f"{name}.json").write_text(json.dumps({"id": f"agent-{name}", "name": name}))
    where = ("--state-dir", str(state.path))
    expected = [{"agent-one": 1, "agent-two": 1}, {"agent-one": 1, "agent-two": 2}]
    for versions in expected:
        code, _out, err = await voxbus("up", *where, *_NO_WORKERS, "--agents", str(directory), "--detach")
        assert code == 0, err
        async with ApiClient.for_stack(state.read(), state) as api:
            published = {agent["id"]: agent["published_version"] async for agent in api.items("/agents")}
        assert published == versions
        assert (await voxbus("down", *where))[0] == 0
        (directory / "two.json").write_text(json.dumps({"id": "agent-two", "name": "two", "greeting": "Hello."}))

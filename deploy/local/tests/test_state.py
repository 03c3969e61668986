"""The state directory, its lock, and ports."""

from __future__ import annotations

import socket
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from voxbus.contracts.stage import Stage
from voxbus.local.errors import StackNotRunningError, StackRunningError, UsageError
from voxbus.local.plan import StackOptions, build_plan, parse_workers
from voxbus.local.ports import PortPlan
from voxbus.local.state import StackInfo, StateDir

pytestmark = pytest.mark.unit


def stack_info(directory: Path) -> StackInfo:
    return StackInfo(
        pid=1, started_at=datetime.now(UTC), nats_url="nats://x", nats_monitor_url="http://x", voice_url="ws://x",
        private_key_file=directory, public_key_file=directory, agents_dir=directory, log_dir=directory,
    )  # fmt: skip


def test_the_running_stack_is_found(tmp_path: Path) -> None:
    """What the supervisor writes is what the other commands read, as long as it runs."""
    state, reader = StateDir(tmp_path / "s"), StateDir(tmp_path / "s")
    with state.locked():
        state.write(stack_info(tmp_path))
        assert reader.in_use()
        assert reader.read() == state.read() == stack_info(tmp_path).model_copy(update=dict(reader.read()))
    with pytest.raises(StackNotRunningError):
        reader.read()


def test_a_second_stack_is_refused(tmp_path: Path) -> None:
    """The lock lets one in, and the refusal names the process that has it."""
    with StateDir(tmp_path).locked():
        with (
            pytest.raises(StackRunningError, match=r"already runs .*\(process \d+\)") as refusal,
            StateDir(tmp_path).locked(),
        ):
            pass
        assert "voxbus down" in refusal.value.hint
    with StateDir(tmp_path).locked():
        assert StateDir(tmp_path).in_use()


def test_what_a_killed_supervisor_left_is_no_running_stack(tmp_path: Path) -> None:
    """A `stack.json` without a process that holds the lock is not believed, and does not stand in the way."""
    state = StateDir(tmp_path)
    program = (
        "import os, sys; from pathlib import Path; from voxbus.local.state import StateDir\n"
        "with StateDir(Path(sys.argv[1])).locked():\n"
        "    Path(sys.argv[1], 'stack.json').write_text('{}'); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False).returncode == -9
    assert (tmp_path / "stack.json").exists()
    with pytest.raises(StackNotRunningError):
        state.read()
    with state.locked():
        assert state.in_use()
        with pytest.raises(StackNotRunningError):
            state.read()


def test_nobody_else_looks_into_the_directory(tmp_path: Path) -> None:
    """Keys, logs and recordings are the user's own."""
    state = StateDir(tmp_path / "s")
    state.create()
    for directory in (state.path, state.keys, state.logs, state.recordings):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_a_free_default_port_is_taken_and_never_twice() -> None:
    """The default when it is free, else another one, and each port once."""
    with PortPlan() as finder:
        free = finder.take_free()
    with PortPlan() as plan:
        assert plan.take("one", free) == free
        assert plan.take("two", free) != free


def test_two_stacks_never_choose_the_same_port() -> None:
    """A port that another stack has chosen counts as used before anything listens on it, and is free again afterwards."""
    with PortPlan() as first, PortPlan() as second:
        port = first.take_free()
        assert second.take("x", port) != port
        with pytest.raises(UsageError):
            second.take("x", 1, asked=port)
    with PortPlan() as third:
        assert third.take("x", port) == port


def test_a_default_port_in_use_is_avoided_and_an_asked_one_is_refused() -> None:
    """A port in use is replaced when nobody asked for it, and told when somebody did."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        used = server.getsockname()[1]
        with PortPlan() as plan:
            assert plan.take("x", used) != used
            with pytest.raises(UsageError, match=f"port {used} for voice is in use"):
                plan.take("voice", 1, asked=used)


def test_workers_are_parsed() -> None:
    """Stages and numbers, in any order, with spaces."""
    assert parse_workers("stt=2, tts=0") == {Stage.STT: 2, Stage.TTS: 0}
    assert parse_workers("") == {}


@pytest.mark.parametrize("text", ["stt", "stt=", "stt=x", "ears=1", "stt=-1", "stt=99"])
def test_what_are_no_workers(text: str) -> None:
    """Anything else is a wrong usage, with an example."""
    with pytest.raises(UsageError) as error:
        parse_workers(text)
    assert "--workers stt=2" in error.value.hint


def test_the_plan_names_processes_and_gives_each_its_ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several workers of a stage are numbered; every process has a health port of its own and the same bus."""
    monkeypatch.setenv("VOXBUS_MODEL_CACHE", str(tmp_path / "no weights here"))
    options = StackOptions(workers={Stage.STT: 2, Stage.LLM: 0}, agents_dir=tmp_path)
    with PortPlan() as ports_of_plan:
        plan = build_plan(options, ports=ports_of_plan, nats_dir=tmp_path, public_key_file=tmp_path / "key.pem")
    names = [spec.name for spec in plan.specs]
    assert names == ["nats", "stt-worker-1", "stt-worker-2", "tts-worker", "voice-gateway"]
    ports = [port for spec in plan.specs for port in spec.ports.values()]
    assert len(ports) == len(set(ports))
    services = plan.specs[1:]
    assert {spec.env["VOXBUS_NATS_URL"] for spec in services} == {plan.nats_url}
    assert all(spec.env["VOXBUS_HTTP_PORT"] == str(spec.ports["http"]) for spec in services)
    assert services[0].preparation == services[1].preparation is not None
    assert services[-1].env["VOXBUS_TOKEN_PUBLIC_KEY_FILE"] == str(tmp_path / "key.pem")
    assert plan.voice_url.endswith(f":{services[-1].ports['voice']}")


def test_a_missing_directory_of_agents_is_told(tmp_path: Path) -> None:
    """A wrong --agents is found before anything starts."""
    with PortPlan() as ports, pytest.raises(UsageError, match="no directory of agents"):
        build_plan(StackOptions(agents_dir=tmp_path / "none"), ports=ports, nats_dir=tmp_path, public_key_file=tmp_path)

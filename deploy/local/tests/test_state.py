"""The state directory, its lock, and ports."""

from __future__ import annotations

import socket
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from voxbus.local.errors import CommandError, StackNotRunningError, StackRunningError, UsageError
from voxbus.local.ports import PortPlan
from voxbus.local.state import StackInfo, StateDir

pytestmark = pytest.mark.unit


def stack_info(directory: Path) -> StackInfo:
    return StackInfo(
        pid=1, started_at=datetime.now(UTC), nats_url="nats://x", nats_monitor_url="http://x", mongo_url="mongodb://x",
        rest_url="http://x", voice_url="ws://x", admin_email="admin@voxbus.example", agents_dir=directory,
        log_dir=directory,
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
    """Documents, logs and recordings are the user's own."""
    state = StateDir(tmp_path / "s")
    state.create()
    for directory in (state.path, state.mongo, state.cache, state.logs, state.recordings):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_the_admins_password_is_made_up_once_and_is_the_users_alone(tmp_path: Path) -> None:
    """It is long, stays the same, nobody else may read it, and a directory without one says what to do."""
    state = StateDir(tmp_path)
    with pytest.raises(CommandError, match="no password at"):
        state.admin_password()
    state.ensure_admin_password()
    password = state.admin_password()
    state.ensure_admin_password()
    assert state.admin_password() == password
    assert len(password) >= 24
    assert stat.S_IMODE(state.admin_password_file.stat().st_mode) == 0o600


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

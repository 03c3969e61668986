"""`voxbus down`: stop the running stack."""

from __future__ import annotations

import os
import signal
import time
from typing import Annotated

import typer

from voxbus.local.cli.common import StateDirOption, err, reports_errors, state_dir
from voxbus.local.errors import CommandError
from voxbus.local.state import DEFAULT_STATE_DIR, StateDir

_POLL_S = 0.1


@reports_errors
def down(
    path: StateDirOption = DEFAULT_STATE_DIR,
    timeout_s: Annotated[float, typer.Option("--timeout", help="Seconds to wait before it is killed.", min=1)] = 30,
) -> None:
    """Stop the stack that runs in this state directory, and wait until it has stopped."""
    state = state_dir(path)
    stop(state, timeout_s)
    err.print(f"stopped the stack in {state.path}")


def stop(state: StateDir, timeout_s: float) -> None:
    """Stop the stack of `state`. Raises StackNotRunningError when there is none, CommandError when it survives."""
    supervisor = state.read().pid
    for number, patience_s in ((signal.SIGTERM, timeout_s), (signal.SIGKILL, 5.0)):
        try:
            os.kill(supervisor, number)
        except ProcessLookupError:
            return
        if _wait_free(state, patience_s):
            return
    raise CommandError(f"process {supervisor} does not stop", "look at it with `ps`")


def _wait_free(state: StateDir, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if not state.in_use():
            return True
        time.sleep(_POLL_S)
    return False

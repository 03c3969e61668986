"""`voxbus up`: start the stack and keep it running."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from voxbus.local.cli.common import StateDirOption, Stopping, err, out, reports_errors, run, state_dir
from voxbus.local.errors import ExitCode, StackNotRunningError, StackRunningError
from voxbus.local.logs import LogFollower
from voxbus.local.plan import BUILT_IN_AGENTS, StackOptions, parse_processes
from voxbus.local.progress import ConsoleObserver
from voxbus.local.stack import Stack, open_stack
from voxbus.local.state import DEFAULT_STATE_DIR, StateDir
from voxbus.local.tables import addresses, applied_line, stack_table

_DETACH_POLL_S = 0.1

ProcessesOption = Annotated[
    str,
    typer.Option(
        "--processes",
        metavar="NAME=N,…",
        help="How many of each, else one: stages stt, llm, tts (0 is none), services auth, agents, campaigns, rest-gateway.",
    ),
]
RestPortOption = Annotated[
    int | None,
    typer.Option("--rest-port", help="Port of the REST API; without it 8000, else a free one.", min=1, max=65535),
]
VoicePortOption = Annotated[
    int | None,
    typer.Option(
        "--voice-port", help="Port of the voice WebSocket; without it 7860, else a free one.", min=1, max=65535
    ),
]
NatsPortOption = Annotated[
    int | None, typer.Option("--nats-port", help="Port of NATS; without it 4222, else a free one.", min=1, max=65535)
]
MonitorPortOption = Annotated[
    int | None,
    typer.Option(
        "--nats-monitor-port", help="Port of NATS' monitoring; without it 8222, else a free one.", min=1, max=65535
    ),
]
MongoPortOption = Annotated[
    int | None,
    typer.Option("--mongo-port", help="Port of MongoDB; without it 27017, else a free one.", min=1, max=65535),
]
MongoUrlOption = Annotated[
    str | None,
    typer.Option(
        "--mongo-url",
        envvar="VOXBUS_MONGO_URL",
        help="Use a MongoDB that runs already; without it one is started.",
        show_envvar=True,
    ),
]
AgentsOption = Annotated[
    Path,
    typer.Option(
        "--agents",
        envvar="VOXBUS_AGENTS_DIR",
        help="Directory of agents, one JSON file each. Applied at each start: what the files say replaces what was edited.",
        show_default="those that come with Voxbus",
        file_okay=False,
    ),
]
LogLevelOption = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR"],
    typer.Option("--log-level", envvar="VOXBUS_LOG_LEVEL", help="What the services log.", case_sensitive=False),
]


@reports_errors
def up(
    path: StateDirOption = DEFAULT_STATE_DIR,
    processes: ProcessesOption = "",
    rest_port: RestPortOption = None,
    voice_port: VoicePortOption = None,
    nats_port: NatsPortOption = None,
    nats_monitor_port: MonitorPortOption = None,
    mongo_port: MongoPortOption = None,
    mongo_url: MongoUrlOption = None,
    agents: AgentsOption = BUILT_IN_AGENTS,
    log_level: LogLevelOption = "INFO",
    logs: Annotated[bool, typer.Option("--logs", help="Show the logs of all processes, merged and coloured.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="Return once it is ready, and leave it running.")] = False,
) -> ExitCode:
    """Start NATS, MongoDB and every service as processes of this machine, and keep them running until Ctrl-C.

    A process that dies is started again. `voxbus status` shows how they are, `voxbus call` talks to them, `voxbus down`
    stops them.
    """
    state = state_dir(path)
    options = StackOptions(
        processes=parse_processes(processes), voice_port=voice_port, rest_port=rest_port, nats_port=nats_port,
        nats_monitor_port=nats_monitor_port, mongo_port=mongo_port, mongo_url=mongo_url, agents_dir=agents,
        log_level=log_level,
    )  # fmt: skip
    if detach:
        chosen = {"--processes": processes, "--rest-port": rest_port, "--voice-port": voice_port, "--agents": agents}
        chosen |= {"--nats-port": nats_port, "--nats-monitor-port": nats_monitor_port, "--mongo-port": mongo_port}
        arguments = [part for name, value in chosen.items() if value for part in (name, str(value))]
        return _detach(state, [*arguments, "--log-level", log_level], mongo_url)
    return run(_serve(state, options, logs=logs))


async def _serve(state: StateDir, options: StackOptions, *, logs: bool) -> ExitCode:
    stopping = Stopping()
    await stopping.race(_run_stack(state, options, stopping, logs=logs))
    err.print("stopped")
    return ExitCode.OK


async def _run_stack(state: StateDir, options: StackOptions, stopping: Stopping, *, logs: bool) -> None:
    async with started_stack(state, options, stopping, logs=logs) as stack:
        info = stack.info()
        out.print(stack_table(info))
        out.print(f"\nready after {stack.ready_s:.1f} s   {applied_line(stack.applied)}", soft_wrap=True)
        out.print(addresses(info, state))
        out.print(
            "Ctrl-C stops everything. Try: voxbus call FILE.wav · voxbus agents list · voxbus status", soft_wrap=True
        )
        await asyncio.Event().wait()  # until cancelled


@asynccontextmanager
async def started_stack(
    state: StateDir,
    options: StackOptions,
    stopping: Stopping,
    *,
    logs: bool = False,
    meanwhile: Callable[[Stack], Awaitable[None]] | None = None,
) -> AsyncIterator[Stack]:
    """A stack that is ready, with its progress on the console; stopped at the end. Raises what its start raises.

    `meanwhile` is done when its API is ready.
    """
    observer = ConsoleObserver(err, logs=logs)
    async with open_stack(state, options, observer) as stack:
        stopping.hurry = stack.supervisor.kill
        observer.watch(stack.supervisor.members)
        following = asyncio.create_task(observer.follow())
        try:
            await stack.start(meanwhile)
            observer.flush()
            yield stack
        finally:
            following.cancel()
            err.print("stopping the stack")


def _detach(state: StateDir, arguments: list[str], mongo_url: str | None) -> ExitCode:
    """Start `voxbus up` in the background and wait until its stack is ready or it has ended."""
    if state.in_use():
        raise StackRunningError(state.path, None)
    state.create()
    log_file = state.logs / "up.log"
    with log_file.open("wb") as output:
        child = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "voxbus.local", "up", "--state-dir", str(state.path), *arguments],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            # Not as an argument: it may hold a password, and everybody on the machine sees arguments.
            env={**os.environ, **({"VOXBUS_MONGO_URL": mongo_url} if mongo_url else {})},
        )  # fmt: skip
    follower = LogFollower(log_file)
    while True:
        code = child.poll()
        for line in follower.lines():
            err.print(line, markup=False, soft_wrap=True)
        if code is not None:
            return ExitCode(code) if code in set(ExitCode) else ExitCode.FAILED
        if _is_ready(state):
            return ExitCode.OK
        time.sleep(_DETACH_POLL_S)


def _is_ready(state: StateDir) -> bool:
    try:
        return state.read().ready
    except StackNotRunningError:
        return False

"""`voxbus demo`: the stack, a call with human speech, and what to make of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from voxbus.contracts.agents import AgentSpec
from voxbus.local.agent_files import read_agent
from voxbus.local.cli.call import exit_code, recording_path
from voxbus.local.cli.common import StateDirOption, Stopping, err, out, reports_errors, run, state_dir
from voxbus.local.cli.up import started_stack
from voxbus.local.demo_client import Prepared, prepare_call
from voxbus.local.errors import CommandError, ExitCode
from voxbus.local.plan import BUILT_IN_AGENTS, StackOptions
from voxbus.local.report import replies, scale_of, waterfall
from voxbus.local.stack import Stack
from voxbus.local.state import DEFAULT_STATE_DIR, StackInfo, StateDir
from voxbus.local.tables import stack_table

if TYPE_CHECKING:
    from voxbus.local.placing import CallResult, CallTarget

SAMPLE_RATE: Final = 16_000


@dataclass(frozen=True)
class Scene:
    """A caller's recordings, and the agent they are for."""

    agent: str
    """Name of its file."""
    recordings: str

    def files(self) -> list[Path]:
        """What the caller says, in order."""
        return sorted((Path(__file__).parent.parent / "samples" / self.recordings).glob("*.wav"))


SHORT: Final = Scene("front-desk", "demo")
LONG: Final = Scene("receptionist", "booking")


@reports_errors
def demo(
    path: StateDirOption = DEFAULT_STATE_DIR,
    long: Annotated[
        bool,
        typer.Option(
            "--long", help="A longer call, over a minute: a question in between, a phone number, a correction."
        ),
    ] = False,
    logs: Annotated[bool, typer.Option("--logs", help="Show the logs of all processes as well.")] = False,
) -> ExitCode:
    """Book an appointment with recorded human speech: start everything, call, show what was said and how long it took, stop.

    Uses the stack that runs in the state directory, if there is one, and leaves that running.
    """
    return run(_demo(state_dir(path), LONG if long else SHORT, logs=logs))


async def _demo(state: StateDir, scene: Scene, *, logs: bool) -> ExitCode:
    stopping = Stopping()
    code = await stopping.race(_run_demo(state, scene, stopping, logs=logs))
    return ExitCode.INTERRUPTED if code is None else code


async def _run_demo(state: StateDir, scene: Scene, stopping: Stopping, *, logs: bool) -> ExitCode:
    agent = read_agent(BUILT_IN_AGENTS / f"{scene.agent}.json")
    async with _prepared(state, stopping, agent.spec, logs=logs) as (stack, prepared):
        from voxbus.local.placing import CallTarget, load_lines, place_call  # noqa: PLC0415 - see `cli.call`

        lines = load_lines(scene.files(), {}, SAMPLE_RATE)
        out.print(stack_table(stack))
        target = CallTarget(
            prepared.token.voice_url or stack.voice_url, prepared.token.token, prepared.agent_id, SAMPLE_RATE
        )
        _introduce(stack, prepared, target, len(lines))
        result = await place_call(target, lines, console=out, save=recording_path(state), until_stopped=stopping.race)
        _summary(result, stack, state)
        return _verdict(result)


@asynccontextmanager
async def _prepared(
    state: StateDir, stopping: Stopping, spec: AgentSpec, *, logs: bool
) -> AsyncIterator[tuple[StackInfo, Prepared]]:
    """A stack, and an agent in it that can be called."""
    if state.in_use():
        err.print(f"using the stack that runs in {state.path}", markup=False, soft_wrap=True)
        stack = state.read()
        if not stack.ready:
            raise CommandError(
                "the stack here is still starting", "try again when `voxbus status` says that all is ready"
            )
        yield stack, await prepare_call(stack, state, spec)
        return
    prepared: list[Prepared] = []

    async def prepare(started: Stack) -> None:
        """A client can do all that before the workers, which load their engines, are ready."""
        prepared.append(await prepare_call(started.info(), state, spec))
        import voxbus.local.placing  # noqa: F401, PLC0415 - the call needs it next, and the workers are not ready yet

    async with started_stack(state, StackOptions(), stopping, logs=logs, meanwhile=prepare) as started:
        yield started.info(), prepared[0]


def _introduce(stack: StackInfo, prepared: Prepared, target: CallTarget, lines: int) -> None:
    out.print(f"\n[bold]As a client[/] of the REST API at {stack.rest_url}")
    _row("user", f"{prepared.email}, just signed up")
    _row("agent", f"{prepared.agent_id}, created and published as version {prepared.version}")
    _row("call token", f"for this agent alone, good until {prepared.token.expires_at:%H:%M:%S} UTC")
    out.print(f"\n[bold]Calling[/] at {target.url}, {lines} recordings to say\n")


def _verdict(result: CallResult) -> ExitCode:
    """Whether a conversation took place: every recording answered, each in a turn of its own."""
    code = exit_code(result)
    turns = len(replies(list(result.turns)))
    if code is ExitCode.OK and turns < result.lines:
        err.print(f"[bold red]error:[/] {turns} turns for {result.lines} recordings", soft_wrap=True)
        return ExitCode.FAILED
    return code


def _summary(result: CallResult, stack: StackInfo, state: StateDir) -> None:
    turns = replies(list(result.turns))
    out.print("\n[bold]What followed the end of the caller's words, turn by turn[/]\n")
    scale_ms = scale_of(turns)
    for turn in turns:
        for line in waterfall(turn, scale_ms):
            out.print(line, soft_wrap=True)
    responses = sorted(exchange.response_s for exchange in result.exchanges if exchange.response_s is not None)
    out.print("\n[bold]The call[/]")
    _row("call", f"{result.session_id} with {result.agent_name}")
    _row(
        "duration", f"{result.duration_s:.1f} s, {len(turns)} turns, {result.agent_audio_s:.1f} s of the agent's voice"
    )
    if responses:
        middle = responses[len(responses) // 2]
        _row(
            "response",
            f"median {middle * 1000:.0f} ms from the caller's last sound to the agent's first, as heard",
        )
    _row("processes", f"{len(stack.processes)}, NATS at {stack.nats_url}, documents at {stack.mongo_url}")
    out.print("\n[bold]Where to look[/] (addresses answer while the stack runs)")
    _row("REST API", f"{stack.rest_url}   reference {stack.rest_url}/docs")
    _row("admin", f"{stack.admin_email}, password in {state.admin_password_file}")
    _row("recording", f"{result.recording} (left: caller, right: agent)")
    _row("logs", f"{stack.log_dir}/*.log")
    for info in stack.processes:
        if info.health_url.endswith("/health"):
            _row(info.name, f"{info.health_url}   {info.health_url.removesuffix('/health')}/metrics")
    out.print("\n[bold]What next[/]")
    _row("voxbus demo", "--long   a longer call: a question in between, a phone number, a correction")
    _row("voxbus up", "start the stack and keep it, then in another terminal:")
    _row("voxbus status", "how every process is, and how many streams it has")
    _row("voxbus agents", "list   what can be called; create, edit and publish your own")
    _row("voxbus call", "FILE.wav…  say your own recordings, --barge-in 2:800 interrupts, --mic talks live")
    _row("voxbus up", "--processes stt=2,llm=2,tts=2 --logs   more of each stage, with their logs")


def _row(name: str, text: str) -> None:
    out.print(f"  [bold]{name:<14}[/] ", end="")
    out.print(text, markup=False, soft_wrap=True)

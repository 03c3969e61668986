"""`voxbus call`: call an agent with WAV files or a microphone."""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from voxbus.contracts.native import SAMPLE_RATES
from voxbus.local.call_tokens import get_call_token
from voxbus.local.cli.common import (
    JsonOption,
    Stopping,
    err,
    out,
    print_plain,
    reports_errors,
    run,
    state_dir,
)
from voxbus.local.cli.remote import StackDirOption, find_api
from voxbus.local.errors import ExitCode, UsageError
from voxbus.local.state import DEFAULT_STATE_DIR, StateDir

if TYPE_CHECKING:
    from voxbus.local.dialogue import ScriptLine
    from voxbus.local.placing import CallResult, CallTarget

# What makes calls is imported where it is used: NumPy and WebSockets take a third of a second that other commands need not wait.
DEFAULT_AGENT = "receptionist"


def parse_barge_ins(texts: list[str]) -> dict[int, int]:
    """`2:800` (file 2, 800 ms into the agent's words) as number -> milliseconds; raises UsageError."""
    barge_ins: dict[int, int] = {}
    for text in texts:
        number, _, milliseconds = text.partition(":")
        if not (number.isdecimal() and milliseconds.isdecimal()):
            raise UsageError(f"--barge-in {text}: not FILE_NUMBER:MILLISECONDS", "write it like --barge-in 2:800")
        barge_ins[int(number)] = int(milliseconds)
    return barge_ins


@reports_errors
def call(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE.wav…", help="What to say, one file per turn; any WAV with PCM or floats."),
    ] = None,
    agent: Annotated[str, typer.Option("--agent", help="The agent to call.")] = DEFAULT_AGENT,
    url: Annotated[
        str | None, typer.Option("--url", help="The gateway; without it the one that the API names.")
    ] = None,
    token: Annotated[
        str | None,
        typer.Option("--token", envvar="VOXBUS_TOKEN", help="A token; without it one that the API gives you."),
    ] = None,
    save: Annotated[
        Path | None, typer.Option("--save", help="Save the call: caller left, agent right.", dir_okay=False)
    ] = None,
    barge_in: Annotated[
        list[str] | None,
        typer.Option(
            "--barge-in", metavar="N:MS", help="Say file N so many ms after the agent began to speak. Repeatable."
        ),
    ] = None,
    mic: Annotated[bool, typer.Option("--mic", help="Talk yourself, with this machine's microphone.")] = False,
    sample_rate: Annotated[
        int, typer.Option("--rate", help="Sample rate of the call: 8000, 16000, 24000, 48000.")
    ] = 16_000,
    path: StackDirOption = None,
    as_json: JsonOption = False,
) -> ExitCode:
    """Call an agent in real time: each file is said when it is the caller's turn. Prints what both say, and each turn's timings.

    The API that gives the token is that of VOXBUS_URL, of your last login, or of the running stack.

    Exit code 1: a file was not answered, or the call broke; 3: no gateway; 4: the gateway refused the call.
    """
    if sample_rate not in SAMPLE_RATES:
        raise UsageError(f"--rate {sample_rate} is not supported", f"use one of {', '.join(map(str, SAMPLE_RATES))}")
    if mic == bool(files):
        raise UsageError("give WAV files to say, or --mic", "for example: voxbus call hello.wav thanks.wav")
    from voxbus.local.placing import load_lines  # noqa: PLC0415

    lines = load_lines(files or [], parse_barge_ins(barge_in or []), sample_rate)
    target = find_target(path, agent, url=url, token=token, sample_rate=sample_rate)
    result = run(_call(target, lines, console=None if as_json else out, save=save, mic=mic))
    if as_json:
        print_plain(result.model_dump_json(indent=2))
    elif save:
        out.print(f"saved {save}", markup=False, soft_wrap=True)
    return exit_code(result)


async def find_target(
    path: Path | None, agent: str, *, url: str | None = None, token: str | None = None, sample_rate: int = 16_000
) -> CallTarget:
    """Whom to call: what was given, else what the API says with a fresh token. Raises CommandError."""
    from voxbus.local.placing import CallTarget  # noqa: PLC0415

    if token is None:
        async with find_api(None, path) as api:
            answer = await get_call_token(api, agent)
        token, url = answer.token, url or answer.voice_url
    return CallTarget(url or state_dir(path or DEFAULT_STATE_DIR).read().voice_url, token, agent, sample_rate)


def exit_code(result: CallResult) -> ExitCode:
    """The command's exit code; says on stderr what was wrong."""
    if result.interrupted:
        return ExitCode.OK if not result.lines else ExitCode.INTERRUPTED
    if result.problem is None or not result.lines:
        return ExitCode.OK
    err.print(f"[bold red]error:[/] {result.problem}", soft_wrap=True)
    err.print("[bold]hint:[/]  look at `voxbus status` and the logs in the state directory", soft_wrap=True)
    return ExitCode.FAILED


async def _call(
    finding: Coroutine[Any, Any, CallTarget],
    lines: list[ScriptLine],
    *,
    console: Console | None,
    save: Path | None,
    mic: bool,
) -> CallResult:
    from voxbus.local.mic import Microphone  # noqa: PLC0415
    from voxbus.local.placing import place_call  # noqa: PLC0415

    stopping = Stopping()
    target = await finding
    with Microphone(target.sample_rate) if mic else nullcontext() as device:
        if mic:
            err.print("Speak; Ctrl-C hangs up.")
        return await place_call(target, lines, console=console, save=save, until_stopped=stopping.race, device=device)


def recording_path(state: StateDir) -> Path:
    """Where a call of now is saved."""
    return state.recordings / f"call-{datetime.now(UTC):%Y%m%d-%H%M%S}.wav"

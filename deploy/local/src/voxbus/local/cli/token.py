"""`voxbus token`: a token with which a client may call an agent."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

import typer

from voxbus.contracts.auth import CallToken
from voxbus.local.api import ApiClient
from voxbus.local.call_tokens import get_call_token
from voxbus.local.cli.call import DEFAULT_AGENT
from voxbus.local.cli.common import JsonOption, StateDirOption, print_plain, reports_errors, run, state_dir
from voxbus.local.errors import UsageError
from voxbus.local.state import DEFAULT_STATE_DIR

_DURATION = re.compile(r"(\d+)([smh]?)")
_UNITS = {"": "seconds", "s": "seconds", "m": "minutes", "h": "hours"}
_SHORTEST: Final = timedelta(seconds=30)
_LONGEST: Final = timedelta(hours=1)


def parse_duration(text: str) -> timedelta:
    """`90`, `90s`, `15m` or `1h`; raises UsageError, also for one that no token may have."""
    found = _DURATION.fullmatch(text)
    if not found:
        raise UsageError(f"--ttl {text}: not a duration", "write it like 90s, 15m or 1h")
    duration = timedelta(**{_UNITS[found[2]]: int(found[1])})
    if not _SHORTEST <= duration <= _LONGEST:
        raise UsageError(f"--ttl {text}: a token is good for 30 s to 1 h", "write it like 90s, 15m or 1h")
    return duration


@reports_errors
def token(
    agent: Annotated[str, typer.Option("--agent", help="The agent that may be called.")] = DEFAULT_AGENT,
    ttl: Annotated[str, typer.Option("--ttl", help="How long it is good: 30s to 1h.")] = "10m",
    path: StateDirOption = DEFAULT_STATE_DIR,
    as_json: JsonOption = False,
) -> None:
    """Print a token with which a client may call an agent of the running stack."""
    answer = run(_get(path, agent, int(parse_duration(ttl).total_seconds())))
    print_plain(answer.model_dump_json(indent=2) if as_json else answer.token)


async def _get(path: Path, agent: str, ttl_s: int) -> CallToken:
    state = state_dir(path)
    async with ApiClient.for_stack(state.read(), state) as client:
        return await get_call_token(client, agent, ttl_s)

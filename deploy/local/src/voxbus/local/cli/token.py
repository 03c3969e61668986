"""`voxbus token`: a token with which a client may call an agent."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Final

import typer

from voxbus.local.call_tokens import get_call_token
from voxbus.local.cli.call import DEFAULT_AGENT
from voxbus.local.cli.common import JsonOption, print_plain, reports_errors
from voxbus.local.cli.remote import StackDirOption, UrlOption, with_api
from voxbus.local.errors import UsageError

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
    url: UrlOption = None,
    path: StackDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print a token with which a client may call an agent."""
    ttl_s = int(parse_duration(ttl).total_seconds())
    answer = with_api(url, path, lambda api: get_call_token(api, agent, ttl_s))
    print_plain(answer.model_dump_json(indent=2) if as_json else answer.token)

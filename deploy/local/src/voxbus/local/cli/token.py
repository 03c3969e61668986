"""`voxbus token`: a signed token for a caller."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Annotated

import typer

from voxbus.local.cli.common import JsonOption, StateDirOption, print_plain, reports_errors, state_dir
from voxbus.local.errors import UsageError
from voxbus.local.keys import DEFAULT_SUBJECT, KeyPair
from voxbus.local.state import DEFAULT_STATE_DIR

_DURATION = re.compile(r"(\d+)([smhd]?)")
_UNITS = {"": "seconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_duration(text: str) -> timedelta:
    """`90`, `90s`, `15m`, `2h` or `7d`; raises UsageError."""
    found = _DURATION.fullmatch(text)
    if not found or int(found[1]) == 0:
        raise UsageError(f"--ttl {text}: not a duration", "write it like 90s, 15m, 2h or 7d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


@reports_errors
def token(
    agent: Annotated[
        str | None, typer.Option("--agent", help="Allow calls to this agent only; without it to any.")
    ] = None,
    ttl: Annotated[str, typer.Option("--ttl", help="How long it is valid: 90s, 15m, 2h, 7d.")] = "1h",
    subject: Annotated[str, typer.Option("--subject", help="Who the caller is.")] = DEFAULT_SUBJECT,
    path: StateDirOption = DEFAULT_STATE_DIR,
    as_json: JsonOption = False,
) -> None:
    """Print a token with which a client may call, signed with the key of this state directory."""
    valid_for = parse_duration(ttl)
    signed = KeyPair(state_dir(path).keys).issue(agent_id=agent, ttl=valid_for, subject=subject)
    if as_json:
        answer = {
            "token": signed,
            "agent_id": agent,
            "subject": subject,
            "expires_in_s": int(valid_for.total_seconds()),
        }
        print_plain(json.dumps(answer, indent=2))
    else:
        print_plain(signed)

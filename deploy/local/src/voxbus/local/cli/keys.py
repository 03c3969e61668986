"""`voxbus keys`: API keys, with which machines use the API."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import typer

from voxbus.contracts.access import Permission
from voxbus.local.api import ApiClient
from voxbus.local.cli.common import JsonOption, err, print_plain, reports_errors
from voxbus.local.cli.remote import (
    AllOption,
    LimitOption,
    StackDirOption,
    UrlOption,
    YesOption,
    confirm,
    fetch_list,
    with_api,
)
from voxbus.local.cli.show import Column, field, print_json, print_list, when
from voxbus.local.errors import UsageError

app = typer.Typer(name="keys", help="API keys, for machines.", no_args_is_help=True)

_LIFE = re.compile(r"([1-9]\d{0,4})([hdw])")
_UNITS: Final = {"h": "hours", "d": "days", "w": "weeks"}
_GRANTABLE: Final = [permission for permission in Permission if permission is not Permission.ACCOUNT]
_COLUMNS: list[Column] = [
    ("id", field("id")),
    ("name", field("name")),
    ("permissions", lambda key: " ".join(key["permissions"])),
    ("ends in", lambda key: f"…{key['hint']}"),
    ("made", when("created_at")),
    ("last used", when("last_used_at")),
    ("expires", when("expires_at")),
]


@app.command("list")
@reports_errors
def list_keys(
    user: Annotated[str | None, typer.Option("--user", help="Id of another user, for admins.")] = None,
    everybody: Annotated[bool, typer.Option("--everybody", help="The keys of all users, for admins.")] = False,
    limit: LimitOption = 50,
    every: AllOption = False,
    url: UrlOption = None,
    path: StackDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """List your API keys. Their secrets are shown once, when they are made."""

    async def work(api: ApiClient) -> dict[str, Any]:
        return await fetch_list(
            api, "/auth/api-keys", limit=limit, every=every, user_id=user, all_users=everybody or None
        )

    columns: list[Column] = [*_COLUMNS, ("user", field("user_id"))] if user or everybody else _COLUMNS
    print_list(with_api(url, path, work), columns, as_json=as_json, none="There are none: `voxbus keys create`.")


@app.command()
@reports_errors
def create(
    name: Annotated[str, typer.Option("--name", help="What it is for.")],
    permissions: Annotated[
        list[str],
        typer.Option(
            "--allow",
            metavar="PERMISSION",
            help=f"What it is good for: {', '.join(_GRANTABLE)}. Repeatable.",
        ),
    ],
    expires: Annotated[str | None, typer.Option("--expires", help="After how long: 12h, 90d; else never.")] = None,
    url: UrlOption = None,
    path: StackDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an API key. Its secret is printed on stdout, this once; give it to machines in VOXBUS_API_KEY.

    Example: voxbus keys create --name "night report" --allow agents:read --allow campaigns:read --expires 90d
    """
    unknown = [permission for permission in permissions if permission not in _GRANTABLE]
    if unknown:
        raise UsageError(f"--allow {unknown[0]}: there is no such permission", f"use some of {', '.join(_GRANTABLE)}")
    body: dict[str, Any] = {"name": name, "permissions": permissions}
    if expires is not None:
        body["expires_at"] = (datetime.now(UTC) + parse_life(expires)).isoformat()

    async def work(api: ApiClient) -> dict[str, Any]:
        made: dict[str, Any] = (await api.create("/auth/api-keys", body)).data
        return made

    made = with_api(url, path, work)
    if as_json:
        print_json(made)
    else:
        print_plain(made["secret"])
        err.print(f"Made the key {made['key']['id']}. Keep the secret: it cannot be shown again.", markup=False)


@app.command()
@reports_errors
def revoke(
    keys: Annotated[list[str], typer.Argument(metavar="ID…")],
    yes: YesOption = False,
    url: UrlOption = None,
    path: StackDirOption = None,
) -> None:
    """Make API keys useless at once. It cannot be taken back."""
    confirm(f"Revoke {', '.join(keys)}?", yes=yes)

    async def work(api: ApiClient) -> None:
        for key in keys:
            await api.delete(f"/auth/api-keys/{key}")
            err.print(f"revoked {key}", markup=False)

    with_api(url, path, work)


def parse_life(text: str) -> timedelta:
    """`12h`, `90d` or `8w`; raises UsageError."""
    found = _LIFE.fullmatch(text)
    if not found:
        raise UsageError(f"--expires {text}: not a duration", "write it like 12h, 90d or 8w")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})

"""`voxbus users`: the users of a server, for admins."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from voxbus.contracts.access import Role
from voxbus.local.api import ApiClient
from voxbus.local.cli.common import JsonOption, err, print_plain, reports_errors
from voxbus.local.cli.remote import (
    AllOption,
    LimitOption,
    PasswordStdinOption,
    RevisionOption,
    StackDirOption,
    UrlOption,
    YesOption,
    ask_password,
    fetch_list,
    remove_all,
    with_api,
)
from voxbus.local.cli.show import Column, field, moment, print_json, print_list, print_record, when, yes_no
from voxbus.local.errors import UsageError

app = typer.Typer(name="users", help="Users of a server, for admins.", no_args_is_help=True)

UserArgument = Annotated[str, typer.Argument(metavar="ID|EMAIL")]
_COLUMNS: list[Column] = [
    ("id", field("id")),
    ("email", field("email")),
    ("role", field("role")),
    ("enabled", lambda user: yes_no(user["enabled"])),
    ("last login", when("last_login_at")),
    ("since", when("created_at")),
]


@app.command("list")
@reports_errors
def list_users(
    email: Annotated[str | None, typer.Option("--email", help="Part of the email.")] = None,
    role: Annotated[Role | None, typer.Option("--role", help="Only these.")] = None,
    enabled: Annotated[bool | None, typer.Option("--enabled/--disabled", help="Whether they can log in.")] = None,
    sort: Annotated[str | None, typer.Option("--sort", help="created_at or email; - before it: descending.")] = None,
    limit: LimitOption = 50,
    every: AllOption = False,
    url: UrlOption = None,
    path: StackDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """List users.

    Example: voxbus users list --role admin
    """

    async def work(api: ApiClient) -> dict[str, Any]:
        return await fetch_list(
            api, "/users", limit=limit, every=every, email=email, role=role, enabled=enabled, sort=sort
        )  # fmt: skip

    print_list(with_api(url, path, work), _COLUMNS, as_json=as_json, none="There are no such users.")


@app.command()
@reports_errors
def show(user: UserArgument, url: UrlOption = None, path: StackDirOption = None, as_json: JsonOption = False) -> None:
    """Show a user."""
    record = with_api(url, path, lambda api: _find(api, user))
    if as_json:
        print_json(record)
        return
    print_record(
        [
            ("id", record["id"]),
            ("email", record["email"]),
            ("role", record["role"]),
            ("enabled", yes_no(record["enabled"])),
            ("last login", moment(record["last_login_at"])),
            ("since", moment(record["created_at"])),
            ("changed", f"{moment(record['updated_at'])}, revision {record['revision']}"),
        ]
    )


@app.command()
@reports_errors
def create(
    email: Annotated[str, typer.Option("--email", help="Their email.")],
    role: Annotated[Role, typer.Option("--role", help="What they are.")] = Role.USER,
    password_stdin: PasswordStdinOption = False,
    url: UrlOption = None,
    path: StackDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a user. The password is asked for: at least 12 characters.

    Example: voxbus users create --email grace@example.com --role admin
    """
    password = ask_password(from_stdin=password_stdin, twice=True)

    async def work(api: ApiClient) -> dict[str, Any]:
        made: dict[str, Any] = (await api.create("/users", {"email": email, "password": password, "role": role})).data
        return made

    _tell(with_api(url, path, work), "Made", as_json=as_json)


@app.command()
@reports_errors
def edit(
    user: UserArgument,
    email: Annotated[str | None, typer.Option("--email", help="Their new email.")] = None,
    role: Annotated[Role | None, typer.Option("--role", help="What they are from now on.")] = None,
    enabled: Annotated[bool | None, typer.Option("--enable/--disable", help="Whether they can log in.")] = None,
    password: Annotated[
        bool, typer.Option("--password", help="Ask for a new password. It ends their sessions.")
    ] = False,
    password_stdin: PasswordStdinOption = False,
    revision: RevisionOption = None,
    url: UrlOption = None,
    path: StackDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change a user. Disabling one ends their sessions and stops their API keys.

    Example: voxbus users edit grace@example.com --disable
    """
    change: dict[str, Any] = {
        name: value for name, value in (("email", email), ("role", role), ("enabled", enabled)) if value is not None
    }
    if password or password_stdin:
        change["password"] = ask_password("New password", from_stdin=password_stdin, twice=True)
    if not change:
        raise UsageError("nothing to change", "say what: --email, --role, --enable, --disable, --password")

    async def work(api: ApiClient) -> dict[str, Any]:
        found = await _find(api, user)
        changed: dict[str, Any] = await api.patch(f"/users/{found['id']}", change, revision=revision or "*")
        return changed

    _tell(with_api(url, path, work), "Changed", as_json=as_json)


@app.command()
@reports_errors
def delete(
    users: Annotated[list[str], typer.Argument(metavar="ID|EMAIL…")],
    yes: YesOption = False,
    url: UrlOption = None,
    path: StackDirOption = None,
) -> None:
    """Delete users. Their sessions and API keys end; their agents and campaigns stay, visible to admins."""

    async def work(api: ApiClient) -> list[dict[str, Any]]:
        return [await _find(api, user) for user in users]

    targets = {f"/users/{found['id']}": found["email"] for found in with_api(url, path, work)}
    remove_all(url, path, targets, kind="user", yes=yes)


async def _find(api: ApiClient, name: str) -> dict[str, Any]:
    """A user by id or email; raises CommandError."""
    if "@" not in name:
        user: dict[str, Any] = await api.get(f"/users/{name}")
        return user
    async for user in api.items("/users", email=name):
        if user["email"].casefold() == name.casefold():
            return user
    raise UsageError(f"there is no user {name}", "`voxbus users list` shows them")


def _tell(user: dict[str, Any], what: str, *, as_json: bool) -> None:
    if as_json:
        print_json(user)
    else:
        print_plain(user["id"])
        state = "" if user["enabled"] else ", disabled"
        err.print(f"{what} the {user['role']} {user['email']}{state}.", markup=False)

"""`voxbus login`, `logout`, `signup`, `whoami`, `password`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from voxbus.contracts.auth import Session
from voxbus.local.access import LoginAccess, log_in
from voxbus.local.api import ApiClient, is_loopback, normal_url
from voxbus.local.cli.common import JsonOption, err, reports_errors, run, state_dir
from voxbus.local.cli.remote import PasswordStdinOption, StackDirOption, UrlOption, ask_password, with_api
from voxbus.local.cli.show import moment, print_json, print_record, yes_no
from voxbus.local.credentials import CredentialsFile, Login
from voxbus.local.errors import GatewayUnreachableError, StackNotRunningError, UsageError
from voxbus.local.problem import AccessRefusedError, NotLoggedInError
from voxbus.local.state import DEFAULT_STATE_DIR

EmailOption = Annotated[str | None, typer.Option("--email", help="Your email; asked for when it is not given.")]


@reports_errors
def login(
    url: UrlOption = None,
    email: EmailOption = None,
    password_stdin: PasswordStdinOption = False,
    path: StackDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Log in to a server. The commands that follow use this login, until `voxbus logout`.

    Example: voxbus login --url https://voice.example.com --email me@example.com
    """
    server = _server(url, path)
    _warn_of_plain_http(server)
    email = email or _ask_email()
    password = ask_password(from_stdin=password_stdin)

    async def work() -> Session:
        async with ApiClient(server) as api:
            return await _kept(api, await log_in(api.ask, email, password))

    _greet(run(work()), server, as_json=as_json)


@reports_errors
def signup(
    url: UrlOption = None,
    email: EmailOption = None,
    password_stdin: PasswordStdinOption = False,
    path: StackDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an account at a server and log in. Passwords have at least 12 characters."""
    server = _server(url, path)
    _warn_of_plain_http(server)
    email = email or _ask_email()
    password = ask_password(from_stdin=password_stdin, twice=True)

    async def work() -> Session:
        async with ApiClient(server) as api:
            answer = await api.ask("/auth/signup", {"email": email, "password": password})
            return await _kept(api, Session.model_validate(answer))

    _greet(run(work()), server, as_json=as_json)


@reports_errors
def logout(
    url: UrlOption = None,
    everywhere: Annotated[
        bool, typer.Option("--everywhere", help="End all of your sessions, other machines' too.")
    ] = False,
) -> None:
    """End the login at a server, there and on this machine."""
    file = CredentialsFile.of_user()
    logins = file.read()
    server = normal_url(url) if url else logins.current
    stored = logins.logins.get(server) if server else None
    if server is None or stored is None:
        if server is not None and server == logins.current:
            run(_leave(file, server))
        err.print(f"You are not logged in{f' at {server}' if server else ''}.", markup=False)
        return

    async def work() -> None:
        async with ApiClient(server, LoginAccess(server, file)) as api:
            try:
                await api.post("/auth/logout", {"everywhere": everywhere})
            except (GatewayUnreachableError, AccessRefusedError, NotLoggedInError) as error:
                if everywhere:
                    raise
                err.print(
                    f"warning: the session could not be ended at the server: {error}", style="yellow", markup=False
                )
        await _leave(file, server)

    run(work())
    err.print(f"Logged out of {server}.", markup=False)


@reports_errors
def whoami(url: UrlOption = None, path: StackDirOption = None, as_json: JsonOption = False) -> None:
    """Show who the commands act as, and at which server."""

    async def work(api: ApiClient) -> tuple[str, dict[str, object]]:
        return api.url, await api.get("/auth/me")

    server, me = with_api(url, path, work)
    if as_json:
        print_json({"url": server, "user": me})
        return
    print_record(
        [
            ("server", server),
            ("user", f"{me['email']} ({me['id']})"),
            ("role", str(me["role"])),
            ("enabled", yes_no(me["enabled"])),
            ("since", moment(str(me["created_at"]))),
        ]
    )


@reports_errors
def password(url: UrlOption = None, path: StackDirOption = None) -> None:
    """Change your own password. It ends your other sessions."""
    current = ask_password("Current password", from_stdin=False)
    new = ask_password("New password", from_stdin=False, twice=True)

    async def work(api: ApiClient) -> None:
        await api.post("/auth/password", {"current_password": current, "new_password": new})

    with_api(url, path, work)
    err.print("The password is changed.")


async def _kept(api: ApiClient, session: Session) -> Session:
    """Store a session that was just given."""
    file = CredentialsFile.of_user()
    async with file.locked():
        file.keep(api.url, Login.of(session), make_current=True)
    return session


async def _leave(file: CredentialsFile, url: str) -> None:
    async with file.locked():
        file.forget(url, leave=True)


def _server(url: str | None, path: Path | None) -> str:
    """Where to log in: what was said, the stack that runs here, or the server of the last login."""
    if url:
        return normal_url(url)
    try:
        return normal_url(state_dir(path or DEFAULT_STATE_DIR).read().rest_url)
    except StackNotRunningError:
        current = CredentialsFile.of_user().read().current
        if path is not None or current is None:
            raise UsageError("which server?", "say it: voxbus login --url https://voice.example.com") from None
        return current


def _ask_email() -> str:
    try:
        return str(typer.prompt("Email", err=True))
    except typer.Abort:
        raise UsageError("no email was given", "say it with --email") from None


def _warn_of_plain_http(url: str) -> None:
    if url.startswith("http://") and not is_loopback(url):
        err.print(
            f"warning: {url} is not encrypted: others on the way can read the password", style="yellow", markup=False
        )


def _greet(session: Session, url: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"url": url, "user": session.user.model_dump(mode="json")})
    else:
        err.print(f"Logged in at {url} as {session.user.email} ({session.user.role}).", markup=False)

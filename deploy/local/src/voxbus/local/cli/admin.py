"""`voxbus admin`: what is done beside the API, at the store itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from voxbus.local.cli.common import err, reports_errors, state_dir
from voxbus.local.cli.remote import PasswordStdinOption, StackDirOption, ask_password
from voxbus.local.errors import CommandError, ExitCode
from voxbus.local.state import DEFAULT_STATE_DIR

app = typer.Typer(name="admin", help="Work at the store itself, for those who run the server.", no_args_is_help=True)

_EXIT_CODES: Final = {1: ExitCode.FAILED, 2: ExitCode.USAGE, 3: ExitCode.NOT_RUNNING}
"""Of `voxbus.auth.create_admin`."""


@app.callback()
def admin() -> None:
    """Work at the store itself, for those who run the server."""


@app.command()
@reports_errors
def create(
    email: Annotated[str, typer.Option("--email", help="Their email.")],
    reset_password: Annotated[
        bool, typer.Option("--reset-password", help="When there is such a user: set the password, make them an admin.")
    ] = False,
    password_stdin: PasswordStdinOption = False,
    mongo_url: Annotated[
        str | None,
        typer.Option(
            "--mongo-url",
            envvar="VOXBUS_MONGO_URL",
            help="The store; without it the running stack's.",
            show_default=False,
        ),
    ] = None,
    path: StackDirOption = None,
) -> ExitCode:
    """Make an admin without being one: the first of a server, or when all passwords are lost. The password is asked for.

    Example: voxbus admin create --email ann@example.com
    """
    store = mongo_url or state_dir(path or DEFAULT_STATE_DIR).read().mongo_url
    password = ask_password(from_stdin=password_stdin, twice=True)
    return _make_admin(store, email, password, reset_password=reset_password)


def _make_admin(mongo_url: str, email: str, password: str, *, reset_password: bool) -> ExitCode:
    """In a process of its own: the service's settings come from the environment. The password goes in through a pipe."""
    command = [sys.executable, "-m", "voxbus.auth.create_admin", f"--email={email}"]
    if reset_password:
        command.append("--reset-password")
    done = subprocess.run(  # noqa: S603  # our own module; the email is one argument
        command,
        input=f"{password}\n",
        text=True,
        capture_output=True,
        check=False,
        env={**os.environ, "VOXBUS_MONGO_URL": mongo_url},
        cwd=Path.cwd(),
    )
    if done.returncode not in (0, *_EXIT_CODES):
        raise CommandError(f"it ended with code {done.returncode}: {done.stderr.strip()[-500:]}")
    err.print(done.stdout.strip() or f"error: {done.stderr.strip()}", markup=False)
    return _EXIT_CODES.get(done.returncode, ExitCode.OK)

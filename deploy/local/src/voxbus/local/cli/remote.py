"""What the commands over the REST API share: which server, as whom, pages, confirmation."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from voxbus.local.access import ApiKeyAccess, LoginAccess
from voxbus.local.api import ApiClient, normal_url
from voxbus.local.cli.common import err, run, state_dir
from voxbus.local.credentials import CredentialsFile
from voxbus.local.errors import CommandError, ExitCode, StackNotRunningError, UsageError
from voxbus.local.state import DEFAULT_STATE_DIR

T = TypeVar("T")

UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url", envvar="VOXBUS_URL", help="The server; without it the one you logged in to, else the running stack."
    ),
]
StackDirOption = Annotated[
    Path | None,
    typer.Option(
        "--state-dir", envvar="VOXBUS_STATE_DIR", help="Use the stack of this directory, as its admin.", file_okay=False
    ),
]
LimitOption = Annotated[int, typer.Option("--limit", help="How many at most.", min=1)]
AllOption = Annotated[bool, typer.Option("--all", help="All of them, however many.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
RevisionOption = Annotated[
    int | None, typer.Option("--revision", help="Only when it is still at this revision.", min=1)
]
PasswordStdinOption = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input, one line.")
]


class NoServerError(CommandError):
    """Nothing says which server to talk to."""

    exit_code = ExitCode.NOT_RUNNING

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"which server? You are not logged in, and no stack runs in {path}",
            "`voxbus login --url …`, or start a stack with `voxbus up`, or name its directory with --state-dir",
        )


def find_api(url: str | None, path: Path | None) -> ApiClient:
    """The client of a command: the server of --url, of --state-dir, of the last login, or the stack that runs here.

    An API key in VOXBUS_API_KEY goes before logins. Raises CommandError.
    """
    api_key = os.environ.get("VOXBUS_API_KEY")
    file = CredentialsFile.of_user()
    if url is None and path is None:
        url = file.read().current
    if url is not None:
        url = normal_url(url)
        return ApiClient(url, ApiKeyAccess(api_key) if api_key else LoginAccess(url, file))
    state = state_dir(path or DEFAULT_STATE_DIR)
    try:
        stack = state.read()
    except StackNotRunningError:
        if path is not None:
            raise
        raise NoServerError(state.path) from None
    return ApiClient(stack.rest_url, ApiKeyAccess(api_key)) if api_key else ApiClient.for_stack(stack, state)


def with_api(url: str | None, path: Path | None, work: Callable[[ApiClient], Awaitable[T]]) -> T:
    """Run a command's work with its client."""

    async def main() -> T:
        async with find_api(url, path) as api:
            return await work(api)

    return run(main())


async def fetch_list(api: ApiClient, path: str, *, limit: int, every: bool, **params: Any) -> dict[str, Any]:
    """`limit` items of a list, or all, as one page with the cursor of what follows."""
    items: list[Any] = []
    cursor: str | None = None
    while every or len(items) < limit:
        page = await api.page(path, limit=limit - len(items) if not every else 100, cursor=cursor, **params)
        items += page["items"]
        cursor = page.get("next_cursor")
        if not cursor:
            break
    return {"items": items, "next_cursor": cursor}


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something that cannot be undone; raises UsageError when nobody can answer."""
    if yes:
        return
    try:
        agreed = typer.confirm(question, err=True)
    except typer.Abort:
        raise UsageError("nobody answered", "add --yes to do it without a question") from None
    if not agreed:
        err.print("Nothing was changed.")
        raise typer.Exit(int(ExitCode.FAILED))


def ask_password(prompt: str = "Password", *, from_stdin: bool, twice: bool = False) -> str:
    """A password, typed without echo or read from standard input; never from the command line, where others see it."""
    try:
        if from_stdin:
            password = typer.get_text_stream("stdin").readline().rstrip("\r\n")
        else:
            password = str(typer.prompt(prompt, hide_input=True, confirmation_prompt=twice, err=True))
    except typer.Abort:
        raise UsageError("no password was given", "type it, or send it with --password-stdin") from None
    if not password:
        raise UsageError("the password is empty", "send it as one line")
    return password


def remove_all(
    url: str | None,
    path: Path | None,
    targets: Mapping[str, str],
    *,
    kind: str,
    yes: bool,
    revision: int | str | None = "*",
) -> None:
    """Delete several records of one kind after a question; `targets` are their paths in the API, and what they are called."""
    confirm(f"Delete {kind} {', '.join(targets.values())}?", yes=yes)

    async def work(api: ApiClient) -> None:
        for target, name in targets.items():
            await api.delete(target, revision=revision)
            err.print(f"deleted {name}", markup=False)

    with_api(url, path, work)

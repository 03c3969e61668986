"""Changing a record: patches of files and `--set`, and the user's editor."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from voxbus.local.api import ApiClient
from voxbus.local.documents import edit_object, parse_settings, read_object
from voxbus.local.errors import CommandError

SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Set a field: text or JSON; a dot goes into an object, null takes the field away. Repeatable.",
    ),
]


def merge_patches(file: Path | None, settings: list[str] | None) -> dict[str, Any]:
    """The patch in a file with `--set` on top; unlike a merged record it keeps nulls, which take fields away."""
    patch = read_object(file) if file else {}
    for name, value in parse_settings(settings or []).items():
        known = patch.get(name)
        patch[name] = {**known, **value} if isinstance(known, dict) and isinstance(value, dict) else value
    return patch


async def edit_in_editor(
    api: ApiClient, record_path: str, draft_of: Callable[[dict[str, Any]], dict[str, Any]],
    send: Callable[[dict[str, Any], dict[str, Any], int], Awaitable[Any]],
) -> Any | None:  # fmt: skip
    """Let the user edit what `draft_of` takes from the record; None when it was left as it was.

    `send` gets it as it was, as it is now, and the revision it had.
    """
    record = await api.get(record_path)
    before = draft_of(record)
    after, file = edit_object(before, record_path.rpartition("/")[2])
    if after == before:
        file.unlink()
        return None
    try:
        answer = await send(before, after, record["revision"])
    except CommandError as error:
        error.hint = f"what you wrote is in {file}" + (f"; {error.hint}" if error.hint else "")
        raise
    file.unlink()
    return answer

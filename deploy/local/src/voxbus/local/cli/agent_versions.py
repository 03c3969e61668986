"""`voxbus agents publish`, `versions`, `diff`, `restore`."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from rich.text import Text

from voxbus.local.api import ApiClient
from voxbus.local.cli.common import JsonOption, err, out, print_plain, reports_errors
from voxbus.local.cli.remote import (
    AllOption,
    LimitOption,
    RevisionOption,
    StackDirOption,
    UrlOption,
    fetch_list,
    with_api,
)
from voxbus.local.cli.show import Column, Line, field, print_json, print_list, when, yes_no

AgentArgument = Annotated[str, typer.Argument(metavar="ID")]
NoteOption = Annotated[str, typer.Option("--note", help="What is new in it.")]
_COLUMNS: list[Column] = [
    ("version", field("version")),
    ("current", lambda version: yes_no(version["current"])),
    ("published", when("published_at")),
    ("by", field("published_by")),
    ("note", field("note")),
]
_SIGNS = {"added": ("+", "green"), "removed": ("-", "red"), "changed": ("~", "yellow")}


@reports_errors
def publish(
    agent: AgentArgument,
    note: NoteOption = "",
    revision: RevisionOption = None,
    url: UrlOption = None,
    path: StackDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an agent's draft a new version, which calls use from then on.

    Example: voxbus agents publish front-desk --note "Opening hours of the holidays"
    """

    async def work(api: ApiClient) -> dict[str, Any]:
        answer: dict[str, Any] = await api.post(f"/agents/{agent}/publish", {"note": note}, revision=revision or "*")
        return answer

    _tell(with_api(url, path, work), as_json=as_json)


@reports_errors
def versions(
    agent: AgentArgument,
    limit: LimitOption = 50,
    every: AllOption = False,
    url: UrlOption = None,
    path: StackDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the published versions of an agent, newest first."""

    async def work(api: ApiClient) -> dict[str, Any]:
        return await fetch_list(api, f"/agents/{agent}/versions", limit=limit, every=every)

    page = with_api(url, path, work)
    print_list(page, _COLUMNS, as_json=as_json, none=f"{agent} was never published: voxbus agents publish {agent}")


@reports_errors
def diff(
    agent: AgentArgument,
    before: Annotated[str, typer.Argument(metavar="BEFORE", help="draft, published, or a number.")] = "published",
    after: Annotated[str, typer.Argument(metavar="AFTER", help="draft, published, or a number.")] = "draft",
    url: UrlOption = None,
    path: StackDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what differs between two versions of an agent; without names, what publishing would change.

    Example: voxbus agents diff front-desk 3 4
    """

    async def work(api: ApiClient) -> dict[str, Any]:
        answer: dict[str, Any] = await api.get(f"/agents/{agent}/compare", before=before, after=after)
        return answer

    comparison = with_api(url, path, work)
    if as_json:
        print_json(comparison)
    elif not comparison["differences"]:
        err.print(f"{before} and {after} are the same.", markup=False)
    for difference in () if as_json else comparison["differences"]:
        out.print(difference_text(difference), soft_wrap=True)


@reports_errors
def restore(
    agent: AgentArgument,
    version: Annotated[int, typer.Argument(metavar="VERSION", min=1)],
    publish_it: Annotated[bool, typer.Option("--publish", help="Publish it, so that calls use it.")] = False,
    revision: RevisionOption = None,
    url: UrlOption = None,
    path: StackDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an agent's draft what a published version was. Calls use it once it is published.

    Example: voxbus agents restore front-desk 3 --publish
    """

    async def work(api: ApiClient) -> dict[str, Any]:
        restored = await api.post(f"/agents/{agent}/versions/{version}/restore", revision=revision or "*")
        return await publish_draft(api, restored, f"Version {version} restored") if publish_it else restored

    record = with_api(url, path, work)
    if publish_it:
        _tell(record, as_json=as_json)
    elif as_json:
        print_json(record)
    else:
        err.print(f"The draft of {record['name']} is now what version {version} was.", markup=False)


async def publish_draft(api: ApiClient, record: dict[str, Any], note: str = "") -> dict[str, Any]:
    """Publish the draft that was just changed, when it differs from what is published. Returns the agent."""
    if not record["unpublished_changes"]:
        return record
    body = {"note": note}
    answer: dict[str, Any] = await api.post(f"/agents/{record['id']}/publish", body, revision=record["revision"])
    return answer


def lines(version: dict[str, Any]) -> list[Line]:
    """The head of one version."""
    return [(heading, show(version)) for heading, show in [("id", field("agent_id")), *_COLUMNS]]


def difference_text(difference: dict[str, Any]) -> Text:
    """One place in which two versions differ, coloured; long texts on lines of their own."""
    change = difference["change"]
    sign, style = _SIGNS[change]
    before, after = _value(difference.get("before")), _value(difference.get("after"))
    text = Text(f"{sign} {difference['path'] or '/'}", style)
    if change != "added":
        text.append("\n    - " if change == "changed" else "  ").append(before, "red")
    if change != "removed":
        text.append("\n    + " if change == "changed" else "  ").append(after, "green")
    return text


def _tell(record: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(record)
    else:
        print_plain(str(record["published_version"]))
        err.print(f"Calls to {record['name']} use version {record['published_version']}.", markup=False)


def _value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)

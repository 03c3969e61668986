"""`voxbus agents`: list, show, create, edit, delete; versions and files are in modules of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from voxbus.local.api import ApiClient
from voxbus.local.cli import agent_versions, apply
from voxbus.local.cli.common import JsonOption, err, print_plain, reports_errors
from voxbus.local.cli.editing import SetOption, edit_in_editor, merge_patches
from voxbus.local.cli.remote import (
    AllOption,
    LimitOption,
    RevisionOption,
    StackDirOption,
    UrlOption,
    YesOption,
    fetch_list,
    remove_all,
    with_api,
)
from voxbus.local.cli.show import (
    Column,
    Line,
    field,
    moment,
    print_json,
    print_list,
    print_record,
    publication,
    short,
    when,
    yes_no,
)
from voxbus.local.documents import merge, parse_settings, read_object
from voxbus.local.errors import UsageError

app = typer.Typer(name="agents", help="Agents: drafts, versions, files.", no_args_is_help=True)

PublishOption = Annotated[bool, typer.Option("--publish", help="Publish it, so that calls use it.")]
_COLUMNS: list[Column] = [
    ("id", field("id")),
    ("name", field("name")),
    ("language", field("language")),
    ("stt / llm / tts", lambda agent: " / ".join(agent[f"{stage}_provider"] for stage in ("stt", "llm", "tts"))),
    ("published", publication),
    ("changed", when("updated_at")),
    ("owner", field("user_id")),
]


@app.command("list")
@reports_errors
def list_agents(
    name: Annotated[str | None, typer.Option("--name", help="Part of the name.")] = None,
    published: Annotated[
        bool | None, typer.Option("--published/--unpublished", help="Whether calls can use it.")
    ] = None,
    language: Annotated[str | None, typer.Option("--language", help="Such as en or pt-BR.")] = None,
    provider: Annotated[str | None, typer.Option("--provider", help="Used at any stage.")] = None,
    owner: Annotated[str | None, typer.Option("--owner", help="Id of a user, for admins.")] = None,
    sort: Annotated[
        str | None, typer.Option("--sort", help="created_at, updated_at, name; - before it: descending.")
    ] = None,
    limit: LimitOption = 50,
    every: AllOption = False,
    url: UrlOption = None,
    path: StackDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """List agents, newest first.

    Example: voxbus agents list --published --sort name
    """

    async def work(api: ApiClient) -> dict[str, Any]:
        return await fetch_list(
            api, "/agents", limit=limit, every=every, name=name, published=published, language=language,
            provider=provider, user_id=owner, sort=sort,
        )  # fmt: skip

    page = with_api(url, path, work)
    print_list(page, _COLUMNS, as_json=as_json, none="There are no such agents. Make one with `voxbus agents create`.")


@app.command()
@reports_errors
def show(
    agent: Annotated[str, typer.Argument(metavar="ID")],
    version: Annotated[str, typer.Option("--version", help="draft, published, or a number.")] = "draft",
    as_file: Annotated[
        bool, typer.Option("--file", help="Print JSON as `voxbus agents apply` reads it: the id and what is edited.")
    ] = False,
    url: UrlOption = None,
    path: StackDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show an agent: its draft, or a version of it.

    Example: voxbus agents show front-desk --file > front-desk.json
    """

    async def work(api: ApiClient) -> dict[str, Any]:
        where = f"/agents/{agent}" if version == "draft" else f"/agents/{agent}/versions/{version}"
        record: dict[str, Any] = await api.get(where)
        return record

    record = with_api(url, path, work)
    if as_file:
        print_json({"id": agent, **(record["draft"] if version == "draft" else record["spec"])})
    elif as_json:
        print_json(record)
    elif version == "draft":
        _print_agent(record)
    else:
        print_record([*agent_versions.lines(record), *_spec_lines(record["spec"])])


@app.command()
@reports_errors
def create(
    name: Annotated[str | None, typer.Option("--name", help="Its name; over the one in the file.")] = None,
    agent_id: Annotated[
        str | None, typer.Option("--id", help="Its id, else one is made up: lower-case letters, digits, -, _.")
    ] = None,
    file: Annotated[Path | None, typer.Option("--file", help="JSON of it; - is standard input.")] = None,
    settings: SetOption = None,
    owner: Annotated[str | None, typer.Option("--owner", help="Id of a user, for admins.")] = None,
    publish: PublishOption = False,
    url: UrlOption = None,
    path: StackDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make an agent.

    Example: voxbus agents create --name "Front desk" --set greeting="Good morning." --publish
    """
    body = merge(read_object(file) if file else {}, parse_settings(settings or []))
    body |= {key: value for key, value in (("name", name), ("id", agent_id), ("user_id", owner)) if value is not None}
    if "name" not in body:
        raise UsageError("the agent needs a name", 'say it: voxbus agents create --name "Front desk"')

    async def work(api: ApiClient) -> dict[str, Any]:
        made: dict[str, Any] = (await api.create("/agents", body)).data
        return await agent_versions.publish_draft(api, made) if publish else made

    _tell(with_api(url, path, work), "Made", as_json=as_json)


@app.command()
@reports_errors
def edit(
    agent: Annotated[str, typer.Argument(metavar="ID")],
    settings: SetOption = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="A JSON merge patch: only what changes; - is standard input.")
    ] = None,
    owner: Annotated[str | None, typer.Option("--owner", help="Give it to this user, for admins.")] = None,
    revision: RevisionOption = None,
    publish: PublishOption = False,
    url: UrlOption = None,
    path: StackDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change an agent's draft: with --set or --file, else in your editor.

    Example: voxbus agents edit front-desk --set greeting="Good evening." --set limits.silence_s=12
    """
    patch = merge_patches(file, settings)
    if owner is not None:
        patch["user_id"] = owner

    async def work(api: ApiClient) -> dict[str, Any] | None:
        if patch:
            changed: dict[str, Any] | None = await api.patch(f"/agents/{agent}", patch, revision=revision or "*")
        else:
            changed = await _edit_draft(api, agent)
        return await agent_versions.publish_draft(api, changed) if publish and changed else changed

    record = with_api(url, path, work)
    if record is None:
        err.print("Nothing was changed.")
    else:
        _tell(record, "Changed", as_json=as_json)


@app.command()
@reports_errors
def delete(
    agents: Annotated[list[str], typer.Argument(metavar="ID…")],
    yes: YesOption = False,
    revision: RevisionOption = None,
    url: UrlOption = None,
    path: StackDirOption = None,
) -> None:
    """Delete agents with their versions. Refused while a campaign that is scheduled, running or paused uses one."""
    remove_all(
        url, path, {f"/agents/{agent}": agent for agent in agents}, kind="agent", yes=yes, revision=revision or "*"
    )


app.command("publish")(agent_versions.publish)
app.command("versions")(agent_versions.versions)
app.command("diff")(agent_versions.diff)
app.command("restore")(agent_versions.restore)
app.command("apply")(apply.apply)


async def _edit_draft(api: ApiClient, agent: str) -> dict[str, Any] | None:
    async def send(_before: dict[str, Any], draft: dict[str, Any], revision: int) -> Any:
        return await api.put(f"/agents/{agent}", draft, revision=revision)

    return await edit_in_editor(api, f"/agents/{agent}", lambda record: record["draft"], send)


def _tell(record: dict[str, Any], what: str, *, as_json: bool) -> None:
    if as_json:
        print_json(record)
        return
    print_plain(record["id"])
    err.print(f"{what} the agent {record['name']}: {publication(record)}.", markup=False)


def _print_agent(agent: dict[str, Any]) -> None:
    print_record(
        [
            ("id", agent["id"]),
            ("owner", agent["user_id"]),
            (
                "published",
                publication(agent) + (f" ({moment(agent['published_at'])})" if agent["published_at"] else ""),
            ),
            ("created", moment(agent["created_at"])),
            ("changed", f"{moment(agent['updated_at'])}, revision {agent['revision']}"),
            *_spec_lines(agent["draft"]),
        ]
    )


def _spec_lines(spec: dict[str, Any]) -> list[Line]:
    tools = ", ".join(f"{tool['name']} ({tool['kind']})" for tool in spec["tools"])
    turns, limits = spec["turn_taking"], spec["limits"]
    return [
        ("name", spec["name"]),
        ("language", spec["language"]),
        ("greeting", spec["greeting"] or "none: it waits for the caller"),
        ("system prompt", short(spec["system_prompt"]) or None),
        *((stage, _providers(spec, stage)) for stage in ("stt", "llm", "tts")),
        ("turn taking", f"{turns['silence_ms']} ms of silence, interruptible: {yes_no(turns['interruptible'])}"),
        ("limits", f"{limits['max_duration_s']} s, {limits['silence_s']:g} s of silence"),
        ("tools", tools or None),
        ("metadata", ", ".join(f"{name}={value}" for name, value in spec["metadata"].items()) or None),
    ]


def _providers(spec: dict[str, Any], stage: str) -> str:
    names = [spec[f"{stage}_provider"], *(fallback["name"] for fallback in spec[f"{stage}_fallbacks"])]
    return " → ".join(names) + (" (with settings)" if spec[f"{stage}_settings"] else "")

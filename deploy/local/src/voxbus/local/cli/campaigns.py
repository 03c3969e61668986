"""`voxbus campaigns`: list, show, create, edit, delete; moves and contacts are in modules of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from voxbus.contracts.campaigns import CampaignSpec, CampaignStatus
from voxbus.local.api import ApiClient
from voxbus.local.cli import campaign_contacts, campaign_moves
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
from voxbus.local.cli.show import Column, field, moment_in, print_json, print_list, print_record, status, when
from voxbus.local.documents import merge, parse_settings, patch_between, read_object
from voxbus.local.errors import UsageError

app = typer.Typer(name="campaigns", help="Campaigns and whom they call.", no_args_is_help=True)

_COLUMNS: list[Column] = [
    ("id", field("id")),
    ("name", field("name")),
    ("agent", field("agent_id")),
    ("status", status),
    ("contacts", field("contact_count")),
    ("starts", lambda campaign: moment_in(campaign["start_at"], campaign["timezone"])),
    ("changed", when("updated_at")),
    ("owner", field("user_id")),
]


@app.command("list")
@reports_errors
def list_campaigns(
    name: Annotated[str | None, typer.Option("--name", help="Part of the name.")] = None,
    agent: Annotated[str | None, typer.Option("--agent", help="Id of an agent.")] = None,
    in_status: Annotated[CampaignStatus | None, typer.Option("--status", help="Only those in this status.")] = None,
    owner: Annotated[str | None, typer.Option("--owner", help="Id of a user, for admins.")] = None,
    sort: Annotated[
        str | None, typer.Option("--sort", help="created_at, updated_at, start_at, name; - before it: descending.")
    ] = None,
    limit: LimitOption = 50,
    every: AllOption = False,
    url: UrlOption = None,
    path: StackDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """List campaigns, newest first.

    Example: voxbus campaigns list --status running
    """

    async def work(api: ApiClient) -> dict[str, Any]:
        return await fetch_list(
            api, "/campaigns", limit=limit, every=every, name=name, agent_id=agent, status=in_status, user_id=owner,
            sort=sort,
        )  # fmt: skip

    page = with_api(url, path, work)
    print_list(
        page, _COLUMNS, as_json=as_json, none="There are no such campaigns. Make one: `voxbus campaigns create`."
    )


@app.command()
@reports_errors
def show(
    campaign: Annotated[str, typer.Argument(metavar="ID")],
    url: UrlOption = None,
    path: StackDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a campaign, and what can be done with it now."""

    async def work(api: ApiClient) -> dict[str, Any]:
        record: dict[str, Any] = await api.get(f"/campaigns/{campaign}")
        return record

    record = with_api(url, path, work)
    if as_json:
        print_json(record)
    else:
        _print_campaign(record)


@app.command()
@reports_errors
def create(
    name: Annotated[str | None, typer.Option("--name", help="Its name; over the one in the file.")] = None,
    agent: Annotated[str | None, typer.Option("--agent", help="Id of the agent that talks.")] = None,
    region: Annotated[
        str | None, typer.Option("--region", help="Country of numbers without a country code, such as US.")
    ] = None,
    timezone: Annotated[str | None, typer.Option("--timezone", help="Such as Europe/Paris; else UTC.")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="JSON of it; - is standard input.")] = None,
    settings: SetOption = None,
    owner: Annotated[str | None, typer.Option("--owner", help="Id of a user, for admins.")] = None,
    url: UrlOption = None,
    path: StackDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a campaign, as a draft.

    Example: voxbus campaigns create --name "Autumn recall" --agent front-desk --region US
    """
    body = merge(read_object(file) if file else {}, parse_settings(settings or []))
    given = {"name": name, "agent_id": agent, "default_region": region, "timezone": timezone, "user_id": owner}
    body |= {key: value for key, value in given.items() if value is not None}
    if not {"name", "agent_id"} <= body.keys():
        raise UsageError(
            "the campaign needs a name and an agent",
            'say them: voxbus campaigns create --name "Recall" --agent front-desk',
        )

    async def work(api: ApiClient) -> dict[str, Any]:
        made: dict[str, Any] = (await api.create("/campaigns", body)).data
        return made

    _tell(with_api(url, path, work), "Made", as_json=as_json)


@app.command()
@reports_errors
def edit(
    campaign: Annotated[str, typer.Argument(metavar="ID")],
    settings: SetOption = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="A JSON merge patch: only what changes; - is standard input.")
    ] = None,
    owner: Annotated[str | None, typer.Option("--owner", help="Give it to this user, for admins.")] = None,
    revision: RevisionOption = None,
    url: UrlOption = None,
    path: StackDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change a campaign: with --set or --file, else in your editor.

    Example: voxbus campaigns edit camp_5f0c… --set name="Winter recall"
    """
    patch = merge_patches(file, settings)
    if owner is not None:
        patch["user_id"] = owner

    async def work(api: ApiClient) -> dict[str, Any] | None:
        if not patch:
            return await _edit_in_editor(api, campaign)
        changed: dict[str, Any] = await api.patch(f"/campaigns/{campaign}", patch, revision=revision or "*")
        return changed

    record = with_api(url, path, work)
    if record is None:
        err.print("Nothing was changed.")
    else:
        _tell(record, "Changed", as_json=as_json)


@app.command()
@reports_errors
def delete(
    campaigns: Annotated[list[str], typer.Argument(metavar="ID…")],
    yes: YesOption = False,
    revision: RevisionOption = None,
    url: UrlOption = None,
    path: StackDirOption = None,
) -> None:
    """Delete campaigns with their contacts. Refused while one is running or paused: cancel it before."""
    targets = {f"/campaigns/{campaign}": campaign for campaign in campaigns}
    remove_all(url, path, targets, kind="campaign", yes=yes, revision=revision or "*")


campaign_moves.register(app)
app.command("contacts")(campaign_contacts.contacts)
app.command("import")(campaign_contacts.import_contacts)
app.command("remove")(campaign_contacts.remove)


async def _edit_in_editor(api: ApiClient, campaign: str) -> dict[str, Any] | None:
    def edited(record: dict[str, Any]) -> dict[str, Any]:
        return {name: record[name] for name in CampaignSpec.model_fields}

    async def send(before: dict[str, Any], after: dict[str, Any], revision: int) -> Any:
        return await api.patch(f"/campaigns/{campaign}", patch_between(before, after), revision=revision)

    return await edit_in_editor(api, f"/campaigns/{campaign}", edited, send)


def _tell(record: dict[str, Any], what: str, *, as_json: bool) -> None:
    if as_json:
        print_json(record)
    else:
        print_plain(record["id"])
        err.print(f"{what} the campaign {record['name']}: {record['status']}.", markup=False)


def _print_campaign(campaign: dict[str, Any]) -> None:
    zone = campaign["timezone"]
    print_record(
        [
            ("id", campaign["id"]),
            ("name", campaign["name"]),
            ("description", campaign["description"] or None),
            ("owner", campaign["user_id"]),
            ("agent", campaign["agent_id"]),
            ("status", status(campaign)),
            ("moves", ", ".join(campaign["allowed_moves"]) or "none: it has ended"),
            ("contacts", str(campaign["contact_count"])),
            ("region", campaign["default_region"]),
            ("starts", moment_in(campaign["start_at"], zone)),
            ("started", moment_in(campaign["started_at"], zone)),
            ("ended", moment_in(campaign["ended_at"], zone)),
            ("metadata", ", ".join(f"{name}={value}" for name, value in campaign["metadata"].items()) or None),
            ("changed", f"{moment_in(campaign['updated_at'], zone)}, revision {campaign['revision']}"),
        ]
    )

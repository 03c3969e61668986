"""`voxbus campaigns contacts`, `import`, `remove`: whom a campaign calls."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from voxbus.contracts.campaigns import ContactStatus
from voxbus.local.api import ApiClient
from voxbus.local.cli.common import JsonOption, err, reports_errors
from voxbus.local.cli.remote import (
    AllOption,
    LimitOption,
    StackDirOption,
    UrlOption,
    YesOption,
    fetch_list,
    remove_all,
    with_api,
)
from voxbus.local.cli.show import Column, field, print_json, print_list, when
from voxbus.local.errors import ExitCode, UsageError

CampaignArgument = Annotated[str, typer.Argument(metavar="ID")]
_SHOWN_PROBLEMS: Final = 50
_COLUMNS: list[Column] = [
    ("id", field("id")),
    ("number", field("phone_number")),
    ("name", field("name")),
    ("variables", lambda contact: ", ".join(f"{name}={value}" for name, value in contact["variables"].items()) or "–"),
    ("status", field("status")),
    ("added", when("created_at")),
]
_PROBLEMS: list[Column] = [
    ("row", field("row")),
    ("column", field("column")),
    ("value", field("value")),
    ("problem", field("message")),
]


@reports_errors
def contacts(
    campaign: CampaignArgument,
    phone: Annotated[str | None, typer.Option("--phone", help="How the number begins, such as +1415.")] = None,
    in_status: Annotated[ContactStatus | None, typer.Option("--status", help="Only those in this status.")] = None,
    sort: Annotated[
        str | None, typer.Option("--sort", help="created_at or phone_number; - before it: descending.")
    ] = None,
    limit: LimitOption = 50,
    every: AllOption = False,
    url: UrlOption = None,
    path: StackDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the contacts of a campaign, in the order they were added.

    Example: voxbus campaigns contacts camp_5f0c… --phone +1415 --all --json
    """

    async def work(api: ApiClient) -> dict[str, Any]:
        where = f"/campaigns/{campaign}/contacts"
        return await fetch_list(
            api, where, limit=limit, every=every, phone_number=phone, status=in_status, sort=sort
        )  # fmt: skip

    page = with_api(url, path, work)
    none = f"There are none. Add some: voxbus campaigns import {campaign} contacts.csv"
    print_list(page, _COLUMNS, as_json=as_json, none=none)


@reports_errors
def import_contacts(
    campaign: CampaignArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE.csv", dir_okay=False)],
    url: UrlOption = None,
    path: StackDirOption = None,
    as_json: JsonOption = False,
) -> ExitCode:
    """Add the contacts of a CSV file to a campaign, and show every row that was not taken.

    The first line names the columns: phone_number, name, and what the agent can use as variables. Doing it again adds
    nothing twice. Exit code 1: rows were rejected.

    Example: voxbus campaigns import camp_5f0c… contacts.csv
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file} cannot be read ({error.strerror})") from None

    async def work(api: ApiClient) -> dict[str, Any]:
        answer: dict[str, Any] = await api.upload(f"/campaigns/{campaign}/contacts/import", content, "text/csv")
        return answer

    report = with_api(url, path, work)
    rejected = report.get("rejected_count", len(report["rejected"]))
    if as_json:
        print_json(report)
    else:
        _print_report(report, rejected)
    return ExitCode.FAILED if rejected else ExitCode.OK


@reports_errors
def remove(
    campaign: CampaignArgument,
    contacts: Annotated[list[str], typer.Argument(metavar="CONTACT_ID…")],
    yes: YesOption = False,
    url: UrlOption = None,
    path: StackDirOption = None,
) -> None:
    """Take contacts out of a campaign."""
    targets = {f"/campaigns/{campaign}/contacts/{contact}": contact for contact in contacts}
    remove_all(url, path, targets, kind="contact", yes=yes, revision=None)


def _print_report(report: dict[str, Any], rejected: int) -> None:
    shown = report["rejected"][:_SHOWN_PROBLEMS]
    if shown:
        print_list({"items": shown}, _PROBLEMS, as_json=False, none="")
    if rejected > len(shown):
        err.print(
            f"… and {rejected - len(shown)} more rows; --json shows up to {len(report['rejected'])}.", style="dim"
        )
    parts = [f"{report['added']} added", f"{report['duplicates']} there already", f"{rejected} rejected"]
    err.print(f"{', '.join(parts)}; the campaign has {report['contact_count']} contacts.", markup=False)

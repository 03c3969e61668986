"""`voxbus campaigns schedule`, `unschedule`, `start`, `pause`, `resume`, `complete`, `cancel`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from voxbus.contracts.campaigns import CampaignMove, CampaignStatus
from voxbus.local.api import ApiClient
from voxbus.local.cli.common import JsonOption, err, reports_errors
from voxbus.local.cli.remote import RevisionOption, StackDirOption, UrlOption, YesOption, confirm, with_api
from voxbus.local.cli.show import moment_in, print_json
from voxbus.local.errors import UsageError

CampaignArgument = Annotated[str, typer.Argument(metavar="ID")]
_MOVES: Final = {
    CampaignMove.UNSCHEDULE: "Make a scheduled campaign a draft again.",
    CampaignMove.START: "Start calling, now.",
    CampaignMove.PAUSE: "Stop calling for the time being.",
    CampaignMove.RESUME: "Go on calling.",
    CampaignMove.COMPLETE: "End a campaign as done.",
    CampaignMove.CANCEL: "End a campaign before it is done. It cannot be taken back.",
}
_FINAL: Final = (CampaignMove.COMPLETE, CampaignMove.CANCEL)


def register(app: typer.Typer) -> None:
    """Add a command for each move."""
    app.command("schedule")(schedule)
    for move, text in _MOVES.items():
        app.command(move.value, help=text)(_final(move) if move in _FINAL else _simple(move))


@reports_errors
def schedule(
    campaign: CampaignArgument,
    at: Annotated[
        str | None,
        typer.Option("--at", help="When, in the campaign's time zone, such as '2030-05-02 09:30'; else its start_at."),
    ] = None,
    revision: RevisionOption = None,
    url: UrlOption = None,
    path: StackDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a campaign start by itself; with --at, also at another time than the one it is scheduled for.

    Example: voxbus campaigns schedule camp_5f0c… --at "2030-05-02 09:30"
    """
    time = _parse_time(at) if at else None

    async def work(api: ApiClient) -> dict[str, Any]:
        record: dict[str, Any] = await api.get(f"/campaigns/{campaign}")
        expected: int | str = revision or "*"
        if time is None and record["start_at"] is None:
            raise UsageError("the campaign has no time to start at", "say it: --at '2030-05-02 09:30'")
        scheduled = record["status"] == CampaignStatus.SCHEDULED
        # A move that is not allowed is sent as well, but without a new time before it: its refusal says why.
        if time is not None and (scheduled or CampaignMove.SCHEDULE in record["allowed_moves"]):
            record = await _set_start(api, record, time, expected)
            if scheduled:
                return record
            expected = int(record["revision"])
        return await _move(api, campaign, CampaignMove.SCHEDULE, expected)

    _tell(with_api(url, path, work), as_json=as_json)


def _simple(move: CampaignMove) -> Any:
    @reports_errors
    def command(
        campaign: CampaignArgument,
        revision: RevisionOption = None,
        url: UrlOption = None,
        path: StackDirOption = None,
        as_json: JsonOption = False,
    ) -> None:
        _tell(with_api(url, path, lambda api: _move(api, campaign, move, revision or "*")), as_json=as_json)

    return command


def _final(move: CampaignMove) -> Any:
    @reports_errors
    def command(
        campaign: CampaignArgument,
        yes: YesOption = False,
        revision: RevisionOption = None,
        url: UrlOption = None,
        path: StackDirOption = None,
        as_json: JsonOption = False,
    ) -> None:
        confirm(f"{move.value.capitalize()} the campaign {campaign} for good?", yes=yes)
        _tell(with_api(url, path, lambda api: _move(api, campaign, move, revision or "*")), as_json=as_json)

    return command


async def _move(api: ApiClient, campaign: str, move: CampaignMove, revision: int | str) -> dict[str, Any]:
    answer: dict[str, Any] = await api.post(f"/campaigns/{campaign}/{move.value}", revision=revision)
    return answer


async def _set_start(api: ApiClient, campaign: dict[str, Any], time: datetime, revision: int | str) -> dict[str, Any]:
    """Write the time into the campaign; what it is then."""
    if time.tzinfo is None:
        time = time.replace(tzinfo=_zone(campaign["timezone"]))
    if time <= datetime.now(UTC):
        raise UsageError(f"--at {time:%Y-%m-%d %H:%M %Z}: that is in the past", "name a time that is still to come")
    changed: dict[str, Any] = await api.patch(
        f"/campaigns/{campaign['id']}", {"start_at": time.isoformat()}, revision=revision
    )
    return changed


def _parse_time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"--at {text}: not a time", "write it like '2030-05-02 09:30' or 2030-05-02T09:30+02:00"
        ) from None


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise UsageError(
            f"this machine does not know the time zone {name}", "write --at with an offset: …+02:00"
        ) from None


def _tell(campaign: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(campaign)
        return
    starts = (
        f", starts {moment_in(campaign['start_at'], campaign['timezone'])}" if campaign["status"] == "scheduled" else ""
    )
    err.print(f"The campaign {campaign['name']} is {campaign['status']}{starts}.", markup=False)

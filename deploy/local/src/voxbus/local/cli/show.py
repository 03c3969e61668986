"""Answers of the API on the terminal: JSON for programs, tables for people."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rich.table import Table
from rich.text import Text

from voxbus.local.cli.common import err, out, print_plain, printable

Column = tuple[str, Callable[[dict[str, Any]], str | Text]]
"""Heading, and what a record shows under it."""
Line = tuple[str, str | Text | None]
"""Name and value of a record that is shown alone; None: it is not shown."""
NOTHING: Final = "–"
_MAX_TEXT: Final = 240
_STATUS_STYLES: Final = {
    "running": "green",
    "paused": "yellow",
    "scheduled": "cyan",
    "cancelled": "dim",
    "completed": "dim",
}


def print_json(data: Any) -> None:
    """JSON on stdout."""
    print_plain(json.dumps(data, indent=2, ensure_ascii=False))


def print_list(page: Mapping[str, Any], columns: Sequence[Column], *, as_json: bool, none: str) -> None:
    """A page of records; `none` is the sentence when there is nothing. Says on stderr when there are more."""
    if as_json:
        print_json(page)
        return
    if not page["items"]:
        err.print(none, markup=False)
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading, _show in columns:
        table.add_column(heading, no_wrap=heading == "id", overflow="fold")
    for record in page["items"]:
        table.add_row(*(_plain(show(record)) for _heading, show in columns))
    out.print(table)
    if page.get("next_cursor"):
        err.print("There are more: raise --limit, or use --all.", style="dim")


def print_record(lines: Sequence[Line]) -> None:
    """One record as lines of name and value."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in lines:
        if value is not None:
            table.add_row(name, _plain(value))
    out.print(table)


def field(name: str) -> Callable[[dict[str, Any]], str]:
    """A column that shows a field as it is."""
    return lambda record: NOTHING if record.get(name) in (None, "") else str(record[name])


def when(name: str) -> Callable[[dict[str, Any]], str]:
    """A column that shows a time."""
    return lambda record: moment(record.get(name))


def moment(text: str | None) -> str:
    """A time of the API in this machine's time zone, to the minute."""
    return f"{datetime.fromisoformat(text).astimezone():%Y-%m-%d %H:%M}" if text else NOTHING


def moment_in(text: str | None, zone: str) -> str:
    """A time in a named zone, and the zone."""
    if not text:
        return NOTHING
    try:
        return f"{datetime.fromisoformat(text).astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M} {zone}"
    except (ZoneInfoNotFoundError, ValueError):  # this machine does not know it
        return moment(text)


def status(record: dict[str, Any]) -> Text:
    """The status of a campaign."""
    return Text(record["status"], _STATUS_STYLES.get(record["status"], ""))


def publication(agent: dict[str, Any]) -> str:
    """What calls use of an agent."""
    if agent["published_version"] is None:
        return "not published"
    return f"version {agent['published_version']}" + (", draft differs" if agent["unpublished_changes"] else "")


def yes_no(value: object) -> str:
    """A truth value."""
    return "yes" if value else "no"


def short(text: str) -> str:
    """The start of a long text."""
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"


def _plain(value: str | Text) -> Text:
    """Never read as markup, and without control characters."""
    if isinstance(value, Text):
        return value
    return Text(printable(value))

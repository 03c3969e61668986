"""Log lines for people: JSON lines of the services and nats-server's own format become one coloured format."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.text import Text

_LEVEL_STYLES: Final = {
    "debug": "dim",
    "info": "green",
    "warning": "yellow",
    "error": "bold red",
    "critical": "bold red",
}
_SERVICE_STYLES: Final = ("cyan", "magenta", "blue", "bright_green", "bright_yellow", "bright_magenta", "bright_cyan")
_NATS_LINE: Final = re.compile(
    r"\[\d+\] (?P<time>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d\.\d+) \[(?P<level>[A-Z]{3})\] (?P<message>.*)"
)
_NATS_LEVELS: Final = {
    "INF": "info",
    "DBG": "debug",
    "TRC": "debug",
    "WRN": "warning",
    "ERR": "error",
    "FTL": "critical",
}
_CONTEXT: Final = ("timestamp", "level", "service", "message")
_READ_BYTES: Final = 256 * 1024


@dataclass(frozen=True)
class LogLine:
    """What a line of a log says. `level` is lower case, empty for a line that is in no format we know."""

    message: str
    level: str = ""
    time: datetime | None = None
    fields: dict[str, Any] = field(default_factory=dict)


def parse(line: str) -> LogLine:
    """Understand one line."""
    line = line.rstrip()
    if line.startswith("{"):
        try:
            return _from_json(json.loads(line))
        except ValueError:
            return LogLine(line)
    found = _NATS_LINE.fullmatch(line)
    if found is None:
        return LogLine(line)
    time = datetime.strptime(found["time"], "%Y/%m/%d %H:%M:%S.%f").astimezone()
    return LogLine(found["message"].strip(), _NATS_LEVELS.get(found["level"], "info"), time)


def _from_json(record: dict[str, Any]) -> LogLine:
    try:
        time = datetime.fromisoformat(str(record.get("timestamp")))
    except ValueError:
        time = None
    fields = {name: value for name, value in record.items() if name not in _CONTEXT and value is not None}
    return LogLine(str(record.get("message", "")), str(record.get("level", "")).lower(), time, fields)


class LogRenderer:
    """Renders lines as `time  process  LEVEL  message  field=value`, each process in a colour of its own."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._width = max((len(name) for name in names), default=0)
        self._styles = {name: _SERVICE_STYLES[index % len(_SERVICE_STYLES)] for index, name in enumerate(names)}

    def render(self, name: str, line: str) -> Text:
        """One line of process `name`; a traceback comes after it, indented."""
        parsed = parse(line)
        text = Text()
        text.append(f"{_clock(parsed.time)} ", "dim")
        text.append(f"{name:<{self._width}} ", self._styles.get(name, "white"))
        if not parsed.level:
            return text.append(parsed.message, "dim")
        text.append(f"{parsed.level.upper():<8}", _LEVEL_STYLES.get(parsed.level, ""))
        text.append(parsed.message)
        for key, value in parsed.fields.items():
            if key != "exception":
                text.append(f" {key}=", "dim").append(_value(value))
        for trace_line in str(parsed.fields.get("exception", "")).splitlines():
            text.append(f"\n    {trace_line}", "red")
        return text


def _clock(time: datetime | None) -> str:
    moment = time if time is not None else datetime.now(UTC)
    return moment.astimezone().strftime("%H:%M:%S.%f")[:-3]


def _value(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False) if " " in value or not value else value
    return json.dumps(value, ensure_ascii=False)


class LogFollower:
    """Reads what is new in a growing file, line by line; the file may not exist yet, or begin anew."""

    def __init__(self, path: Path, *, from_end: bool = False) -> None:
        self._path = path
        self._offset = path.stat().st_size if from_end and path.exists() else 0
        self._rest = b""

    def lines(self) -> list[str]:
        """The whole lines written since the last time."""
        try:
            with self._path.open("rb") as file:
                if file.seek(0, 2) < self._offset:
                    self._offset, self._rest = 0, b""
                file.seek(self._offset)
                data = file.read(_READ_BYTES)
        except FileNotFoundError:
            return []
        self._offset += len(data)
        *whole, self._rest = (self._rest + data).split(b"\n")
        return [line.decode(errors="replace") for line in whole]

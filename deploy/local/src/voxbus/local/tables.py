"""The tables that `voxbus` prints."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from voxbus.local.applying import Applied
from voxbus.local.process import memory_bytes
from voxbus.local.state import ProcessInfo, StackInfo, StateDir
from voxbus.local.status import ProcessReport, StackReport

_STATE_STYLES = {
    "ready": "green",
    "not ready": "yellow",
    "starting": "yellow",
    "restarting": "yellow",
    "unreachable": "red",
    "draining": "yellow",
}


def stack_table(stack: StackInfo) -> Table:
    """What runs where."""
    table = _table("process", "pid", "ports", "ready after", "memory")
    for info in stack.processes:
        memory = memory_bytes(info.pid) if info.pid else None
        table.add_row(info.name, str(info.pid or "–"), _ports(info), _seconds(info.ready_s), _megabytes(memory))
    return table


def addresses(stack: StackInfo, state: StateDir) -> Table:
    """Where people and programs find the stack."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_row("REST API", f"{stack.rest_url}   reference {stack.rest_url}/docs")
    table.add_row("voice", stack.voice_url)
    table.add_row("admin", f"{stack.admin_email}, password in {state.admin_password_file}")
    table.add_row("logs", str(stack.log_dir))
    return table


def applied_line(applied: Sequence[Applied]) -> str:
    """What became of the agents' files."""
    changed = [one.agent_id for one in applied if one.published or one.change != "unchanged"]
    return f"applied {len(applied)} agents" + (f", changed {', '.join(changed)}" if changed else ", none changed")


def status_table(report: StackReport) -> Table:
    """How every process is."""
    table = _table("process", "pid", "state", "active / capacity", "providers", "up", "restarts", "ports", "memory")
    for process in report.processes:
        info, status = process.process, process.status
        table.add_row(
            info.name,
            str(info.pid or "–"),
            _state(process),
            f"{status.active} / {status.capacity}" if status and status.capacity is not None else "–",
            ", ".join(status.providers) if status and status.providers else "–",
            _duration(status.uptime_s) if status else "–",
            str(info.restarts),
            _ports(info),
            _megabytes(process.memory_bytes),
        )
    for other in report.others:
        capacity = other.capacity if other.capacity is not None else "–"
        table.add_row(
            f"{other.service} (not of this stack)",
            "–",
            Text("ready" if other.ready else "not ready", _STATE_STYLES["ready" if other.ready else "not ready"]),
            f"{other.active} / {capacity}",
            ", ".join(other.providers) or "–",
            _duration(other.uptime_s),
            "–",
            "–",
            "–",
        )
    return table


def problem_lines(report: StackReport) -> list[str]:
    """Why processes are not ready, one line each."""
    return [f"{one.process.name}: {problem}" for one in report.processes for problem in one.problems]


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(
            column, justify="right" if column in ("pid", "memory", "ready after") else "left", no_wrap=True
        )
    return table


def _state(report: ProcessReport) -> Text:
    if report.process.state != "ready" or report.ready:
        state = "draining" if report.status and report.status.draining else report.process.state
    else:
        state = "not ready" if report.healthy else "unreachable"
    return Text(state, _STATE_STYLES.get(state, ""))


def _ports(info: ProcessInfo) -> str:
    return " ".join(f"{name}:{port}" for name, port in info.ports.items())


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} s"


def _megabytes(size_bytes: int | None) -> str:
    return "–" if size_bytes is None else f"{size_bytes / 2**20:.0f} MB"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{rest:02}s" if minutes else f"{rest}s"

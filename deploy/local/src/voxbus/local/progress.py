"""Tells a person what the stack does: what starts, what is ready, what died; with `logs` every log line as well."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

from voxbus.local.logs import LogFollower, LogRenderer
from voxbus.local.process import Preparation
from voxbus.local.supervisor import State, Supervised

_POLL_S: Final = 0.1
_INDENT: Final = "    "


class ConsoleObserver:
    """Writes lines to a console. Use `follow` as a task to see progress and logs while they are written."""

    def __init__(self, console: Console, *, logs: bool = False) -> None:
        self._console = console
        self._logs = logs
        self._preparations: dict[str, LogFollower] = {}
        self._members: dict[str, LogFollower] = {}
        self._renderer = LogRenderer(())

    def watch(self, members: list[Supervised]) -> None:
        """Show the logs of these processes, if logs are wanted."""
        if self._logs:
            names = tuple(member.spec.name for member in members)
            self._renderer = LogRenderer(names)
            self._members = {member.spec.name: LogFollower(member.process.log_file) for member in members}

    def changed(self, member: Supervised, detail: str) -> None:
        """One line for what a person wants to know: ready, trouble, stopped by force."""
        self.flush()
        name = member.spec.name
        match member.state:
            case State.READY:
                self._line("✓", "green", name, f"ready after {member.ready_s or 0:.1f} s, process {member.process.pid}")
            case State.RESTARTING:
                self._line("!", "yellow", name, detail)
            case State.STOPPED if detail:
                self._line("!", "yellow", name, detail)
            case _:
                pass

    def preparing(self, preparation: Preparation, log_file: Path) -> None:
        """Show the progress of a preparation from now on."""
        self._preparations[preparation.name] = LogFollower(log_file)

    def prepared(self, preparation: Preparation, seconds: float) -> None:
        """Show the end of a preparation."""
        self.flush()
        self._preparations.pop(preparation.name, None)
        self._line("✓", "green", preparation.name, f"{preparation.title}: done after {seconds:.1f} s")

    async def follow(self) -> None:
        """Show progress and logs until cancelled."""
        while True:
            self.flush()
            await asyncio.sleep(_POLL_S)

    def flush(self) -> None:
        """Show what was written since the last time."""
        for follower in self._preparations.values():
            for line in follower.lines():
                self._console.print(Text(f"{_INDENT}{line}", "dim"), soft_wrap=True)
        for name, follower in self._members.items():
            for line in follower.lines():
                self._console.print(self._renderer.render(name, line), soft_wrap=True)

    def _line(self, sign: str, style: str, name: str, text: str) -> None:
        line = Text.assemble((f"{sign} ", style), (f"{name:<14} ", "bold"), text)
        self._console.print(line, soft_wrap=True)

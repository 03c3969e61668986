"""The stack of this machine: lock, ports, processes, agents, and the `stack.json` that others read."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from voxbus.local.agent_files import AgentFile, read_agents
from voxbus.local.api import ApiClient
from voxbus.local.applying import Applied, apply_agents
from voxbus.local.credentials import LOCAL_ADMIN_EMAIL
from voxbus.local.errors import CommandError, UsageError
from voxbus.local.plan import StackOptions, StackPlan, build_plan
from voxbus.local.plan.options import REST
from voxbus.local.ports import PortPlan
from voxbus.local.problem import AccessRefusedError
from voxbus.local.process import Preparation
from voxbus.local.state import ProcessInfo, StackInfo, StateDir
from voxbus.local.supervisor import Observer, Supervised, Supervisor, together


class Stack:
    """The stack that this process runs. Get it from `open_stack`."""

    def __init__(
        self, state: StateDir, plan: StackPlan, agents_dir: Path, agents: Sequence[AgentFile], observer: Observer
    ) -> None:
        self._state = state
        self._plan = plan
        self._agents_dir = agents_dir.absolute()
        self._agents = agents
        self._started_at = datetime.now(UTC)
        self._started = time.monotonic()
        self.ready_s: float | None = None
        """How long the start took; None until everything is ready."""
        self.applied: list[Applied] = []
        """What came of the agents' files."""
        self.supervisor = Supervisor(plan.specs, state.logs, _StateWriter(self, observer))

    async def start(self, meanwhile: Callable[[Stack], Awaitable[None]] | None = None) -> None:
        """Start everything and apply the agents; returns when all is ready. Raises CommandError.

        `meanwhile` is done when the API is ready, while others may still start.
        """
        self.write()
        await together([self.supervisor.start(), self._use_api(meanwhile)])
        self.ready_s = time.monotonic() - self._started
        self.write()

    async def _use_api(self, meanwhile: Callable[[Stack], Awaitable[None]] | None) -> None:
        await self.supervisor.until_ready("mongodb", "auth", "agents", REST)
        await self._apply_agents()
        if meanwhile is not None:
            await meanwhile(self)

    async def _apply_agents(self) -> None:
        async with ApiClient.for_stack(self.info(), self._state) as client:
            try:
                self.applied = await apply_agents(client, self._agents, publish=True)
            except AccessRefusedError as error:
                raise CommandError(
                    f"the store at {self._plan.mongo_url} was set up with another password of {LOCAL_ADMIN_EMAIL} ({error})",
                    f"put that password into {self._state.admin_password_file}, or choose another database with "
                    "VOXBUS_MONGO_DATABASE",
                ) from None

    def info(self) -> StackInfo:
        """What runs where, now."""
        return StackInfo(
            pid=os.getpid(),
            started_at=self._started_at,
            ready=self.ready_s is not None,
            nats_url=self._plan.nats_url,
            nats_monitor_url=self._plan.nats_monitor_url,
            mongo_url=self._plan.mongo_url,
            rest_url=self._plan.rest_url,
            voice_url=self._plan.voice_url,
            admin_email=LOCAL_ADMIN_EMAIL,
            agents_dir=self._agents_dir,
            log_dir=self._state.logs,
            processes=tuple(_process_info(member) for member in self.supervisor.members),
        )

    def write(self) -> None:
        """Bring `stack.json` up to date."""
        self._state.write(self.info())


def _process_info(member: Supervised) -> ProcessInfo:
    return ProcessInfo(
        name=member.spec.name,
        service=member.spec.service,
        pid=member.process.pid,
        state=member.state.value,
        ports=dict(member.spec.ports),
        health_url=member.spec.health_url,
        log_file=member.process.log_file,
        ready_s=round(member.ready_s, 3) if member.ready_s is not None else None,
        restarts=member.restarts,
    )


class _StateWriter:
    """Keeps `stack.json` in step, then tells the next observer."""

    def __init__(self, stack: Stack, observer: Observer) -> None:
        self._stack = stack
        self._next = observer

    def changed(self, member: Supervised, detail: str) -> None:
        self._stack.write()
        self._next.changed(member, detail)

    def preparing(self, preparation: Preparation, log_file: Path) -> None:
        self._next.preparing(preparation, log_file)

    def prepared(self, preparation: Preparation, seconds: float) -> None:
        self._next.prepared(preparation, seconds)


@asynccontextmanager
async def open_stack(state: StateDir, options: StackOptions, observer: Observer) -> AsyncIterator[Stack]:
    """A stack that is yours to `start`; at the end everything that runs is stopped, whatever happened.

    Raises StackRunningError when one already runs in `state`, and UsageError for options that cannot be met.
    """
    if not options.agents_dir.is_dir():
        raise UsageError(f"no directory of agents at {options.agents_dir}", "make it, or name another with --agents")
    agents = read_agents(options.agents_dir)
    with state.locked(), PortPlan() as ports:
        state.ensure_admin_password()
        plan = build_plan(options, ports=ports, state=state)
        stack = Stack(state, plan, options.agents_dir, agents, observer)
        try:
            yield stack
        finally:
            await stack.supervisor.stop()

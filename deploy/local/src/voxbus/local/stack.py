"""The stack of this machine: lock, keys, ports, processes, and the `stack.json` that others read."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from voxbus.local.keys import KeyPair
from voxbus.local.plan import StackOptions, StackPlan, build_plan
from voxbus.local.ports import PortPlan
from voxbus.local.process import Preparation
from voxbus.local.state import ProcessInfo, StackInfo, StateDir
from voxbus.local.supervisor import Observer, Supervised, Supervisor


class Stack:
    """The stack that this process runs. Get it from `open_stack`."""

    def __init__(self, state: StateDir, plan: StackPlan, keys: KeyPair, agents_dir: Path, observer: Observer) -> None:
        self._state = state
        self._plan = plan
        self._keys = keys
        self._agents_dir = agents_dir.absolute()
        self._started_at = datetime.now(UTC)
        self._started = time.monotonic()
        self.ready_s: float | None = None
        """How long the start took; None until everything is ready."""
        self.supervisor = Supervisor(plan.specs, state.logs, _StateWriter(self, observer))

    async def start(self) -> None:
        """Start everything; returns when all is ready. Raises ProcessFailedError."""
        self.write()
        await self.supervisor.start()
        self.ready_s = time.monotonic() - self._started
        self.write()

    def info(self) -> StackInfo:
        """What runs where, now."""
        return StackInfo(
            pid=os.getpid(),
            started_at=self._started_at,
            ready=self.ready_s is not None,
            nats_url=self._plan.nats_url,
            nats_monitor_url=self._plan.nats_monitor_url,
            voice_url=self._plan.voice_url,
            private_key_file=self._keys.private_file,
            public_key_file=self._keys.public_file,
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
    with state.locked(), PortPlan() as ports:
        keys = KeyPair(state.keys)
        keys.ensure()
        plan = build_plan(options, ports=ports, nats_dir=state.nats, public_key_file=keys.public_file)
        stack = Stack(state, plan, keys, options.agents_dir, observer)
        try:
            yield stack
        finally:
            await stack.supervisor.stop()
